/**
 * Publishes on the embedded bus: one delivery per matching subscription, written in one transaction. Publications that
 * wait together share a transaction, in the order of the calls; that order is the order of their ids, and so the order
 * in which an ordering key is delivered.
 */
import { type Clock, orderKey } from '../../clock';
import { CmbsError } from '../../errors';
import type { Store, Transaction } from '../../store';
import type { BusMessage, TopicLayer } from '../bus';
import { BUS_RETENTION_MS, MAX_QUEUED_PUBLICATIONS } from '../limits';
import type { Topic } from '../topics';
import { type EmbeddedBusLimits, MAX_INLINE_MESSAGE_CHARS } from './limits';
import { BUS_MESSAGES, DELIVERIES, deliveryKey, readTime, SHARED_MESSAGE, STATE } from './records';
import { type Subscriber, Subscribers } from './subscribers';

/** Publications that share one transaction, and characters of their messages. */
const MAX_PUBLISH_BATCH = 64;
const MAX_PUBLISH_BATCH_CHARS = 1024 * 1024;
/** Milliseconds of ids reserved ahead on disk, so that ids do not run backwards after a restart. */
const PUBLISH_TIME_RESERVE_MS = 60_000;
/** Milliseconds between two counts of a backlog that was found full: a count reads up to 100,000 rows. */
const BACKLOG_RECOUNT_MS = 60_000;
/** Publications with one time in their ids. */
const MAX_SEQUENCE = 999_999;

interface PendingPublication {
  readonly layer: TopicLayer;
  readonly topic: Topic;
  readonly message: BusMessage;
  readonly resolve: (id: string) => void;
  readonly reject: (error: unknown) => void;
}

/** The number of deliveries in a stream; never too low. */
interface Backlog {
  size: number;
  /** Milliseconds since the epoch. */
  readonly countedAt: number;
}

export interface PublisherOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly limits: Pick<EmbeddedBusLimits, 'maxBacklog'>;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #subscribers: Subscribers;
  readonly #backlogs = new Map<string, Backlog>();
  #pending: PendingPublication[] = [];
  #publishing: Promise<void> | undefined;
  #starting: Promise<void> | undefined;
  #lastTime = 0;
  #sequence = 0;
  #reservedUntil = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#subscribers = new Subscribers(options.store);
  }

  /** Reads the last id that may have been given out. Until then publications wait; when it fails, they are refused. */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const time = await this.#options.store.get(STATE, 'time');
    // Ids never run backwards, even when the clock was set back while the program was stopped.
    this.#lastTime = this.#reservedUntil = time === undefined ? 0 : readTime(time).reservedUntil;
  }

  async publish(layer: TopicLayer, topic: Topic, message: BusMessage): Promise<string> {
    if (this.#pending.length >= MAX_QUEUED_PUBLICATIONS) {
      throw new CmbsError(
        'queue_full',
        'Too many publications are waiting for the store; slow down and repeat the publication.',
      );
    }
    return new Promise((resolve, reject) => {
      this.#pending.push({ layer, topic, message, resolve, reject });
      this.#publishing ??= this.#publishAll();
    });
  }

  /** Resolves when every publication has its result. */
  async finish(): Promise<void> {
    await this.#publishing;
  }

  /** A delivery of the stream was acknowledged. */
  settled(stream: string): void {
    const backlog = this.#backlogs.get(stream);
    if (backlog !== undefined && backlog.size > 0) backlog.size -= 1;
  }

  async #publishAll(): Promise<void> {
    for (;;) {
      // Yields at least once, so that publications of one turn of the event loop share a transaction.
      const isReady = await this.start().then(
        () => true,
        () => false,
      );
      const batch = this.#takeBatch();
      if (batch.length === 0) break;
      try {
        if (!isReady) throw new CmbsError('unavailable', 'The bus could not start; the cause is in the log.');
        await this.#publishBatch(batch);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#publishing = undefined;
  }

  #takeBatch(): readonly PendingPublication[] {
    let chars = 0;
    const end = this.#pending.findIndex(({ message }, i) => {
      chars += message.data.length;
      return i >= MAX_PUBLISH_BATCH || (i > 0 && chars > MAX_PUBLISH_BATCH_CHARS);
    });
    return this.#pending.splice(0, end < 0 ? this.#pending.length : end);
  }

  async #publishBatch(batch: readonly PendingPublication[]): Promise<void> {
    const { store, clock } = this.#options;
    await this.#countBacklogs(batch);
    const publications = batch.map((publication) => ({ ...publication, id: this.#nextId() }));
    const reserve = this.#lastTime >= this.#reservedUntil ? this.#lastTime + PUBLISH_TIME_RESERVE_MS : undefined;
    const expiresAt = clock.now() + BUS_RETENTION_MS;

    const { added, refused } = await store.transact(async (tx) => {
      await this.#refresh(tx);
      if (reserve !== undefined) tx.put(STATE, 'time', { reservedUntil: reserve });
      const perStream = new Map<string, number>();
      const full = new Set<string>();
      for (const { id, layer, topic, message } of publications) {
        const subscribers = this.#subscribers.matching(layer, topic);
        if (subscribers.some(({ stream }) => this.#isFull(stream, perStream.get(stream) ?? 0))) {
          full.add(id);
          continue;
        }
        for (const { stream } of subscribers) perStream.set(stream, (perStream.get(stream) ?? 0) + 1);
        writeDeliveries(tx, subscribers, id, topic, message, expiresAt);
      }
      return { added: perStream, refused: full };
    });

    if (reserve !== undefined) this.#reservedUntil = reserve;
    for (const [stream, count] of added) {
      const backlog = this.#backlogs.get(stream);
      if (backlog !== undefined) backlog.size += count;
    }
    for (const { id, resolve, reject } of publications) {
      if (!refused.has(id)) resolve(id);
      else {
        reject(
          new CmbsError(
            'queue_full',
            'A subscription to this topic has too many messages waiting; publish again when its consumer has caught up.',
          ),
        );
      }
    }
  }

  #nextId(): string {
    const now = this.#options.clock.now();
    if (now > this.#lastTime) {
      this.#lastTime = now;
      this.#sequence = 0;
    } else if (this.#sequence >= MAX_SEQUENCE) {
      this.#lastTime += 1;
      this.#sequence = 0;
    }
    const id = orderKey(this.#lastTime, String(this.#sequence).padStart(6, '0'));
    this.#sequence += 1;
    return id;
  }

  async #refresh(tx?: Transaction): Promise<void> {
    await (tx === undefined ? this.#subscribers.refresh() : this.#subscribers.refreshIn(tx));
    const { streams } = this.#subscribers;
    for (const stream of this.#backlogs.keys()) if (!streams.has(stream)) this.#backlogs.delete(stream);
  }

  // --- Backlogs ---

  /**
   * Publications add to the size of a backlog, acknowledgements subtract. Expired deliveries do not, so a backlog that
   * seems full is counted again from time to time.
   */
  async #countBacklogs(batch: readonly PendingPublication[]): Promise<void> {
    const { store, clock, limits } = this.#options;
    await this.#refresh();
    const now = clock.now();
    for (const { layer, topic } of batch) {
      for (const { stream } of this.#subscribers.matching(layer, topic)) {
        const known = this.#backlogs.get(stream);
        const isDue =
          known === undefined ||
          (known.size + batch.length > limits.maxBacklog && now - known.countedAt >= BACKLOG_RECOUNT_MS);
        if (!isDue) continue;
        // An acknowledgement during the count may be counted or not; either way the size is not too low.
        const prefix = deliveryKey(stream, '');
        const size = await store.count({ collection: DELIVERIES, prefix }, limits.maxBacklog);
        this.#backlogs.set(stream, { size, countedAt: now });
      }
    }
  }

  #isFull(stream: string, added: number): boolean {
    return (this.#backlogs.get(stream)?.size ?? 0) + added >= this.#options.limits.maxBacklog;
  }
}

function writeDeliveries(
  tx: Transaction,
  subscribers: readonly Subscriber[],
  messageId: string,
  topic: Topic,
  { data, attributes, orderingKey }: BusMessage,
  expiresAt: number,
): void {
  const isShared = subscribers.length > 1 && data.length > MAX_INLINE_MESSAGE_CHARS;
  if (isShared) tx.put(BUS_MESSAGES, messageId, { data }, { expiresAt });
  for (const { stream } of subscribers) {
    tx.put(
      DELIVERIES,
      deliveryKey(stream, messageId),
      {
        topic,
        attributes,
        ...(orderingKey === undefined ? {} : { orderingKey }),
        ...(isShared ? {} : { data }),
        attempts: 0,
      },
      { expiresAt, ...(isShared ? { index: { [SHARED_MESSAGE]: [messageId] } } : {}) },
    );
  }
}
