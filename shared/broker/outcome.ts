/** Outcomes of attempts, and how they change the deliveries of an outbound message. */
import { deliveryKey, isOpen, type Delivery } from './delivery';
import type { OutboundMessage } from './outbound-record';

/** The outcome of attempts at one delivery. */
export interface Outcome {
  /** Id of the outbound message. */
  readonly sendId: string;
  /** {@link deliveryKey} of the delivery. */
  readonly key: string;
  readonly change: Pick<Delivery, 'state'> &
    Partial<Pick<Delivery, 'reason' | 'reply' | 'address'>> & {
      /** Attempts since the last outcome. */
      readonly attempts: number;
      /** Attempts at which the connection broke. */
      readonly broken?: number;
    };
}

/** Applies outcomes in their order. A delivery that has its outcome keeps it: a late second answer changes nothing. */
export function applyOutcomes<S extends Pick<OutboundMessage, 'receivers'>>(
  outbound: S,
  outcomes: readonly Outcome[],
  now: number,
): S {
  const applied = (receiver: Delivery, { change: { attempts, broken = 0, ...change } }: Outcome): Delivery => {
    if (!isOpen(receiver)) return receiver;
    const { reason: _earlier, ...rest } = receiver;
    const next: Delivery = {
      ...rest,
      ...change,
      attempts: receiver.attempts + attempts,
      ...(broken === 0 ? {} : { broken: (receiver.broken ?? 0) + broken }),
    };
    return isOpen(next) ? next : { ...next, at: now };
  };
  return {
    ...outbound,
    receivers: outbound.receivers.map((receiver) =>
      outcomes.filter(({ key }) => key === deliveryKey(receiver)).reduce(applied, receiver),
    ),
  };
}

/**
 * Takes over the outcomes of topics from a stored copy. The copy may be older than the outbound message in memory: a
 * topic that has its outcome keeps it.
 */
export function withPublished<S extends Pick<OutboundMessage, 'receivers'>>(
  outbound: S,
  stored: OutboundMessage,
): S {
  return {
    ...outbound,
    receivers: outbound.receivers.map((receiver) => {
      if (receiver.via !== 'bus' || !isOpen(receiver)) return receiver;
      return stored.receivers.find(({ name, via }) => via === 'bus' && name === receiver.name) ?? receiver;
    }),
  };
}
