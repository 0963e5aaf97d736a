/**
 * Bounds on failed logins. Failures are counted by the client's address, and by address and name together, but never by a
 * name alone: a stranger elsewhere could then lock out a user. Each process has counters of its own, so a deployment with N
 * processes allows N times as many attempts.
 */
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { clientKey } from './addresses';
import { BoundedMap } from './bounded-map';

/** So many failures at once, and then one in `drainMs` milliseconds. */
export interface AttemptBound {
  readonly burst: number;
  readonly drainMs: number;
}

export interface LoginAttemptsOptions {
  readonly clock: Pick<Clock, 'elapsed'>;
  /** For one name from one address: a person who mistypes is not stopped; a program has 1,440 guesses a day. */
  readonly perName?: AttemptBound;
  /** For all names from one address, which an office may share. */
  readonly perAddress?: AttemptBound;
  /** For refused credentials of any sort from one address. They get 429 instead of 401; valid ones are not affected. */
  readonly refusals?: AttemptBound;
  /** Counters of each sort in memory, about 200 bytes each. To push a counter out takes as many other addresses. */
  readonly maxCounters?: number;
}

const PER_NAME: AttemptBound = { burst: 10, drainMs: 60_000 };
const PER_ADDRESS: AttemptBound = { burst: 30, drainMs: 10_000 };
const REFUSALS: AttemptBound = { burst: 60, drainMs: 1000 };
const MAX_COUNTERS = 10_000;

/** Counters that drain over time. */
class Counters {
  readonly #clock: Pick<Clock, 'elapsed'>;
  readonly #bound: AttemptBound;
  readonly #counters: BoundedMap<{ readonly level: number; readonly at: number }>;

  constructor(clock: Pick<Clock, 'elapsed'>, bound: AttemptBound, most: number) {
    this.#clock = clock;
    this.#bound = bound;
    this.#counters = new BoundedMap(most);
  }

  /** Milliseconds until one more is allowed. */
  waitMs(key: string): number {
    return Math.max(0, this.#level(key) + 1 - this.#bound.burst) * this.#bound.drainMs;
  }

  add(key: string, n: number): void {
    const level = Math.max(0, this.#level(key) + n);
    if (level === 0) this.#counters.delete(key);
    else this.#counters.set(key, { level, at: this.#clock.elapsed() });
  }

  get size(): number {
    return this.#counters.size;
  }

  #level(key: string): number {
    const counter = this.#counters.get(key);
    if (counter === undefined) return 0;
    return Math.max(0, counter.level - (this.#clock.elapsed() - counter.at) / this.#bound.drainMs);
  }
}

/** An attempt to log in. It counts as failed until it succeeds, so attempts at the same time are bounded too. */
export interface LoginAttempt {
  /** Takes the attempt back. */
  readonly undo: () => void;
}

export class LoginAttempts {
  readonly #perName: Counters;
  readonly #perAddress: Counters;
  readonly #refusals: Counters;

  constructor(options: LoginAttemptsOptions) {
    const { clock, maxCounters = MAX_COUNTERS } = options;
    this.#perName = new Counters(clock, options.perName ?? PER_NAME, maxCounters);
    this.#perAddress = new Counters(clock, options.perAddress ?? PER_ADDRESS, maxCounters);
    this.#refusals = new Counters(clock, options.refusals ?? REFUSALS, maxCounters);
  }

  /** Counters in memory. */
  get size(): number {
    return this.#perName.size + this.#perAddress.size + this.#refusals.size;
  }

  /** @throws CmbsError `too_many_attempts` when no attempt is allowed now */
  check(address: string, name: string): void {
    const client = clientKey(address);
    refuseFor(Math.max(this.#perAddress.waitMs(client), this.#perName.waitMs(nameKey(client, name))));
  }

  /** Counts an attempt. @param name at most 64 characters. @throws CmbsError `too_many_attempts` */
  begin(address: string, name: string): LoginAttempt {
    this.check(address, name);
    const client = clientKey(address);
    const count = (n: number): void => {
      this.#perAddress.add(client, n);
      this.#perName.add(nameKey(client, name), n);
    };
    count(1);
    return { undo: () => count(-1) };
  }

  /** Counts credentials that were refused. @throws CmbsError `too_many_attempts` instead of the refusal */
  refused(address: string): void {
    const client = clientKey(address);
    refuseFor(this.#refusals.waitMs(client));
    this.#refusals.add(client, 1);
  }
}

const nameKey = (client: string, name: string): string => `${client} ${name}`;

function refuseFor(waitMs: number): void {
  if (waitMs === 0) return;
  throw new CmbsError(
    'too_many_attempts',
    'Too many logins from this address have failed; wait for the seconds in Retry-After.',
    { headers: { 'Retry-After': String(Math.ceil(waitMs / 1000)) } },
  );
}
