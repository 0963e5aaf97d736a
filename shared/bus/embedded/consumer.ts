/**
 * One reader of a subscription's backlog.
 *
 * It reads the stream by id, which is the order of publication, and then follows it by what the store reports; when
 * more is reported than it remembers, it reads the stream again. Of what it has read it keeps a bounded number in
 * hand: deliveries at the handler, those that wait out a back-off, and those that wait behind another one of their
 * ordering key. While that number is reached it reads no further, so a slow handler costs no memory.
 *
 * What it has in hand is in memory only. After a restart everything that was not acknowledged is read, and offered,
 * again; the number of failed attempts is in the store.
 */
import { backOff, type Random } from '../../back-off';
import { type Clock } from '../../clock';
import { BACKLOG_PAGE, MAX_DELIVERIES_HELD, MAX_FRESH_DELIVERIES } from '../../limits';
import { BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS, BUS_MAX_ATTEMPTS } from '../limits';
import { MAX_INLINE_MESSAGE_CHARS } from './limits';
import { type Counters, type Log } from '../../log';
import type { Doc, Store } from '../../store';
import { type Consumer, type ConsumeOptions, type BusDelivery } from '../bus';
import { failureOf, type Failure } from '../failure';
import {
  DELIVERIES,
  deliveryKey,
  messageIdOf,
  BUS_MESSAGES,
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
  /** A delivery of the stream is gone from the store. */
  readonly onSettled: (stream: string) => void;
  readonly onClosed: () => void;
}

/** A delivery in hand. */
interface Held {
  readonly key: string;
  readonly orderingKey: string | undefined;
  /** The document, unless it is large: then it is read again when its turn comes. */
  doc: Doc | undefined;
  /** Outages in a row that it met. */
  outages: number;
}

/** All that belongs to one life of the subscription; a new stream starts with a new one. */
class Stream {
  readonly held = new Map<string, Held>();
  /** May go to the handler now. */
  readonly ready: Held[] = [];
  /** Ordering key to what is held of it, in order; the first one goes, or waits, alone. */
  readonly byOrderingKey = new Map<string, Held[]>();
  /** Reported and not read yet. */
  fresh: string[] = [];
  /** Where reading the stream stands: undefined when it is read to its end. */
  scan: { after: string | undefined } | undefined = { after: undefined };
  /** Something was reported that is not remembered. */
  missed = false;
  /** Settled since the read under way began; what it brings of them is old. */
  settledWhileReading: Set<string> | undefined;
  readonly timers = new Set<() => void>();

  constructor(readonly id: string) {}
}

export class EmbeddedConsumer implements Consumer {
  readonly #options: EmbeddedConsumerOptions;
  #stream: Stream | undefined;
  #running = 0;
  #pumping = false;
  #again = false;
  #reload = false;
  #closed = false;
  #closing: Promise<void> | undefined;
  #cancelRetry: (() => void) | undefined;
  readonly #idle: (() => void)[] = [];

  constructor(options: EmbeddedConsumerOptions) {
    this.#options = options;
  }

  /** The subscription was made, changed or removed. */
  subscriptionChanged(): void {
    this.#reload = true;
    this.#wake();
  }

  /** A delivery was written. */
  noticed(streamId: string, key: string): void {
    const stream = this.#stream;
    if (stream?.id !== streamId || stream.held.has(key)) return;
    if (stream.fresh.length < MAX_FRESH_DELIVERIES) {
      stream.fresh.push(key);
    } else {
      stream.fresh = [];
      stream.missed = true;
    }
    this.#wake();
  }

  // --- Reading ---

  #wake(): void {
    if (this.#closed) return;
    if (this.#pumping) {
      this.#again = true;
      return;
    }
    this.#pumping = true;
    void this.#pump();
  }

  async #pump(): Promise<void> {
    try {
      do {
        if (this.#reload) await this.#attach();
        const stream = this.#stream;
        if (stream === undefined) continue;
        this.#dispatch(stream);
        while (this.#wantsMore(stream) && (await this.#readSome(stream))) this.#dispatch(stream);
      } while (this.#wokenAgain() && !this.#stopped());
    } catch (error) {
      this.#options.log.error('a consumer could not read its deliveries and tries again', {
        subscription: this.#options.name,
        cause: error,
      });
      this.#cancelRetry?.();
      this.#cancelRetry = this.#options.clock.after(BUS_BACKOFF_MAX_MS, () => this.#wake());
    } finally {
      this.#pumping = false;
      if (this.#closed) this.#settleIdle();
    }
  }

  /** Follows the subscription to the stream that it has now. */
  async #attach(): Promise<void> {
    this.#reload = false;
    let doc: Doc | undefined;
    try {
      doc = await this.#options.store.get(SUBSCRIPTIONS, this.#options.name);
    } catch (error) {
      this.#reload = true;
      throw error;
    }
    const id = doc === undefined ? undefined : readSubscription(doc).stream;
    if (id === this.#stream?.id) return;
    this.#drop();
    this.#stream = id === undefined ? undefined : new Stream(id);
  }

  #drop(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream === undefined) return;
    for (const cancel of stream.timers) cancel();
    stream.timers.clear();
    stream.ready.length = 0;
  }

  #wantsMore(stream: Stream): boolean {
    return (
      !this.#stopped() &&
      stream === this.#stream &&
      this.#running < this.#options.maxInFlight &&
      stream.ready.length === 0 &&
      stream.held.size < this.#options.maxInFlight + MAX_DELIVERIES_HELD
    );
  }

  /** Methods, since a field that changes during an `await` looks constant to the compiler. */
  #stopped(): boolean {
    return this.#closed;
  }

  #wokenAgain(): boolean {
    const again = this.#again;
    this.#again = false;
    return again;
  }

  /** False when there is nothing more to read. */
  async #readSome(stream: Stream): Promise<boolean> {
    if (stream.scan === undefined && stream.missed) {
      stream.missed = false;
      stream.scan = { after: undefined };
    }
    if (stream.scan === undefined && stream.fresh.length === 0) return false;

    const settled = (stream.settledWhileReading = new Set());
    try {
      const docs =
        stream.scan === undefined ? await this.#readFresh(stream) : await this.#readOn(stream, stream.scan);
      for (const doc of docs) if (!settled.has(doc.id)) admit(stream, doc);
    } finally {
      stream.settledWhileReading = undefined;
    }
    return true;
  }

  /** The next page of the stream. */
  async #readOn(stream: Stream, { after }: { readonly after: string | undefined }): Promise<readonly Doc[]> {
    const page = await this.#options.store.query({
      collection: DELIVERIES,
      prefix: deliveryKey(stream.id, ''),
      limit: BACKLOG_PAGE,
      ...(after === undefined ? {} : { after }),
    });
    stream.scan = page.next === undefined ? undefined : { after: page.next };
    return page.docs;
  }

  /** What was reported; one that is absent was read with the stream, and settled, before its report came. */
  async #readFresh(stream: Stream): Promise<readonly Doc[]> {
    const keys = stream.fresh.slice(0, BACKLOG_PAGE);
    const docs = await this.#options.store.getAll(DELIVERIES, keys);
    stream.fresh = stream.fresh.slice(keys.length);
    return docs.filter((doc) => doc !== undefined);
  }

  #dispatch(stream: Stream): void {
    while (!this.#closed && stream === this.#stream && this.#running < this.#options.maxInFlight) {
      const held = stream.ready.shift();
      if (held === undefined) return;
      this.#running++;
      void this.#deliver(stream, held)
        .catch((error: unknown) => {
          // The store refused: the delivery is still there and stays in its place.
          this.#options.log.error('a delivery could not be settled and is offered again', {
            key: held.key,
            cause: error,
          });
          this.#later(stream, held, BUS_BACKOFF_MAX_MS);
        })
        .finally(() => {
          this.#running--;
          if (this.#closed) this.#settleIdle();
          else this.#wake();
        });
    }
  }

  // --- Delivering ---

  async #deliver(stream: Stream, held: Held): Promise<void> {
    const { store, handler } = this.#options;
    const doc = held.doc ?? (await store.get(DELIVERIES, held.key));
    if (doc === undefined) {
      release(stream, held); // Removed or expired meanwhile.
      return;
    }
    const { topic, attributes, orderingKey, data, attempts } = readDelivery(doc);
    const messageId = messageIdOf(held.key);
    const shared = data === undefined ? await store.get(BUS_MESSAGES, messageId) : undefined;
    const text = data ?? (shared === undefined ? undefined : readMessage(shared));
    if (text === undefined) {
      release(stream, held); // A shared message expires together with its deliveries.
      return;
    }
    const delivery: BusDelivery = {
      id: messageId,
      topic,
      message: { data: text, attributes, ...(orderingKey === undefined ? {} : { orderingKey }) },
      attempt: Math.min(attempts + 1, BUS_MAX_ATTEMPTS),
    };
    // All attempts are used up when only the dead letter could not be written.
    let reason = 'the last attempt failed before a restart';
    if (attempts < BUS_MAX_ATTEMPTS) {
      const failure = await attempt(handler, delivery);
      if (failure === undefined) {
        await this.#remove(stream, held, data === undefined);
        return;
      }
      reason = failure.reason;
      if (failure.isOutage) {
        held.outages += 1;
        this.#later(stream, held, this.#backOff(held.outages));
        return;
      }
      held.outages = 0;
      const failed = failure.isHopeless ? BUS_MAX_ATTEMPTS : attempts + 1;
      const delay = this.#backOff(attempts + 1);
      const expires = (doc.expiresAt ?? Infinity) <= this.#options.clock.now() + delay;
      if (!(await this.#noteAttempts(held, failed))) {
        release(stream, held);
        return;
      }
      if (failed < BUS_MAX_ATTEMPTS && !expires) {
        this.#later(stream, held, delay);
        return;
      }
    }
    await this.#bury(delivery, reason);
    await this.#remove(stream, held, data === undefined);
  }

  async #bury(delivery: BusDelivery, reason: string): Promise<void> {
    const { name, onDeadLetter, log, counters } = this.#options;
    await onDeadLetter?.(delivery, reason);
    counters.add('cmbs_bus_dead_letters');
    log.warn('a delivery was given up', {
      subscription: name,
      id: delivery.id,
      attempt: delivery.attempt,
      reason,
    });
  }

  /** False when the delivery is gone. */
  #noteAttempts(held: Held, attempts: number): Promise<boolean> {
    held.doc = undefined;
    return this.#options.store.transact(async (tx) => {
      const doc = await tx.get(DELIVERIES, held.key);
      if (doc === undefined) return false;
      const shared = readDelivery(doc).data === undefined;
      tx.put(
        DELIVERIES,
        held.key,
        { ...doc.value, attempts },
        {
          ...(doc.expiresAt === undefined ? {} : { expiresAt: doc.expiresAt }),
          ...(shared ? { index: { [SHARED_MESSAGE]: [messageIdOf(held.key)] } } : {}),
        },
      );
      return true;
    });
  }

  async #remove(stream: Stream, held: Held, shared: boolean): Promise<void> {
    const messageId = messageIdOf(held.key);
    await this.#options.store.transact(async (tx) => {
      const where = [{ field: SHARED_MESSAGE, value: messageId }];
      const sharers = shared ? await tx.query({ collection: DELIVERIES, where, limit: 2 }) : undefined;
      tx.delete(DELIVERIES, held.key);
      if (sharers?.docs.every(({ id }) => id === held.key) === true) tx.delete(BUS_MESSAGES, messageId);
    });
    release(stream, held);
    this.#options.onSettled(stream.id);
  }

  #backOff(failures: number): number {
    return backOff(failures, BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS, this.#options.random);
  }

  /** Offers it again after the delay; until then it holds its ordering key back. */
  #later(stream: Stream, held: Held, delayMs: number): void {
    if (this.#closed || stream !== this.#stream) return;
    held.doc = undefined;
    const cancel = this.#options.clock.after(delayMs, () => {
      stream.timers.delete(cancel);
      stream.ready.push(held);
      this.#wake();
    });
    stream.timers.add(cancel);
  }

  // --- Closing ---

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry?.();
    this.#drop();
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve);
      this.#settleIdle();
    });
    this.#options.onClosed();
  }

  #settleIdle(): void {
    if (this.#running > 0 || this.#pumping) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** How the handler failed; undefined when it did not. */
async function attempt(
  handler: (delivery: BusDelivery) => Promise<void>,
  delivery: BusDelivery,
): Promise<Failure | undefined> {
  try {
    await handler(delivery);
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

/** Takes a delivery in hand, unless it is. */
function admit(stream: Stream, doc: Doc): void {
  if (stream.held.has(doc.id)) return;
  const { orderingKey, data } = readDelivery(doc);
  const small = (data?.length ?? 0) <= MAX_INLINE_MESSAGE_CHARS;
  const held: Held = { key: doc.id, orderingKey, doc: small ? doc : undefined, outages: 0 };
  stream.held.set(held.key, held);
  if (orderingKey !== undefined) {
    const line = stream.byOrderingKey.get(orderingKey);
    if (line !== undefined) {
      line.push(held);
      return;
    }
    stream.byOrderingKey.set(orderingKey, [held]);
  }
  stream.ready.push(held);
}

/** Lets go of a delivery that is settled; the next one of its ordering key may go. */
function release(stream: Stream, held: Held): void {
  stream.held.delete(held.key);
  stream.settledWhileReading?.add(held.key);
  if (held.orderingKey === undefined) return;
  const line = stream.byOrderingKey.get(held.orderingKey);
  line?.shift();
  const [next] = line ?? [];
  if (next === undefined) stream.byOrderingKey.delete(held.orderingKey);
  else stream.ready.push(next);
}
