/** The identity of a deployment: made once, kept in its store. */
import type { NewId } from '../clock';
import type { Store } from './store';

export async function deploymentId(store: Store, newId: NewId): Promise<string> {
  await store.create('meta', 'deployment', { id: newId() });
  const doc = await store.get('meta', 'deployment');
  if (typeof doc?.value.id !== 'string') throw new Error('the store has lost the deployment id');
  return doc.value.id;
}
