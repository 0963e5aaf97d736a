/** The needs of all parts of a companion together. Each part has its own interface beside it. */
import type { ExecutionContext, InboundContext, RegistrationContext } from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './delivery/environment';
import type { DiscoveryEnvironment } from './discovery';
import type { Exchanges } from './exchanges/exchanges';
import type { ForwardingEnvironment } from './forwarding';
import type { FrameHandlerEnvironment } from './frame-handler';
import type { LayerReconcilerEnvironment } from './layer-reconciler';
import type { Members } from './members';
import type { ShardLease } from './shard-lease';

type Needs = RegistrationContext &
  InboundContext &
  ExecutionContext &
  DeliveryEnvironment &
  LayerReconcilerEnvironment &
  FrameHandlerEnvironment &
  ForwardingEnvironment &
  DiscoveryEnvironment;

export interface Environment extends Needs {
  readonly members: Members;
  readonly exchanges: Exchanges;
  readonly shard: ShardLease;
}
