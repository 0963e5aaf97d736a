/**
 * The topics that one consumer reads: a Pub/Sub subscription and a stream for each (`streams.ts` says why not by
 * Google's consumer). Opens the streams one after the
 * other, opens those again that end, makes subscriptions again that were deleted from outside, and tells when a retired
 * topic is read to its end.
 */
import { backOff, type Random } from '../../back-off';
import type { Clock } from '../../clock';
import { STATUS, statusOf } from '../../grpc-status';
import type { Counters, Log } from '../../log';
import { BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS } from '../limits';
import type { Topic } from '../topics';
import { RETIRED_IDLE_MS, STREAM_BYTES, STREAM_MESSAGES } from './limits';
import type { ReceivedMessage } from './message';
import type { PubsubStream, PubsubStreams } from './streams';

/** Milliseconds between two streams that one consumer opens: what each brings at once has to be counted first. */
const STREAM_OPENING_MS = 10;
/** Consecutive failures of a stream above which each is logged: Pub/Sub ends streams in normal operation too. */
const SILENT_FAILURES = 2;

const nothing = (): void => undefined;

/** A topic that the consumer reads. */
export class TopicSource<D> {
  /** Deliveries from this topic that are in memory, and their bytes. */
  readonly deliveries = new Set<D>();
  bytes = 0;
  stream: PubsubStream | undefined;
  /** Milliseconds since the epoch; set when publications after that time are not wanted. */
  retiredAt: number | undefined;
  /** It has no stream and waits for its turn to open one. */
  isWaiting = true;
  isPaused = false;
  /** The topic is not wanted any more, and its subscription in Pub/Sub is removed. */
  isRemoved = false;
  /** Consecutive failures to open a stream. */
  failures = 0;
  cancelReopening: () => void = nothing;
  cancelIdle: () => void = nothing;

  constructor(
    readonly topic: Topic,
    /** Unique in the consumer, also when a topic is followed again. */
    readonly number: number,
    /** Milliseconds since the epoch. */
    readonly openedAt: number,
  ) {}
}

export interface TopicSourcesOptions<D> {
  readonly name: string;
  readonly streams: PubsubStreams;
  /** Name in Pub/Sub of the subscription to a topic. */
  readonly nameOf: (topic: Topic) => string;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly random: Random;
  /** Milliseconds for one call to Pub/Sub. */
  readonly callMs: number;
  /** Makes a missing subscription in Pub/Sub; true when it was missing. */
  readonly remake: (topic: Topic) => Promise<boolean>;
  /** A retired topic was read to its end. */
  readonly onDrained: (topic: Topic) => void;
  /** The consumer's flow-control credit is used up. */
  readonly isFull: () => boolean;
  readonly onReceived: (source: TopicSource<D>, stream: PubsubStream, message: ReceivedMessage) => void;
  /** The stream of the source is about to be closed. */
  readonly onDisconnect: (source: TopicSource<D>) => void;
}

export class TopicSources<D> {
  readonly #options: TopicSourcesOptions<D>;
  /** In the order in which their streams are opened; the source that brought most recently comes last. */
  readonly #sources = new Map<Topic, TopicSource<D>>();
  #lastNumber = 0;
  /** Set for a moment after a stream was opened. */
  #cancelOpening: (() => void) | undefined;
  #isClosed = false;

  constructor(options: TopicSourcesOptions<D>) {
    this.#options = options;
  }

  get all(): Iterable<TopicSource<D>> {
    return this.#sources.values();
  }

  isFollowed(source: TopicSource<D>): boolean {
    return !this.#isClosed && this.#sources.get(source.topic) === source;
  }

  /** Opens and closes streams so that exactly these topics are read. Retired topics have a time. */
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
        this.#add(topic, retiredAt);
      } else if (known.retiredAt !== retiredAt) {
        known.retiredAt = retiredAt;
        this.#watchIdle(known);
      }
    }
  }

  #add(topic: Topic, retiredAt: number | undefined): void {
    this.#lastNumber += 1;
    const source = new TopicSource<D>(topic, this.#lastNumber, this.#options.clock.now());
    source.retiredAt = retiredAt;
    this.#sources.set(topic, source);
    this.#openNext();
    this.#watchIdle(source);
  }

  // --- Flow control ---

  /**
   * Pauses a stream that brought too much, and resumes it. Pub/Sub knows the limits too, but the emulator ignores them;
   * a paused stream keeps its messages in the connection.
   */
  throttle(source: TopicSource<D>): void {
    const isFull =
      this.#options.isFull() || source.deliveries.size >= STREAM_MESSAGES || source.bytes >= STREAM_BYTES;
    if (isFull === source.isPaused) return;
    source.isPaused = isFull;
    if (isFull) source.stream?.pause();
    else source.stream?.resume();
  }

  /** A delivery of this source used up the consumer's credit; the other sources are resumed before it. */
  filledBy(source: TopicSource<D>): void {
    this.#putLast(source);
    for (const one of this.#sources.values()) this.throttle(one);
  }

  /** The consumer has credit again. */
  resume(): void {
    if (this.#isClosed) return;
    for (const source of this.#sources.values()) this.throttle(source);
    this.#openNext();
  }

  /** Stops every stream until there is credit again; unread messages stay in Pub/Sub. */
  stop(): void {
    for (const source of this.#sources.values()) {
      if (source.stream === undefined) continue;
      source.stream.stop();
      source.stream = undefined;
      source.isWaiting = true;
    }
  }

  #putLast(source: TopicSource<D>): void {
    this.#sources.delete(source.topic);
    this.#sources.set(source.topic, source);
  }

  // --- Streams ---

  /** One stream at a time, and none while there is no credit: each may bring much at once. */
  #openNext(): void {
    if (this.#isClosed || this.#cancelOpening !== undefined || this.#options.isFull()) return;
    for (const source of this.#sources.values()) {
      if (!source.isWaiting) continue;
      this.#open(source);
      this.#putLast(source);
      this.#cancelOpening = this.#options.clock.after(STREAM_OPENING_MS, () => {
        this.#cancelOpening = undefined;
        this.#openNext();
      });
      return;
    }
  }

  #open(source: TopicSource<D>): void {
    const { streams, nameOf, onReceived } = this.#options;
    source.isWaiting = false;
    source.isPaused = false;
    const stream = streams.open(nameOf(source.topic), {
      received: (message) => {
        source.failures = 0;
        this.#watchIdle(source);
        onReceived(source, stream, message);
      },
      ended: (error) => {
        if (source.stream === stream) this.#reopen(source, error);
      },
    });
    source.stream = stream;
  }

  #openSoon(source: TopicSource<D>): void {
    source.isWaiting = true;
    this.#openNext();
  }

  #reopen(source: TopicSource<D>, error: Error | undefined): void {
    const { clock, log, name, onDrained, random } = this.#options;
    this.#disconnect(source);
    if (!this.isFollowed(source)) return;
    const { topic } = source;
    if (source.failures > SILENT_FAILURES) {
      log.warn('the stream of a topic keeps ending', { subscription: name, topic, cause: error });
    }
    source.failures += 1;
    const delayMs = backOff(source.failures, BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS, random);
    source.cancelReopening = clock.after(delayMs, () => {
      if (!this.isFollowed(source)) return;
      if (statusOf(error) !== STATUS.notFound) this.#openSoon(source);
      else if (source.retiredAt === undefined) void this.#remake(source, error);
      else {
        // Probably this deployment removed the subscription, and the registry does not say so yet.
        source.isRemoved = true;
        onDrained(topic);
      }
    });
  }

  /** Never rejects. */
  async #remake(source: TopicSource<D>, error: Error | undefined): Promise<void> {
    const { clock, log, counters, name, callMs, remake } = this.#options;
    const { topic } = source;
    try {
      const wasMissing = await remake(topic);
      // Right after a subscription or a topic was added, its subscription in Pub/Sub may not exist yet.
      if (wasMissing && clock.now() - source.openedAt > callMs) {
        counters.add('cmbs_subscriptions_remade');
        log.error('a subscription was deleted from outside and was created again; its messages are lost', {
          subscription: name,
          topic,
        });
      }
      if (this.isFollowed(source)) this.#openSoon(source);
    } catch (failure) {
      log.error('a subscription could not be created again; retrying', { topic, cause: failure });
      if (this.isFollowed(source)) this.#reopen(source, error);
    }
  }

  #disconnect(source: TopicSource<D>): void {
    const { stream } = source;
    source.stream = undefined;
    source.cancelReopening();
    this.#options.onDisconnect(source);
    stream?.close();
  }

  /** A retired topic counts as read to its end when no message came for a while. */
  #watchIdle(source: TopicSource<D>): void {
    source.cancelIdle();
    if (source.retiredAt === undefined || this.#isClosed) return;
    source.cancelIdle = this.#options.clock.after(RETIRED_IDLE_MS, () => {
      if (this.#isClosed) return;
      const isRead = source.deliveries.size === 0 && source.stream !== undefined;
      if (isRead || source.isRemoved) this.#options.onDrained(source.topic);
      // Again, until `follow` no longer has the topic.
      this.#watchIdle(source);
    });
  }

  // --- Closing ---

  /** Opens no more streams, and asks Pub/Sub to send no more on those that are open; resolves when nothing comes any more. */
  async finish(): Promise<void> {
    this.#isClosed = true;
    this.#cancelOpening?.();
    await Promise.all(
      [...this.#sources.values()].map(async (source) => {
        source.cancelReopening();
        source.cancelIdle();
        await source.stream?.finish();
      }),
    );
  }

  /** After {@link finish}. */
  close(): void {
    for (const source of this.#sources.values()) {
      const { stream } = source;
      source.stream = undefined;
      stream?.close();
    }
    this.#sources.clear();
  }
}
