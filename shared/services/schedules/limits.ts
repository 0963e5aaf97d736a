/** Limits of schedules, each with its unit and reason. Programs and tests may pass others. */

export interface ScheduleLimits {
  /** Schedules of one owner that have not ended: more than a program needs, few enough to count at each new one. */
  readonly ofOwner: number;
  /** Schedules of the deployment, those that have ended included. Counted at most once a minute, so somewhat more. */
  readonly all: number;
  /** Bytes of the arguments of one call: a schedule is read and written with each run. */
  readonly argumentBytes: number;
}

export const SCHEDULE_LIMITS: ScheduleLimits = {
  ofOwner: 1000,
  all: 100_000,
  argumentBytes: 16 * 1024,
};

export interface RunnerLimits {
  /** Calls that one process runs at a time, so that a crowd of due schedules leaves room for other work. */
  readonly concurrency: number;
  /** Milliseconds without a renewal after which another process takes a run for interrupted. */
  readonly ttlMs: number;
  /** Milliseconds before that at which the process that runs a call gives the call up. */
  readonly marginMs: number;
  /** Milliseconds between renewals; a call that ends earlier costs none. */
  readonly renewMs: number;
  /** Milliseconds between two looks at the store, in case the watch missed a change. */
  readonly lookAgainMs: number;
  /** Bytes of a result that a schedule keeps; a larger one is left out, since each run writes the schedule. */
  readonly resultBytes: number;
}

export const RUNNER_LIMITS: RunnerLimits = {
  concurrency: 16,
  ttlMs: 15_000,
  marginMs: 5000,
  renewMs: 3000,
  lookAgainMs: 5 * 60_000,
  resultBytes: 4 * 1024,
};

/**
 * Milliseconds ahead within which a new due time wakes the processes that run schedules: more than they sleep, and the
 * difference of two clocks. Later ones are found by the next look, so that the watch of a process reads few documents.
 */
export const WAKE_WITHIN_MS = RUNNER_LIMITS.lookAgainMs + 60_000;

/** Milliseconds of the shortest interval: cron expressions have no shorter one either. */
export const MIN_INTERVAL_MS = 1000;
/** Milliseconds by which a time may be ahead: ten years, far beyond every plan and within every calendar. */
export const MAX_AHEAD_MS = 3653 * 24 * 60 * 60 * 1000;
/** Milliseconds by which the time of `at` may have passed, for a caller whose clock is slow; the call runs at once. */
export const MAX_PAST_MS = 60_000;
/**
 * Milliseconds after which a due time counts as missed where the schedule skips those: longer than it takes until another
 * process notices that one has died.
 */
export const MISSED_AFTER_MS = 60_000;
/** Missed due times of a cron expression that are counted, since each is computed by itself: some milliseconds for all. */
export const MAX_COUNTED = 100;
/** Runs in a row that are refused before the schedule is paused. */
export const MAX_REFUSALS = 5;
/** Runs for one due time of an idempotent method: a call that kills its process must not kill every process. */
export const MAX_ATTEMPTS = 3;
/** Milliseconds for which a schedule that has ended can be read: 7 days, as long as a message lives. */
export const ENDED_MS = 7 * 24 * 60 * 60 * 1000;
/** Schedules of one owner that have ended and are kept; the latest stay. */
export const MAX_ENDED = 20;

/** Characters of a title, of a cron expression, of the name of a time zone, of a fault's text. */
export const MAX_TITLE_CHARS = 255;
export const MAX_EXPRESSION_CHARS = 255;
export const MAX_ZONE_CHARS = 64;
export const MAX_FAULT_CHARS = 1000;
/** Characters of the name of a method. */
export const MAX_METHOD_CHARS = 255;
/** Schedules on a page, by default and at most. */
export const PAGE_SCHEDULES = 50;
export const MAX_PAGE_SCHEDULES = 100;
