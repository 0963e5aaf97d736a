/** Receipts of earlier releases, whose ids do not tell who sent (`inbox.ts`). */
import type { Store } from '../store';

/**
 * Milliseconds since the epoch until which receipts may be there under the ids of earlier releases. Those are looked for
 * in deployments that an earlier release made, and no longer than such a receipt is kept: `keptMs`, from the first start
 * of this one.
 */
export async function oldReceiptsUntil(store: Store, now: number, keptMs: number): Promise<number> {
  const until = (await store.get('meta', 'deployment'))?.value.oldReceiptsUntil;
  if (typeof until === 'number') return until;
  return store.transact(async (tx) => {
    const doc = await tx.get('meta', 'deployment');
    if (doc === undefined) return 0;
    const known = doc.value.oldReceiptsUntil;
    if (typeof known === 'number') return known;
    tx.put('meta', 'deployment', { ...doc.value, oldReceiptsUntil: now + keptMs });
    return now + keptMs;
  });
}
