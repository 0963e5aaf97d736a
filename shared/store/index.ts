/** The store: its interface and what every engine shares. */
export { assertReachable, deploymentId } from './deployment';
export type {
  CallOptions,
  Change,
  Doc,
  Page,
  PutOptions,
  Query,
  Size,
  Store,
  Transaction,
  Watch,
  WatchScope,
} from './store';
