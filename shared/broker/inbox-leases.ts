/** Leases of inbox entries that this process gave to readers. */
import type { Clock } from '../clock';
import type { Receipt } from './receipt';

/** Leases whose end a process tracks by its monotonic clock; for other leases the wall clock decides. */
const MAX_REMEMBERED_LEASES = 10_000;

/** The lease of the entries that one reader takes at once. */
export interface InboxLease {
  readonly token: string;
  /** Milliseconds. */
  readonly ms: number;
}

/**
 * Tracks the leases of this process by the monotonic clock, so that a lease lasts as long as promised even if the wall
 * clock is set. Other processes know the lease only by the wall clock.
 */
export class InboxLeases {
  /** End of each lease in monotonic milliseconds, by token; oldest first. */
  readonly #ends = new Map<string, number>();
  readonly #clock: Clock;
  /** By how much the wall clock was ahead of the monotonic clock, at most, in milliseconds. */
  #ahead = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  begin({ token, ms }: InboxLease): void {
    const now = this.#clock.elapsed();
    for (const [other, end] of this.#ends) if (end <= now) this.#ends.delete(other);
    this.#ends.set(token, now + ms);
    if (this.#ends.size <= MAX_REMEMBERED_LEASES) return;
    const [oldest] = this.#ends.keys();
    if (oldest !== undefined) this.#ends.delete(oldest);
  }

  /**
   * The time by the wall clock as this process has seen it, never set back, in milliseconds since the epoch: every lease
   * that {@link msLeft} calls ended was to end by then.
   */
  latest(now: number): number {
    const elapsed = this.#clock.elapsed();
    this.#ahead = Math.max(this.#ahead, now - elapsed);
    // A fraction of a millisecond may be lost in the sum.
    return Math.ceil(elapsed + this.#ahead);
  }

  /** Milliseconds until the entry's lease ends; 0 when no reader has the entry leased. */
  msLeft({ lease, leasedUntil = 0 }: Receipt, now: number): number {
    const end = lease === undefined ? undefined : this.#ends.get(lease);
    return Math.max(0, end === undefined ? leasedUntil - now : end - this.#clock.elapsed());
  }
}
