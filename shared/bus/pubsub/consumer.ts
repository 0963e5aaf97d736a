/**
 * Takes the deliveries of one CMBS subscription from its subscriptions in Pub/Sub, one stream each.
 *
 * A delivery that fails is tried again here, with back-off, while its lease is extended, and with an ordering key also
 * when the lease is lost: so the order of an ordering key outlives a failure. After the last attempt the delivery goes to
 * the dead-letter topic with the reason. What is in hand is bounded per stream, which is not read while it is full; when
 * too much of it waits out a back-off, the rest that fails goes back to Pub/Sub. A process that dies loses nothing:
 * Pub/Sub offers it again.
 *
 * All streams of a consumer share its part of the process's {@link FlowControl}. While that is full none is read;
 * and when the consumer settles nothing meanwhile they are closed, since what Pub/Sub has sent lies in this process too.
 */
import { isUtf8 } from 'node:buffer';
import { backOff, type Random } from '../../back-off';
import type { Topic } from '../topics';
import type { Clock } from '../../clock';
import { BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS, BUS_MAX_ATTEMPTS } from '../limits';
import { PUBSUB_DEADLINE_MS } from '../../limits';
import { RETIRED_IDLE_MS, STREAM_BYTES, STREAM_MESSAGES } from './limits';
import type { Counters, Log } from '../../log';
import { STATUS, statusOf } from '../../grpc-status';
import type { Consumer, ConsumeOptions, BusDelivery } from '../bus';
import type { FlowControl, FlowCredit } from './flow-control';
import { failureOf } from '../failure';
import { bytesInFlight, deliveryOf } from './message';
import type { PubsubStream, PubsubStreams, Received } from './streams';

/** Of those, how many may wait out a back-off without an ordering key; the others go back to Pub/Sub. */
const STREAM_BACKING_OFF = 32;
/** Milliseconds between two streams that one consumer opens: each may bring much, and what it brings has to be seen. */
const STREAM_OPENING_MS = 10;
/** Milliseconds that a full consumer settles nothing until its streams are closed, with all that is on its way. */
const STALLED_MS = 1000;

export interface PubsubConsumerOptions extends ConsumeOptions {
  readonly name: string;
  readonly streams: PubsubStreams;
  readonly budget: FlowControl;
  /** Name in Pub/Sub of the subscription to a topic. */
  readonly nameOf: (topic: Topic) => string;
  readonly handler: (delivery: BusDelivery) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly random: Random;
  /** A subscription in Pub/Sub is not there: makes it, and tells whether it had to. */
  readonly remake: (topic: Topic) => Promise<boolean>;
  /** Publishes a dead letter. */
  readonly deadLetter: (message: Received, delivery: BusDelivery, reason: string) => Promise<void>;
  /** A topic that is not wanted any more was read to its end. */
  readonly onDrained: (topic: Topic) => void;
  readonly onClosed: () => void;
}

/** A topic that is followed. */
interface Source {
  readonly topic: Topic;
  stream: PubsubStream | undefined;
  /** It has no stream and gets one in its turn. */
  isWaiting: boolean;
  /** Milliseconds since the epoch from which on publications are not wanted. */
  retiredAt: number | undefined;
  /** Ordering key to what is in hand of it, in order; the first one goes, or waits, alone. */
  readonly byOrderingKey: Map<string, Held[]>;
  readonly held: Set<Held>;
  heldBytes: number;
  isPaused: boolean;
  backingOff: number;
  /** Milliseconds since the epoch. */
  readonly openedAt: number;
  /** Its topic is not wanted any more, and its subscription in Pub/Sub is removed. */
  isRemoved: boolean;
  /** Failures to open in a row. */
  failures: number;
  cancelReopening: () => void;
  cancelIdle: () => void;
}

/** A delivery in hand. */
interface Held {
  /** As it came last. */
  message: Received;
  readonly bytes: number;
  readonly source: Source;
  /** The stream that it came by last; only that one can settle it. */
  stream: PubsubStream;
  attempt: number;
  /** Outages in a row that it met. */
  outages: number;
  /** The handler has it. */
  isRunning: boolean;
  cancelRetry: (() => void) | undefined;
}

const nothing = (): void => undefined;

export class PubsubConsumer implements Consumer {
  readonly #options: PubsubConsumerOptions;
  readonly #share: FlowCredit;
  /** The next one whose turn it is to bring something comes first. */
  readonly #sources = new Map<Topic, Source>();
  /** While it is set, the last stream was opened just now. */
  #cancelConnecting: (() => void) | undefined;
  #cancelStalled: () => void = nothing;
  /** Deliveries settled so far. */
  #settledCount = 0;
  #ready: Held[] = [];
  #running = 0;
  /** Acknowledgements under way. */
  readonly #settling = new Set<Promise<void>>();
  #isClosed = false;
  #closing: Promise<void> | undefined;
  #idle: () => void = nothing;

  constructor(options: PubsubConsumerOptions) {
    this.#options = options;
    this.#share = options.budget.credit(() => this.#readOn());
  }

  /** Opens and closes streams so that they are these. A time is given for topics that are only read to their end. */
  follow(wanted: ReadonlyMap<Topic, number | undefined>): void {
    if (this.#isClosed) return;
    for (const [topic, source] of this.#sources) {
      if (wanted.has(topic)) continue;
      this.#sources.delete(topic);
      source.cancelIdle();
      this.#disconnect(source);
    }
    for (const [topic, retiredAt] of wanted) {
      const known = this.#sources.get(topic);
      if (known === undefined || (known.isRemoved && retiredAt === undefined)) {
        known?.cancelIdle();
        this.#open(topic, retiredAt);
      } else if (known.retiredAt !== retiredAt) {
        known.retiredAt = retiredAt;
        this.#watchIdle(known);
      }
    }
  }

  // --- Streams ---

  #open(topic: Topic, retiredAt: number | undefined): void {
    const source: Source = {
      topic,
      stream: undefined,
      isWaiting: true,
      retiredAt,
      byOrderingKey: new Map(),
      held: new Set(),
      heldBytes: 0,
      isPaused: false,
      backingOff: 0,
      openedAt: this.#options.clock.now(),
      isRemoved: false,
      failures: 0,
      cancelReopening: nothing,
      cancelIdle: nothing,
    };
    this.#sources.set(topic, source);
    this.#connectNext();
    this.#watchIdle(source);
  }

  #connectInTurn(source: Source): void {
    source.isWaiting = true;
    this.#connectNext();
  }

  /** One after the other, and none while there is no room: each may bring much at once. */
  #connectNext(): void {
    if (this.#isClosed || this.#cancelConnecting !== undefined || this.#share.isFull) return;
    for (const source of this.#sources.values()) {
      if (!source.isWaiting) continue;
      this.#connect(source);
      this.#putLast(source);
      this.#cancelConnecting = this.#options.clock.after(STREAM_OPENING_MS, () => {
        this.#cancelConnecting = undefined;
        this.#connectNext();
      });
      return;
    }
  }

  #connect(source: Source): void {
    const { streams, nameOf } = this.#options;
    source.isWaiting = false;
    source.isPaused = false;
    const stream = streams.open(nameOf(source.topic), {
      received: (message) => this.#arrived(source, stream, message),
      ended: (error) => {
        if (source.stream === stream) this.#reopen(source, error);
      },
    });
    source.stream = stream;
  }

  #reopen(source: Source, error: Error | undefined): void {
    const { clock, log, counters, name, remake, onDrained } = this.#options;
    this.#disconnect(source);
    if (!this.#isFollowed(source)) return;
    const { topic } = source;
    const isGone = statusOf(error) === STATUS.notFound;
    // Pub/Sub ends streams as it likes; what fails again and again is worth a word.
    if (source.failures > 2) log.warn('a topic stream breaks off', { subscription: name, topic, cause: error });
    source.failures += 1;
    source.cancelReopening = clock.after(this.#backOff(source.failures), () => {
      if (!this.#isFollowed(source)) return;
      if (!isGone) {
        this.#connectInTurn(source);
        return;
      }
      if (source.retiredAt !== undefined) {
        // Removed by us, most likely, and the registry does not say so yet.
        source.isRemoved = true;
        onDrained(topic);
        return;
      }
      remake(topic).then(
        (isMade) => {
          // Right after a subscription or a topic was added, its counterpart may be on its way.
          if (isMade && clock.now() - source.openedAt > PUBSUB_DEADLINE_MS) {
            counters.add('cmbs_subscriptions_remade');
            log.error('a subscription was deleted from outside and is made again; what it held is lost', {
              subscription: name,
              topic,
            });
          }
          if (this.#isFollowed(source)) this.#connectInTurn(source);
        },
        (failure: unknown) => {
          log.error('a subscription cannot be made again; trying again', { topic, cause: failure });
          if (this.#isFollowed(source)) this.#reopen(source, error);
        },
      );
    });
  }

  #isFollowed(source: Source): boolean {
    return !this.#isClosed && this.#sources.get(source.topic) === source;
  }

  /** What is in hand and not at the handler goes back. */
  #disconnect(source: Source): void {
    const { stream } = source;
    source.stream = undefined;
    source.cancelReopening();
    this.#handBackWaiting([source]);
    stream?.close();
  }

  /** A topic that is not wanted any more counts as read to its end when nothing came for a while. */
  #watchIdle(source: Source): void {
    source.cancelIdle();
    if (source.retiredAt === undefined) return;
    source.cancelIdle = this.#options.clock.after(RETIRED_IDLE_MS, () => {
      if (this.#isClosed) return;
      const isRead = source.held.size === 0 && source.stream !== undefined;
      if (isRead || source.isRemoved) this.#options.onDrained(source.topic);
      // Until it is followed no more.
      this.#watchIdle(source);
    });
  }

  // --- Deliveries ---

  #arrived(source: Source, stream: PubsubStream, message: Received): void {
    source.failures = 0;
    this.#watchIdle(source);
    if (this.#isClosed || source.stream !== stream) {
      this.#tellHandedBack(stream, [message.ackId]);
      return;
    }
    const { orderingKey } = message;
    const line = orderingKey === '' ? undefined : source.byOrderingKey.get(orderingKey);
    const known = line?.find((one) => one.message.id === message.id);
    if (known !== undefined) {
      // Its lease was lost; it keeps its place, and the new lease settles it.
      known.stream.forget(known.message.ackId);
      known.message = message;
      known.stream = stream;
      return;
    }
    const held: Held = {
      message,
      bytes: bytesInFlight(message),
      source,
      stream,
      attempt: message.attempt,
      outages: 0,
      isRunning: false,
      cancelRetry: undefined,
    };
    source.held.add(held);
    source.heldBytes += held.bytes;
    const wasFull = this.#share.isFull;
    this.#share.take(held.bytes);
    if (this.#share.isFull && !wasFull) this.#filledBy(source);
    else this.#throttle(source);
    if (line !== undefined) {
      line.push(held);
      return;
    }
    if (orderingKey !== '') source.byOrderingKey.set(orderingKey, [held]);
    this.#ready.push(held);
    this.#dispatch();
  }

  /** Pub/Sub knows the bound; the emulator does not keep it, and a stream that is not read keeps what it has. */
  #throttle(source: Source): void {
    const isFull = this.#share.isFull || source.held.size >= STREAM_MESSAGES || source.heldBytes >= STREAM_BYTES;
    if (isFull === source.isPaused) return;
    source.isPaused = isFull;
    if (isFull) source.stream?.pause();
    else source.stream?.resume();
  }

  /** There is no room for more. */
  #filledBy(source: Source): void {
    this.#putLast(source);
    for (const one of this.#sources.values()) this.#throttle(one);
    this.#watchStalled();
  }

  /** There is room again. */
  #readOn(): void {
    this.#cancelStalled();
    if (this.#isClosed) return;
    for (const source of this.#sources.values()) this.#throttle(source);
    this.#connectNext();
  }

  #watchStalled(): void {
    const before = this.#settledCount;
    this.#cancelStalled = this.#options.clock.after(STALLED_MS, () => {
      if (this.#settledCount !== before) this.#watchStalled();
      else this.#stop();
    });
  }

  /** Nobody takes what is in hand: what is on its way must not wait here, but where it comes from. */
  #stop(): void {
    const { log, name } = this.#options;
    log.warn('nobody takes the deliveries in hand; the next ones stay in Pub/Sub until then', {
      subscription: name,
    });
    for (const source of this.#sources.values()) {
      if (source.stream === undefined) continue;
      source.stream.stop();
      source.stream = undefined;
      source.isWaiting = true;
    }
  }

  #putLast(source: Source): void {
    this.#sources.delete(source.topic);
    this.#sources.set(source.topic, source);
  }

  #dispatch(): void {
    while (!this.#isClosed && this.#running < this.#options.maxInFlight) {
      const held = this.#ready.shift();
      if (held === undefined) return;
      this.#running += 1;
      held.isRunning = true;
      void this.#deliver(held).finally(() => {
        this.#running -= 1;
        held.isRunning = false;
        if (this.#isClosed) this.#settleIdle();
        else this.#dispatch();
      });
    }
  }

  /** Never rejects. */
  async #deliver(held: Held): Promise<void> {
    const { handler, log, name } = this.#options;
    const { message, source } = held;
    const delivery = deliveryOf(message, source.topic, Math.min(held.attempt, BUS_MAX_ATTEMPTS));
    if (source.retiredAt !== undefined && message.publishedAt > source.retiredAt) {
      this.#settle(held);
      return;
    }
    let failure: string | undefined;
    try {
      if (isUtf8(message.data)) await handler(delivery);
      else failure = 'the data are not UTF-8';
    } catch (error) {
      const { reason, isHopeless, isOutage } = failureOf(error);
      failure = reason;
      if (isOutage) {
        held.outages += 1;
        this.#later(held, this.#backOff(held.outages));
        return;
      }
      held.outages = 0;
      if (held.attempt < BUS_MAX_ATTEMPTS && !isHopeless) {
        this.#later(held, this.#backOff(held.attempt));
        held.attempt += 1;
        return;
      }
    }
    try {
      if (failure !== undefined) await this.#bury(held, delivery, failure);
      this.#settle(held);
    } catch (error) {
      log.error('a dead letter could not be published; trying again', {
        subscription: name,
        cause: error,
      });
      this.#later(held, BUS_BACKOFF_MAX_MS);
    }
  }

  async #bury(held: Held, delivery: BusDelivery, reason: string): Promise<void> {
    const { deadLetter: bury, onDeadLetter, log, name } = this.#options;
    await bury(held.message, delivery, reason);
    await onDeadLetter?.(delivery, reason);
    log.warn('a delivery was given up', {
      subscription: name,
      id: delivery.id,
      attempt: delivery.attempt,
      reason,
    });
  }

  #backOff(failures: number): number {
    return backOff(failures, BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS, this.#options.random);
  }

  /**
   * Offers it again after the delay; until then it holds its ordering key back. With an ordering key it stays in hand
   * also when its lease is lost: the next ones of its key may have come by another stream before it comes again.
   */
  #later(held: Held, delayMs: number): void {
    const { source, stream, message } = held;
    const mayGoBack = message.orderingKey === '';
    const isTooMuch = !stream.isLeasing || source.backingOff >= STREAM_BACKING_OFF;
    if (!this.#isFollowed(source) || (mayGoBack && isTooMuch)) {
      this.#handBack(held);
      return;
    }
    source.backingOff += 1;
    held.cancelRetry = this.#options.clock.after(delayMs, () => {
      this.#stopBackingOff(held);
      this.#ready.push(held);
      this.#dispatch();
    });
  }

  #stopBackingOff(held: Held): void {
    if (held.cancelRetry === undefined) return;
    held.cancelRetry();
    held.cancelRetry = undefined;
    held.source.backingOff -= 1;
  }

  /** In hand until Pub/Sub has heard of it. */
  #settle(held: Held): void {
    const { log, name } = this.#options;
    const settling = held.stream
      .acknowledge(held.message.ackId)
      .catch((error: unknown) => {
        log.debug('an acknowledgement may be lost; the message is recognised when it comes again', {
          subscription: name,
          cause: error,
        });
      })
      .finally(() => this.#settling.delete(settling));
    this.#settling.add(settling);
    this.#settledCount += 1;
    this.#release(held);
  }

  #handBack(held: Held): void {
    this.#stopBackingOff(held);
    this.#tellHandedBack(held.stream, [held.message.ackId]);
    this.#release(held);
  }

  #tellHandedBack(stream: PubsubStream, ackIds: readonly string[]): void {
    const handingBack = stream
      .handBack(ackIds)
      // Their leases run out then.
      .catch(nothing)
      .finally(() => this.#settling.delete(handingBack));
    this.#settling.add(handingBack);
  }

  /** Hands back what waits: for its turn, for another one of its ordering key, or for the end of a back-off. */
  #handBackWaiting(sources: Iterable<Source>): void {
    const ackIds = new Map<PubsubStream, string[]>();
    for (const { held: all } of sources) {
      // The last first, so that none of a line comes to its turn by it.
      for (const held of [...all].reverse()) {
        if (held.isRunning) continue;
        const { stream, message } = held;
        const ids = ackIds.get(stream) ?? [];
        ackIds.set(stream, ids);
        ids.push(message.ackId);
        this.#stopBackingOff(held);
        this.#release(held);
      }
    }
    // In one request: of an ordering key, no later one must go back without the earlier ones.
    for (const [stream, ids] of ackIds) this.#tellHandedBack(stream, ids.reverse());
  }

  /** Lets go of a delivery; the next one of its ordering key may go. */
  #release(held: Held): void {
    const { source, message } = held;
    if (!source.held.delete(held)) return;
    source.heldBytes -= held.bytes;
    this.#ready = this.#ready.filter((one) => one !== held);
    this.#throttle(source);
    this.#share.release(held.bytes);
    const line = source.byOrderingKey.get(message.orderingKey);
    if (line === undefined) return;
    const at = line.indexOf(held);
    if (at >= 0) line.splice(at, 1);
    const [next] = line;
    if (next === undefined) source.byOrderingKey.delete(message.orderingKey);
    else if (at === 0) this.#ready.push(next);
  }

  // --- Closing ---

  /** Takes nothing more, waits for what is in the handler's hands, hands the rest back. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelConnecting?.();
    this.#cancelStalled();
    const finished: Promise<void>[] = [];
    for (const source of this.#sources.values()) {
      source.cancelReopening();
      source.cancelIdle();
      // What comes now is handed back as it comes, so that the next consumer need not wait for its lease to run out.
      if (source.stream !== undefined) finished.push(source.stream.finish());
    }
    this.#handBackWaiting(this.#sources.values());
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#handBackWaiting(this.#sources.values());
    await Promise.all(finished);
    await Promise.all(this.#settling);
    for (const source of this.#sources.values()) {
      const { stream } = source;
      source.stream = undefined;
      stream?.close();
    }
    this.#sources.clear();
    this.#options.onClosed();
  }

  #settleIdle(): void {
    if (this.#running === 0) this.#idle();
  }
}
