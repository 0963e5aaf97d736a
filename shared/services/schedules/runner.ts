/**
 * Runs schedules when they are due. Each due time is run by one process of the deployment: a transaction stores the run
 * and the next due time before the call, and a lease tells other processes that the run goes on. A run that a crash
 * interrupts is not repeated, unless its method is idempotent (docs/guarantees.md, "Schedules").
 *
 * A process sleeps until the next due time that it knows. A change that makes a schedule due earlier wakes it by a watch.
 */
import { backOff, type Random } from '../../back-off';
import type { Clock, NewId } from '../../clock';
import { concurrently } from '../../concurrently';
import { CmbsError, toCmbsError } from '../../errors';
import { isJsonObject } from '../../json';
import type { Log } from '../../log';
import type { Principal } from '../../principal';
import type { Doc, Store, Transaction, Watch } from '../../store';
import { aborted, pause, untilOr } from '../../waiting';
import { Fault, FAULT } from '../fault';
import type { Services } from '../services';
import { decodedText, encodedText } from '../stored-value';
import type { Value } from '../value';
import { MAX_ENDED, MAX_FAULT_CHARS, RUNNER_LIMITS, type RunnerLimits } from './limits';
import {
  dueSchedules,
  endedSchedules,
  type LastRun,
  laterSchedules,
  lookTime,
  ownerOf,
  type Run,
  runningSchedules,
  type Schedule,
  SCHEDULES,
  scheduleOf,
  storedSchedule,
  WAKING,
  writeSchedule,
} from './record';
import { lookAgainAfter, RunLease } from './run-lease';
import { begun, ended, interrupted, paused, type RunOutcome, takenBack } from './transitions';

/** How a run ended, for a counter. */
export type CountedOutcome = LastRun['outcome'];

export interface ScheduleRunnerOptions {
  readonly store: Pick<Store, 'query' | 'transact' | 'watch'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly newId: NewId;
  readonly services: Pick<Services, 'call' | 'describe'>;
  /**
   * Whether the caller still is the one who made a schedule: the user may be deleted, and made again later, and the access
   * token may be deleted or have expired.
   */
  readonly isValid: (principal: Principal, ownerSince?: number) => Promise<boolean>;
  /** Called for each run that ended. */
  readonly onOutcome?: (outcome: CountedOutcome) => void;
  /** Whether no other process uses the store: a run of any other process was interrupted then. */
  readonly isAlone?: boolean;
  readonly random?: Random;
  readonly limits?: Partial<RunnerLimits>;
}

/** Schedules at which one look looks: more than one process runs, few enough to read at once. */
const LOOK_SCHEDULES = 64;
/** Schedules of a look that are begun at the same time. */
const BEGIN_CONCURRENCY = 4;
/** Milliseconds of one sleep, since the wall clock may be set meanwhile; the store is not asked in between. */
const SLEEP_MS = 30_000;
/** Milliseconds before the store is asked again after an error, doubled up to the longest wait. */
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 15_000;
/** Milliseconds for the last writes of a process that stops. */
const LAST_WRITE_MS = 500;
/** Schedules of one owner that end before this process looks how many are kept. */
const ENDED_BETWEEN_LOOKS = 10;
/** Owners whose ended schedules are counted. */
const MAX_COUNTED_OWNERS = 10_000;

type Running = Schedule & { readonly run: Run };

export class ScheduleRunner {
  readonly #options: ScheduleRunnerOptions;
  readonly #limits: RunnerLimits;
  /** Identifies this process among all runners. */
  readonly #holder: string;
  /** Aborts when nothing may begin any more, then when calls must end, then when the last writes must. */
  readonly #closing = new AbortController();
  readonly #stop = new AbortController();
  readonly #giveUp = new AbortController();
  /** The runs of this process, by run id. */
  readonly #running = new Map<string, Promise<void>>();
  /** Runs of other processes, by schedule: what was last seen of them, and since when by `clock.elapsed`. */
  #seen = new Map<string, { readonly mark: string; readonly since: number }>();
  /** Schedules that have ended here since the last look at those of their owner. */
  readonly #ended = new Map<string, number>();
  /** When to look next, in milliseconds since the epoch. */
  #lookAt = 0;
  #isWoken = false;
  /** Whether there was no room at the last look. */
  #isFull = false;
  /** Schedules whose run is being stored. */
  #beginning = 0;
  #wake: () => void = () => undefined;
  readonly #loop: Promise<void>;
  #closed: Promise<void> | undefined;

  private constructor(options: ScheduleRunnerOptions) {
    this.#options = options;
    this.#limits = { ...RUNNER_LIMITS, ...options.limits };
    this.#holder = options.newId();
    this.#loop = this.#run();
  }

  /** Begins to run schedules. The caller closes the runner before the services and the store. */
  static start(options: ScheduleRunnerOptions): ScheduleRunner {
    return new ScheduleRunner(options);
  }

  /**
   * Begins no more runs, waits for those that have begun, then ends their calls and stores that. Idempotent.
   * @param drainMs milliseconds for all of it
   */
  close(drainMs: number): Promise<void> {
    return (this.#closed ??= this.#close(drainMs));
  }

  async #close(drainMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#closing.abort();
    const all = async (): Promise<void> => {
      await this.#loop;
      await Promise.all(this.#running.values());
    };
    const done = all();
    const writeMs = Math.min(LAST_WRITE_MS, drainMs / 2);
    await untilOr(done, clock, drainMs - writeMs);
    this.#stop.abort();
    await untilOr(done, clock, writeMs);
    this.#giveUp.abort();
  }

  async #run(): Promise<void> {
    const { store, clock, log, random = Math.random } = this.#options;
    const { signal } = this.#closing;
    const watch = store.watch(WAKING, (changes) => {
      if (changes.some(({ deleted }) => !deleted)) this.#wakeUp();
    });
    // Without the watch, a change is noticed at the next look.
    watch.ready.catch(() => undefined);
    try {
      await this.#becomeReady(watch);
      for (let failures = 0; !signal.aborted;) {
        try {
          await this.#look();
          failures = 0;
          await this.#sleep();
        } catch (error) {
          failures += 1;
          log.warn('due schedules could not be read; trying again', { cause: error });
          await pause(clock, backOff(failures, RETRY_FIRST_MS, RETRY_MAX_MS, random), signal);
        }
      }
    } finally {
      watch.end();
    }
  }

  /** Waits for the watch, and looks at the runs of processes that may have died. */
  async #becomeReady(watch: Watch): Promise<void> {
    const { store, clock, log } = this.#options;
    const { signal } = this.#closing;
    try {
      await untilOr(watch.ready, clock, this.#limits.ttlMs, signal);
      if (signal.aborted) return;
      const { docs } = await store.query({ ...runningSchedules, limit: LOOK_SCHEDULES });
      for (const doc of docs) await this.#consider(doc);
    } catch (error) {
      // They are looked at when their lease must have been renewed.
      log.warn('runs of other processes could not be read', { cause: error });
    }
  }

  #wakeUp(): void {
    this.#isWoken = true;
    this.#wake();
  }

  /** Looks at a time at the latest. */
  #wakeBy(time: number): void {
    if (time >= this.#lookAt) return;
    this.#lookAt = time;
    this.#wake();
  }

  async #sleep(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    const until = clock.elapsed() + this.#limits.lookAgainMs;
    while (!this.#isWoken && !signal.aborted) {
      const ms = Math.min(this.#lookAt - clock.now(), until - clock.elapsed(), SLEEP_MS);
      if (ms <= 0) return;
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      await untilOr(woken, clock, ms, signal);
    }
  }

  /** Begins what is due, as far as there is room, and finds out when to look again. */
  async #look(): Promise<void> {
    const { store, clock } = this.#options;
    this.#isWoken = false;
    this.#lookAt = Infinity;
    const now = clock.now();
    const { docs, next } = await store.query({ ...dueSchedules(now), limit: LOOK_SCHEDULES });
    // What was not taken over within two leases has been renewed since, or has ended.
    const oldest = clock.elapsed() - 2 * this.#limits.ttlMs;
    this.#seen = new Map([...this.#seen].filter(([, { since }]) => since >= oldest));
    let changes = 0;
    this.#assumeRoom();
    await concurrently(docs, BEGIN_CONCURRENCY, async (doc) => {
      if (this.#closing.signal.aborted) return;
      // Runs that are about to begin count as well.
      if (this.#running.size + this.#beginning >= this.#limits.concurrency) this.#isFull = true;
      else if (await this.#consider(doc)) changes += 1;
    });
    // The end of a run looks again when there was no room.
    if (this.#isFull) return;
    if (next !== undefined && changes > 0) this.#wakeUp();
    const [later] = (await store.query({ ...laterSchedules(now), limit: 1 })).docs;
    if (later?.order !== undefined) this.#wakeBy(Number(later.order));
  }

  #assumeRoom(): void {
    this.#isFull = false;
  }

  /** Begins a run of the schedule, or ends one that was interrupted; false when there was nothing to do. */
  async #consider(doc: Doc): Promise<boolean> {
    const { log } = this.#options;
    let schedule: Schedule;
    try {
      schedule = scheduleOf(doc);
    } catch (error) {
      log.error('a stored schedule cannot be read; it does not run', { schedule: doc.id, cause: error });
      return false;
    }
    if (schedule.run !== undefined) return this.#considerRun(doc.id, schedule.run);
    this.#beginning += 1;
    try {
      return await this.#begin(doc.id, schedule.method);
    } catch (error) {
      if (error instanceof CmbsError) throw error;
      await this.#pauseUnusable(doc.id, error);
      return true;
    } finally {
      this.#beginning -= 1;
    }
  }

  /** Pauses a schedule whose times cannot be computed, such as one in a time zone that this runtime does not know. */
  async #pauseUnusable(id: string, cause: unknown): Promise<void> {
    this.#options.log.error('a schedule is paused, since it cannot be run', { schedule: id, cause });
    await this.#change(id, (schedule) => ({
      ...paused(schedule),
      reason: 'The due times of the schedule cannot be computed; the log has the cause.',
    }));
  }

  /** Ends a run whose process has died. */
  async #considerRun(id: string, { id: runId, holder, renewals }: Run): Promise<boolean> {
    const { clock, isAlone = false, log } = this.#options;
    if (this.#running.has(runId)) return false;
    const mark = `${runId}/${renewals}`;
    const before = this.#seen.get(id);
    const seen = before?.mark === mark ? before : { mark, since: clock.elapsed() };
    this.#seen.set(id, seen);
    const leftMs = seen.since + this.#limits.ttlMs - clock.elapsed();
    if (leftMs > 0 && !(isAlone && holder !== this.#holder)) {
      this.#wakeBy(clock.now() + leftMs);
      return false;
    }
    const changed = await this.#change(id, (schedule) => {
      const { run } = schedule;
      if (run === undefined || `${run.id}/${run.renewals}` !== mark) return undefined;
      return interrupted({ ...schedule, run }, clock.now());
    });
    if (changed === undefined) return true;
    this.#seen.delete(id);
    log.warn('the run of a schedule was interrupted', { schedule: id, method: changed.method });
    this.#afterRun(changed, changed.extra === undefined ? 'unknown' : undefined);
    return true;
  }

  async #begin(id: string, method: string): Promise<boolean> {
    const { store, clock, newId } = this.#options;
    const runId = newId();
    const isIdempotent = this.#isIdempotent(method);
    const takenAt = clock.elapsed();
    const found = await store.transact(async (tx) => {
      const schedule = await storedSchedule(tx, id);
      if (schedule === undefined) return undefined;
      const next = begun(schedule, clock.now(), { id: runId, holder: this.#holder, isIdempotent });
      if (next === undefined) return undefined;
      writeSchedule(tx, id, next.schedule, { lookAt: clock.now() + lookAgainAfter(this.#limits) });
      return next;
    });
    // Another process was faster, or the schedule was changed.
    if (found === undefined) return true;
    if (found.kind === 'skipped') {
      this.#afterRun(found.schedule);
      return true;
    }
    const running = this.#runOnce(id, found.schedule, takenAt).finally(() => {
      this.#running.delete(runId);
      if (this.#isFull) this.#wakeUp();
    });
    this.#running.set(runId, running);
    return true;
  }

  #isIdempotent(method: string): boolean {
    try {
      return this.#options.services.describe(method).flags.idempotent === true;
    } catch (thrown) {
      if (thrown instanceof Fault) return false;
      throw thrown;
    }
  }

  /** Runs the call of a run that is stored, and stores its outcome. */
  async #runOnce(id: string, schedule: Running, takenAt: number): Promise<void> {
    const { clock, log } = this.#options;
    const runId = schedule.run.id;
    const lease = new RunLease({ ...this.#options, limits: this.#limits }, id, runId, takenAt);
    try {
      // A run that was stored while the process began to stop has not been called.
      const isBegun = !this.#closing.signal.aborted;
      const outcome = isBegun ? await this.#outcomeOf(schedule, lease) : undefined;
      const changed = await this.#finish(id, lease, (current) => {
        const { run } = current;
        if (run?.id !== runId) return undefined;
        const running = { ...current, run };
        if (outcome === undefined) return takenBack(running);
        const isCut = outcome.outcome === 'unknown';
        return isCut ? interrupted(running, clock.now()) : ended(running, outcome, clock.now());
      });
      if (changed === undefined) return;
      if (changed.state === 'paused' && changed.reason !== undefined) {
        log.warn('a schedule is paused', { schedule: id, method: changed.method, reason: changed.reason });
      }
      this.#afterRun(changed, changed.extra?.due === schedule.run.due ? undefined : outcome?.outcome);
    } catch (error) {
      log.error('the outcome of a schedule could not be stored', { schedule: id, cause: error });
    } finally {
      lease.end();
    }
  }

  async #outcomeOf({ principal, ownerSince, method, args }: Schedule, lease: RunLease): Promise<RunOutcome> {
    const { services, isValid, log } = this.#options;
    const signal = AbortSignal.any([this.#stop.signal, lease.lost]);
    try {
      if (!(await isValid(principal, ownerSince))) {
        const text =
          principal.token === undefined
            ? 'The user who made this schedule was deleted.'
            : 'The access token of this schedule was deleted or has expired, or its user was deleted.';
        throw new Fault(FAULT.refused, text, { code: 'unauthenticated' });
      }
      const params = decodedText(args) as readonly Value[];
      const result = await services.call(method, params, {
        principal,
        way: 'schedule',
        isStored: true,
        signal,
        log,
      });
      return { outcome: 'answer', ...keptResult(result, this.#limits.resultBytes) };
    } catch (thrown) {
      const fault = thrown instanceof Fault ? thrown : faultOf(thrown);
      if (!(thrown instanceof Fault)) log.error('a schedule could not be run', { method, cause: thrown });
      return {
        // A method that notices the end of its call may throw anything.
        outcome: signal.aborted || fault.code === FAULT.outcomeUnknown ? 'unknown' : 'fault',
        fault: { code: fault.code, text: fault.message.slice(0, MAX_FAULT_CHARS) },
        ...(isRefusal(fault) ? { isRefused: true } : {}),
      };
    }
  }

  /** Stores the end of a run, and tries again until the lease is lost or the process ends. */
  async #finish(
    id: string,
    lease: RunLease,
    to: (schedule: Schedule) => Schedule | undefined,
  ): Promise<Schedule | undefined> {
    const { clock, log, random = Math.random } = this.#options;
    const over = AbortSignal.any([lease.lost, this.#giveUp.signal]);
    for (let failures = 1; ; failures += 1) {
      try {
        return await untilAborted(this.#change(id, to), over);
      } catch (error) {
        // Another error would come again; the lease ends, and the run counts as interrupted.
        if (over.aborted || !(error instanceof CmbsError)) throw error;
        log.warn('the outcome of a schedule could not be stored; trying again', { schedule: id, cause: error });
        await pause(clock, backOff(failures, RETRY_FIRST_MS, RETRY_MAX_MS, random), over);
      }
    }
  }

  /** The schedule after the change; undefined when it was cancelled, or `to` changes nothing. */
  #change(id: string, to: (schedule: Schedule) => Schedule | undefined): Promise<Schedule | undefined> {
    return this.#options.store.transact(async (tx: Transaction) => {
      const schedule = await storedSchedule(tx, id);
      const changed = schedule === undefined ? undefined : to(schedule);
      if (changed !== undefined) writeSchedule(tx, id, changed);
      return changed;
    });
  }

  #afterRun(schedule: Schedule, outcome?: CountedOutcome): void {
    if (outcome !== undefined) this.#options.onOutcome?.(outcome);
    const time = lookTime(schedule);
    if (time !== undefined) this.#wakeBy(time);
    if (schedule.state !== 'ended') return;
    const owner = ownerOf(schedule.principal);
    const count = (this.#ended.get(owner) ?? 0) + 1;
    if (count < ENDED_BETWEEN_LOOKS && this.#ended.size < MAX_COUNTED_OWNERS) {
      this.#ended.set(owner, count);
      return;
    }
    this.#ended.delete(owner);
    this.#removeEnded(owner).catch((error: unknown) => {
      this.#options.log.warn('schedules that have ended could not be removed', { cause: error });
    });
  }

  /** Removes schedules of an owner that have ended; the latest stay. */
  async #removeEnded(owner: string): Promise<void> {
    const { store } = this.#options;
    const { docs } = await store.query({ ...endedSchedules(owner), limit: 2 * LOOK_SCHEDULES });
    const endOf = (doc: Doc): number => doc.expiresAt ?? 0;
    const old = docs.toSorted((one, other) => endOf(other) - endOf(one)).slice(MAX_ENDED);
    if (old.length === 0) return;
    await store.transact(async (tx) => {
      for (const doc of await tx.getAll(
        SCHEDULES,
        old.map(({ id }) => id),
      )) {
        if (doc !== undefined) tx.delete(SCHEDULES, doc.id);
      }
    });
  }
}

/** The result of a run as it is kept; nothing of one that is too large. */
function keptResult(result: Value, most: number): Pick<RunOutcome, 'result'> {
  try {
    return { result: encodedText(result, most) };
  } catch (thrown) {
    if (thrown instanceof Fault || thrown instanceof CmbsError) return {};
    throw thrown;
  }
}

function faultOf(thrown: unknown): Fault {
  const { code, message } = toCmbsError(thrown);
  return new Fault(FAULT.refused, message, { code }, { cause: thrown });
}

/** Whether a call was refused because of its caller, or because there is no such method. */
function isRefusal({ code, data }: Fault): boolean {
  if (code === FAULT.methodNotFound) return true;
  if (code !== FAULT.refused || !isJsonObject(data)) return false;
  return data.code === 'forbidden' || data.code === 'unauthenticated';
}

/** The result of `work`; rejects when the signal aborts. A later result is ignored. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const gone = aborted(signal).then((): never => {
    throw new CmbsError('unavailable', 'The process stops, or another one has taken over.');
  });
  return Promise.race([work, gone]);
}
