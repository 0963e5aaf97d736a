/** The number and the age of the messages that wait to go out, for gauges. */
import { OUTBOUND_MESSAGES, outboundMessageOf } from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './environment';

/** Outbound messages that a gauge counts at most. */
const MAX_COUNTED = 1_000_000;

export interface OutboxStatus {
  /** Outbound messages without an outcome. */
  readonly queued: number;
  /** Milliseconds since the oldest of them was queued; 0 when there is none. */
  readonly oldestMs: number;
}

type BacklogEnvironment = Pick<DeliveryEnvironment, 'store' | 'clock' | 'log' | 'shard'>;

export class Backlog {
  readonly #environment: BacklogEnvironment;
  /** Deliveries that wait for this companion's peers, about. */
  readonly #waitingHere: () => number;
  #status: OutboxStatus = { queued: 0, oldestMs: 0 };

  constructor(environment: BacklogEnvironment, waitingHere: () => number) {
    this.#environment = environment;
    this.#waitingHere = waitingHere;
  }

  /** The last known figures when the store does not answer. */
  async status(): Promise<OutboxStatus> {
    try {
      this.#status = await this.#count();
    } catch (error) {
      this.#environment.log.warn('waiting messages not counted', { cause: error });
    }
    return this.#status;
  }

  async #count(): Promise<OutboxStatus> {
    const { store, clock, shard } = this.#environment;
    const { docs } = await store.query({ collection: OUTBOUND_MESSAGES, by: 'order', limit: 1 });
    const [oldest] = docs;
    const oldestMs = oldest === undefined ? 0 : Math.max(0, clock.now() - outboundMessageOf(oldest).createdAt);
    if (shard.servesAll)
      return { queued: await store.count({ collection: OUTBOUND_MESSAGES }, MAX_COUNTED), oldestMs };
    // With several shards, each reports the messages for its own peers, and the age of the oldest of all.
    const waiting = this.#waitingHere();
    return { queued: waiting, oldestMs: waiting === 0 ? 0 : oldestMs };
  }
}
