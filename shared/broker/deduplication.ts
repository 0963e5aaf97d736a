/** Finds the receipt of a message that a member has received before (docs/guarantees.md, "Per layer"). */
import type { BrokerContext } from './context';
import { INBOX_TTL_MS } from './limits';
import { inboxOf, oldReceiptId, receiptId, receiptOf, type IdentifiedReceipt } from './receipt';
import type { WireMessage } from './wire';

export class Deduplication {
  readonly #context: Pick<BrokerContext, 'store' | 'clock'>;
  /** Milliseconds since the epoch. */
  #oldReceiptsUntil: Promise<number> | undefined;

  constructor(context: Pick<BrokerContext, 'store' | 'clock'>) {
    this.#context = context;
  }

  /** The ids under which a receipt may be stored already; the receipt's own id comes first. */
  async idsOf(message: WireMessage, id: string): Promise<readonly string[]> {
    const sendId = message.transfer.send_id;
    if (sendId === undefined) return [id];
    this.#oldReceiptsUntil ??= this.#readOldReceiptsUntil();
    this.#oldReceiptsUntil.catch(() => (this.#oldReceiptsUntil = undefined));
    const isOldPossible = this.#context.clock.now() < (await this.#oldReceiptsUntil);
    return isOldPossible ? [id, oldReceiptId(message, sendId)] : [id];
  }

  /** Undefined for a message that was not received before, and for a message without a send id. */
  async find(memberId: string, message: WireMessage): Promise<IdentifiedReceipt | undefined> {
    const sendId = message.transfer.send_id;
    if (sendId === undefined) return undefined;
    const id = receiptId(message, sendId);
    const docs = await this.#context.store.getAll(inboxOf(memberId), await this.idsOf(message, id));
    const doc = docs.find((found) => found !== undefined);
    return doc === undefined ? undefined : { id, receipt: receiptOf(doc) };
  }

  /**
   * Until when receipts may exist under the ids of earlier releases. Such ids are looked up only in deployments that an
   * earlier release made, and no longer than a receipt is kept, counted from the first start of this release.
   */
  async #readOldReceiptsUntil(): Promise<number> {
    const { store, clock } = this.#context;
    const now = clock.now();
    const until = (await store.get('meta', 'deployment'))?.value.oldReceiptsUntil;
    if (typeof until === 'number') return until;
    return store.transact(async (tx) => {
      const doc = await tx.get('meta', 'deployment');
      if (doc === undefined) return 0;
      const known = doc.value.oldReceiptsUntil;
      if (typeof known === 'number') return known;
      tx.put('meta', 'deployment', { ...doc.value, oldReceiptsUntil: now + INBOX_TTL_MS });
      return now + INBOX_TTL_MS;
    });
  }
}
