/** What every engine of the store works with; an engine adds its own options. */
import type { Clock } from '../clock';
import type { Log } from '../log';

export interface StoreOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Silent when absent. */
  readonly log?: Log;
}
