/**
 * Leases of shards: one companion at a time holds the sockets of a shard (docs/design.md, "Brokering"). A lease is one
 * document per shard, so holding a thousand members costs one write every few seconds.
 *
 * The clocks of two machines differ, so a companion never compares its clock with a time that another companion wrote. A
 * waiting companion takes over after it has seen no renewal for {@link LeaseLimits.ttlMs} by its own clock. The holder lets go
 * {@link LeaseLimits.marginMs} earlier, counted from before its last successful renewal. A companion whose machine was paused
 * therefore finds its lease over before it does anything else.
 */
import { z } from 'zod';
import type { Clock } from '../clock';
import type { Log } from '../log';
import type { Store, Transaction, Watch } from '../store';
import { pause, untilOr } from '../waiting';

/** Times of a lease. Companions of one deployment need the same. */
export interface LeaseLimits {
  /** Milliseconds without a renewal after which a waiting companion takes the shard over. */
  readonly ttlMs: number;
  /** Milliseconds before that at which the holder lets go: it closes its sockets within them. */
  readonly marginMs: number;
}
export const LEASE_LIMITS: LeaseLimits = { ttlMs: 12_000, marginMs: 4000 };

/** Milliseconds between renewals. */
export const LEASE_RENEW_MS = 2500;
/** Milliseconds from a failed renewal to the next attempt. */
const LEASE_RETRY_MS = 250;
/** Milliseconds between two log lines of the holder: less than a minute, the period of the alert. */
const LEASE_LOG_MS = 45_000;
/** Milliseconds after which a waiting companion reads the lease again if no change was reported. */
export const LEASE_POLL_MS = 2000;

const LEASES = 'leases';

const leaseRecord = z.strictObject({
  /** Identifies the companion. */
  holder: z.string(),
  /** Where functions reach the companion. */
  url: z.string(),
  /** Increases with each change of holder, so that writes of an earlier holder can be told from those of a later one. */
  epoch: z.number(),
  /** The holder has let go, so the next companion need not wait. */
  released: z.boolean(),
  /** Increases with each renewal. */
  renewals: z.number(),
});
export type LeaseRecord = z.infer<typeof leaseRecord>;

/** The stored lease of a shard; undefined if no companion has held the shard or its holder has let go. */
export async function readLease(store: Pick<Store, 'get'>, shard: string): Promise<LeaseRecord | undefined> {
  const lease = await stored(store, shard);
  return lease?.released === true ? undefined : lease;
}

async function stored(
  reader: Pick<Store, 'get'> | Pick<Transaction, 'get'>,
  shard: string,
): Promise<LeaseRecord | undefined> {
  const doc = await reader.get(LEASES, shard);
  return doc === undefined ? undefined : leaseRecord.parse(doc.value);
}

export interface LeaseOptions {
  readonly store: Pick<Store, 'transact' | 'watch'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly shard: string;
  readonly holder: string;
  readonly url: string;
  /** Milliseconds that never go back and that pass while the process is paused. */
  readonly monotonic?: () => number;
  /** {@link LEASE_LIMITS} when absent. */
  readonly limits?: LeaseLimits;
}

/** A lease of a shard that this companion holds. */
export interface Lease {
  readonly epoch: number;
  /** False as soon as another companion may have taken over. */
  isCurrent(): boolean;
  /** Resolves when the lease ends without {@link release}. */
  readonly lost: Promise<void>;
  /** Lets the next companion take over at once; the caller has closed the shard's sockets before. Never rejects. */
  release(): Promise<void>;
}

/** Waits until the shard is free and takes the lease; undefined when `signal` aborts first. */
export async function acquireLease(options: LeaseOptions, signal: AbortSignal): Promise<Lease | undefined> {
  const { store, clock, log, shard, monotonic = () => performance.now(), limits = LEASE_LIMITS } = options;
  let seen: { readonly mark: string; readonly since: number } | undefined;
  while (!signal.aborted) {
    const changed = new LeaseChange(store, shard);
    try {
      await untilOr(changed.watch.ready, clock, LEASE_POLL_MS, signal);
      const started = monotonic();
      const taken = await store.transact(async (tx) => {
        const lease = await stored(tx, shard);
        const mark = `${String(lease?.epoch)}/${String(lease?.renewals)}`;
        const isFree = lease === undefined || lease.released;
        const isOver = seen?.mark === mark && started - seen.since >= limits.ttlMs;
        return isFree || isOver ? { epoch: take(tx, options, lease) } : { mark };
      });
      if (taken.epoch !== undefined) return new HeldLease(options, taken.epoch, started, monotonic, limits);
      if (seen === undefined)
        log.info('standing by: another companion holds the shard', { event: 'standby', shard });
      // The lease may have been renewed during a slow read, so the time counts from the end of the read.
      if (seen?.mark !== taken.mark) seen = { mark: taken.mark, since: monotonic() };
      const leftMs = Math.max(0, limits.ttlMs - (monotonic() - seen.since));
      await untilOr(changed.next, clock, Math.min(leftMs + 1, LEASE_POLL_MS), signal);
    } catch (error) {
      log.warn('the lease could not be looked at; trying again', { shard, cause: error });
      await pause(clock, LEASE_POLL_MS, signal);
    } finally {
      changed.watch.end();
    }
  }
  return undefined;
}

function take(tx: Transaction, { shard, holder, url }: LeaseOptions, before: LeaseRecord | undefined): number {
  const epoch = (before?.epoch ?? 0) + 1;
  tx.put(LEASES, shard, { holder, url, epoch, released: false, renewals: 0 } satisfies LeaseRecord);
  return epoch;
}

/** Waits for the next change of a lease. */
class LeaseChange {
  readonly watch: Watch;
  readonly next: Promise<void>;

  constructor(store: Pick<Store, 'watch'>, shard: string) {
    let resolveNext = (): void => undefined;
    this.next = new Promise((resolve) => (resolveNext = resolve));
    this.watch = store.watch({ collection: LEASES, id: shard }, () => resolveNext());
    // Without the watch, polling finds the change.
    this.watch.ready.catch(() => undefined);
  }
}

class HeldLease implements Lease {
  readonly epoch: number;
  readonly lost: Promise<void>;
  readonly #options: LeaseOptions;
  readonly #monotonic: () => number;
  /** Milliseconds that a renewal holds. */
  readonly #termMs: number;
  /** End of the lease, in monotonic milliseconds. */
  #until: number;
  #loggedAt: number;
  #isOver = false;
  #resolveLost: () => void = () => undefined;
  #cancelRenewal: () => void = () => undefined;
  #cancelEnd: () => void = () => undefined;
  #renewing: Promise<void> = Promise.resolve();

  constructor(
    options: LeaseOptions,
    epoch: number,
    takenAt: number,
    monotonic: () => number,
    { ttlMs, marginMs }: LeaseLimits,
  ) {
    this.#options = options;
    this.#monotonic = monotonic;
    this.epoch = epoch;
    this.lost = new Promise((resolve) => (this.#resolveLost = resolve));
    this.#termMs = ttlMs - marginMs;
    this.#until = takenAt + this.#termMs;
    this.#loggedAt = takenAt;
    this.#logHeld('taken');
    this.#watchEnd();
    this.#renewSoon();
  }

  isCurrent(): boolean {
    return !this.#isOver && this.#monotonic() < this.#until;
  }

  /** The lease ends when its time is over, even if a renewal is in flight. */
  #watchEnd(): void {
    this.#cancelEnd();
    this.#cancelEnd = this.#options.clock.after(Math.max(0, this.#until - this.#monotonic()), () => {
      if (this.isCurrent()) this.#watchEnd();
      else this.#lose('it could not be renewed in time');
    });
  }

  #renewSoon(afterMs = LEASE_RENEW_MS): void {
    this.#cancelRenewal = this.#options.clock.after(afterMs, () => {
      this.#renewing = this.#renew();
    });
  }

  async #renew(): Promise<void> {
    const { store, shard, holder, log } = this.#options;
    const started = this.#monotonic();
    if (!this.isCurrent()) {
      this.#lose('this process stood still');
      return;
    }
    try {
      const isOurs = await store.transact(async (tx) => {
        const lease = await stored(tx, shard);
        if (lease?.holder !== holder || lease.epoch !== this.epoch || lease.released) return false;
        tx.put(LEASES, shard, { ...lease, renewals: lease.renewals + 1 });
        return true;
      });
      if (!isOurs) {
        this.#lose('another companion took it');
        return;
      }
      this.#until = started + this.#termMs;
      if (!this.#isOver) this.#watchEnd();
      if (started - this.#loggedAt >= LEASE_LOG_MS) {
        this.#loggedAt = started;
        this.#logHeld('renewed');
      }
    } catch (error) {
      log.warn('the lease could not be renewed; trying again', { shard, cause: error });
      if (!this.#isOver) this.#renewSoon(LEASE_RETRY_MS);
      return;
    }
    if (!this.#isOver) this.#renewSoon();
  }

  /** An alert is raised if no companion logs this for a shard for some minutes. */
  #logHeld(how: 'taken' | 'renewed'): void {
    const { log, shard } = this.#options;
    log.info(`the lease is ${how}`, { event: 'lease_held', shard, epoch: this.epoch });
  }

  #lose(reason: string): void {
    if (this.#isOver) return;
    this.#options.log.error('the shard is lost', { event: 'lease_lost', shard: this.#options.shard, reason });
    this.#end();
    this.#resolveLost();
  }

  #end(): void {
    this.#isOver = true;
    this.#cancelRenewal();
    this.#cancelEnd();
  }

  async release(): Promise<void> {
    const { store, shard, holder, log } = this.#options;
    this.#end();
    await this.#renewing;
    try {
      await store.transact(async (tx) => {
        const lease = await stored(tx, shard);
        if (lease?.holder !== holder || lease.epoch !== this.epoch || lease.released) return;
        tx.put(LEASES, shard, { ...lease, released: true });
      });
    } catch (error) {
      // The next companion waits until the lease runs out.
      log.warn('the lease could not be released', { shard, cause: error });
    }
  }
}
