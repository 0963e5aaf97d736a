/**
 * The keys of an issuer: found by OpenID Connect Discovery, cached, and fetched again when they are old or when a token
 * names an unknown key. Fetching has a deadline, a bound on its size and a pause before the next attempt, because
 * strangers choose which keys their tokens name.
 */
import { z } from 'zod';
import type { Clock } from '../../clock';
import { CmbsError, describeError } from '../../errors';
import type { Log } from '../../log';
import { fetchJson, type Fetch } from './fetch-json';
import { loadJose, type KeySet } from './jose';
import { joined } from './joined';
import { isIssuerUrl } from './oidc-config';

export interface IssuerKeysOptions {
  /** URL of the issuer. */
  readonly issuer: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<IssuerKeysLimits>;
  readonly fetch?: Fetch;
}

export interface IssuerKeysLimits {
  /** Milliseconds for both documents together. */
  readonly deadlineMs: number;
  /** Bytes of each document; Google's keys have 2 KiB. */
  readonly maxBytes: number;
  /** Milliseconds after which keys are fetched again, while the old ones still count. */
  readonly freshMs: number;
  /** Milliseconds after which keys no longer count: a key that the issuer withdrew may count as long as that. */
  readonly staleMs: number;
  /** Milliseconds between two fetches when the first succeeded. */
  readonly pauseMs: number;
  /** Milliseconds between two fetches when the first failed. */
  readonly failurePauseMs: number;
}

const LIMITS: IssuerKeysLimits = {
  deadlineMs: 5000,
  maxBytes: 256 * 1024,
  freshMs: 10 * 60_000,
  staleMs: 60 * 60_000,
  pauseMs: 30_000,
  failurePauseMs: 10_000,
};

/** OpenID Connect Discovery §3. */
const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.string().refine(isIssuerUrl) });
/** RFC 7517 §5; jose checks the keys. */
const jwksSchema = z.object({ keys: z.array(z.record(z.string(), z.unknown())) });

interface Loaded {
  readonly keys: KeySet;
  readonly at: number;
}

export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  readonly #limits: IssuerKeysLimits;
  #loaded: Loaded | undefined;
  #loading: Promise<Loaded> | undefined;
  /** When the next fetch may start; by the monotonic clock. */
  #nextAt = -Infinity;
  #hasFailed = false;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** @throws CmbsError `unavailable` when there are no keys and the issuer does not answer */
  async current(signal: AbortSignal): Promise<KeySet> {
    const loaded = this.#loaded;
    const age = loaded === undefined ? Infinity : this.#options.clock.elapsed() - loaded.at;
    if (loaded === undefined || age >= this.#limits.staleMs) return this.#fetched(signal);
    // Nobody waits for this; a failure is in the log.
    if (age >= this.#limits.freshMs && !this.#isPausing()) this.#load().catch(() => undefined);
    return loaded.keys;
  }

  /**
   * Keys for a token whose key is not among `known`: newer ones, or the same when the issuer was asked just now.
   *
   * @throws CmbsError `unavailable` when the issuer does not answer, so nobody knows whether the key exists
   */
  async newer(known: KeySet, signal: AbortSignal): Promise<KeySet> {
    const loaded = this.#loaded;
    if (loaded !== undefined && loaded.keys !== known) return loaded.keys;
    if (loaded !== undefined && this.#loading === undefined && this.#isPausing() && !this.#hasFailed) return known;
    return this.#fetched(signal);
  }

  #isPausing(): boolean {
    return this.#options.clock.elapsed() < this.#nextAt;
  }

  async #fetched(signal: AbortSignal): Promise<KeySet> {
    if (this.#loading === undefined && this.#isPausing()) throw this.#away();
    const { clock } = this.#options;
    // The fetch ends at its own deadline; this one is for the case that it does not.
    const ms = this.#limits.deadlineMs + 1000;
    return (await joined(this.#load(), { clock, ms, signal, late: () => this.#away() })).keys;
  }

  /** One fetch at a time, for all requests that wait for it. */
  #load(): Promise<Loaded> {
    this.#loading ??= this.#loadNow().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #loadNow(): Promise<Loaded> {
    const { issuer, clock, log } = this.#options;
    const deadline = new AbortController();
    const cancel = clock.after(this.#limits.deadlineMs, () => deadline.abort());
    try {
      const keys = await this.#fetchKeys(deadline.signal);
      this.#loaded = { keys, at: clock.elapsed() };
      this.#hasFailed = false;
      this.#nextAt = clock.elapsed() + this.#limits.pauseMs;
      return this.#loaded;
    } catch (error) {
      this.#hasFailed = true;
      this.#nextAt = clock.elapsed() + this.#limits.failurePauseMs;
      log.warn('The keys of an issuer of tokens cannot be fetched.', { issuer, cause: describeError(error) });
      throw this.#away();
    } finally {
      cancel();
    }
  }

  async #fetchKeys(signal: AbortSignal): Promise<KeySet> {
    const { issuer, fetch = globalThis.fetch } = this.#options;
    const options = { fetch, maxBytes: this.#limits.maxBytes, signal };
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const found = discoverySchema.parse(await fetchJson(url, options));
    // OpenID Connect Discovery §4.3: otherwise one issuer could speak for another.
    if (found.issuer !== issuer) throw new Error(`${url} is the document of another issuer.`);
    const jwks = jwksSchema.parse(await fetchJson(found.jwks_uri, options));
    const { createLocalJWKSet } = await loadJose();
    return createLocalJWKSet(jwks);
  }

  #away(): CmbsError {
    const waitMs = Math.max(1000, this.#nextAt - this.#options.clock.elapsed());
    return new CmbsError(
      'unavailable',
      "The keys of the token's issuer cannot be fetched now; repeat the request later.",
      { headers: { 'Retry-After': String(Math.ceil(waitMs / 1000)) } },
    );
  }
}
