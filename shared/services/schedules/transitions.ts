/**
 * What happens to a schedule, as functions from one state to the next, for the transactions that store them. A run is
 * stored before its call, with the due time after it: a due time whose run began is never due again.
 */
import { MISSED_AFTER_MS, MAX_ATTEMPTS, MAX_REFUSALS } from './limits';
import type { LastRun, Run, Schedule } from './record';
import { nextDue, passedDue } from './timing';

/** The part of a run that its process chooses. */
export type NewRun = Pick<Run, 'id' | 'holder' | 'isIdempotent'>;

export type Begun =
  | { readonly kind: 'run'; readonly schedule: Schedule & { readonly run: Run } }
  /** All due times that have come are skipped. */
  | { readonly kind: 'skipped'; readonly schedule: Schedule };

type Due = Pick<Schedule, 'due' | 'left' | 'timing' | 'until'>;

function without<K extends keyof Schedule>(schedule: Schedule, ...names: readonly K[]): Omit<Schedule, K> {
  const others = Object.entries(schedule).filter(([name]) => !names.includes(name as K));
  return Object.fromEntries(others) as Omit<Schedule, K>;
}

const withDue = (schedule: Schedule, due: number | undefined): Schedule =>
  due === undefined ? without(schedule, 'due') : { ...schedule, due };

/** A schedule that will never run again has ended. */
function settled(schedule: Schedule): Schedule {
  const { due, extra, run } = schedule;
  const isOver = due === undefined && extra === undefined && run === undefined;
  return isOver ? { ...schedule, state: 'ended' } : schedule;
}

/** The due time after `now`, unless the schedule has run as often as it may. */
const dueAfter = (schedule: Due, now: number): number | undefined =>
  schedule.left === 0 ? undefined : nextDue(schedule, now);

/** Begins a run if the schedule is due; undefined if not. */
export function begun(schedule: Schedule, now: number, newRun: NewRun): Begun | undefined {
  const { extra, due, state, run, runs, skipped, missed } = schedule;
  if (run !== undefined) return undefined;
  const runFor = (what: Pick<Run, 'due' | 'attempt' | 'isAsked'>): Run => ({
    ...newRun,
    ...what,
    renewals: 0,
    started: now,
  });
  if (extra !== undefined && extra.due <= now) {
    const { attempts, isAsked } = extra;
    return {
      kind: 'run',
      schedule: {
        ...(without(schedule, 'extra') as Schedule),
        runs: attempts === 0 ? runs + 1 : runs,
        run: runFor({ due: extra.due, attempt: attempts + 1, isAsked }),
      },
    };
  }
  if (state !== 'active' || due === undefined || due > now) return undefined;
  const { last, count } = passedDue(schedule, due, now);
  if (missed === 'skip' && now - last > MISSED_AFTER_MS) {
    const later = withDue({ ...schedule, skipped: skipped + count }, dueAfter(schedule, now));
    return { kind: 'skipped', schedule: settled(later) };
  }
  const counted: Schedule = {
    ...schedule,
    ...(schedule.left === undefined ? {} : { left: schedule.left - 1 }),
    runs: runs + 1,
    skipped: skipped + count - 1,
  };
  return {
    kind: 'run',
    schedule: {
      ...withDue(counted, dueAfter(counted, now)),
      run: runFor({ due: last, attempt: 1, isAsked: false }),
    },
  };
}

/** How a call ended. */
export interface RunOutcome extends Pick<LastRun, 'outcome' | 'fault' | 'result'> {
  /** The caller may not make the call, or not any more. */
  readonly isRefused?: boolean;
}

/** Ends the run with its outcome. Due times that came while it ran are skipped. */
export function ended(schedule: Schedule & { readonly run: Run }, outcome: RunOutcome, now: number): Schedule {
  const { run, failures, due, state, skipped } = schedule;
  const { isRefused = false, ...kept } = outcome;
  const next: Schedule = {
    ...(without(schedule, 'run') as Schedule),
    failures: outcome.outcome === 'answer' ? failures : failures + 1,
    refusals: isRefused ? schedule.refusals + 1 : 0,
    last: { due: run.due, started: run.started, ended: now, ...kept },
  };
  const hasPassed = state === 'active' && due !== undefined && due <= now && due > run.started;
  const later = hasPassed
    ? withDue({ ...next, skipped: skipped + passedDue(schedule, due, now).count }, dueAfter(schedule, now))
    : next;
  if (later.refusals < MAX_REFUSALS || later.state !== 'active') return settled(later);
  const reason = `The call was refused ${MAX_REFUSALS} times in a row: ${outcome.fault?.text ?? ''}`;
  return settled({ ...later, state: 'paused', reason, refusals: 0 });
}

const INTERRUPTED: RunOutcome = {
  outcome: 'unknown',
  fault: { code: -32002, text: 'The run was interrupted: the call may have run, and is not run again.' },
};

/**
 * Ends a run that was interrupted. It is run again only if its method is idempotent; otherwise its outcome is unknown.
 * Due times that came meanwhile are not skipped: they were missed.
 */
export function interrupted(schedule: Schedule & { readonly run: Run }, now: number): Schedule {
  const { run } = schedule;
  if (run.isIdempotent && run.attempt < MAX_ATTEMPTS) return again(schedule, run.attempt);
  const { failures } = schedule;
  return settled({
    ...(without(schedule, 'run') as Schedule),
    failures: failures + 1,
    last: { due: run.due, started: run.started, ended: now, ...INTERRUPTED },
  });
}

/** Takes back a run whose call has not begun. */
export const takenBack = (schedule: Schedule & { readonly run: Run }): Schedule =>
  again(schedule, schedule.run.attempt - 1);

function again(schedule: Schedule & { readonly run: Run }, attempts: number): Schedule {
  const { run, runs } = schedule;
  return {
    ...(without(schedule, 'run') as Schedule),
    runs: attempts === 0 ? runs - 1 : runs,
    extra: { due: run.due, attempts, isAsked: run.isAsked },
  };
}

export const paused = (schedule: Schedule): Schedule => ({
  ...(without(schedule, 'reason') as Schedule),
  state: 'paused',
});

/** Goes on with the due times after `now`. A time of `at` that has passed counts as missed. */
export function resumed(schedule: Schedule, now: number): Schedule {
  const active: Schedule = { ...(without(schedule, 'reason') as Schedule), state: 'active', refusals: 0 };
  if (schedule.due === undefined || schedule.timing.kind === 'at') return settled(active);
  return settled(withDue(active, dueAfter(schedule, Math.max(now, schedule.due - 1))));
}

/** Runs the schedule now, besides its due times; while a run is asked for, a second request changes nothing. */
export const asked = (schedule: Schedule, now: number): Schedule =>
  schedule.extra === undefined ? { ...schedule, extra: { due: now, attempts: 0, isAsked: true } } : schedule;
