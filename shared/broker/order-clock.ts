/**
 * What orders go by. The wall clock can be set back, also while a process is down, and then what comes later would go
 * first; an order clock never goes back. It can be ahead of the wall clock, so it tells no times to anybody.
 */
import type { Clock } from '../clock';
import type { Log } from '../log';
import type { Store } from '../store';

/** Milliseconds that time for orders is reserved ahead on disk, so that it never goes back after a restart. */
const ORDER_TIME_RESERVE_MS = 60_000;

const COLLECTION = 'clocks';
const ID = 'order';

interface Reservation {
  readonly store: Store;
  readonly log: Log;
}

export class OrderClock {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #reservation: Reservation | undefined;
  #last: number;
  /** The store has it that nothing beyond this was given. */
  #reservedUntil: number;
  #reserving: Promise<void> | undefined;

  private constructor(clock: Pick<Clock, 'now'>, reservation?: Reservation, from = 0, reservedUntil = Infinity) {
    this.#clock = clock;
    this.#reservation = reservation;
    this.#last = from;
    this.#reservedUntil = reservedUntil;
  }

  /** For a process that keeps no order over its own end. */
  static ofProcess(clock: Pick<Clock, 'now'>): OrderClock {
    return new OrderClock(clock);
  }

  /** Goes on after whatever the store knows to have been given. */
  static async open(clock: Pick<Clock, 'now'>, reservation: Reservation): Promise<OrderClock> {
    const { store } = reservation;
    const { from, until } = await store.transact(async (tx) => {
      const before = (await tx.get(COLLECTION, ID))?.value.reservedUntil;
      const start = Math.max(clock.now(), typeof before === 'number' ? before + 1 : 0);
      const reserved = start + ORDER_TIME_RESERVE_MS;
      tx.put(COLLECTION, ID, { reservedUntil: reserved });
      return { from: start, until: reserved };
    });
    return new OrderClock(clock, reservation, from, until);
  }

  /** Milliseconds. Two calls may give the same; a later one never gives less. */
  now(): number {
    const wanted = Math.max(this.#last, this.#clock.now());
    if (wanted > this.#reservedUntil - ORDER_TIME_RESERVE_MS / 2) this.#reserve(wanted + ORDER_TIME_RESERVE_MS);
    // What is not reserved yet could come again after a restart.
    this.#last = Math.min(wanted, this.#reservedUntil);
    return this.#last;
  }

  #reserve(until: number): void {
    const { store, log } = this.#reservation ?? {};
    if (store === undefined || this.#reserving !== undefined) return;
    this.#reserving = store
      .transact((tx) => {
        tx.put(COLLECTION, ID, { reservedUntil: until });
        return Promise.resolve();
      })
      .then(
        () => void (this.#reservedUntil = until),
        // The next call asks again; until then orders stand still, and numbers tell apart what comes together.
        (error: unknown) => log?.warn('time for orders not reserved', { cause: error }),
      )
      .finally(() => (this.#reserving = undefined));
  }

  /** Resolves when nothing is being written. */
  async close(): Promise<void> {
    await this.#reserving;
  }
}
