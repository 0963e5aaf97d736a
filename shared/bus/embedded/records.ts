/**
 * The documents of the embedded bus in the store. A subscription has a stream with a new name each time the subscription
 * is made, so that no delivery from before a removal comes back. The id of a delivery is `<stream>/<message id>`. Message
 * ids sort by time of publication, so a stream read by id is the subscription's backlog in order.
 */
import { z } from 'zod';
import type { Doc } from '../../store';

export const SUBSCRIPTIONS = 'bus-subscription';
export const DELIVERIES = 'bus-delivery';
/** Messages that several deliveries share, because they are large. */
export const BUS_MESSAGES = 'bus-message';
/** Streams of removed subscriptions whose deliveries are not deleted yet. */
export const REMOVED_STREAMS = 'bus-removed-stream';
/** `subscriptions` gets a new revision with each change of a subscription. `time`: see {@link TimeRecord}. */
export const STATE = 'bus-state';
/** Index field of a delivery with a shared message: the id of the message. */
export const SHARED_MESSAGE = 'message';

const subscriptionRecord = z.strictObject({
  layer: z.string(),
  patterns: z.array(z.string()),
  stream: z.string(),
});
export type SubscriptionRecord = z.infer<typeof subscriptionRecord>;

const deliveryRecord = z.strictObject({
  topic: z.string(),
  attributes: z.record(z.string(), z.string()),
  orderingKey: z.string().optional(),
  /** Absent when the message is shared. */
  data: z.string().optional(),
  /** Failed attempts. */
  attempts: z.number(),
});
export type DeliveryRecord = z.infer<typeof deliveryRecord>;

/** Message ids with times up to this one may have been used. */
const timeRecord = z.strictObject({ reservedUntil: z.number() });
export type TimeRecord = z.infer<typeof timeRecord>;

const messageRecord = z.strictObject({ data: z.string() });

export const readSubscription = (doc: Doc): SubscriptionRecord => subscriptionRecord.parse(doc.value);
export const readDelivery = (doc: Doc): DeliveryRecord => deliveryRecord.parse(doc.value);
export const readTime = (doc: Doc): TimeRecord => timeRecord.parse(doc.value);
export const readMessage = (doc: Doc): string => messageRecord.parse(doc.value).data;

export function deliveryKey(stream: string, messageId: string): string {
  return `${stream}/${messageId}`;
}

export function streamOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}

export function messageIdOf(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}
