/** Reads all outbound messages in the store: at the start, and now and then where a watch may fail. */
import { OUTBOUND_MESSAGES, type OutboundMessage, outboundMessageOf, putOutbound } from '@cmbs/shared/broker';
import { MAX_READ_CHARS, PUBLICATION_GRACE_MS } from '../limits';
import type { DeliveryEnvironment } from './environment';
import { UNKNOWN_BYTES } from './in-flight-message';

const PAGE = 1000;

export interface StoreScanParts {
  readonly environment: Pick<DeliveryEnvironment, 'store' | 'clock' | 'log' | 'lookAgainMs'>;
  /** Whether the sending member is this companion's. */
  readonly serves: (outbound: OutboundMessage) => Promise<boolean>;
  /** @param publishAfterMs milliseconds in which the function that queued the message may publish it */
  readonly found: (outbound: OutboundMessage, publishAfterMs: number) => void;
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
    const { environment, serves, found } = this.#parts;
    for (let after: string | undefined, more = true; more && !this.#isStopped;) {
      const page = await environment.store.query({
        collection: OUTBOUND_MESSAGES,
        by: 'order',
        limit: PAGE,
        maxChars: MAX_READ_CHARS,
        ...(after === undefined ? {} : { after }),
      });
      for (const outbound of page.docs.map(outboundMessageOf)) {
        if (!(await serves(outbound))) continue;
        if (outbound.bytes === undefined) await this.#writeAgain(outbound.id);
        found(outbound, publishAfterMs);
      }
      after = page.next;
      more = after !== undefined;
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

  /** A message that an earlier release queued lacks some of its index entries; writing it again adds them. */
  async #writeAgain(outboundId: string): Promise<void> {
    await this.#parts.environment.store.transact(async (tx) => {
      const doc = await tx.get(OUTBOUND_MESSAGES, outboundId);
      if (doc === undefined) return;
      const outbound = outboundMessageOf(doc);
      putOutbound(tx, { ...outbound, bytes: outbound.frame?.length ?? UNKNOWN_BYTES });
    });
  }
}
