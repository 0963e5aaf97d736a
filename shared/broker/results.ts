/** Results of messages: the functions from which the definitions of layers are made. */
import { type JsonOutputObject, RawJson } from '../occi';
import type { Delivery } from './delivery';

type Value = JsonOutputObject[string];

/** The receiver's reply; an error where there is none. */
const outcomeOf = ({ reply, state, reason }: Delivery): Value =>
  reply === undefined ? { error: { code: state, message: reason ?? state } } : new RawJson(reply);

const byName = (deliveries: readonly Delivery[], value: (one: Delivery) => Value): JsonOutputObject =>
  Object.fromEntries(deliveries.map((delivery) => [delivery.name, value(delivery)]));

/** The reply of the only receiver. */
export const onlyReply = ([only]: readonly Delivery[]): JsonOutputObject =>
  only === undefined ? {} : (outcomeOf(only) as JsonOutputObject);

/** Receiver to state. */
export const states = (deliveries: readonly Delivery[]): JsonOutputObject =>
  byName(deliveries, ({ state }) => state);

/** Receiver to reply. */
export const replies = (deliveries: readonly Delivery[]): JsonOutputObject => byName(deliveries, outcomeOf);

/** Topics to the bus's identifiers of the message, and members to replies. */
export const publications = (deliveries: readonly Delivery[]): JsonOutputObject => ({
  published: byName(
    deliveries.filter(({ via }) => via === 'bus'),
    (topic) => (topic.state === 'delivered' ? new RawJson(topic.reply ?? 'null') : outcomeOf(topic)),
  ),
  members: replies(deliveries.filter(({ via }) => via !== 'bus')),
});
