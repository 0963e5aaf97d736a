/**
 * A clock that orders messages. The wall clock can be set back, even while a process is down, which would put later
 * messages first; an order clock never goes back. It can be ahead of the wall clock, so its times are never shown.
 */
import type { Clock } from '../clock';
import type { Log } from '../log';
import type { Store } from '../store';

/** Milliseconds of order time that are reserved ahead on disk, so that order time never goes back after a restart. */
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
  /** No time after this was returned, according to the store. */
  #reservedUntil: number;
  #reserving: Promise<void> | undefined;

  private constructor(clock: Pick<Clock, 'now'>, reservation?: Reservation, from = 0, reservedUntil = Infinity) {
    this.#clock = clock;
    this.#reservation = reservation;
    this.#last = from;
    this.#reservedUntil = reservedUntil;
  }

  /** For a process that keeps no order beyond its own end. */
  static ofProcess(clock: Pick<Clock, 'now'>): OrderClock {
    return new OrderClock(clock);
  }

  /** Continues after the latest time that the store has reserved. */
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

  /** Milliseconds. Two calls may return the same time; a later call never returns less. */
  now(): number {
    const wanted = Math.max(this.#last, this.#clock.now());
    if (wanted > this.#reservedUntil - ORDER_TIME_RESERVE_MS / 2) this.#reserve(wanted + ORDER_TIME_RESERVE_MS);
    // A time that is not reserved yet could be returned again after a restart.
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
        // The next call tries again. Until then the clock stands still, and sequence numbers keep the order.
        (error: unknown) => log?.warn('time for orders not reserved', { cause: error }),
      )
      .finally(() => (this.#reserving = undefined));
  }

  /** Waits for the write in progress. */
  async close(): Promise<void> {
    await this.#reserving;
  }
}
