/**
 * What waits for one address, in order. A queue has a connection while its peer is there, and holds then a window of what
 * waits; the rest, and all of it while the peer is absent, lies in the store alone.
 */
import { CmbsError, untilOr } from '@cmbs/shared';
import { DESTINATION_HELD, PROBE_MS } from '../limits';
import type { ConnectionSlots, ConnectionUser } from './connection-slots';
import type { QueueEnvironment } from '../environment';
import type { InFlightMessage, QueueItem, QueueOwner } from './in-flight-message';
import type { WatchedMessageUser } from './watched-messages';

/** Milliseconds after which an absent destination asks the store whether anything waits for it still. */
const DESTINATION_RECHECK_MS = 10 * 60_000;
/** Milliseconds that a closing queue gives to reads and claims under way; the store closes after its queues. */
const CLOSING_MS = 1000;

export interface QueueParts {
  readonly address: string;
  readonly outbox: QueueOwner;
  readonly environment: QueueEnvironment;
  readonly slots: ConnectionSlots;
  /** Earlier messages for the address may lie in the store, and are not known yet. */
  readonly isBehind: boolean;
  /** Nothing waits any more. */
  readonly onIdle: () => void;
}

export abstract class DestinationQueue implements ConnectionUser, WatchedMessageUser {
  readonly address: string;
  protected readonly outbox: QueueOwner;
  protected readonly environment: QueueEnvironment;
  protected readonly slots: ConnectionSlots;
  /** In the order in which they were queued. */
  protected readonly items: QueueItem[] = [];
  /** Open deliveries for this address, about: those that were cancelled in the store are still counted. */
  waiting = 0;
  /** The store may have more than is held. */
  protected hasMore = false;
  /** Some of it may have to go before what is held: nothing goes until that is read. */
  #isBehind = false;
  /** Moves to this address that are under way. */
  #moves = 0;
  protected isDraining = false;
  protected isClosed = false;
  readonly #onIdle: () => void;
  #reading: Promise<void> | undefined;
  /** Work that uses the store or the peer, until it has ended. */
  readonly #underWay = new Set<Promise<unknown>>();
  /** Where the next read goes on, and the order of the last that was read. */
  #cursor: string | undefined;
  #upTo = '';
  #cancelIdle: (() => void) | undefined;
  #cancelAsking: (() => void) | undefined;
  #lookedAt: number;

  constructor({ address, outbox, environment, slots, isBehind, onIdle }: QueueParts) {
    this.address = address;
    this.outbox = outbox;
    this.environment = environment;
    this.slots = slots;
    this.#isBehind = isBehind;
    this.#onIdle = onIdle;
    this.#lookedAt = environment.clock.now();
  }

  abstract readonly use: 'idle' | 'stuck' | 'busy';
  /** Kind of the receivers whose messages wait here. */
  abstract readonly via: 'request' | 'broadcast';
  /** Messages that are out and have no outcome yet. */
  protected abstract readonly inFlight: number;
  /** Whether messages can go now. */
  protected abstract readonly isConnected: boolean;
  /** Goes on with what waits, if there is a connection. */
  protected abstract proceed(): void;
  /** Opens the connection, which was granted. */
  abstract connect(): void;
  protected abstract closeConnection(): Promise<void>;
  abstract drain(): Promise<void>;

  /** Another delivery waits; false when it stays in the store until its turn comes. */
  offer(item: QueueItem): boolean {
    this.#cancelIdle?.();
    const isFull = this.items.length >= DESTINATION_HELD || (this.items.length > 0 && !this.outbox.hasRoom);
    const isReading = this.#reading !== undefined;
    const isBehindOthers = (this.hasMore || isReading) && this.isConnected && item.sequence > this.#upTo;
    if (isFull || isBehindOthers) {
      // Refused since the window is full, it is where no read has been.
      if (!this.hasMore && !isReading) {
        this.#upTo = this.items.at(-1)?.sequence ?? '';
        this.#cursor = undefined;
      }
      this.hasMore = true;
      this.readOn();
      return false;
    }
    if (this.hasMore && !this.isConnected) this.#isBehind = true;
    this.insert(item);
    this.accepted(item);
    return true;
  }

  /** What lay in the store when the outbox began, in its order. Nothing goes before {@link caughtUp}. */
  found(item: QueueItem): void {
    if (this.hasMore) return;
    if (this.items.length < DESTINATION_HELD && this.outbox.hasRoom) this.insert(item);
    else this.hasMore = true;
  }

  /** All that lay there has been found. */
  caughtUp(): void {
    if (!this.hasMore) this.#isBehind = false;
    if (this.isConnected) this.proceed();
    else this.slots.ask(this);
  }

  /** Something in the store is not held, as far as is known. */
  get knowsOfMore(): boolean {
    return this.hasMore;
  }

  /** Whether what waits is held here, or is being tried. */
  get isHolding(): boolean {
    return this.items.length > 0 || this.inFlight > 0;
  }

  /** An item has come by {@link offer}. */
  protected abstract accepted(item: QueueItem): void;

  /** Messages wait in the store, whether or not they were tried before. */
  resume(): void {
    if (this.isClosed || this.isDraining) return;
    this.#cancelIdle?.();
    this.hasMore = this.#isBehind = true;
    if (this.isConnected) this.readOn();
    else this.slots.ask(this);
  }

  /** A caller waits for an outcome, or the peer may be back: tries at once. */
  abstract notify(): void;

  /** What waited for another address comes here, and may have to go before what is held. */
  holdBack(): void {
    this.#cancelIdle?.();
    this.#moves += 1;
    this.hasMore = this.#isBehind = true;
  }

  /** Resolves when none of the items that are asked for is in flight. */
  abstract landed(isWanted: (item: QueueItem) => boolean): Promise<void>;

  /** All that had to come is in the store. */
  letGo(): void {
    this.#moves -= 1;
    if (this.#moves === 0) this.resume();
  }

  remove(message: InFlightMessage, key: string): void {
    const at = this.items.findIndex((item) => item.message === message && item.key === key);
    if (at < 0) return;
    for (const item of this.items.splice(at, 1)) this.removed(item);
    this.watchIdle(this.isConnected ? undefined : 0);
  }

  protected removed(item: QueueItem): void {
    item.message.queued.delete(item.key);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#cancelIdle?.();
    this.#cancelAsking?.();
    this.outbox.watchedMessages.forget(this);
    this.slots.giveBack(this);
    await this.closeConnection();
    const ended = Promise.allSettled([this.#reading, ...this.#underWay]);
    await untilOr(ended, this.environment.clock, CLOSING_MS);
  }

  /** Makes {@link close} wait for work; the work handles its own failure. */
  protected track<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    const ended = (): void => void this.#underWay.delete(work);
    work.then(ended, ended);
    return work;
  }

  /** Others need the connection: what is held goes back to the store. */
  disconnect(): void {
    this.yielded();
    this.evict();
    void this.closeConnection();
    this.checkWaiting();
  }

  /** The peer is absent: ends the queue when no message waits, and asks the store when that is not known. */
  protected checkWaiting(): void {
    const isDue = this.environment.clock.now() - this.#lookedAt >= DESTINATION_RECHECK_MS;
    if (!this.hasMore) this.watchIdle(0);
    else if (isDue || !this.outbox.watchedMessages.has(this)) this.lookAgain();
  }

  /** A queue with a connection reads on by itself; another ends when nothing waits for it any more. */
  lookAgain(): void {
    if (this.#moves > 0 || this.isConnected || this.#reading !== undefined || this.isDraining || this.isClosed)
      return;
    this.#reading = this.#look().finally(() => {
      this.#reading = undefined;
      if (!this.hasMore) this.#isBehind = false;
      this.readOn();
      if (this.isConnected) {
        this.proceed();
        this.watchIdle();
      } else this.watchIdle(0);
    });
  }

  /** Finds another message to watch. Only a watched message is reported when deleted, so it is read once more. */
  async #look(): Promise<void> {
    const { clock, log, backOff } = this.environment;
    try {
      for (let known: string | undefined; ;) {
        // What is queued meanwhile says so again.
        this.hasMore = false;
        const first = await this.outbox.firstWaiting(this);
        this.#lookedAt = clock.now();
        if (first === undefined || this.isClosed) return;
        this.hasMore = this.#isBehind = true;
        if (first === known && this.outbox.watchedMessages.has(this)) return;
        known = first;
        this.outbox.watchedMessages.set(this, first);
      }
    } catch (error) {
      log.warn('what waits for a destination not read', { address: this.address, cause: error });
      this.hasMore = this.#isBehind = true;
      clock.after(backOff(1), () => this.lookAgain());
    }
  }

  /** No connection could even be tried: the address is none, or the rules refuse it; otherwise a little later. */
  protected cannotConnect(error: unknown): void {
    const { log, clock, backOff } = this.environment;
    this.slots.giveBack(this);
    if (!(error instanceof CmbsError) || error.retryable) {
      log.error('no connection could be tried; trying again', { address: this.address, cause: error });
      clock.after(backOff(1), () => this.resume());
      return;
    }
    for (const item of this.items.splice(0)) {
      this.removed(item);
      this.outbox.settle(item, { state: 'failed', reason: error.message });
    }
    this.hasMore = false;
    this.outbox.refuseWaiting(this, error.message);
    this.watchIdle(0);
  }

  /** Asks for a connection; false while there is none. What waits is told so when that takes long. */
  protected ask(): boolean {
    if (this.slots.ask(this)) return true;
    this.#cancelAsking ??= this.environment.clock.after(2 * PROBE_MS, () => {
      this.#cancelAsking = undefined;
      if (!this.slots.has(this) && !this.isClosed) this.crowdedOut('too many peers at once');
    });
    return false;
  }

  /** Tells waiting callers that there was no connection for so long. */
  protected abstract crowdedOut(reason: string): void;

  /** Tells waiting callers that other destinations took the connection. */
  protected abstract yielded(): void;

  /** Forgets what is held, or what comes behind a place in the order; the store has it. */
  protected evict(behind = ''): void {
    const at = this.items.findIndex(({ sequence }) => sequence > behind);
    const [first] = this.items;
    if (at < 0 || first === undefined) return;
    if (behind === '') this.outbox.watchedMessages.set(this, first.message.outbound.id);
    for (const item of this.items.splice(at)) {
      this.removed(item);
      this.outbox.evicted(item);
    }
    this.hasMore = true;
    if (behind === '') this.#isBehind = true;
  }

  /** Items come back at the front as a rule, so the place is looked for from there. */
  protected insert(item: QueueItem): void {
    if (this.items.includes(item)) return;
    item.message.queued.add(item.key);
    const last = this.items.at(-1);
    if (last === undefined || last.sequence <= item.sequence) {
      this.items.push(item);
      return;
    }
    const at = this.items.findIndex((other) => other.sequence > item.sequence);
    this.items.splice(at < 0 ? this.items.length : at, 0, item);
  }

  /** Reads on from the store when the window is half empty; nothing is read for a peer that is not there. */
  readOn(): void {
    if (!this.hasMore || this.#reading !== undefined || this.isDraining || this.isClosed) return;
    if (!this.isConnected || this.#moves > 0) return;
    if (!this.#isBehind && this.items.length + this.inFlight > DESTINATION_HELD / 2) return;
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      this.readOn();
      if (this.isConnected) {
        this.proceed();
        this.watchIdle();
      } else this.checkWaiting();
    });
  }

  protected get isBehind(): boolean {
    return this.#isBehind || this.#moves > 0;
  }

  async #read(): Promise<void> {
    const { clock, log, backOff } = this.environment;
    // What is queued meanwhile says so again.
    this.hasMore = false;
    try {
      const limit = this.outbox.hasRoom ? DESTINATION_HELD : this.inFlight + 1;
      const cursor = this.#isBehind ? undefined : this.#cursor;
      const { items, upTo, next } = await this.outbox.readWaiting(this, limit, cursor);
      this.#lookedAt = clock.now();
      const isAll = cursor === undefined && next === undefined;
      if (this.isClosed || !this.isConnected) {
        if (isAll) this.waiting = items.length;
        this.hasMore ||= items.length > 0 || next !== undefined;
        this.#isBehind = this.hasMore;
        for (const item of items) this.outbox.evicted(item);
        return;
      }
      for (const item of items) this.insert(item);
      if (isAll) this.waiting = this.items.length + this.inFlight;
      this.#cursor = next;
      this.#isBehind = false;
      if (next === undefined) return;
      // Between the last of these and what was held already there may be others.
      this.#upTo = upTo;
      this.hasMore = true;
      this.evict(upTo);
    } catch (error) {
      log.warn('what waits for a destination not read', { address: this.address, cause: error });
      this.hasMore = true;
      this.#isBehind = true;
      clock.after(backOff(1), () => this.readOn());
    }
  }

  /** After a time without work, closes the connection and says so. */
  protected watchIdle(ms = this.environment.limits.idleMs): void {
    this.#cancelIdle?.();
    if (!this.#isIdle || this.isClosed) return;
    this.#cancelIdle = this.environment.clock.after(ms, () => {
      if (!this.#isIdle) return;
      this.#onIdle();
      void this.close();
    });
  }

  get #isIdle(): boolean {
    return (
      this.#moves === 0 &&
      this.items.length === 0 &&
      this.inFlight === 0 &&
      !this.hasMore &&
      this.#reading === undefined
    );
  }
}
