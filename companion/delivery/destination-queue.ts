/**
 * The messages that wait for one address, in order. A queue has a connection while its peer is there, and then holds a
 * window of the messages; the rest, and all of them while the peer is absent, are in the store alone.
 */
import { CmbsError, untilOr } from '@cmbs/shared';
import { DESTINATION_HELD, PROBE_MS } from '../limits';
import type { ConnectionSlots, ConnectionUser } from './connection-slots';
import { type InFlightMessage, leaseLost, type QueueItem, type QueueOwner } from './in-flight-message';
import { OrderedItems } from './ordered-items';
import { PreparedFrames } from './prepared-frames';
import type { QueueEnvironment } from './environment';
import { QueueReader } from './queue-reader';
import { RetryTimer } from './retry-timer';

/** Milliseconds that a closing queue gives to reads under way; the store closes after its queues. */
const CLOSING_MS = 1000;

export interface QueueParts {
  readonly address: string;
  readonly outbox: QueueOwner;
  readonly environment: QueueEnvironment;
  readonly slots: ConnectionSlots;
  /** The store may have earlier messages for the address, and they are not known yet. */
  readonly isBehind: boolean;
  /** Nothing waits any more. */
  readonly onIdle: () => void;
}

export abstract class DestinationQueue implements ConnectionUser {
  readonly address: string;
  protected readonly outbox: QueueOwner;
  protected readonly environment: QueueEnvironment;
  protected readonly slots: ConnectionSlots;
  protected readonly items = new OrderedItems();
  protected readonly prepared = new PreparedFrames();
  /** The next attempt after a failure of the peer or the store. */
  protected readonly retry: RetryTimer;
  /** Open deliveries for this address, about: those that were cancelled in the store are still counted. */
  waiting = 0;
  protected isDraining = false;
  protected isClosed = false;
  readonly #reader: QueueReader;
  readonly #onIdle: () => void;
  /** Work that uses the store or the peer, until it has ended. */
  readonly #underWay = new Set<Promise<unknown>>();
  #cancelIdle: (() => void) | undefined;
  #cancelAsking: (() => void) | undefined;

  constructor({ address, outbox, environment, slots, isBehind, onIdle }: QueueParts) {
    this.address = address;
    this.outbox = outbox;
    this.environment = environment;
    this.slots = slots;
    this.#onIdle = onIdle;
    this.retry = new RetryTimer(environment);
    this.#reader = new QueueReader({
      environment,
      outbox,
      destination: () => this,
      items: this.items,
      isBehind,
      inFlight: () => this.inFlight,
      isConnected: () => this.isConnected,
      isDraining: () => this.isDraining,
      isClosed: () => this.isClosed,
      insert: (item) => this.insert(item),
      evict: (behind) => this.evict(behind),
      counted: (waiting) => (this.waiting = waiting),
      ended: (how) => this.#readEnded(how),
    });
  }

  abstract readonly use: 'idle' | 'stuck' | 'busy';
  /** Kind of the deliveries that wait here. */
  abstract readonly via: 'request' | 'broadcast';
  /** Messages that are out and have no outcome yet. */
  protected abstract readonly inFlight: number;
  /** Whether messages can go now. */
  protected abstract readonly isConnected: boolean;
  /** Goes on with the waiting messages, if there is a connection. */
  protected abstract proceed(): void;
  /** Opens the connection, which was granted. */
  abstract connect(): void;
  protected abstract closeConnection(): Promise<void>;
  abstract drain(): Promise<void>;
  /** A caller waits for an outcome, or the peer may be back: tries at once. */
  abstract notify(): void;
  /** An item has come by {@link offer}. */
  protected abstract accepted(item: QueueItem): void;
  /** Resolves when none of the items that are asked for is in flight. */
  abstract landed(isWanted: (item: QueueItem) => boolean): Promise<void>;
  /** Tells waiting callers that there was no connection for so long. */
  protected abstract crowdedOut(reason: string): void;
  /** Tells waiting callers that other destinations took the connection. */
  protected abstract yielded(): void;

  // --- Messages that come ---

  /** Another delivery waits; false when it stays in the store until its turn comes. */
  offer(item: QueueItem): boolean {
    this.#cancelIdle?.();
    if (!this.#reader.admits(item)) return false;
    this.insert(item);
    this.accepted(item);
    return true;
  }

  /** A message that was in the store when the outbox began, in its order. Nothing goes before {@link caughtUp}. */
  found(item: QueueItem): void {
    if (!this.hasMore && this.items.length < DESTINATION_HELD && this.outbox.hasRoom) this.insert(item);
    else this.#reader.leave();
  }

  /** All messages that were in the store at the start have been found. */
  caughtUp(): void {
    this.#reader.caughtUp();
    if (this.isConnected) this.proceed();
    else this.slots.ask(this);
  }

  /** Messages wait in the store, whether or not they were tried before. */
  resume(): void {
    if (this.isClosed || this.isDraining) return;
    this.#cancelIdle?.();
    this.#reader.expect();
    if (this.isConnected) this.readOn();
    else this.slots.ask(this);
  }

  /** Messages for another address come here, and may have to go before those that are held. */
  holdBack(): void {
    this.#cancelIdle?.();
    this.#reader.holdBack();
  }

  /** All messages that had to come are in the store. */
  letGo(): void {
    if (this.#reader.letGo()) this.resume();
  }

  remove(message: InFlightMessage, key: string): void {
    const item = this.items.take(message, key);
    if (item === undefined) return;
    this.removed(item);
    this.watchIdle(this.isConnected ? undefined : 0);
  }

  /** An item is no longer held. */
  protected removed(item: QueueItem): void {
    item.message.queued.delete(item.key);
    this.prepared.forget(item);
  }

  protected insert(item: QueueItem): void {
    if (this.items.insert(item)) item.message.queued.add(item.key);
  }

  /** Begins to read the message of an item and to make its frame. */
  protected prepare(item: QueueItem, isFailing: boolean): void {
    this.prepared.add(item, this.track(this.outbox.prepare(item, isFailing)));
  }

  // --- What is held, and what the store has ---

  /** Whether the store has messages that are not held, as far as is known. */
  get knowsOfMore(): boolean {
    return this.hasMore;
  }

  /** Whether messages are held here, or are being tried. */
  get isHolding(): boolean {
    return this.items.length > 0 || this.inFlight > 0;
  }

  protected get hasMore(): boolean {
    return this.#reader.hasMore;
  }

  /** Messages in the store may have to go before those that are held. */
  protected get isBehind(): boolean {
    return this.#reader.isBehind;
  }

  protected readOn(): void {
    this.#reader.readOn();
  }

  #readEnded(how: 'read' | 'looked'): void {
    if (this.isConnected) {
      this.proceed();
      this.watchIdle();
    } else if (how === 'looked') this.watchIdle(0);
    else this.checkWaiting();
  }

  /** The peer is absent: ends the queue when no message waits, and asks the store when that is not known. */
  protected checkWaiting(): void {
    if (this.hasMore) this.#reader.checkWaiting();
    else this.watchIdle(0);
  }

  /** Forgets the items that are held, or those behind a place in the order; the store has them. */
  protected evict(behind = ''): void {
    const { first } = this.items;
    const evicted = this.items.takeBehind(behind);
    if (evicted.length === 0 || first === undefined) return;
    if (behind === '') this.#reader.watch(first.message.outbound.id);
    for (const item of evicted) {
      this.removed(item);
      this.outbox.evicted(item);
    }
    if (behind === '') this.#reader.expect();
    else this.#reader.leave();
  }

  // --- Connection ---

  /** Asks for a connection; false while there is none. Callers that wait are told when that takes long. */
  protected ask(): boolean {
    if (this.slots.ask(this)) return true;
    this.#cancelAsking ??= this.environment.clock.after(2 * PROBE_MS, () => {
      this.#cancelAsking = undefined;
      if (!this.slots.has(this) && !this.isClosed) this.crowdedOut('too many peers at once');
    });
    return false;
  }

  /**
   * Connects; undefined when no connection could even be tried. Then the deliveries fail if the address cannot be used,
   * and are tried again a little later otherwise.
   */
  protected dial<T>(connect: () => T): T | undefined {
    try {
      return connect();
    } catch (error) {
      this.#cannotConnect(error);
      return undefined;
    }
  }

  #cannotConnect(error: unknown): void {
    const { log, clock, backOff } = this.environment;
    this.slots.giveBack(this);
    if (!(error instanceof CmbsError) || error.retryable) {
      log.error('no connection could be tried; trying again', { address: this.address, cause: error });
      clock.after(backOff(1), () => this.resume());
      return;
    }
    for (const item of this.items.takeAll()) {
      this.removed(item);
      this.outbox.settle(item, { state: 'failed', reason: error.message });
    }
    this.#reader.expectNone();
    this.outbox.refuseWaiting(this, error.message);
    this.watchIdle(0);
  }

  /** Others need the connection: the items that are held go back to the store. */
  disconnect(): void {
    this.yielded();
    this.evict();
    void this.closeConnection();
    this.checkWaiting();
  }

  /** Nothing may go out once another companion may hold the shard. */
  protected assertLease(): void {
    if (!this.environment.shard.isCurrent()) throw leaseLost();
  }

  protected logFailure(error: unknown): void {
    const { log } = this.environment;
    log.error('destination queue failed; trying again', { address: this.address, cause: error });
  }

  // --- The end ---

  async close(): Promise<void> {
    this.retry.cancel();
    this.isClosed = true;
    this.#cancelIdle?.();
    this.#cancelAsking?.();
    this.#reader.close();
    this.slots.giveBack(this);
    await this.closeConnection();
    const ended = Promise.allSettled([this.#reader.reading, ...this.#underWay]);
    await untilOr(ended, this.environment.clock, CLOSING_MS);
  }

  /** Makes {@link close} wait for work; the work handles its own failure. */
  protected track<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    const ended = (): void => void this.#underWay.delete(work);
    work.then(ended, ended);
    return work;
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
    return this.#reader.isIdle && this.items.length === 0 && this.inFlight === 0;
  }
}
