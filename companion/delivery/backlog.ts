/** The number and the age of the messages that wait to go out from a shard, for gauges. */
import { OUTBOUND_MESSAGES, SHARD_FIELD } from '@cmbs/shared/broker';
import type { DeliveryEnvironment } from './environment';
import { inQueueOrder } from './queue-order';

/** Outbound messages that a gauge counts at most. */
const MAX_COUNTED = 1_000_000;

export interface OutboxStatus {
  /** Outbound messages of the shard without an outcome. */
  readonly queued: number;
  /** Milliseconds since the oldest of them was queued; 0 when there is none. */
  readonly oldestMs: number;
}

type BacklogEnvironment = Pick<DeliveryEnvironment, 'store' | 'clock' | 'log' | 'shard'>;

export class Backlog {
  readonly #environment: BacklogEnvironment;
  #status: OutboxStatus = { queued: 0, oldestMs: 0 };

  constructor(environment: BacklogEnvironment) {
    this.#environment = environment;
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
    const where = [{ field: SHARD_FIELD, value: shard.shard }];
    const queued = await store.count({ collection: OUTBOUND_MESSAGES, where }, MAX_COUNTED);
    if (queued === 0) return { queued, oldestMs: 0 };
    const { value: oldest } = await inQueueOrder(store, shard.shard, 1).next();
    return { queued, oldestMs: oldest === undefined ? 0 : Math.max(0, clock.now() - oldest.createdAt) };
  }
}
