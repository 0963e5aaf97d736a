/** Settles deliveries, lets them wait, and answers callers that wait for a message. */
import type { RpcResult } from '@cmbs/shared/rpc';
import {
  deliveryKey,
  isOpen,
  isPublishing,
  type OutboundMessage,
  type Outcome,
  reasonOf,
  stateOf,
  withPublished,
} from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './environment';
import type { Destinations } from './destinations';
import type { AttemptedItem, BackOffReason, InFlightMessage, QueueItem, QueueOwner } from './in-flight-message';
import type { InFlightMessages } from './in-flight-messages';
import { logOutcome, Outcomes, type OutcomesEnvironment } from './outcomes';
import type { OutgoingFrames } from './outgoing-frames';
import type { Publications } from './publications';

type Settling = Pick<QueueOwner, 'settle' | 'backOff' | 'resumed' | 'passed' | 'evicted'>;

export interface SettlementParts {
  readonly environment: OutcomesEnvironment & Pick<DeliveryEnvironment, 'counters'>;
  readonly messages: InFlightMessages;
  readonly frames: Pick<OutgoingFrames, 'free'>;
  readonly destinations: Pick<Destinations, 'known' | 'of'>;
  readonly publications: Pick<Publications, 'remove'>;
}

export class Settlement implements Settling {
  readonly #parts: SettlementParts;
  readonly #outcomes: Outcomes;

  constructor(parts: SettlementParts) {
    this.#parts = parts;
    this.#outcomes = new Outcomes(parts.environment, (message) => this.#written(message));
  }

  /** A delivery has its outcome. */
  settle(item: AttemptedItem, change: Parameters<QueueOwner['settle']>[1]): void {
    const { environment, destinations } = this.#parts;
    const message = item.message;
    logOutcome(environment, item, change);
    message.queued.delete(item.key);
    this.#stopTrying(item);
    const delivery = message.receiver(item);
    const queue = delivery === undefined ? undefined : destinations.known(delivery);
    if (queue !== undefined) queue.waiting = Math.max(0, queue.waiting - 1);
    this.note(item, change);
  }

  /** Records a change of a delivery, with the attempts that were made since the last record. */
  note(item: AttemptedItem, change: Omit<Outcome['change'], 'attempts' | 'broken'>): void {
    const { outbound } = item.message;
    const { tries: attempts, broken = 0 } = item;
    item.tries = 0;
    item.broken = 0;
    const recorded = { ...change, attempts, broken };
    this.#outcomes.note(item.message, { sendId: outbound.id, key: item.key, change: recorded });
  }

  /** A delivery cannot go further now. Callers that wait are answered, and the queue keeps the item. */
  backOff(item: AttemptedItem, { reason, state }: BackOffReason): void {
    const message = item.message;
    const wasTrying = this.#stopTrying(item);
    message.lastReason = reason;
    const before = message.receiver(item);
    // A state that the store has already is not written again, unless the store has our claim on the message.
    const isNews = before?.reason !== reason || before.state !== state || item.tries > 0;
    if (isNews || message.claim !== undefined) this.note(item, { state, reason });
    else if (wasTrying) this.answer(message);
  }

  /** A queue tries a delivery again that had backed off. */
  resumed(item: QueueItem): void {
    item.message.trying.add(item.key);
  }

  /** A queue had nothing to send for an item. */
  passed(item: QueueItem): void {
    const { destinations, messages } = this.#parts;
    const { message, key } = item;
    message.queued.delete(key);
    this.#stopTrying(item);
    const delivery = message.receiver(item);
    if (delivery === undefined || !isOpen(delivery) || delivery.address === item.address) return;
    // The receiver got another address while the message was in flight.
    destinations.of(delivery)?.resume();
    messages.release(message);
  }

  /** A queue gave an item back to the store. */
  evicted(item: QueueItem): void {
    item.message.queued.delete(item.key);
    this.#stopTrying(item);
    this.answer(item.message);
    this.#parts.messages.release(item.message);
  }

  /** The store has outcomes of the topics; `stored` is undefined when the message was deleted. */
  published(message: InFlightMessage, stored: OutboundMessage | undefined): void {
    if (stored === undefined) {
      this.drop(message);
      return;
    }
    message.outbound = withPublished(message.outbound, stored);
    for (const delivery of message.outbound.receivers) {
      if (delivery.via === 'bus' && !isOpen(delivery)) message.stopTrying(deliveryKey(delivery));
    }
    if (!isPublishing(message.outbound)) this.#parts.publications.remove(message);
    this.#settleIfDone(message);
    this.answer(message);
  }

  /** No topic of the message is published from here any more; open ones wait in the store. */
  unpublished(message: InFlightMessage): void {
    if (!this.#parts.messages.has(message)) return;
    for (const delivery of message.outbound.receivers) {
      if (delivery.via === 'bus') message.stopTrying(deliveryKey(delivery));
    }
    this.answer(message);
    this.#parts.messages.release(message);
  }

  /** Settles the open deliveries of an expired message. */
  expire(message: InFlightMessage): void {
    const { environment, destinations } = this.#parts;
    for (const delivery of message.outbound.receivers) {
      if (!isOpen(delivery)) continue;
      const key = deliveryKey(delivery);
      destinations.known(delivery)?.remove(message, key);
      environment.counters.add('cmbs_dropped', { reason: 'expired', layer: message.outbound.layer });
      const reason = delivery.reason ?? 'not delivered in time';
      this.settle({ message, key, tries: 0 }, { state: 'expired', reason });
    }
  }

  /** The message was deleted in the store. */
  cancelled(id: string): void {
    const { messages, destinations } = this.#parts;
    const message = messages.get(id);
    // Our own last write of a settled message is seen here too.
    if (message === undefined || message.isSettled) return;
    for (const delivery of message.outbound.receivers) {
      destinations.known(delivery)?.remove(message, deliveryKey(delivery));
    }
    message.outbound = { ...message.outbound, receivers: [] };
    this.drop(message);
  }

  /** Answers callers that wait for a message, once nothing of it is being tried and its outcomes are in the store. */
  answer(message: InFlightMessage): void {
    if (message.waiters.size === 0 || message.flushing || message.trying.size > 0) return;
    const reply = message.isSettled ? settledReply(message.outbound) : openReply(message);
    for (const waiter of [...message.waiters]) waiter(reply);
  }

  /** Drops an outbound message that the store no longer has, or that another companion has. */
  drop(message: InFlightMessage, reply: RpcResult<'send'> = { outcome: 'settled' }): void {
    const { messages, publications, frames } = this.#parts;
    message.isDropped = true;
    if (!messages.remove(message)) return;
    message.cancelRetry?.();
    publications.remove(message);
    frames.free(message);
    message.queued.clear();
    message.stopAll();
    message.flushing = false;
    for (const waiter of [...message.waiters]) waiter(reply);
  }

  /** Resolves when every outcome that is known is in the store, or could not be written. */
  writeAll(): Promise<void> {
    return this.#outcomes.writeAll(this.#parts.messages.all);
  }

  /** Outcomes that cannot be written are not tried again. */
  close(): void {
    this.#outcomes.close();
  }

  #stopTrying({ message, key }: AttemptedItem): boolean {
    const wasTrying = message.stopTrying(key);
    if (message.trying.size === 0) this.#parts.frames.free(message);
    return wasTrying;
  }

  #written(message: InFlightMessage): void {
    this.#settleIfDone(message);
    this.answer(message);
    this.#parts.messages.release(message);
  }

  #settleIfDone(message: InFlightMessage): void {
    // While outcomes are being written, a caller that is answered would read the message as it was before.
    if (message.isSettled && message.outcomes.length === 0 && !message.flushing) {
      this.drop(message, settledReply(message.outbound));
    }
  }
}

function settledReply(outbound: InFlightMessage['outbound']): RpcResult<'send'> {
  const reason = reasonOf(outbound);
  // An outbound message whose deliveries were cancelled has no outcome.
  const state = outbound.receivers.length === 0 ? {} : { state: stateOf(outbound, false) };
  return { outcome: 'settled', ...state, ...(reason === undefined ? {} : { reason }) };
}

function openReply({ outbound, lastReason: reason }: InFlightMessage): RpcResult<'send'> {
  const isPartial = outbound.receivers.some(({ via, state }) => via === 'broadcast' && state === 'sent');
  if (isPartial) return { outcome: 'settled' };
  return { outcome: 'queued', ...(reason === undefined ? {} : { reason }) };
}

/** Whether the delivery of an item has no outcome yet. */
export function isOpenFor(item: QueueItem): boolean {
  const delivery = item.message.receiver(item);
  return delivery !== undefined && isOpen(delivery);
}
