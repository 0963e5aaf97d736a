/**
 * Tasks that run once per version of a module, however many processes there are. The document of a task has the versions
 * for which it is done, and the lease of the process that runs it.
 *
 * As for shards (`shared/broker/lease.ts`), no process compares its clock with a time that another one wrote: a waiting
 * process takes over after it has seen no renewal for {@link OnceLimits.ttlMs} by its own clock, and the holder gives up
 * {@link OnceLimits.marginMs} earlier. The lease of a process that is killed therefore ends by itself.
 */
import { z } from 'zod';
import { backOff, type Random } from '../../back-off';
import type { Clock } from '../../clock';
import type { Log } from '../../log';
import type { Store, Transaction } from '../../store';
import { pause, untilOr } from '../../waiting';

export interface OnceLimits {
  /** Milliseconds without a renewal after which a waiting process takes the task over. */
  readonly ttlMs: number;
  /** Milliseconds before that at which the holder gives the task up. */
  readonly marginMs: number;
  /** Milliseconds between renewals. */
  readonly renewMs: number;
}
export const ONCE_LIMITS: OnceLimits = { ttlMs: 15_000, marginMs: 5000, renewMs: 3000 };

/** Milliseconds before the store is asked again after an error, doubled up to the longest wait. */
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 5000;
/** Versions that the document of a task keeps: old and new processes run side by side while a deployment changes. */
const VERSIONS_KEPT = 50;
/** Collection of the tasks, by module and task. */
const TASKS = 'module-tasks';

const taskRecord = z.strictObject({
  /** Versions for which the task is done, the latest last. */
  done: z.array(z.string()),
  /** The process that runs the task. */
  lease: z
    .strictObject({
      version: z.string(),
      holder: z.string(),
      /** Increases with each renewal. */
      renewals: z.number(),
    })
    .exactOptional(),
});
type TaskRecord = z.infer<typeof taskRecord>;

export interface OnceTask {
  readonly module: string;
  readonly version: string;
  readonly name: string;
}

export interface OnceOptions {
  readonly store: Pick<Store, 'transact' | 'watch'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Identifies this run of the task among all processes. */
  readonly holder: string;
  readonly random?: Random;
  /** {@link ONCE_LIMITS} when absent. */
  readonly limits?: OnceLimits;
}

/** A task that this process runs. */
export interface RunningTask {
  /** Aborts when another process may have taken over. */
  readonly lost: AbortSignal;
  /** Ends the lease: the task is done, or the next process may try. @throws CmbsError when that could not be written */
  end(isDone: boolean): Promise<void>;
}

const idOf = ({ module, name }: OnceTask): string => `${module}.${name}`;

async function stored(tx: Transaction, id: string): Promise<TaskRecord> {
  const doc = await tx.get(TASKS, id);
  return doc === undefined ? { done: [] } : taskRecord.parse(doc.value);
}

/**
 * Waits until the task is done elsewhere, or takes it; undefined when it is done, or when `signal` aborts first. An error
 * of the store is logged and tried again: it says nothing about other processes.
 */
export async function takeTask(
  task: OnceTask,
  options: OnceOptions,
  signal: AbortSignal,
): Promise<RunningTask | undefined> {
  const { store, clock, log, holder, random = Math.random, limits = ONCE_LIMITS } = options;
  const id = idOf(task);
  let seen: { readonly mark: string; readonly since: number } | undefined;
  for (let failures = 0; !signal.aborted;) {
    let changed = (): void => undefined;
    const change = new Promise<void>((resolve) => (changed = resolve));
    const watch = store.watch({ collection: TASKS, id }, () => changed());
    // Without the watch, the end of the lease is noticed by time.
    watch.ready.catch(() => undefined);
    try {
      await untilOr(watch.ready, clock, limits.ttlMs, signal);
      const started = clock.elapsed();
      const before = seen;
      const found = await store.transact(async (tx): Promise<'done' | 'taken' | { readonly mark: string }> => {
        const record = await stored(tx, id);
        if (record.done.includes(task.version)) return 'done';
        const { lease } = record;
        const mark = lease === undefined ? '' : `${lease.holder}/${lease.renewals}`;
        const isOver = before?.mark === mark && started - before.since >= limits.ttlMs;
        if (lease !== undefined && !isOver) return { mark };
        tx.put(TASKS, id, { ...record, lease: { version: task.version, holder, renewals: 0 } });
        return 'taken';
      });
      failures = 0;
      if (found === 'done') return undefined;
      if (found === 'taken') return new HeldTask(task, options, limits, started);
      if (seen?.mark !== found.mark) seen = { mark: found.mark, since: clock.elapsed() };
      const leftMs = Math.max(0, limits.ttlMs - (clock.elapsed() - seen.since));
      await untilOr(change, clock, leftMs + 1, signal);
    } catch (error) {
      failures += 1;
      log.warn('a task of a module could not be taken; trying again', { module: task.module, cause: error });
      await pause(clock, backOff(failures, RETRY_FIRST_MS, RETRY_MAX_MS, random), signal);
    } finally {
      watch.end();
    }
  }
  return undefined;
}

class HeldTask implements RunningTask {
  readonly #task: OnceTask;
  readonly #options: OnceOptions;
  readonly #limits: OnceLimits;
  readonly #lost = new AbortController();
  /** End of the lease, by `clock.elapsed`. */
  #until: number;
  #isOver = false;
  #cancelRenewal: () => void = () => undefined;
  #renewing: Promise<void> = Promise.resolve();

  constructor(task: OnceTask, options: OnceOptions, limits: OnceLimits, takenAt: number) {
    this.#task = task;
    this.#options = options;
    this.#limits = limits;
    this.#until = takenAt + limits.ttlMs - limits.marginMs;
    this.#renewLater();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  #renewLater(): void {
    this.#cancelRenewal = this.#options.clock.after(this.#limits.renewMs, () => {
      this.#renewing = this.#renew();
    });
  }

  async #renew(): Promise<void> {
    const { clock, log } = this.#options;
    const started = clock.elapsed();
    const renewal = this.#change((record, lease) => ({
      ...record,
      lease: { ...lease, renewals: lease.renewals + 1 },
    }));
    renewal.catch(() => undefined); // it may fail after its time
    try {
      await untilOr(renewal, clock, Math.max(0, this.#until - started));
      if (clock.elapsed() >= this.#until) this.#lose('it could not be renewed in time');
      else if (!(await renewal)) this.#lose('another process took it');
      else this.#until = started + this.#limits.ttlMs - this.#limits.marginMs;
    } catch (error) {
      log.warn('the lease of a task could not be renewed; trying again', {
        module: this.#task.module,
        cause: error,
      });
      if (clock.elapsed() >= this.#until) this.#lose('it could not be renewed in time');
    }
    if (!this.#isOver) this.#renewLater();
  }

  #lose(reason: string): void {
    const { module, name } = this.#task;
    this.#isOver = true;
    this.#options.log.error('a task of a module was lost to another process', { module, task: name, reason });
    this.#lost.abort();
  }

  /** Changes the document while it has this lease; false when it has another. */
  #change(to: (record: TaskRecord, lease: NonNullable<TaskRecord['lease']>) => TaskRecord): Promise<boolean> {
    const { store, holder } = this.#options;
    const id = idOf(this.#task);
    return store.transact(async (tx) => {
      const record = await stored(tx, id);
      if (record.lease?.holder !== holder) return false;
      tx.put(TASKS, id, to(record, record.lease));
      return true;
    });
  }

  async end(isDone: boolean): Promise<void> {
    this.#isOver = true;
    this.#cancelRenewal();
    await this.#renewing;
    const { version, module, name } = this.#task;
    const isOurs = await this.#change(({ done }) => ({
      done: isDone ? [...done.filter((one) => one !== version), version].slice(-VERSIONS_KEPT) : done,
    }));
    if (!isOurs && isDone) {
      this.#options.log.warn('a task of a module ended after another process had taken it over', {
        module,
        task: name,
      });
    }
  }
}
