/** What every engine of the bus works with; an engine adds its own options. */
import type { Random } from '../back-off';
import type { Clock } from '../clock';
import type { Counters, Log } from '../log';
import type { Store } from '../store';

export interface BusOptions {
  /** Holds the engine's records. Closing the bus does not close the store. */
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Silent when absent. */
  readonly counters?: Counters;
  /** For back-off; `Math.random` when absent. */
  readonly random?: Random;
}
