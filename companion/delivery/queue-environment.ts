/** What a destination queue needs of its companion. */
import type { Clock, Counters, Log } from '@cmbs/shared';
import type { Store } from '@cmbs/shared/store';
import type { Exchanges } from '../exchanges/exchanges';
import type { Members } from '../members';
import type { ShardLease } from '../shard-lease';
import type { DeliveryLimits } from './limits';

export interface QueueEnvironment {
  readonly store: Pick<Store, 'get' | 'getAll'>;
  readonly members: Pick<Members, 'get' | 'local'>;
  readonly exchanges: Pick<Exchanges, 'connectForRequests' | 'connectForBroadcasts'>;
  readonly shard: ShardLease;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Milliseconds before the next attempt, by the number of failures in a row. */
  readonly backOff: (failures: number) => number;
  readonly limits: DeliveryLimits;
}
