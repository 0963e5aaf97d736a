/**
 * Grants connections to destinations. A destination whose peer answers keeps its connection while messages go over it. The
 * other destinations share a few connections: first those that were never tried or whose peer answered before, then those
 * with new messages, then the one that has waited longest. However many peers are absent, a peer that answers gets a
 * connection.
 */
import type { Clock } from '@cmbs/shared';
import { PROBE_MS } from '../limits';
import { DELIVERY_LIMITS, type DeliveryLimits } from './limits';

export interface ConnectionUser {
  /** Opens a connection; the user then calls {@link ConnectionSlots.isUp} or {@link ConnectionSlots.isDown}. */
  connect(): void;
  /** Closes the connection for others. Not called in return for {@link ConnectionSlots.giveBack}. */
  disconnect(): void;
  /** `idle`: no message waits; `stuck`: no message can go now. Both give way to others. */
  readonly use: 'idle' | 'stuck' | 'busy';
}

export type ConnectionLimits = Pick<
  DeliveryLimits,
  'connections' | 'probes' | 'lingering' | 'probesPerTick' | 'probeTickMs'
>;

/** One connection in this many is granted to the users that come last. */
const LAST_FIRST = 4;

export class ConnectionSlots {
  readonly #clock: Clock;
  readonly #limits: ConnectionLimits;
  /** Attempts whose outcome is not known, and when they began, the oldest first. */
  readonly #probing = new Map<ConnectionUser, number>();
  /** Connected users, and since when, the oldest first. */
  readonly #up = new Map<ConnectionUser, number>();
  readonly #down = new Set<ConnectionUser>();
  /** Users that wait for a connection: never tried or connected before, with new messages, in turn. */
  readonly #waiting = [new Set<ConnectionUser>(), new Set<ConnectionUser>(), new Set<ConnectionUser>()] as const;
  /** Users without a connection whose peers are absent; tried again in turn. */
  readonly #absent = new Set<ConnectionUser>();
  #cancelTick: (() => void) | undefined;
  #cancelEnd: (() => void) | undefined;
  #granted = 1;
  #isGranting = false;
  #isClosed = false;

  constructor(clock: Clock, limits: ConnectionLimits = DELIVERY_LIMITS) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Connections that are open. */
  get size(): number {
    return this.#probing.size + this.#up.size + this.#down.size;
  }

  /** Asks for a connection; false when it has to wait. {@link ConnectionUser.connect} may be called before this returns. */
  ask(user: ConnectionUser): boolean {
    if (this.has(user)) return true;
    const wasAbsent = this.#absent.delete(user) || this.#waiting[1].has(user) || this.#waiting[2].delete(user);
    (wasAbsent ? this.#waiting[1] : this.#waiting[0]).add(user);
    this.#grant();
    return this.has(user);
  }

  /** The peer is there. */
  isUp(user: ConnectionUser): void {
    if (!this.has(user)) return;
    this.#probing.delete(user);
    this.#down.delete(user);
    this.#up.set(user, this.#clock.now());
    this.#grant();
  }

  /** The peer is absent; the connection keeps trying while there are few of this kind. */
  isDown(user: ConnectionUser): void {
    if (!this.has(user)) return;
    this.#probing.delete(user);
    this.#up.delete(user);
    this.#down.add(user);
    while (this.#down.size > this.#limits.lingering) this.#dismiss(first(this.#down));
    this.#grant();
  }

  /** Another attempt of an open connection is under way. */
  isTrying(user: ConnectionUser): void {
    if (!this.has(user) || this.#probing.has(user)) return;
    this.#up.delete(user);
    this.#down.delete(user);
    this.#probing.set(user, this.#clock.now());
  }

  /** The user has closed its connection, or needs none any more. */
  giveBack(user: ConnectionUser): void {
    this.#forget(user);
    this.#absent.delete(user);
    for (const users of this.#waiting) users.delete(user);
    this.#grant();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTick?.();
    this.#cancelEnd?.();
  }

  has(user: ConnectionUser): boolean {
    return this.#probing.has(user) || this.#up.has(user) || this.#down.has(user);
  }

  #forget(user: ConnectionUser): void {
    this.#probing.delete(user);
    this.#up.delete(user);
    this.#down.delete(user);
  }

  /** Takes the connection from a user; its turn comes again. */
  #dismiss(user: ConnectionUser | undefined): void {
    if (user === undefined) return;
    this.#forget(user);
    this.#absent.add(user);
    user.disconnect();
    this.#tickSoon();
  }

  #grant(): void {
    // A user that connects or gives way may call back.
    if (this.#isGranting) return;
    this.#isGranting = true;
    try {
      while (!this.#isClosed) {
        const waiting = this.#waiting.filter(({ size }) => size > 0);
        // Now and then the last users come first: a flood of new addresses must not keep an absent peer out for ever.
        const users = this.#granted % LAST_FIRST === 0 ? waiting.at(-1) : waiting[0];
        const next = users === undefined ? undefined : first(users);
        if (users === undefined || next === undefined || !this.#makeRoom()) return;
        this.#granted += 1;
        users.delete(next);
        this.#probing.set(next, this.#clock.now());
        next.connect();
      }
    } finally {
      this.#isGranting = false;
    }
  }

  #makeRoom(): boolean {
    if (this.#probing.size >= this.#limits.probes && !this.#endLongest()) return false;
    if (this.size < this.#limits.connections) return true;
    const giving = first(this.#down) ?? [...this.#up.keys()].find(({ use }) => use === 'idle');
    if (giving === undefined) return this.#endStuck();
    this.#dismiss(giving);
    return true;
  }

  /** Ends a connection over which no message can go, if it has had its time: a subscription follows the connection. */
  #endStuck(): boolean {
    for (const [user, since] of this.#up) {
      if (user.use === 'stuck') return this.#endSince(user, since);
    }
    return false;
  }

  /** Ends the longest attempt if it has had its time; a peer that is present answers well within it. */
  #endLongest(): boolean {
    const [oldest] = this.#probing;
    if (oldest === undefined) return false;
    return this.#endSince(...oldest);
  }

  #endSince(user: ConnectionUser, since: number): boolean {
    const left = since + PROBE_MS - this.#clock.now();
    if (left <= 0) {
      this.#dismiss(user);
      return true;
    }
    this.#cancelEnd ??= this.#clock.after(left, () => {
      this.#cancelEnd = undefined;
      this.#grant();
    });
    return false;
  }

  /** One timer for all absent users, with a limited number of attempts each time. */
  #tickSoon(): void {
    if (this.#isClosed || this.#cancelTick !== undefined) return;
    const { probesPerTick, probeTickMs } = this.#limits;
    this.#cancelTick = this.#clock.after(probeTickMs, () => {
      this.#cancelTick = undefined;
      for (const user of [...this.#absent].slice(0, Math.max(0, probesPerTick - this.#waiting[2].size))) {
        this.#absent.delete(user);
        this.#waiting[2].add(user);
      }
      this.#grant();
      if (this.#absent.size > 0) this.#tickSoon();
    });
  }
}

function first<T>(set: ReadonlySet<T>): T | undefined {
  for (const one of set) return one;
  return undefined;
}
