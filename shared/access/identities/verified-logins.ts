/** Remembers right logins for a short time, so that not every request costs a run of scrypt. */
import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '../../clock';
import { BoundedMap } from './bounded-map';
import type { StoredPassword } from './passwords';

export interface VerifiedLoginsOptions {
  readonly clock: Pick<Clock, 'elapsed'>;
  /** Milliseconds for which a login is remembered. */
  readonly ttlMs?: number;
  /** Logins in memory, about 150 bytes each. */
  readonly maxLogins?: number;
}

const TTL_MS = 60_000;
const MAX_LOGINS = 1000;

export class VerifiedLogins {
  readonly #clock: Pick<Clock, 'elapsed'>;
  readonly #ttlMs: number;
  /** Of this process alone; memory holds neither passwords nor plain hashes of them. */
  readonly #key = randomBytes(32);
  /** The end of each login's time. */
  readonly #logins: BoundedMap<number>;

  constructor({ clock, ttlMs = TTL_MS, maxLogins = MAX_LOGINS }: VerifiedLoginsOptions) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    this.#logins = new BoundedMap(maxLogins);
  }

  /** The key of a login. The stored password is part of it, so a changed one takes effect at once. */
  keyOf(name: string, password: string, stored: StoredPassword): string {
    const { algorithm, N, r, p, salt, hash } = stored;
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([name, password, algorithm, N, r, p, salt, hash]))
      .digest('base64url');
  }

  has(key: string): boolean {
    const until = this.#logins.get(key);
    return until !== undefined && this.#clock.elapsed() < until;
  }

  add(key: string): void {
    this.#logins.set(key, this.#clock.elapsed() + this.#ttlMs);
  }
}
