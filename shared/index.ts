/** What every part of the product uses. Rooms and rarer files have subpaths of their own. */
export { backOff, type Random } from './back-off';
export {
  badRequest,
  CATALOGUE,
  CmbsError,
  describeError,
  isOutage,
  toCmbsError,
  type CmbsErrorOptions,
  type ErrorCode,
} from './errors';
export { boundedLog, type BoundedLog } from './bounded-log';
export { newId, systemClock, timeOrderedIds, type Clock, type NewId } from './clock';
export { isJsonObject, type Json, type JsonObject } from './json';
export {
  silentCounters,
  silentHistograms,
  silentLog,
  type Counters,
  type Histograms,
  type Log,
  type LogFields,
} from './log';
export {
  allowAll,
  ANONYMOUS,
  callerKey,
  OPERATIONS,
  SYSTEM,
  TOPIC_BUS,
  type Authorize,
  type Operation,
  type Principal,
  type Resource,
} from './principal';
export { VERSION } from './version';
export { aborted, inTime, nextTurn, pause, untilOr } from './waiting';
