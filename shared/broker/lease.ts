/**
 * Which companion holds a shard (DESIGN decision 13): one document per shard, so that holding a thousand members costs
 * one write every few seconds and no more.
 *
 * Clocks of two machines differ, so a companion never compares its own with a time that another one wrote. A waiting
 * companion takes the lease over when it has seen no renewal for {@link LEASE_TTL_MS} by its own clock; the one that holds
 * it lets go {@link LEASE_MARGIN_MS} before that could be, counted from before the last renewal that succeeded. A companion
 * that was stopped for a while (a paused machine) finds its time over before it does anything else.
 */
import { z } from 'zod';
import type { Clock } from '../clock';
import { LEASE_MARGIN_MS, LEASE_TTL_MS } from '../limits';
import type { Log } from '../log';
import type { Store, Transaction, Watch } from '../store';
import { pause, untilOr } from '../waiting';

/** Milliseconds between renewals, and from one that failed to the next. */
export const LEASE_RENEW_MS = 2500;
const LEASE_RETRY_MS = 250;
/** Milliseconds between two log lines of a lease's holder: somewhat less than a minute. */
const LEASE_TELL_MS = 45_000;
/** Milliseconds after which a waiting companion looks again, where nothing tells it of a change. */
export const LEASE_POLL_MS = 2000;

const LEASES = 'leases';

const leaseRecord = z.strictObject({
  /** Identifies the companion. */
  holder: z.string(),
  /** Where functions reach it. */
  url: z.string(),
  /** One more with each change of holder: what an earlier one wrote can be told from what a later one did. */
  epoch: z.number(),
  /** The holder let go: the next one need not wait. */
  released: z.boolean(),
  /** One more with each renewal. */
  renewals: z.number(),
});
export type LeaseRecord = z.infer<typeof leaseRecord>;

/** The lease of a shard as it lies in the store; undefined when nobody ever held it, or its holder let go. */
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
  /** Milliseconds that only go forward, also while the process stands still. */
  readonly monotonic?: () => number;
}

/** A lease of a shard that was taken: the time during which this companion holds it. */
export interface Lease {
  readonly epoch: number;
  /** False from the moment on at which another one may have taken over. */
  isCurrent(): boolean;
  /** Resolves when it is over without {@link release}. */
  readonly lost: Promise<void>;
  /** Lets the next one take over at once. What it was for has to be closed before. Never rejects. */
  release(): Promise<void>;
}

/** Waits until the shard is free and takes it; undefined when `signal` aborts first. */
export async function acquireLease(options: LeaseOptions, signal: AbortSignal): Promise<Lease | undefined> {
  const { store, clock, log, shard, monotonic = () => performance.now() } = options;
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
        const isOver = seen?.mark === mark && started - seen.since >= LEASE_TTL_MS;
        return isFree || isOver ? { epoch: take(tx, options, lease) } : { mark };
      });
      if (taken.epoch !== undefined) return new HeldLease(options, taken.epoch, started, monotonic);
      if (seen === undefined)
        log.info('standing by: another companion holds the shard', { event: 'standby', shard });
      // What a slow look found may have been renewed while it was under way, so it counts from its end.
      if (seen?.mark !== taken.mark) seen = { mark: taken.mark, since: monotonic() };
      const leftMs = Math.max(0, LEASE_TTL_MS - (monotonic() - seen.since));
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

/** Tells of the next change of a lease. */
class LeaseChange {
  readonly watch: Watch;
  readonly next: Promise<void>;

  constructor(store: Pick<Store, 'watch'>, shard: string) {
    let tell = (): void => undefined;
    this.next = new Promise((resolve) => (tell = resolve));
    this.watch = store.watch({ collection: LEASES, id: shard }, () => tell());
    // The poll goes on without it.
    this.watch.ready.catch(() => undefined);
  }
}

class HeldLease implements Lease {
  readonly epoch: number;
  readonly lost: Promise<void>;
  readonly #options: LeaseOptions;
  readonly #monotonic: () => number;
  #until: number;
  #toldAt: number;
  #isOver = false;
  #tellLost: () => void = () => undefined;
  #cancelRenewal: () => void = () => undefined;
  #cancelEnd: () => void = () => undefined;
  #renewing: Promise<void> = Promise.resolve();

  constructor(options: LeaseOptions, epoch: number, takenAt: number, monotonic: () => number) {
    this.#options = options;
    this.#monotonic = monotonic;
    this.epoch = epoch;
    this.lost = new Promise((resolve) => (this.#tellLost = resolve));
    this.#until = takenAt + LEASE_TTL_MS - LEASE_MARGIN_MS;
    this.#toldAt = takenAt;
    this.#tell('taken');
    this.#watchEnd();
    this.#renewSoon();
  }

  isCurrent(): boolean {
    return !this.#isOver && this.#monotonic() < this.#until;
  }

  /** When the time is over the lease is, whatever becomes of a renewal that is under way. */
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
      this.#until = started + LEASE_TTL_MS - LEASE_MARGIN_MS;
      if (!this.#isOver) this.#watchEnd();
      if (started - this.#toldAt >= LEASE_TELL_MS) {
        this.#toldAt = started;
        this.#tell('renewed');
      }
    } catch (error) {
      log.warn('the lease could not be renewed; trying again', { shard, cause: error });
      if (!this.#isOver) this.#renewSoon(LEASE_RETRY_MS);
      return;
    }
    if (!this.#isOver) this.#renewSoon();
  }

  /** An alert is raised where nobody says this of a shard for some minutes. */
  #tell(how: 'taken' | 'renewed'): void {
    const { log, shard } = this.#options;
    log.info(`the lease is ${how}`, { event: 'lease_held', shard, epoch: this.epoch });
  }

  #lose(reason: string): void {
    if (this.#isOver) return;
    this.#options.log.error('the shard is lost', { event: 'lease_lost', shard: this.#options.shard, reason });
    this.#end();
    this.#tellLost();
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
      // The next one waits until it runs out.
      log.warn('the lease could not be released', { shard, cause: error });
    }
  }
}
