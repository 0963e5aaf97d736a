/** What the delivery of messages needs of its companion; each part names the fields that it uses. */
import type { Authorize, Clock, Counters, Log } from '@cmbs/shared';
import type { Layers } from '@cmbs/shared/broker';
import type { Bus } from '@cmbs/shared/bus';
import type { Categories } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import type { Exchange } from '../exchanges/exchange';
import type { Members } from '../members';
import type { ShardLease } from '../shard-lease';
import type { DeliveryLimits } from './limits';

export interface DeliveryEnvironment {
  readonly store: Store;
  readonly bus: Bus;
  readonly categories: Pick<Categories, 'current'>;
  readonly layers: Layers;
  readonly authorize: Authorize;
  readonly members: Pick<Members, 'get' | 'find' | 'findAll' | 'refresh' | 'onChange'>;
  readonly exchanges: Pick<Exchange, 'connectForRequests' | 'connectForBroadcasts'>;
  readonly shard: ShardLease;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Identifies this deployment in hops and origins (docs/wire.md). */
  readonly deployment: string;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
  /** Milliseconds before the next attempt, by the number of failures in a row. */
  readonly backOff: (failures: number) => number;
  /** Outbound messages that may wait for one address. */
  readonly queueLimit: number;
  readonly limits: DeliveryLimits;
  /** Milliseconds between two scans of the store, where a watch may fail. */
  readonly lookAgainMs: number | undefined;
}

/** What a destination queue needs. */
export interface QueueEnvironment extends Pick<
  DeliveryEnvironment,
  'exchanges' | 'shard' | 'clock' | 'log' | 'counters' | 'backOff' | 'limits'
> {
  readonly store: Pick<Store, 'get' | 'getAll' | 'query'>;
  readonly members: Pick<Members, 'find'>;
}

/** What publications need. */
export type PublicationEnvironment = Pick<
  DeliveryEnvironment,
  | 'store'
  | 'bus'
  | 'categories'
  | 'layers'
  | 'authorize'
  | 'clock'
  | 'log'
  | 'counters'
  | 'deployment'
  | 'uriOf'
  | 'backOff'
>;
