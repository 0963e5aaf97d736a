/** Everything that the parts of a companion need, put together once. Each part states what it needs beside itself. */
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
