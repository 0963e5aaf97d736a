/** What the parts of a companion share. */
import type { Bus } from '@cmbs/shared/bus';
import type { ExecutionContext, InboundContext, RegistrationContext } from '@cmbs/shared/broker';
import type { DeliveryLimits } from './delivery/limits';
import type { ShardLease } from './shard-lease';
import type { Members } from './members';
import type { Exchanges } from './exchanges/exchanges';

/** What publications need of it. */
export type PublicationEnvironment = Pick<
  Environment,
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

export interface Environment extends RegistrationContext, InboundContext, ExecutionContext {
  readonly bus: Bus;
  readonly members: Members;
  readonly exchanges: Exchanges;
  /** Identifies this deployment in hops and origins (docs/wire.md). */
  readonly deployment: string;
  readonly shard: ShardLease;
  /** URI of a member of this deployment from its path. */
  readonly uriOf: (path: string) => string;
  /** Milliseconds before a message or a layer is tried again, by the number of failures in a row */
  readonly backOff: (failures: number) => number;
  /** Outbound messages that may wait for one address. */
  readonly queueLimit: number;
  /** Limits of delivery. */
  readonly limits: DeliveryLimits;
  /** Milliseconds between two looks at everything that is desired, where what tells of changes may fail. */
  readonly lookAgainMs: number | undefined;
}
