/**
 * The lease of a run, which keeps other processes from taking the run for interrupted. As for tasks of modules
 * (`modules/once.ts`), no process compares its clock with a time that another one wrote: a process that waits has seen no
 * renewal for {@link RunnerLimits.ttlMs} by its own clock, and the holder gives up {@link RunnerLimits.marginMs} earlier.
 */
import type { Clock } from '../../clock';
import type { Log } from '../../log';
import type { Store } from '../../store';
import { untilOr } from '../../waiting';
import type { RunnerLimits } from './limits';
import { storedSchedule, writeSchedule } from './record';

export interface RunLeaseOptions {
  readonly store: Pick<Store, 'transact'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<RunnerLimits, 'ttlMs' | 'marginMs' | 'renewMs'>;
}

/** Milliseconds after the last renewal when other processes look at the run. */
export const lookAgainAfter = ({ renewMs }: Pick<RunnerLimits, 'renewMs'>): number => 2 * renewMs;

export class RunLease {
  readonly #options: RunLeaseOptions;
  readonly #id: string;
  readonly #runId: string;
  readonly #lost = new AbortController();
  /** End of the lease, by `clock.elapsed`. */
  #until: number;
  #isOver = false;
  #cancelRenewal: () => void = () => undefined;

  /** @param takenAt `clock.elapsed` before the run was stored */
  constructor(options: RunLeaseOptions, id: string, runId: string, takenAt: number) {
    this.#options = options;
    this.#id = id;
    this.#runId = runId;
    this.#until = takenAt + this.#termMs;
    this.#renewLater();
  }

  /** Aborts when another process may have taken the run for interrupted. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get #termMs(): number {
    const { ttlMs, marginMs } = this.#options.limits;
    return ttlMs - marginMs;
  }

  #renewLater(): void {
    const { clock, limits } = this.#options;
    this.#cancelRenewal = clock.after(limits.renewMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const { clock, log } = this.#options;
    const started = clock.elapsed();
    const renewal = this.#write();
    renewal.catch(() => undefined); // it may fail after its time
    try {
      await untilOr(renewal, clock, Math.max(0, this.#until - started));
      if (clock.elapsed() < this.#until && (await renewal)) this.#until = started + this.#termMs;
      else this.#lose();
    } catch (error) {
      log.warn('the run of a schedule could not be renewed; trying again', { schedule: this.#id, cause: error });
      if (clock.elapsed() >= this.#until) this.#lose();
    }
    if (!this.#isOver) this.#renewLater();
  }

  /** False when the run is another process's by now. A cancelled schedule has no run to renew. */
  #write(): Promise<boolean> {
    const { store, clock, limits } = this.#options;
    return store.transact(async (tx) => {
      const schedule = await storedSchedule(tx, this.#id);
      if (schedule === undefined) return true;
      const { run } = schedule;
      if (run?.id !== this.#runId) return false;
      writeSchedule(
        tx,
        this.#id,
        { ...schedule, run: { ...run, renewals: run.renewals + 1 } },
        { lookAt: clock.now() + lookAgainAfter(limits) },
      );
      return true;
    });
  }

  #lose(): void {
    if (this.#isOver) return;
    this.end();
    this.#options.log.error('the run of a schedule could not be renewed in time', { schedule: this.#id });
    this.#lost.abort();
  }

  /** Ends the renewals. One that is under way finds that the run has ended. */
  end(): void {
    this.#isOver = true;
    this.#cancelRenewal();
  }
}
