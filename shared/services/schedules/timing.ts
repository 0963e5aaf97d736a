/**
 * When a schedule is due. A due time follows from the schedule alone, so that every process computes the same ones.
 * The local time of a cron expression may not exist, or exist twice, where clocks change (docs/services.md, "Schedules").
 */
import { Cron } from 'croner';
import { z } from 'zod';
import { MAX_COUNTED } from './limits';

export const timingSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('at'), time: z.number() }),
  z.strictObject({ kind: z.literal('every'), first: z.number(), everyMs: z.number() }),
  z.strictObject({
    kind: z.literal('cron'),
    expression: z.string(),
    zone: z.string(),
    /** No due time is earlier. */
    first: z.number().exactOptional(),
  }),
]);
/** Times are in milliseconds since the epoch. */
export type Timing = z.infer<typeof timingSchema>;

/** A timing and its last time. */
export interface Timed {
  readonly timing: Timing;
  readonly until?: number;
}

/** Names of time zones (IANA). Offsets such as `+02:00` are no zones: they know no summer time. */
const ZONE = /^[A-Za-z][A-Za-z0-9_+\-/]*$/;

/**
 * The name by which the runtime knows a zone; undefined for a text that names none. croner keeps a formatter for each
 * spelling of a name, so that it gets one spelling only.
 */
export function knownZone(zone: string): string | undefined {
  if (!ZONE.test(zone)) return undefined;
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: zone }).resolvedOptions().timeZone;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * Five or six fields, without years: with them, croner could search for thousands of years.
 * @throws Error of croner that says what is wrong with the expression
 */
export function cronOf(expression: string, zone: string): Cron {
  // croner takes such a text for a single time.
  if (expression.includes(':')) throw new TypeError('an expression has fields, and no time.');
  return new Cron(expression, { timezone: knownZone(zone) ?? zone, mode: '5-or-6-parts' });
}

/** The first due time after `after`; undefined when there is none. */
export function nextDue({ timing, until = Infinity }: Timed, after: number): number | undefined {
  const next = nextOf(timing, after);
  return next === undefined || next > until ? undefined : next;
}

function nextOf(timing: Timing, after: number): number | undefined {
  switch (timing.kind) {
    case 'at':
      return timing.time > after ? timing.time : undefined;
    case 'every': {
      const { first, everyMs } = timing;
      return after < first ? first : first + (Math.floor((after - first) / everyMs) + 1) * everyMs;
    }
    case 'cron': {
      const from = Math.max(after, (timing.first ?? -Infinity) - 1);
      return cronOf(timing.expression, timing.zone).nextRun(new Date(from))?.getTime();
    }
  }
}

/** Due times that have come. */
export interface Passed {
  /** The latest of them. */
  readonly last: number;
  /** Their number; of a cron expression, {@link MAX_COUNTED} stands for so many or more. */
  readonly count: number;
}

/** The due times from `due`, which is one, to `now`. */
export function passedDue(timed: Timed, due: number, now: number): Passed {
  const { timing, until = Infinity } = timed;
  const end = Math.min(now, until);
  switch (timing.kind) {
    case 'at':
      return { last: due, count: 1 };
    case 'every': {
      const more = Math.floor((end - due) / timing.everyMs);
      return { last: due + more * timing.everyMs, count: more + 1 };
    }
    case 'cron': {
      const cron = cronOf(timing.expression, timing.zone);
      let last = due;
      for (let count = 1; count < MAX_COUNTED; count += 1) {
        const next = cron.nextRun(new Date(last))?.getTime();
        if (next === undefined || next > end) return { last, count };
        last = next;
      }
      // The time itself counts, and croner looks for earlier ones.
      const [latest] = cron.previousRuns(1, new Date(end + 1));
      return { last: Math.max(last, latest?.getTime() ?? last), count: MAX_COUNTED };
    }
  }
}
