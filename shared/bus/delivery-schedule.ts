/**
 * Decides which delivery of a consumer goes to its handler next, and what follows from the result. Every engine of the
 * bus uses it.
 *
 * - At most `maxInFlight` deliveries are with the handler at the same time.
 * - Deliveries of one ordering group go to the handler one at a time, in the order in which they were added. A delivery
 *   that fails keeps its place: the rest of its group waits until it succeeds or becomes a dead letter.
 * - A delivery that fails backs off and is tried again, up to `BUS_MAX_ATTEMPTS` times. An outage of a dependency
 *   ({@link isOutage}) does not count as an attempt.
 * - After the last attempt, or after an error that is not retryable, the delivery becomes a dead letter. When the dead
 *   letter cannot be stored, only that step is repeated: the handler is not called again.
 *
 * The engine keeps the deliveries themselves ({@link DeliveryEngine}).
 */
import { backOff, type Random } from '../back-off';
import type { Clock } from '../clock';
import { CmbsError, isOutage } from '../errors';
import type { Counters, Log } from '../log';
import type { BusDelivery, ConsumeOptions } from './bus';
import { BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS, BUS_MAX_ATTEMPTS } from './limits';

/** A delivery in the schedule. */
export interface Scheduled {
  /** Deliveries with the same group are handled in order; undefined: in any order. */
  readonly group: string | undefined;
  /** Attempts that failed so far; the schedule counts on. */
  failedAttempts: number;
  /** Milliseconds since the epoch after which the bus no longer has the delivery. */
  readonly expiresAt?: number;
}

/** What differs between the engines of the bus. Where a method rejects, the delivery is tried again later. */
export interface DeliveryEngine<D extends Scheduled> {
  /** Reads a delivery for its handler; undefined when the bus no longer has it. */
  open(entry: D, attempt: number): Promise<BusDelivery | undefined>;
  /** Acknowledges: the bus does not offer the delivery again. */
  settle(entry: D): Promise<void>;
  /** Stores `entry.failedAttempts`; false when the bus no longer has the delivery. */
  storeAttempts?(entry: D): Promise<boolean>;
  /** Stores a dead letter before the consumer's own `onDeadLetter` is called. */
  deadLetter?(entry: D, delivery: BusDelivery, reason: string): Promise<void>;
  /** False: the delivery leaves the schedule instead of backing off in it, after {@link handBack}. */
  mayBackOff(entry: D): boolean;
  /** Returns an unsettled delivery to the bus, which offers it again. */
  handBack(entry: D): void;
  /** The delivery has left the schedule, for whatever reason. */
  onRemoved(entry: D): void;
}

export interface DeliveryScheduleOptions<D extends Scheduled> extends ConsumeOptions {
  /** The subscription, for log lines. */
  readonly name: string;
  readonly handler: (delivery: BusDelivery, entry: D) => Promise<void>;
  readonly engine: DeliveryEngine<D>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly random: Random;
  /** A handler has finished, so that there may be room for another delivery. */
  readonly onRoom?: () => void;
}

/** What the schedule knows of a delivery. */
interface State {
  isRunning: boolean;
  /** Cancels the end of a back-off. */
  cancelBackOff: (() => void) | undefined;
  /** Consecutive outages that the delivery met. */
  outages: number;
  lastFailure: string | undefined;
}

export class DeliverySchedule<D extends Scheduled> {
  readonly #options: DeliveryScheduleOptions<D>;
  readonly #states = new Map<D, State>();
  /** The first delivery of each group is ready, running or backing off; the others wait behind it. */
  readonly #groups = new Map<string, D[]>();
  /** Deliveries that may go to the handler now, in this order. */
  readonly #ready = new Set<D>();
  #running = 0;
  #isClosed = false;
  #onIdle: (() => void)[] = [];

  constructor(options: DeliveryScheduleOptions<D>) {
    this.#options = options;
  }

  /** A handler is free, and no delivery is ready for it. */
  get hasRoom(): boolean {
    return !this.#isClosed && this.#running < this.#options.maxInFlight && this.#ready.size === 0;
  }

  /** The deliveries of an ordering group, in order. */
  group(group: string): readonly D[] {
    return this.#groups.get(group) ?? [];
  }

  isBackingOff(entry: D): boolean {
    return this.#states.get(entry)?.cancelBackOff !== undefined;
  }

  /** Adds a delivery at the end of its group, and starts its handler when there is room. */
  add(entry: D): void {
    this.#states.set(entry, { isRunning: false, cancelBackOff: undefined, outages: 0, lastFailure: undefined });
    if (entry.group !== undefined) {
      const group = this.#groups.get(entry.group);
      if (group !== undefined) {
        group.push(entry);
        return;
      }
      this.#groups.set(entry.group, [entry]);
    }
    this.#ready.add(entry);
    this.#dispatch();
  }

  /** Removes those of the deliveries that no handler has, and returns them in the order of `entries`. */
  withdraw(entries: Iterable<D>): readonly D[] {
    const withdrawn = [...entries].filter((entry) => this.#states.get(entry)?.isRunning === false);
    // The last first: otherwise each would make the next of its group ready.
    for (const entry of [...withdrawn].reverse()) this.#remove(entry);
    return withdrawn;
  }

  /** Starts no more handlers; resolves when the last one has finished. */
  close(): Promise<void> {
    this.#isClosed = true;
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
      this.#resolveIdle();
    });
  }

  #resolveIdle(): void {
    if (this.#running > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #dispatch(): void {
    while (!this.#isClosed && this.#running < this.#options.maxInFlight) {
      const [entry] = this.#ready;
      if (entry === undefined) return;
      this.#ready.delete(entry);
      const state = this.#stateOf(entry);
      this.#running += 1;
      state.isRunning = true;
      void this.#deliver(entry, state).finally(() => {
        this.#running -= 1;
        if (this.#isClosed) {
          this.#resolveIdle();
          return;
        }
        this.#dispatch();
        this.#options.onRoom?.();
      });
    }
  }

  #stateOf(entry: D): State {
    const state = this.#states.get(entry);
    if (state === undefined) throw new Error('The delivery is not in the schedule.');
    return state;
  }

  /** Never rejects. */
  async #deliver(entry: D, state: State): Promise<void> {
    const { log, name } = this.#options;
    let delayMs: number | undefined;
    try {
      delayMs = await this.#attempt(entry, state);
    } catch (error) {
      log.error('a delivery could not be read or settled; retrying', { subscription: name, cause: error });
      delayMs = BUS_BACKOFF_MAX_MS;
    }
    state.isRunning = false;
    if (delayMs === undefined) this.#remove(entry);
    else this.#backOff(entry, state, delayMs);
  }

  /** Resolves with the milliseconds until the next attempt; with undefined when there is none. */
  async #attempt(entry: D, state: State): Promise<number | undefined> {
    const { engine, clock } = this.#options;
    const delivery = await engine.open(entry, Math.min(entry.failedAttempts + 1, BUS_MAX_ATTEMPTS));
    if (delivery === undefined) return undefined;
    if (entry.failedAttempts < BUS_MAX_ATTEMPTS) {
      const failure = await this.#call(entry, delivery);
      if (failure === undefined) {
        await engine.settle(entry);
        return undefined;
      }
      if (isOutage(failure.error)) {
        state.outages += 1;
        return this.#delayMs(state.outages);
      }
      state.outages = 0;
      state.lastFailure = failure.error instanceof Error ? failure.error.message : String(failure.error);
      const isHopeless = failure.error instanceof CmbsError && !failure.error.retryable;
      entry.failedAttempts = isHopeless ? BUS_MAX_ATTEMPTS : entry.failedAttempts + 1;
      if (engine.storeAttempts !== undefined && !(await engine.storeAttempts(entry))) return undefined;
      const delayMs = this.#delayMs(delivery.attempt);
      const expiresFirst = (entry.expiresAt ?? Infinity) <= clock.now() + delayMs;
      if (entry.failedAttempts < BUS_MAX_ATTEMPTS && !expiresFirst) return delayMs;
    }
    await this.#deadLetter(entry, delivery, state.lastFailure ?? 'the last attempt failed before a restart');
    await engine.settle(entry);
    return undefined;
  }

  async #call(entry: D, delivery: BusDelivery): Promise<{ readonly error: unknown } | undefined> {
    try {
      await this.#options.handler(delivery, entry);
      return undefined;
    } catch (error) {
      return { error };
    }
  }

  async #deadLetter(entry: D, delivery: BusDelivery, reason: string): Promise<void> {
    const { name, engine, onDeadLetter, log, counters } = this.#options;
    await engine.deadLetter?.(entry, delivery, reason);
    await onDeadLetter?.(delivery, reason);
    counters.add('cmbs_bus_dead_letters');
    log.warn('a delivery became a dead letter', {
      subscription: name,
      id: delivery.id,
      attempt: delivery.attempt,
      reason,
    });
  }

  #delayMs(failures: number): number {
    return backOff(failures, BUS_BACKOFF_FIRST_MS, BUS_BACKOFF_MAX_MS, this.#options.random);
  }

  #backOff(entry: D, state: State, delayMs: number): void {
    const { engine, clock } = this.#options;
    if (this.#isClosed || !engine.mayBackOff(entry)) {
      engine.handBack(entry);
      this.#remove(entry);
      return;
    }
    state.cancelBackOff = clock.after(delayMs, () => {
      state.cancelBackOff = undefined;
      this.#ready.add(entry);
      this.#dispatch();
    });
  }

  /** Removes a delivery; the next of its group may go to the handler. */
  #remove(entry: D): void {
    this.#states.get(entry)?.cancelBackOff?.();
    this.#states.delete(entry);
    this.#ready.delete(entry);
    this.#options.engine.onRemoved(entry);
    const group = entry.group === undefined ? undefined : this.#groups.get(entry.group);
    if (entry.group === undefined || group === undefined) return;
    const at = group.indexOf(entry);
    if (at < 0) return;
    group.splice(at, 1);
    const [next] = group;
    if (next === undefined) this.#groups.delete(entry.group);
    else if (at === 0) this.#ready.add(next);
  }
}
