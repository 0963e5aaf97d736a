/**
 * Gives a delivery a queue of its own when another member answers at the receiver's address: the delivery waits there
 * until the receiver answers or has another address, and delays no other delivery.
 */
import { ADDRESS_FIELD, apartAddress, type Delivery, isOpen, OUTBOUND_MESSAGES } from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './environment';
import type { Destinations } from './destinations';
import type { InFlightMessage, QueueItem } from './in-flight-message';
import type { Settlement } from './settlement';

export interface DiversionParts {
  readonly environment: Pick<DeliveryEnvironment, 'store' | 'queueLimit' | 'log' | 'counters'>;
  readonly destinations: Pick<Destinations, 'known' | 'of'>;
  readonly settlement: Pick<Settlement, 'settle' | 'note'>;
  readonly offer: (message: InFlightMessage, delivery: Delivery) => void;
}

export class Diversion {
  readonly #parts: DiversionParts;

  constructor(parts: DiversionParts) {
    this.#parts = parts;
  }

  async divert(item: QueueItem, reason: string): Promise<void> {
    const { environment, destinations, settlement, offer } = this.#parts;
    const { queueLimit, counters } = environment;
    const { message, key } = item;
    const address = apartAddress(item.address, message.receiver(item)?.member ?? '');
    const waiting = await this.#waiting(address);
    if (waiting >= queueLimit) {
      counters.add('cmbs_deliveries', { layer: message.outbound.layer, outcome: 'failed' });
      settlement.settle(item, { state: 'failed', reason: `${waiting} messages wait for this already. ${reason}` });
      return;
    }
    const before = destinations.known({ via: 'request', address: item.address });
    if (before !== undefined) before.waiting = Math.max(0, before.waiting - 1);
    message.queued.delete(key);
    message.stopTrying(key);
    message.lastReason = reason;
    settlement.note(item, { state: 'waiting', reason, address });
    const delivery = message.receiver(item);
    const queue = delivery === undefined || !isOpen(delivery) ? undefined : destinations.of(delivery);
    if (delivery === undefined || queue === undefined) return;
    queue.waiting += 1;
    offer(message, delivery);
  }

  /** Deliveries that wait there, as far as the limit; 0 when they cannot be counted. */
  async #waiting(address: string): Promise<number> {
    const { store, queueLimit, log } = this.#parts.environment;
    try {
      const where = [{ field: ADDRESS_FIELD, value: address }];
      return await store.count({ collection: OUTBOUND_MESSAGES, where }, queueLimit);
    } catch (error) {
      log.warn('deliveries to a member at another address not counted', { address, cause: error });
      return 0;
    }
  }
}
