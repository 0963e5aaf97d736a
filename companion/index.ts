/** The companion's public door. The container's program has a door of its own, since it imports the cloud's clients. */
export { localAddresses } from './address-policy';
export { type CompanionAdditions, CompanionAssembly } from './assembly';
export { Companion } from './companion';
export { COMPANION_DRAIN_MS, type CompanionOptions } from './companion-options';
export { DELIVERY_LIMITS, type DeliveryLimits } from './delivery/limits';
export {
  type BroadcastConnection,
  type ConnectionState,
  type Exchange,
  type ExchangeDefinition,
  type ExchangeEnvironment,
  type FrameListener,
  type FrameReplier,
  type MemberSocket,
  type OpenSocket,
  PeerError,
  type PeerErrorReason,
  type RequestConnection,
  type RequestOptions,
  type StateListener,
} from './exchanges/exchange';
export { type OpenFiles, openFiles } from './files';
export { schemesOf } from './exchanges/exchanges';
export { zeroMq } from './exchanges/zeromq';
export { companionGauges, prometheusMetrics } from './metrics';
export { ModuleAnnouncements } from './module-announcements';
export { runSchedules } from './schedules';
