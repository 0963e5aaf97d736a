/** Looks at everything that lies in the outbox's collection: at the start, and now and then where a watch may fail. */
import { OUTBOUND_MESSAGES, type OutboundMessage, outboundMessageOf, putOutbound } from '@cmbs/shared/broker';
import { MAX_READ_CHARS, PUBLICATION_GRACE_MS } from '../limits';
import type { DeliveryEnvironment } from './environment';
import { UNKNOWN_BYTES } from './in-flight-message';

const PAGE = 1000;

export interface StoreScanParts {
  readonly environment: Pick<DeliveryEnvironment, 'store' | 'clock' | 'log' | 'lookAgainMs'>;
  /** Whether the sending member is this companion's. */
  readonly serves: (send: OutboundMessage) => Promise<boolean>;
  /** @param publishAfterMs milliseconds in which the function that queued the message may publish it */
  readonly found: (send: OutboundMessage, publishAfterMs: number) => void;
}

export class StoreScan {
  readonly #parts: StoreScanParts;
  #cancel: () => void = () => undefined;
  #isStopped = false;

  constructor(parts: StoreScanParts) {
    this.#parts = parts;
  }

  /** Tells of all that is this companion's, in the order in which it was queued. */
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
      for (const send of page.docs.map(outboundMessageOf)) {
        if (!(await serves(send))) continue;
        if (send.bytes === undefined) await this.#writeAgain(send.id);
        found(send, publishAfterMs);
      }
      after = page.next;
      more = after !== undefined;
    }
  }

  soon(): void {
    const { clock, lookAgainMs } = this.#parts.environment;
    if (lookAgainMs === undefined || this.#isStopped) return;
    // Two looks may have been under way; one comes next.
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

  /** What an earlier release queued lacks some of the entries by which it is found; written again, it has them. */
  async #writeAgain(sendId: string): Promise<void> {
    await this.#parts.environment.store.transact(async (tx) => {
      const doc = await tx.get(OUTBOUND_MESSAGES, sendId);
      if (doc === undefined) return;
      const send = outboundMessageOf(doc);
      putOutbound(tx, { ...send, bytes: send.frame?.length ?? UNKNOWN_BYTES });
    });
  }
}
