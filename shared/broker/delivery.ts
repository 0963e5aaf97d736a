/** Deliveries, each of one message to one receiver, and the state of the message that follows from them. */
import type { Path } from '../occi';

/** `queued` and `waiting` are open, the others are outcomes. */
export type DeliveryState = 'queued' | 'waiting' | 'sent' | 'delivered' | 'dropped' | 'failed' | 'expired';

/** State of an outbound message, from the states of its deliveries. */
const OUTBOUND_STATES = [
  'created',
  'queued',
  'sending',
  'delivered',
  'published',
  'partial',
  'failed',
  'expired',
] as const;
export type OutboundState = (typeof OUTBOUND_STATES)[number];

export const isOutboundState = (text: string | undefined): text is OutboundState =>
  OUTBOUND_STATES.some((state) => state === text);

export interface Delivery {
  /** The receiver in the message's `result`: a socket (L1), a member's path, a provider as the client named it, a topic. */
  readonly name: string;
  /**
   * `request`: over a socket, acknowledged. `broadcast`: over a socket, not acknowledged. `bus`: published.
   * `none`: there is no way to the receiver; {@link reason} says why.
   */
  readonly via: 'request' | 'broadcast' | 'bus' | 'none';
  readonly address?: string;
  /** Path of the intended member; absent where the message names an address (L1), and in messages of earlier releases. */
  readonly member?: Path;
  readonly state: DeliveryState;
  readonly attempts: number;
  /** Attempts at which the connection broke while no other message was in flight; absent: none. */
  readonly broken?: number;
  readonly reason?: string;
  /** JSON text of the reply. */
  readonly reply?: string;
  /** Milliseconds since the epoch of the outcome. */
  readonly at?: number;
}

/** A delivery that begins now. */
export const newDelivery = (receiver: Pick<Delivery, 'name' | 'via' | 'address' | 'member'>): Delivery => ({
  ...receiver,
  state: 'queued',
  attempts: 0,
});

/** A delivery to a receiver that cannot be reached: it has failed already. */
export const unreachable = (name: string, reason: string, now: number): Delivery => ({
  name,
  via: 'none',
  state: 'failed',
  attempts: 0,
  reason,
  at: now,
});

/** Identifies a delivery within its outbound message; a topic may have the name of a member. */
export const deliveryKey = ({ via, name }: Pick<Delivery, 'via' | 'name'>): string => `${via} ${name}`;

export const isOpen = ({ state }: Delivery): boolean => state === 'queued' || state === 'waiting';

/** Whether a message or delivery in this state makes the message a dead letter. */
export const isGivenUp = (state: OutboundState | DeliveryState): boolean =>
  state === 'failed' || state === 'expired';

interface Deliveries {
  readonly receivers: readonly Delivery[];
  /** Local members that take the message from the topic bus; absent in messages that earlier releases queued. */
  readonly subscribers?: number;
}

/** How many members a message is for, and how many have it. */
export interface DeliveryCounts {
  /** Members that are known to receive the message. */
  readonly receivers: number;
  readonly delivered: number;
  readonly waiting: number;
  /** For good: failed, expired or dropped. */
  readonly failed: number;
}

const hasArrived = ({ state }: Delivery): boolean => state === 'sent' || state === 'delivered';

/** Counts members. A topic is no member: a published message is delivered to the members that take it from the bus. */
export function countsOf({ receivers, subscribers = 0 }: Deliveries): DeliveryCounts {
  const topics = receivers.filter(({ via }) => via === 'bus');
  const members = receivers.filter(({ via }) => via !== 'bus');
  const onBus = topics.some(isOpen) ? 'waiting' : topics.some(hasArrived) ? 'delivered' : 'failed';
  const counted = (which: typeof onBus, own: readonly Delivery[]): number =>
    own.length + (which === onBus ? subscribers : 0);
  const delivered = counted('delivered', members.filter(hasArrived));
  const waiting = counted('waiting', members.filter(isOpen));
  const all = members.length + subscribers;
  return { receivers: all, delivered, waiting, failed: all - delivered - waiting };
}

/** Why the first delivery that has a reason did not go as it should. */
export const reasonOf = ({ receivers }: Pick<Deliveries, 'receivers'>): string | undefined =>
  receivers.find(({ reason }) => reason !== undefined)?.reason;

/**
 * State of an outbound message. `published`: the message is out, and no member is known to take it.
 * @param isClaimed a companion is delivering the message
 */
export function stateOf(outbound: Deliveries, isClaimed: boolean): OutboundState {
  const { receivers } = outbound;
  const has = (...states: readonly DeliveryState[]): boolean =>
    receivers.some(({ state }) => states.includes(state));
  if (receivers.some(isOpen)) {
    if (has('sent', 'delivered')) return 'partial';
    return isClaimed ? 'sending' : 'queued';
  }
  const { receivers: all, delivered, failed } = countsOf(outbound);
  const topics = receivers.filter(({ via }) => via === 'bus');
  const isTopicRefused = topics.some((topic) => !hasArrived(topic));
  if (all === 0 && (topics.length === 0 || topics.some(hasArrived)))
    return isTopicRefused ? 'partial' : 'published';
  // Earlier releases did not count subscribers, so a message on the bus may have reached some.
  const mayHaveReached = outbound.subscribers === undefined && topics.some(hasArrived);
  if (delivered > 0 || mayHaveReached) return failed > 0 || isTopicRefused ? 'partial' : 'delivered';
  return has('failed', 'dropped') ? 'failed' : 'expired';
}
