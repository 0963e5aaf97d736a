/** Service modules of the product besides `system` and `echo`, and the services behind them. */
export { RUNNER_LIMITS, type RunnerLimits, SCHEDULE_LIMITS, type ScheduleLimits } from '../schedules/limits';
export { ScheduleRunner, type ScheduleRunnerOptions } from '../schedules/runner';
export { type NewSchedule, Schedules, type SchedulesOptions } from '../schedules/schedules';
export { type ScheduleBook, scheduleModule } from './schedule';
