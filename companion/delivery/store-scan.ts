/** Reads the outbound messages of this companion's shard: at the start, and now and then where a watch may fail. */
import type { OutboundMessage } from '@cmbs/shared/broker';
import { PUBLICATION_GRACE_MS } from '../limits';
import type { DeliveryEnvironment } from './environment';
import { inQueueOrder } from './queue-order';
import type { MessageShards } from './message-shards';

/** Messages of one part that are read at once. */
const PAGE = 250;

export interface StoreScanParts {
  readonly environment: Pick<DeliveryEnvironment, 'store' | 'clock' | 'log' | 'lookAgainMs' | 'shard'>;
  readonly shards: MessageShards;
  /** Whether the sending member is this companion's; if not, the shard of the message is corrected. */
  readonly serves: (outbound: OutboundMessage) => Promise<boolean>;
  /** @param publishAfterMs milliseconds in which the function that queued the message may publish it */
  readonly found: (outbound: OutboundMessage, publishAfterMs: number) => Promise<void>;
}

export class StoreScan {
  readonly #parts: StoreScanParts;
  #cancel: () => void = () => undefined;
  #isStopped = false;

  constructor(parts: StoreScanParts) {
    this.#parts = parts;
  }

  /** Reports the messages of this companion's members, in queue order. */
  async all(publishAfterMs: number): Promise<void> {
    const { environment, shards, serves, found } = this.#parts;
    await shards.correct(() => this.#isStopped);
    for await (const outbound of inQueueOrder(environment.store, environment.shard.shard, PAGE)) {
      if (this.#isStopped) return;
      if (await serves(outbound)) await found(outbound, publishAfterMs);
    }
  }

  soon(): void {
    const { clock, lookAgainMs } = this.#parts.environment;
    if (lookAgainMs === undefined || this.#isStopped) return;
    // Two scans may have been under way; one comes next.
    this.#cancel();
    this.#cancel = clock.after(lookAgainMs, () => this.now());
  }

  now(): void {
    this.#cancel();
    this.all(PUBLICATION_GRACE_MS)
      .catch((error: unknown) => this.#parts.environment.log.warn('outbound messages not read', { cause: error }))
      .finally(() => this.soon());
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }
}
