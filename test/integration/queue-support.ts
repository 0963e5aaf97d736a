/** Destination queues by themselves: an outbox that a test fills, real sockets, and no members. */
import { newId, type Clock } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { localAddresses } from '../../companion/address-policy';
import type { QueueEnvironment } from '../../companion/delivery/environment';
import { InFlightMessage, type QueueItem, type QueueOwner } from '../../companion/delivery/in-flight-message';
import { DELIVERY_LIMITS } from '../../companion/delivery/limits';
import { WatchedMessages } from '../../companion/delivery/watched-messages';
import { Exchanges } from '../../companion/exchanges/exchanges';
import { zeroMq } from '../../companion/exchanges/zeromq';
import { wholeDeployment } from '../../companion/shard-lease';
import type { RecordedEnvironment } from './sockets-support';

/** An outbox that makes frames by `prepare`, and keeps the evicted items as its store. */
export function queueOwner(more: Pick<QueueOwner, 'prepare'> & Partial<QueueOwner>): QueueOwner {
  const evicted: QueueItem[] = [];
  return {
    replied: () => Promise.resolve('settled'),
    broke: () => 'given up',
    passed: () => undefined,
    settle: () => undefined,
    backOff: () => undefined,
    resumed: () => undefined,
    evicted: (item) => void evicted.push(item),
    readWaiting: () => Promise.resolve({ items: evicted.splice(0), upTo: '' }),
    firstWaiting: () => Promise.resolve(evicted[0]?.message.outbound.id),
    watchedMessages: new WatchedMessages(),
    refuseWaiting: () => undefined,
    hasRoom: true,
    ...more,
  };
}

/** @param backOffMs milliseconds of each back-off. The caller closes `exchanges`. */
export function queueEnvironment(
  sockets: RecordedEnvironment,
  clock: Clock,
  backOffMs: number,
): QueueEnvironment & { readonly exchanges: Exchanges } {
  return {
    ...sockets,
    clock,
    // The receivers are not members.
    store: {
      get: () => Promise.resolve(undefined),
      getAll: () => Promise.resolve([]),
      query: () => Promise.resolve({ docs: [] }),
    },
    shard: wholeDeployment(newId),
    backOff: () => backOffMs,
    limits: DELIVERY_LIMITS,
    members: { find: () => Promise.resolve(undefined) },
    exchanges: new Exchanges([zeroMq(localAddresses(readConfig({})))], { ...sockets, clock }),
  };
}

/** A delivery of the message `name`; items go in the order of their sequence. */
export function queueItem(name: string, address: string, layer: 'l1' | 'l2', sequence: string): QueueItem {
  const message = new InFlightMessage({
    id: name,
    wireId: name,
    message: `/cmbs/message/${name}`,
    layer,
    from: '/cmbs/member/alice',
    createdAt: 0,
    sequence: 0,
    expiresAt: Infinity,
    receivers: [],
  });
  return { message, key: name, address, sequence, tries: 0 };
}
