/**
 * Reads the messages of one destination from the store into its queue, in order. The queue holds a window of them while
 * its peer is connected; the rest, and all of them while the peer is absent, are in the store alone.
 */
import { DESTINATION_HELD } from '../limits';
import type { Destination, QueueItem, QueueOwner } from './in-flight-message';
import type { OrderedItems } from './ordered-items';
import type { QueueEnvironment } from './environment';
import type { WatchedMessageUser } from './watched-messages';

/** Milliseconds after which an absent destination asks the store whether anything still waits for it. */
const DESTINATION_RECHECK_MS = 10 * 60_000;

export interface QueueReaderParts {
  readonly environment: Pick<QueueEnvironment, 'clock' | 'log' | 'backOff'>;
  readonly outbox: Pick<QueueOwner, 'readWaiting' | 'firstWaiting' | 'watchedMessages' | 'evicted' | 'hasRoom'>;
  /** The destination whose messages are read. */
  readonly destination: () => Destination;
  readonly items: OrderedItems;
  /** The store may have earlier messages, and they are not known yet. */
  readonly isBehind: boolean;
  /** Messages that are out and have no outcome yet. */
  readonly inFlight: () => number;
  /** Whether messages can go now. */
  readonly isConnected: () => boolean;
  readonly isDraining: () => boolean;
  readonly isClosed: () => boolean;
  readonly insert: (item: QueueItem) => void;
  /** Gives the items behind a place in the order back to the store. */
  readonly evict: (behind: string) => void;
  /** Deliveries for the address were counted. */
  readonly counted: (waiting: number) => void;
  /** A read has ended. */
  readonly ended: (how: 'read' | 'looked') => void;
}

export class QueueReader implements WatchedMessageUser {
  readonly #parts: QueueReaderParts;
  /** The store may have more than the queue holds. */
  #hasMore = false;
  /** Stored messages may have to go before those that the queue holds: nothing goes until they are read. */
  #isBehind: boolean;
  /** How often messages were left to the store that may come first; a read that began before does not have them. */
  #leftFirst = 0;
  /** Moves to this address that are under way. */
  #moves = 0;
  #reading: Promise<void> | undefined;
  /** Where the next read goes on, and the order of the last message that was read. */
  #cursor: string | undefined;
  #upTo = '';
  #lookedAt: number;

  constructor(parts: QueueReaderParts) {
    this.#parts = parts;
    this.#isBehind = parts.isBehind;
    this.#lookedAt = parts.environment.clock.now();
  }

  get hasMore(): boolean {
    return this.#hasMore;
  }

  /** Nothing may go now, because stored messages may come first. */
  get isBehind(): boolean {
    return this.#isBehind || this.#moves > 0;
  }

  /** Nothing is read, and nothing is to be read. */
  get isIdle(): boolean {
    return this.#moves === 0 && !this.#hasMore && this.#reading === undefined;
  }

  /** The read under way. */
  get reading(): Promise<void> | undefined {
    return this.#reading;
  }

  /** Whether the queue may hold a new item now; otherwise the item stays in the store until it is read in its turn. */
  admits(item: QueueItem): boolean {
    const { items, outbox, isConnected } = this.#parts;
    const isFull = items.length >= DESTINATION_HELD || (items.length > 0 && !outbox.hasRoom);
    const isReading = this.#reading !== undefined;
    const isBehindOthers = (this.#hasMore || isReading) && isConnected() && item.sequence > this.#upTo;
    if (!isFull && !isBehindOthers) {
      if (this.#hasMore && !isConnected()) this.#isBehind = true;
      return true;
    }
    // The window is full and all earlier messages are in it, so the item comes behind the last of them.
    if (!this.#hasMore && !isReading) {
      this.#upTo = items.last?.sequence ?? '';
      this.#cursor = undefined;
    }
    this.#hasMore = true;
    this.readOn();
    return false;
  }

  /** Messages were left in the store, behind those that the queue holds. */
  leave(): void {
    this.#hasMore = true;
  }

  /** Messages wait in the store, and may have to go before those that the queue holds. */
  expect(): void {
    this.#hasMore = this.#isBehind = true;
    this.#leftFirst += 1;
  }

  /** No message in the store can go to the destination. */
  expectNone(): void {
    this.#hasMore = false;
  }

  /** Everything that was in the store at the start has been found. */
  caughtUp(): void {
    if (!this.#hasMore) this.#isBehind = false;
  }

  /** Messages for another address come here, and may have to go before those that the queue holds. */
  holdBack(): void {
    this.#moves += 1;
    this.expect();
  }

  /** One move is done; true when no other is under way. */
  letGo(): boolean {
    this.#moves -= 1;
    return this.#moves === 0;
  }

  /** Watches one message in the store in place of all that wait there. */
  watch(outboundId: string): void {
    this.#parts.outbox.watchedMessages.set(this, outboundId);
  }

  close(): void {
    this.#parts.outbox.watchedMessages.forget(this);
  }

  /** The peer is absent and the store has more: looks whether it still has, now and then. */
  checkWaiting(): void {
    const { environment, outbox } = this.#parts;
    const isDue = environment.clock.now() - this.#lookedAt >= DESTINATION_RECHECK_MS;
    if (isDue || !outbox.watchedMessages.has(this)) this.lookAgain();
  }

  /** Looks whether messages wait for an absent peer. A queue with a connection reads on by itself. */
  lookAgain(): void {
    const { isConnected, isDraining, isClosed, ended } = this.#parts;
    if (this.#moves > 0 || isConnected() || this.#reading !== undefined || isDraining() || isClosed()) return;
    this.#reading = this.#look().finally(() => {
      this.#reading = undefined;
      if (!this.#hasMore) this.#isBehind = false;
      this.readOn();
      ended('looked');
    });
  }

  /** Finds another message to watch. Only a watched message is reported when deleted, so it is read once more. */
  async #look(): Promise<void> {
    const { environment, outbox, destination, isClosed } = this.#parts;
    const { clock, log, backOff } = environment;
    try {
      for (let known: string | undefined; ;) {
        // Messages that are queued meanwhile set this again.
        this.#hasMore = false;
        const first = await outbox.firstWaiting(destination());
        this.#lookedAt = clock.now();
        if (first === undefined || isClosed()) return;
        this.expect();
        if (first === known && outbox.watchedMessages.has(this)) return;
        known = first;
        this.watch(first);
      }
    } catch (error) {
      log.warn('waiting messages of a destination not read', { address: destination().address, cause: error });
      this.expect();
      clock.after(backOff(1), () => this.lookAgain());
    }
  }

  /** Reads on from the store when the window is half empty; nothing is read for a peer that is not there. */
  readOn(): void {
    const { items, inFlight, isConnected, isDraining, isClosed, ended } = this.#parts;
    if (!this.#hasMore || this.#reading !== undefined || isDraining() || isClosed()) return;
    if (!isConnected() || this.#moves > 0) return;
    if (!this.#isBehind && items.length + inFlight() > DESTINATION_HELD / 2) return;
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      this.readOn();
      ended('read');
    });
  }

  async #read(): Promise<void> {
    const { environment, outbox, destination, items: held, inFlight, isConnected, isClosed } = this.#parts;
    const { clock, log, backOff } = environment;
    // Messages that are queued meanwhile set this again.
    this.#hasMore = false;
    const leftFirst = this.#leftFirst;
    try {
      const limit = outbox.hasRoom ? DESTINATION_HELD : inFlight() + 1;
      const cursor = this.#isBehind ? undefined : this.#cursor;
      const { items, upTo, next } = await outbox.readWaiting(destination(), limit, cursor);
      this.#lookedAt = clock.now();
      const isAll = cursor === undefined && next === undefined;
      if (isClosed() || !isConnected()) {
        if (isAll) this.#parts.counted(items.length);
        this.#hasMore ||= items.length > 0 || next !== undefined;
        this.#isBehind = this.#hasMore;
        for (const item of items) outbox.evicted(item);
        return;
      }
      for (const item of items) this.#parts.insert(item);
      if (isAll) this.#parts.counted(held.length + inFlight());
      this.#cursor = next;
      // The connection broke and came back during the read: messages that the queue held then are in the store alone.
      if (this.#leftFirst !== leftFirst) return;
      this.#isBehind = false;
      if (next === undefined) return;
      // The store may have others between the last of these and the items that were held before.
      this.#upTo = upTo;
      this.#hasMore = true;
      this.#parts.evict(upTo);
    } catch (error) {
      log.warn('waiting messages of a destination not read', { address: destination().address, cause: error });
      this.expect();
      clock.after(backOff(1), () => this.readOn());
    }
  }
}
