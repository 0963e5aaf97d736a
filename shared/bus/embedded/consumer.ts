/**
 * The consumer of one subscription on the embedded bus. It reads the subscription's stream by id, which is the order of
 * publication, and then reads each delivery that the store reports. When more is reported than it remembers, it reads
 * the stream again.
 *
 * A bounded number of deliveries is in memory: in flight, backing off, or behind their ordering key. While that number
 * is reached the consumer reads no further, so a slow handler costs no memory. After a restart it reads, and offers,
 * everything that was not acknowledged; the number of failed attempts is in the store.
 */
import type { Random } from '../../back-off';
import type { Clock } from '../../clock';
import type { Counters, Log } from '../../log';
import type { Doc, Store } from '../../store';
import type { BusDelivery, ConsumeOptions, Consumer } from '../bus';
import { DeliverySchedule, type Scheduled } from '../delivery-schedule';
import { BUS_BACKOFF_MAX_MS } from '../limits';
import { type EmbeddedBusLimits, MAX_INLINE_MESSAGE_CHARS } from './limits';
import {
  BUS_MESSAGES,
  DELIVERIES,
  deliveryKey,
  messageIdOf,
  readDelivery,
  readMessage,
  readSubscription,
  SHARED_MESSAGE,
  SUBSCRIPTIONS,
} from './records';

export interface EmbeddedConsumerOptions extends ConsumeOptions {
  readonly name: string;
  readonly handler: (delivery: BusDelivery) => Promise<void>;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly random: Random;
  readonly limits: EmbeddedBusLimits;
  /** A delivery of the stream was removed from the store. */
  readonly onSettled: (stream: string) => void;
  readonly onClosed: () => void;
}

/** A delivery in memory. */
interface Loaded extends Scheduled {
  readonly key: string;
  readonly stream: Stream;
  /** The document for the first attempt, unless it is large; later attempts read it again. */
  doc: Doc | undefined;
  /** Its message is a document of its own, which other deliveries share. */
  isShared: boolean;
}

/** The state of one stream. A subscription that is removed and made again has another stream. */
class Stream {
  readonly loaded = new Map<string, Loaded>();
  /** Keys that the store reported and that are not read yet. */
  reported: string[] = [];
  /** Where reading the stream stands; undefined when it is read to its end. */
  scan: { after: string | undefined } | undefined = { after: undefined };
  /** The store reported more than is remembered. */
  isIncomplete = false;
  /** Keys removed since the current read began, which may still return them. */
  removedWhileReading: Set<string> | undefined;

  constructor(readonly id: string) {}
}

export class EmbeddedConsumer implements Consumer {
  readonly #options: EmbeddedConsumerOptions;
  readonly #schedule: DeliverySchedule<Loaded>;
  #stream: Stream | undefined;
  #reading: Promise<void> | undefined;
  /** Something happened while {@link #reading} was under way. */
  #isWoken = false;
  /** The subscription is to be read again. */
  #isChanged = false;
  #isClosed = false;
  #closing: Promise<void> | undefined;
  #cancelRetry: (() => void) | undefined;

  constructor(options: EmbeddedConsumerOptions) {
    this.#options = options;
    this.#schedule = new DeliverySchedule<Loaded>({
      ...options,
      engine: {
        open: (entry, attempt) => this.#open(entry, attempt),
        settle: (entry) => this.#settle(entry),
        storeAttempts: (entry) => this.#storeAttempts(entry),
        // Deliveries of a removed subscription are deleted with its stream; after a close they stay in the store.
        mayBackOff: ({ stream }) => stream === this.#stream,
        handBack: () => undefined,
        onRemoved: ({ stream, key }) => {
          stream.loaded.delete(key);
          stream.removedWhileReading?.add(key);
        },
      },
      onRoom: () => this.#wake(),
    });
  }

  /** The subscription was made, changed or removed. */
  subscriptionChanged(): void {
    this.#isChanged = true;
    this.#wake();
  }

  /** The store reported a delivery. */
  deliveryWritten(streamId: string, key: string): void {
    const stream = this.#stream;
    if (stream?.id !== streamId || stream.loaded.has(key)) return;
    if (stream.reported.length < this.#options.limits.maxNew) {
      stream.reported.push(key);
    } else {
      stream.reported = [];
      stream.isIncomplete = true;
    }
    this.#wake();
  }

  // --- Reading ---

  #wake(): void {
    if (this.#isClosed) return;
    this.#isWoken = true;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
      if (this.#isWoken) this.#wake();
    });
  }

  /** Reads until there is no room or nothing more to read. Never rejects. */
  async #read(): Promise<void> {
    const { log, name, clock } = this.#options;
    this.#isWoken = false;
    try {
      if (this.#isChanged) await this.#attach();
      const stream = this.#stream;
      while (stream !== undefined && this.#hasRoom(stream) && (await this.#readSome(stream)));
    } catch (error) {
      log.error('a consumer could not read its deliveries; retrying', { subscription: name, cause: error });
      this.#cancelRetry?.();
      this.#cancelRetry = clock.after(BUS_BACKOFF_MAX_MS, () => this.#wake());
    }
  }

  /** Changes to the stream that the subscription has now. */
  async #attach(): Promise<void> {
    this.#isChanged = false;
    let doc: Doc | undefined;
    try {
      doc = await this.#options.store.get(SUBSCRIPTIONS, this.#options.name);
    } catch (error) {
      this.#isChanged = true;
      throw error;
    }
    const id = doc === undefined ? undefined : readSubscription(doc).stream;
    if (id === this.#stream?.id || this.#isClosed) return;
    this.#leaveStream();
    this.#stream = id === undefined ? undefined : new Stream(id);
  }

  #leaveStream(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream !== undefined) this.#schedule.withdraw(stream.loaded.values());
  }

  #hasRoom(stream: Stream): boolean {
    const { maxInFlight, limits } = this.#options;
    const hasRoom = stream.loaded.size < maxInFlight + limits.maxWaiting;
    return stream === this.#stream && hasRoom && this.#schedule.hasRoom;
  }

  /** False when there is nothing more to read. */
  async #readSome(stream: Stream): Promise<boolean> {
    if (stream.scan === undefined && stream.isIncomplete) {
      stream.isIncomplete = false;
      stream.scan = { after: undefined };
    }
    if (stream.scan === undefined && stream.reported.length === 0) return false;

    const removed = (stream.removedWhileReading = new Set());
    try {
      const docs =
        stream.scan === undefined ? await this.#readReported(stream) : await this.#readPage(stream, stream.scan);
      if (stream !== this.#stream) return false;
      for (const doc of docs) if (!removed.has(doc.id)) this.#load(stream, doc);
    } finally {
      stream.removedWhileReading = undefined;
    }
    return true;
  }

  async #readPage(stream: Stream, { after }: { readonly after: string | undefined }): Promise<readonly Doc[]> {
    const page = await this.#options.store.query({
      collection: DELIVERIES,
      prefix: deliveryKey(stream.id, ''),
      limit: this.#options.limits.pageSize,
      ...(after === undefined ? {} : { after }),
    });
    stream.scan = page.next === undefined ? undefined : { after: page.next };
    return page.docs;
  }

  /** A reported delivery is absent when it was read with the stream, and settled, before the report came. */
  async #readReported(stream: Stream): Promise<readonly Doc[]> {
    const keys = stream.reported.slice(0, this.#options.limits.pageSize);
    const docs = await this.#options.store.getAll(DELIVERIES, keys);
    stream.reported = stream.reported.slice(keys.length);
    return docs.filter((doc) => doc !== undefined);
  }

  #load(stream: Stream, doc: Doc): void {
    if (stream.loaded.has(doc.id)) return;
    const { orderingKey, data, attempts } = readDelivery(doc);
    const isSmall = (data?.length ?? 0) <= MAX_INLINE_MESSAGE_CHARS;
    const entry: Loaded = {
      key: doc.id,
      stream,
      group: orderingKey === undefined ? undefined : `${stream.id}/${orderingKey}`,
      failedAttempts: attempts,
      ...(doc.expiresAt === undefined ? {} : { expiresAt: doc.expiresAt }),
      doc: isSmall ? doc : undefined,
      isShared: false,
    };
    stream.loaded.set(entry.key, entry);
    this.#schedule.add(entry);
  }

  // --- Delivering ---

  /** Undefined when the delivery expired, or was removed with its subscription. */
  async #open(entry: Loaded, attempt: number): Promise<BusDelivery | undefined> {
    const { store } = this.#options;
    const doc = entry.doc ?? (await store.get(DELIVERIES, entry.key));
    entry.doc = undefined;
    if (doc === undefined) return undefined;
    const { topic, attributes, orderingKey, data: own } = readDelivery(doc);
    const id = messageIdOf(entry.key);
    entry.isShared = own === undefined;
    const shared = entry.isShared ? await store.get(BUS_MESSAGES, id) : undefined;
    const data = own ?? (shared === undefined ? undefined : readMessage(shared));
    if (data === undefined) return undefined;
    return {
      id,
      topic,
      message: { data, attributes, ...(orderingKey === undefined ? {} : { orderingKey }) },
      attempt,
    };
  }

  #storeAttempts({ key, failedAttempts }: Loaded): Promise<boolean> {
    return this.#options.store.transact(async (tx) => {
      const doc = await tx.get(DELIVERIES, key);
      if (doc === undefined) return false;
      const isShared = readDelivery(doc).data === undefined;
      tx.put(
        DELIVERIES,
        key,
        { ...doc.value, attempts: failedAttempts },
        {
          ...(doc.expiresAt === undefined ? {} : { expiresAt: doc.expiresAt }),
          ...(isShared ? { index: { [SHARED_MESSAGE]: [messageIdOf(key)] } } : {}),
        },
      );
      return true;
    });
  }

  /** Removes the delivery, and a shared message together with its last delivery. */
  async #settle({ key, isShared, stream }: Loaded): Promise<void> {
    const messageId = messageIdOf(key);
    await this.#options.store.transact(async (tx) => {
      const where = [{ field: SHARED_MESSAGE, value: messageId }];
      const sharing = isShared ? await tx.query({ collection: DELIVERIES, where, limit: 2 }) : undefined;
      tx.delete(DELIVERIES, key);
      if (sharing?.docs.every(({ id }) => id === key) === true) tx.delete(BUS_MESSAGES, messageId);
    });
    this.#options.onSettled(stream.id);
  }

  // --- Closing ---

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#leaveStream();
    await Promise.all([this.#schedule.close(), this.#reading]);
    this.#options.onClosed();
  }
}
