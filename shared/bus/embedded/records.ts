/**
 * How the embedded bus lies in the store. A subscription has a stream, named anew each time it is made, so that
 * nothing from before a removal can come back. A delivery's id is `<stream>/<message id>`; message ids sort by time
 * of publication, so a stream read by id is the subscription's backlog in order.
 */
import { z } from 'zod';
import type { Doc } from '../../store';
import { type TopicLayer } from '../bus';

export const SUBSCRIPTIONS = 'bus-subscription';
export const DELIVERIES = 'bus-delivery';
/** Large messages that several deliveries share. */
export const BUS_MESSAGES = 'bus-message';
/** Streams of removed subscriptions whose deliveries are still to be deleted. */
export const REMOVED_STREAMS = 'bus-removed-stream';
/** `subscriptions`: its revision changes with every change of a subscription. `time`: see {@link TimeRecord}. */
export const STATE = 'bus-state';
/** Index field of a delivery that shares its message: the message's id. */
export const SHARED_MESSAGE = 'message';

const subscriptionRecord = z.strictObject({
  layer: z.enum(['l32', 'l4'] satisfies readonly TopicLayer[]),
  patterns: z.array(z.string()),
  stream: z.string(),
});
export type SubscriptionRecord = z.infer<typeof subscriptionRecord>;

const deliveryRecord = z.strictObject({
  topic: z.string(),
  attributes: z.record(z.string(), z.string()),
  orderingKey: z.string().optional(),
  /** Absent when the message is a document of its own. */
  data: z.string().optional(),
  /** Failed attempts. */
  attempts: z.number(),
});
export type DeliveryRecord = z.infer<typeof deliveryRecord>;

/** Message ids up to this time may have been given out. */
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
