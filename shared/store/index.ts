/** The store: its interface, and the id and the keys of the deployment that it holds. Engines have doors of their own. */
export { assertReachable, deploymentId, deploymentKey } from './deployment';
export { compareKeys } from './keys';
export { cursorAfter, idInCursor, MAX_WHERE_TERMS } from './store-query';
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
