/** The built-in service modules, beside `system` and `echo` of every program, and the ports that they use. */
export { type BuiltInParts, BuiltInServices, type DomainParts } from './built-in';
export { keyValueFunctions } from './kv-functions';
export { discoveryModule, type DiscoveryPort, type ServiceSource } from './discovery';
export {
  type Descriptor,
  providerOf,
  PUBLISH_INTERVAL_MS,
  RECORD_LIFE_MS,
  type ServiceQuery,
  type ServiceRecord,
} from './discovery/record';
export { MAX_DESCRIPTORS, type RecordPage, ServiceRegistry } from './discovery/registry';
export { fileModule, noFiles } from './file';
export { type FileCaller, type FileCondition, GovernedFiles } from './files/governed-files';
export type { FileLimits } from './files/limits';
export { type FileName, fileName, nothingAt, pathOf, shownName } from './files/names';
export { type FileInfo, type OpenFile, VirtualFiles } from './files/virtual-files';
export { keyValueModule, type KeyValuePorts } from './kv';
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
