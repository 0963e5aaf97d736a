/** Reads the messages that wait in the store for one destination. */
import {
  ADDRESS_FIELD,
  deliveryKey,
  isOpen,
  orderOf,
  OUTBOUND_MESSAGES,
  type OutboundMessage,
  outboundMessageOf,
} from '@cmbs/shared/broker';
import { DESTINATION_HELD, MAX_READ_CHARS } from '../limits';
import type { Page } from '@cmbs/shared/store';
import type { DeliveryEnvironment } from './environment';
import type { Destination, InFlightMessage, QueueItem, QueueOwner, Waiting } from './in-flight-message';

const PAGE = 1000;

export interface WaitingMessagesParts {
  readonly environment: Pick<DeliveryEnvironment, 'store' | 'log' | 'clock' | 'backOff'>;
  readonly settle: QueueOwner['settle'];
  readonly hold: (outbound: OutboundMessage) => InFlightMessage;
  /** Takes a message out of memory if no part works on it. */
  readonly release: (message: InFlightMessage) => void;
  /** Whether the sending member is this companion's. */
  readonly serves: (outbound: OutboundMessage) => Promise<boolean>;
  readonly isDraining: () => boolean;
}

export class WaitingMessages {
  readonly #parts: WaitingMessagesParts;

  constructor(parts: WaitingMessagesParts) {
    this.#parts = parts;
  }

  #pageOf(address: string, limit: number, after: string | undefined): Promise<Page> {
    return this.#parts.environment.store.query({
      collection: OUTBOUND_MESSAGES,
      where: [{ field: ADDRESS_FIELD, value: address }],
      by: 'order',
      limit,
      maxChars: MAX_READ_CHARS,
      ...(after === undefined ? {} : { after }),
    });
  }

  async first({ address, via }: Destination): Promise<string | undefined> {
    for (let after: string | undefined; ;) {
      const { docs, next } = await this.#pageOf(address, after === undefined ? 1 : DESTINATION_HELD, after);
      for (const outbound of docs.map(outboundMessageOf)) {
        const waits = outbound.receivers.some((one) => one.address === address && one.via === via && isOpen(one));
        if (waits && (await this.#parts.serves(outbound))) return outbound.id;
      }
      if (next === undefined) return undefined;
      after = next;
    }
  }

  async read({ address, via }: Destination, limit: number, after?: string): Promise<Waiting> {
    const page = await this.#pageOf(address, limit, after);
    const items: QueueItem[] = [];
    for (const doc of page.docs) {
      const outbound = outboundMessageOf(doc);
      if (this.#parts.isDraining() || !(await this.#parts.serves(outbound))) continue;
      const message = this.#parts.hold(outbound);
      for (const receiver of message.outbound.receivers) {
        if (receiver.address !== address || receiver.via !== via || !isOpen(receiver)) continue;
        const key = deliveryKey(receiver);
        if (message.queued.has(key)) continue;
        message.queued.add(key);
        items.push({ message, key, address, sequence: orderOf(outbound), tries: 0 });
      }
      this.#parts.release(message);
    }
    const last = page.docs.at(-1);
    return { items, upTo: last === undefined ? '' : orderOf(outboundMessageOf(last)), next: page.next };
  }

  refuse(queue: Destination, reason: string): void {
    const { log, clock, backOff } = this.#parts.environment;
    this.read(queue, PAGE)
      .then(({ items, next }) => {
        for (const item of items) this.#parts.settle(item, { state: 'failed', reason });
        return next !== undefined;
      })
      .catch((error: unknown) => {
        log.warn('waiting messages of a destination not read', { address: queue.address, cause: error });
        return true;
      })
      .then((isMore) => {
        if (isMore && !this.#parts.isDraining()) clock.after(backOff(1), () => this.refuse(queue, reason));
      })
      .catch((error: unknown) => log.error('waiting messages not refused', { cause: error }));
  }
}
