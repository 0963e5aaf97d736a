/** A schedule as it is stored, and the entries by which it is found. */
import { z } from 'zod';
import { orderKey } from '../../clock';
import { type Principal, principalSchema } from '../../principal';
import type { Doc, Query, Transaction, WatchScope } from '../../store';
import { ENDED_MS, WAKE_WITHIN_MS } from './limits';
import { timingSchema } from './timing';

/** Collection of the schedules. The order of a document is the time at which a process looks at the schedule. */
export const SCHEDULES = 'schedules';

const faultSchema = z.strictObject({ code: z.number(), text: z.string() });

/** A run that has begun and has no outcome yet. */
const runSchema = z.strictObject({
  id: z.string(),
  /** The process that runs the call. */
  holder: z.string(),
  /** Increases with each renewal. */
  renewals: z.number(),
  due: z.number(),
  started: z.number(),
  /** 1 for the first run for this due time. */
  attempt: z.number(),
  /** Whether the method says that a repeated call has the same effect as one. */
  isIdempotent: z.boolean(),
  /** Whether a caller asked for this run. */
  isAsked: z.boolean(),
});
export type Run = z.infer<typeof runSchema>;

const lastRunSchema = z.strictObject({
  due: z.number(),
  started: z.number(),
  ended: z.number(),
  /** `unknown`: the call was interrupted and may have run. */
  outcome: z.enum(['answer', 'fault', 'unknown']),
  fault: faultSchema.exactOptional(),
  /** Text of a stored value; absent where the result is too large. */
  result: z.string().exactOptional(),
});
export type LastRun = z.infer<typeof lastRunSchema>;

const scheduleSchema = z.strictObject({
  /** The caller who made the schedule, and for whom the calls run. */
  principal: principalSchema,
  /** When that user was created; absent for a caller who is no user of the store. */
  ownerSince: z.number().exactOptional(),
  title: z.string().exactOptional(),
  method: z.string(),
  /** Text of a stored value, an array. */
  args: z.string(),
  timing: timingSchema,
  /** No due time is later. */
  until: z.number().exactOptional(),
  /** Due times for which the call may still run; without a bound when absent. */
  left: z.number().exactOptional(),
  missed: z.enum(['once', 'skip']),
  state: z.enum(['active', 'paused', 'ended']),
  /** Why the deployment paused the schedule. */
  reason: z.string().exactOptional(),
  created: z.number(),
  /** The next due time. */
  due: z.number().exactOptional(),
  /** A run besides the due times: a caller asked for it, or an idempotent call was interrupted. */
  extra: z.strictObject({ due: z.number(), attempts: z.number(), isAsked: z.boolean() }).exactOptional(),
  run: runSchema.exactOptional(),
  runs: z.number(),
  failures: z.number(),
  /** Due times that passed without a run of their own. */
  skipped: z.number(),
  /** Runs in a row that were refused. */
  refusals: z.number(),
  last: lastRunSchema.exactOptional(),
});
export type Schedule = z.infer<typeof scheduleSchema>;

export const scheduleOf = (doc: Pick<Doc, 'value'>): Schedule => scheduleSchema.parse(doc.value);

export async function storedSchedule(tx: Pick<Transaction, 'get'>, id: string): Promise<Schedule | undefined> {
  const doc = await tx.get(SCHEDULES, id);
  return doc === undefined ? undefined : scheduleOf(doc);
}

/** The owner of a schedule as rules write a caller: `user:alice`. An access token acts for its user. */
export const ownerOf = ({ kind, name }: Pick<Principal, 'kind' | 'name'>): string => `${kind}:${name}`;

const FIELD = {
  /** All schedules of an owner. */
  owner: 'owner',
  /** Those that were made with one access token. */
  token: 'token',
  /** Those of an owner that have not ended, and those that have. */
  live: 'live',
  ended: 'ended',
  /** A change that other processes must learn of before their next look. */
  soon: 'soon',
  /** Runs that have begun. */
  running: 'running',
} as const;
const YES = 'yes';

export interface WriteOptions {
  /** Milliseconds since the epoch, for a schedule that runs: when other processes look whether the run goes on. */
  readonly lookAt?: number;
  /** Now, for a change that may make the schedule due earlier: it wakes the processes that wait. */
  readonly changedAt?: number;
}

/** When a process looks at the schedule; undefined for never. */
export function lookTime({ state, due, extra, run }: Schedule, lookAt?: number): number | undefined {
  if (run !== undefined) return lookAt ?? run.started;
  if (extra !== undefined) return extra.due;
  return state === 'active' ? due : undefined;
}

export function writeSchedule(
  tx: Pick<Transaction, 'put'>,
  id: string,
  schedule: Schedule,
  options: WriteOptions = {},
): void {
  const { principal, state, run, last, created } = schedule;
  const { lookAt, changedAt } = options;
  const owner = ownerOf(principal);
  const order = lookTime(schedule, lookAt);
  const hasEnded = state === 'ended';
  const isSoon = changedAt !== undefined && order !== undefined && order < changedAt + WAKE_WITHIN_MS;
  tx.put(SCHEDULES, id, schedule, {
    index: {
      [FIELD.owner]: [owner],
      [hasEnded ? FIELD.ended : FIELD.live]: [owner],
      ...(principal.token === undefined ? {} : { [FIELD.token]: [principal.token] }),
      ...(isSoon ? { [FIELD.soon]: [YES] } : {}),
      ...(run === undefined ? {} : { [FIELD.running]: [YES] }),
    },
    ...(order === undefined ? {} : { order: orderKey(order) }),
    ...(hasEnded ? { expiresAt: (last?.ended ?? created) + ENDED_MS } : {}),
  });
}

type Scope = Pick<Query, 'collection' | 'where'>;
const where = (field: string, value: string): Scope => ({
  collection: SCHEDULES,
  where: [{ field, value }],
});

/** The schedules that a caller may see: its own. An access token sees those that were made with it. */
export const ownSchedules = (principal: Principal): Scope =>
  principal.token === undefined ? where(FIELD.owner, ownerOf(principal)) : where(FIELD.token, principal.token);
export const allSchedules: Scope = { collection: SCHEDULES };
export const liveSchedules = (owner: string): Scope => where(FIELD.live, owner);
export const endedSchedules = (owner: string): Scope => where(FIELD.ended, owner);
export const runningSchedules: Scope = where(FIELD.running, YES);
/** Changes that must wake the processes which wait for the next due time. */
export const WAKING: WatchScope = { collection: SCHEDULES, where: { field: FIELD.soon, value: YES } };
/** Schedules at which a process looks now. */
export const dueSchedules = (now: number): Scope & Pick<Query, 'by' | 'upTo'> => ({
  collection: SCHEDULES,
  by: 'order',
  upTo: orderKey(now),
});
/** Schedules at which a process looks later. */
export const laterSchedules = (now: number): Scope & Pick<Query, 'by' | 'above'> => ({
  collection: SCHEDULES,
  by: 'order',
  above: orderKey(now),
});
