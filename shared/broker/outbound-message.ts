/**
 * An outbound message: one request to deliver a message, from the moment it is queued until every delivery has an
 * outcome. It is stored before anything goes out, so if a process stops in between, it goes out later. The message
 * shows it in its `delivery` attribute.
 */
import { createHash } from 'node:crypto';
import { orderKey } from '../clock';
import type { JsonObject } from '../json';
import { readEntity, type StoredEntity, writeEntity } from '../occi';
import type { Doc, Store, Transaction } from '../store';
import { isOpen } from './delivery';
import { shownDelivery } from './message';
import { withDelivery, type DeliveryContext } from './message-delivery';
import { addressesOf } from './queue-room';
import {
  ADDRESS_FIELD,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  PART_FIELD,
  partOf,
  SHARD_FIELD,
} from './outbound-record';

export { ADDRESS_FIELD, OUTBOUND_MESSAGES, type OutboundMessage };

/** Index entries of open outbound messages with an ordering key: those of one group are published one after the other. */
const ORDERING_GROUPS = 'ordering';
/** Index field: the part of an outbound message, and the minute in which the message expires. */
export const DUE_FIELD = 'due';
const MINUTE_MS = 60_000;
export const dueIn = (part: string, at: number): string => `${part} ${Math.floor(at / MINUTE_MS)}`;

export function outboundMessageOf(doc: Doc): OutboundMessage {
  // This module is the only writer of the collection.
  return doc.value as unknown as OutboundMessage;
}

/** Position among all outbound messages: by time, within a millisecond by the order of queueing in this process. */
export const orderOf = ({
  createdAt,
  orderedAt = createdAt,
  sequence,
  id,
}: Pick<OutboundMessage, 'createdAt' | 'orderedAt' | 'sequence' | 'id'>): string =>
  `${orderKey(orderedAt, String(sequence).padStart(12, '0'))}-${id}`;

let lastSequence = 0;
/** The next message number of this process. Messages that two processes queue in the same millisecond have no order. */
export const nextSequence = (): number => (lastSequence += 1);

/** Whether some topics are not on the bus yet. */
export const isPublishing = ({ receivers }: Pick<OutboundMessage, 'receivers'>): boolean =>
  receivers.some((receiver) => receiver.via === 'bus' && isOpen(receiver));

/** Key prefix of the ordering group: one sender, layer and ordering key. Undefined without an ordering key. */
export function orderingGroupOf({
  from,
  sender = from,
  layer,
  orderingKey = '',
}: Omit<OutboundMessage, 'frame' | 'sent'>): string | undefined {
  if (orderingKey === '') return undefined;
  return `${createHash('sha256').update([sender, layer, orderingKey].join('\0')).digest('base64url')}/`;
}

/** Whether no earlier message of the ordering group is still to be published. */
export async function isFirstInGroup(
  store: Pick<Store, 'query'>,
  outbound: Omit<OutboundMessage, 'frame' | 'sent'>,
): Promise<boolean> {
  const group = orderingGroupOf(outbound);
  if (group === undefined) return true;
  const { docs } = await store.query({ collection: ORDERING_GROUPS, prefix: group, limit: 1 });
  const first = docs[0]?.value.send;
  return first === undefined || first === outbound.id;
}

export function deleteOutbound(tx: Transaction, outbound: OutboundMessage): void {
  tx.delete(OUTBOUND_MESSAGES, outbound.id);
  const group = orderingGroupOf(outbound);
  if (group !== undefined) tx.delete(ORDERING_GROUPS, group + orderOf(outbound));
}

/** Deletes an outbound message whose message is gone, so that later messages of its ordering group can go out. */
export async function deleteOrphan(store: Pick<Store, 'transact'>, id: string): Promise<void> {
  await store.transact(async (tx) => {
    const current = await readOutbound(tx, id);
    if (current === undefined || current.message !== undefined || current.outbound.frame !== undefined) return;
    deleteOutbound(tx, current.outbound);
  });
}

export function putOutbound(tx: Transaction, outbound: OutboundMessage): void {
  const group = orderingGroupOf(outbound);
  if (group !== undefined) {
    const place = group + orderOf(outbound);
    if (isPublishing(outbound)) {
      tx.put(ORDERING_GROUPS, place, { send: outbound.id }, { expiresAt: outbound.expiresAt });
    } else tx.delete(ORDERING_GROUPS, place);
  }
  const part = partOf(outbound);
  tx.put(OUTBOUND_MESSAGES, outbound.id, outbound as unknown as JsonObject, {
    index: {
      [ADDRESS_FIELD]: [...addressesOf(outbound.layer, outbound.receivers)],
      [SHARD_FIELD]: outbound.shard === undefined ? [] : [outbound.shard],
      [PART_FIELD]: part === undefined ? [] : [part],
      [DUE_FIELD]: part === undefined ? [] : [dueIn(part, outbound.expiresAt)],
    },
    order: orderOf(outbound),
  });
}

/** Writes an outbound message and its message as they are now; it is deleted once every delivery has an outcome. */
export function writeOutbound(
  tx: Transaction,
  outbound: OutboundMessage,
  message: StoredEntity | undefined,
  context: DeliveryContext,
): void {
  if (outbound.receivers.some(isOpen)) putOutbound(tx, outbound);
  else deleteOutbound(tx, outbound);
  if (message === undefined) return;
  // Where the message was sent again, its delivery shows the later outbound message.
  const { send_id: shown } = shownDelivery(message.entity);
  if (shown === undefined || shown === outbound.id) {
    writeEntity(tx, withDelivery(message.entity, outbound, context), message.entity, context.registry);
  }
}

export interface StoredOutboundMessage {
  readonly outbound: OutboundMessage;
  /** Undefined where the outbound message passes on a frame, and where a client has deleted the message. */
  readonly message: StoredEntity | undefined;
}

/** Reads an outbound message with its message; undefined when it is settled, cancelled or unknown. */
export async function readOutbound(
  reader: Pick<Transaction, 'get' | 'getAll'>,
  id: string,
): Promise<StoredOutboundMessage | undefined> {
  const doc = await reader.get(OUTBOUND_MESSAGES, id);
  if (doc === undefined) return undefined;
  const outbound = outboundMessageOf(doc);
  const message = outbound.frame === undefined ? await readEntity(reader, outbound.message) : undefined;
  return { outbound, message };
}
