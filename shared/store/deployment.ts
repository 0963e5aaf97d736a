/** The id of a deployment: made once and kept in its store. */
import type { NewId } from '../clock';
import type { Store } from './store';

export async function deploymentId(store: Store, newId: NewId): Promise<string> {
  const known = await idIn(store);
  if (known !== undefined) return known;
  await store.create('meta', 'deployment', { id: newId(), oldReceiptsUntil: 0 });
  const made = await idIn(store);
  if (made === undefined) throw new Error('The store has lost the deployment id.');
  return made;
}

/** Resolves when the store answers; rejects as its reads do. */
export async function assertReachable(store: Store): Promise<void> {
  await idIn(store);
}

async function idIn(store: Store): Promise<string | undefined> {
  const id = (await store.get('meta', 'deployment'))?.value.id;
  return typeof id === 'string' ? id : undefined;
}
