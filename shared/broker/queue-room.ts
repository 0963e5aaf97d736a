/** Destination queues: the addresses for which messages wait, and how many messages may wait. */
import { concurrently } from '../concurrently';
import { CmbsError } from '../errors';
import type { Path } from '../occi';
import type { Store, Transaction } from '../store';
import { idAt } from './cmbs';
import { isOpen, type Delivery } from './delivery';
import type { Layer } from './layer-definition';
import { MAX_NAMED_RECEIVERS } from './limits';
import { ADDRESS_FIELD, OUTBOUND_MESSAGES } from './outbound-record';

/** Queues counted concurrently: a message may have a thousand receivers, and a transaction lasts 20 s at most. */
export const QUEUE_COUNT_CONCURRENCY = 32;

/** The address under which messages wait for the topic bus. */
export const busAddress = (layer: Layer): string => `the topic bus of ${layer}`;

/** The addresses of open deliveries. */
export function addressesOf(layer: Layer, receivers: readonly Delivery[]): ReadonlySet<string> {
  return new Set(
    receivers
      .filter(isOpen)
      .flatMap(({ address, via }) => (via === 'bus' ? [busAddress(layer)] : (address ?? []))),
  );
}

const FOR = ' for ';

/**
 * The queue of a message whose member's address is answered by another member: a queue of its own, so that it does not
 * hold up messages for that other member. Socket addresses contain no space.
 */
export const apartAddress = (address: string, member: Path): string => `${address}${FOR}${member}`;

/** The socket address of a queue. */
export const socketAt = (address: string): string => address.split(FOR, 1)[0] ?? address;

/** Ids of the intended receivers, for the frame; none if there are more than {@link MAX_NAMED_RECEIVERS}. */
export function meantBy(receivers: readonly Delivery[]): { readonly to?: readonly string[] } {
  const to = receivers.flatMap(({ member }) => (member === undefined ? [] : [idAt(member)]));
  return to.length === 0 || to.length > MAX_NAMED_RECEIVERS ? {} : { to };
}

/** Whether a message waits for one of the addresses. */
export async function isAwaited(tx: Pick<Transaction, 'query'>, addresses: readonly string[]): Promise<boolean> {
  const pages = await Promise.all(
    [...new Set(addresses)].map((value) =>
      tx.query({ collection: OUTBOUND_MESSAGES, where: [{ field: ADDRESS_FIELD, value }], limit: 1 }),
    ),
  );
  return pages.some(({ docs }) => docs.length > 0);
}

/**
 * Refuses a message when a queue is full.
 * @param alsoQueued messages that the same transaction queues, by address
 * @throws CmbsError `queue_full` where `limit` messages or more wait for one of the addresses
 */
export async function assertQueueRoom(
  store: Pick<Store, 'count'>,
  addresses: Iterable<string>,
  limit: number,
  alsoQueued: ReadonlyMap<string, number> = new Map(),
): Promise<void> {
  await concurrently(new Set(addresses), QUEUE_COUNT_CONCURRENCY, async (address) => {
    const queued = await store.count(
      { collection: OUTBOUND_MESSAGES, where: [{ field: ADDRESS_FIELD, value: address }] },
      limit,
    );
    if (queued + (alsoQueued.get(address) ?? 0) < limit) return;
    throw new CmbsError('queue_full', `${limit} messages are queued for ${address} already; try again later.`, {
      headers: { 'Retry-After': '5' },
    });
  });
}
