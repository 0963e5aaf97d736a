/**
 * The consumer of one CMBS subscription on Pub/Sub. It reads one Pub/Sub subscription, by one stream, for each topic.
 *
 * A delivery that fails is tried again here, with back-off, while its lease is extended. A delivery with an ordering key
 * is kept even when its lease is lost, so that a failure does not change the order of the key
 * (`test/cloud/bus-streams.test.ts`, "of its ordering key"). Dead letters go to the
 * dead-letter topic with the reason. Memory is bounded per stream, and over all streams by the consumer's flow-control
 * credit. A process that stops loses nothing: Pub/Sub offers unacknowledged messages again.
 */
import { isUtf8 } from 'node:buffer';
import type { Random } from '../../back-off';
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import type { Counters, Log } from '../../log';
import type { BusDelivery, ConsumeOptions, Consumer } from '../bus';
import { DeliverySchedule, type Scheduled } from '../delivery-schedule';
import { BUS_MAX_ATTEMPTS } from '../limits';
import type { Topic } from '../topics';
import type { FlowControl, FlowCredit } from './flow-control';
import { bytesInFlight, deliveryOf, type ReceivedMessage } from './message';
import type { PubsubStream, PubsubStreams } from './streams';
import { type TopicSource, TopicSources } from './topic-sources';

/** Deliveries of one stream without an ordering key that may back off here; further ones return to Pub/Sub. */
const STREAM_BACKING_OFF = 32;
/** Milliseconds without a settled delivery after which a consumer without credit closes its streams. */
const STALLED_MS = 1000;

export interface PubsubConsumerOptions extends ConsumeOptions {
  readonly name: string;
  readonly streams: PubsubStreams;
  readonly flowControl: FlowControl;
  /** Name in Pub/Sub of the subscription to a topic. */
  readonly nameOf: (topic: Topic) => string;
  readonly handler: (delivery: BusDelivery) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly random: Random;
  /** Milliseconds for one call to Pub/Sub. */
  readonly callMs: number;
  /** Makes a missing subscription in Pub/Sub; true when it was missing. */
  readonly remake: (topic: Topic) => Promise<boolean>;
  /** Publishes a dead letter. */
  readonly deadLetter: (message: ReceivedMessage, delivery: BusDelivery, reason: string) => Promise<void>;
  /** A retired topic was read to its end. */
  readonly onDrained: (topic: Topic) => void;
  readonly onClosed: () => void;
}

/** A delivery in memory. */
interface Leased extends Scheduled {
  /** As it was received last. */
  message: ReceivedMessage;
  readonly bytes: number;
  readonly source: TopicSource<Leased>;
  /** The stream that brought it last, which alone can settle it. */
  stream: PubsubStream;
}

const nothing = (): void => undefined;

export class PubsubConsumer implements Consumer {
  readonly #options: PubsubConsumerOptions;
  readonly #credit: FlowCredit;
  readonly #schedule: DeliverySchedule<Leased>;
  readonly #sources: TopicSources<Leased>;
  #cancelStalled: () => void = nothing;
  /** Deliveries settled so far. */
  #settledCount = 0;
  /** Calls under way that acknowledge deliveries or hand them back. */
  readonly #settling = new Set<Promise<void>>();
  #isClosed = false;
  #closing: Promise<void> | undefined;

  constructor(options: PubsubConsumerOptions) {
    this.#options = options;
    this.#credit = options.flowControl.credit(() => {
      this.#cancelStalled();
      this.#sources.resume();
    });
    this.#sources = new TopicSources<Leased>({
      ...options,
      isFull: () => this.#credit.isFull,
      onReceived: (source, stream, message) => this.#received(source, stream, message),
      onDisconnect: (source) => this.#handBackWaiting(source.deliveries),
    });
    this.#schedule = new DeliverySchedule<Leased>({
      ...options,
      handler: async (delivery, { message }) => {
        if (!isUtf8(message.data)) throw new CmbsError('bad_request', 'the data are not UTF-8');
        await options.handler(delivery);
      },
      engine: {
        open: (entry, attempt) => Promise.resolve(this.#open(entry, attempt)),
        settle: (entry) => {
          this.#acknowledge(entry);
          return Promise.resolve();
        },
        deadLetter: ({ message }, delivery, reason) => options.deadLetter(message, delivery, reason),
        mayBackOff: (entry) => this.#mayBackOff(entry),
        handBack: ({ stream, message }) => this.#handBack(stream, [message.ackId]),
        onRemoved: (entry) => this.#removed(entry),
      },
    });
  }

  /** Reads exactly these topics from now on. Retired topics have the time from which publications are not wanted. */
  follow(wanted: ReadonlyMap<Topic, number | undefined>): void {
    this.#sources.follow(wanted);
  }

  // --- Receiving ---

  #received(source: TopicSource<Leased>, stream: PubsubStream, message: ReceivedMessage): void {
    if (this.#isClosed || source.stream !== stream) {
      this.#handBack(stream, [message.ackId]);
      return;
    }
    const group = message.orderingKey === '' ? undefined : `${source.number} ${message.orderingKey}`;
    const known = group === undefined ? undefined : this.#schedule.group(group).find(isOf(message));
    if (known !== undefined) {
      // Its lease was lost. It keeps its place, and the new lease settles it.
      known.stream.forget(known.message.ackId);
      known.message = message;
      known.stream = stream;
      return;
    }
    const entry: Leased = {
      group,
      // Pub/Sub counts deliveries of which the handler may have seen none, so one attempt is always left.
      failedAttempts: Math.min(message.attempt, BUS_MAX_ATTEMPTS) - 1,
      message,
      bytes: bytesInFlight(message),
      source,
      stream,
    };
    source.deliveries.add(entry);
    source.bytes += entry.bytes;
    const wasFull = this.#credit.isFull;
    this.#credit.take(entry.bytes);
    if (this.#credit.isFull && !wasFull) {
      this.#sources.filledBy(source);
      this.#watchStalled();
    } else {
      this.#sources.throttle(source);
    }
    this.#schedule.add(entry);
  }

  /** The delivery has left the schedule. */
  #removed(entry: Leased): void {
    const { source, bytes } = entry;
    source.deliveries.delete(entry);
    source.bytes -= bytes;
    this.#sources.throttle(source);
    this.#credit.release(bytes);
  }

  /** A handler that is stalled must not keep messages here that Pub/Sub has already sent: the streams are closed. */
  #watchStalled(): void {
    const { clock, log, name } = this.#options;
    const before = this.#settledCount;
    this.#cancelStalled = clock.after(STALLED_MS, () => {
      if (this.#settledCount !== before) {
        this.#watchStalled();
        return;
      }
      log.warn('a consumer is stalled; its messages stay in Pub/Sub', { subscription: name });
      this.#sources.stop();
    });
  }

  // --- Delivering ---

  /** Undefined for a message that was published after its topic was retired. */
  #open(entry: Leased, attempt: number): BusDelivery | undefined {
    const { message, source } = entry;
    if (source.retiredAt === undefined || message.publishedAt <= source.retiredAt) {
      return deliveryOf(message, source.topic, attempt);
    }
    this.#acknowledge(entry);
    return undefined;
  }

  /**
   * With an ordering key a delivery backs off here even without a lease: the next ones of its key may arrive by another
   * stream before Pub/Sub offers it again.
   */
  #mayBackOff({ group, source, stream }: Leased): boolean {
    if (!this.#sources.isFollowed(source)) return false;
    if (group !== undefined) return true;
    const backingOff = [...source.deliveries].filter((one) => this.#schedule.isBackingOff(one)).length;
    return stream.isLeasing && backingOff < STREAM_BACKING_OFF;
  }

  #acknowledge({ stream, message }: Leased): void {
    const { log, name } = this.#options;
    this.#settledCount += 1;
    this.#track(
      stream.acknowledge(message.ackId).catch((error: unknown) => {
        log.debug('an acknowledgement may be lost; Pub/Sub then offers the message again', {
          subscription: name,
          cause: error,
        });
      }),
    );
  }

  #handBack(stream: PubsubStream, ackIds: readonly string[]): void {
    // When the call fails, the leases run out instead.
    this.#track(stream.handBack(ackIds).catch(nothing));
  }

  /** Keeps the call until it has ended, so that closing can wait for it. */
  #track(call: Promise<void>): void {
    const settling = call.finally(() => this.#settling.delete(settling));
    this.#settling.add(settling);
  }

  /** Hands back those of the deliveries that no handler has. */
  #handBackWaiting(deliveries: Iterable<Leased>): void {
    const ackIds = new Map<PubsubStream, string[]>();
    for (const { stream, message } of this.#schedule.withdraw(deliveries)) {
      const ids = ackIds.get(stream) ?? [];
      ids.push(message.ackId);
      ackIds.set(stream, ids);
    }
    // One request per stream: of an ordering key, a later message must not go back without the earlier ones.
    for (const [stream, ids] of ackIds) this.#handBack(stream, ids);
  }

  // --- Closing ---

  /** Receives no more, waits for running handlers, hands back the rest. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelStalled();
    const isIdle = this.#schedule.close();
    // Messages that arrive now are handed back, so that the next consumer need not wait for their leases to run out.
    const isFinished = this.#sources.finish();
    for (const source of this.#sources.all) this.#handBackWaiting(source.deliveries);
    await isIdle;
    for (const source of this.#sources.all) this.#handBackWaiting(source.deliveries);
    await isFinished;
    await Promise.all(this.#settling);
    this.#sources.close();
    this.#options.onClosed();
  }
}

const isOf =
  ({ id }: ReceivedMessage) =>
  (entry: Leased): boolean =>
    entry.message.id === id;
