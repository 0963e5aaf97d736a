/** Runs schedules in the programs that do: the local stack, and the companion while it holds its shard. */
import type { Clock, Counters, Log, NewId } from '@cmbs/shared';
import { callerCheck } from '@cmbs/shared/access';
import type { Services } from '@cmbs/shared/services';
import { type RunnerLimits, ScheduleRunner } from '@cmbs/shared/services/builtin';
import type { Store } from '@cmbs/shared/store';

/** Limits of the runs of schedules, in place of the defaults. */
export type ScheduleLimits = Partial<RunnerLimits>;

export interface SchedulingParts {
  readonly store: Store;
  readonly services: Services;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters: Counters;
  /** Whether no other process runs schedules on the store. */
  readonly isAlone: boolean;
  readonly limits?: ScheduleLimits | undefined;
}

/** Runs schedules until the runner is closed. */
export const runSchedules = ({ counters, limits = {}, ...parts }: SchedulingParts): ScheduleRunner =>
  ScheduleRunner.start({
    ...parts,
    limits,
    isValid: callerCheck(parts.store, parts.clock),
    onOutcome: (outcome) => counters.add('cmbs_schedule_runs', { outcome }),
  });
