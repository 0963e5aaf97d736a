/** The store: its interface and what every engine shares. */
export { assertReachable, deploymentId } from './deployment';
export type { Doc, Page, PutOptions, Size, Store, Transaction, Watch } from './store';
