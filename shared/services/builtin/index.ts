/** The built-in service modules, beside `system` and `echo` of every program, and the ports that they use. */
export { entityCalls } from './entities';
export { domainModules } from './domain-modules';
export { keyValueModule, type KeyValuePorts } from './kv';
export { messageCalls } from './message';
export {
  type AcknowledgedEntry,
  type DomainPorts,
  type EntityAccess,
  type InboxRequest,
  LatePorts,
  type MessageToSend,
  type Messaging,
  type PortPrincipal,
  type Rights,
} from './ports';
export { RUNNER_LIMITS, type RunnerLimits, SCHEDULE_LIMITS, type ScheduleLimits } from '../schedules/limits';
export { ScheduleRunner, type ScheduleRunnerOptions } from '../schedules/runner';
export { type NewSchedule, Schedules, type SchedulesOptions } from '../schedules/schedules';
export { type ScheduleBook, scheduleModule } from './schedule';
