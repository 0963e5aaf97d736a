/** The identity of a deployment: made once, kept in its store. */
import type { NewId } from '../clock';
import type { Store } from './store';

export async function deploymentId(store: Store, newId: NewId): Promise<string> {
  const known = await idIn(store);
  if (known !== undefined) return known;
  await store.create('meta', 'deployment', { id: newId(), oldReceiptsUntil: 0 });
  const made = await idIn(store);
  if (made === undefined) throw new Error('the store has lost the deployment id');
  return made;
}

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

/** Resolves when the store answers; rejects as its reads do. */
export async function assertReachable(store: Store): Promise<void> {
  await idIn(store);
}

async function idIn(store: Store): Promise<string | undefined> {
  const id = (await store.get('meta', 'deployment'))?.value.id;
  return typeof id === 'string' ? id : undefined;
}
