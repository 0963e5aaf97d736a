/** The id of a deployment and its keys: each is made once and kept in its store. */
import { randomBytes } from 'node:crypto';
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

/** Bytes of a key: for AES-256, and as long as the digest of HMAC-SHA-256 (RFC 2104 §3). */
const KEY_BYTES = 32;

/** A key that all processes of the deployment share; the first process that asks for the key makes it. */
export async function deploymentKey(store: Pick<Store, 'get' | 'create'>, id: string): Promise<Buffer> {
  const key = async (): Promise<unknown> => (await store.get('meta', id))?.value.key;
  let known = await key();
  if (known === undefined) {
    await store.create('meta', id, { key: randomBytes(KEY_BYTES).toString('base64url') });
    known = await key();
  }
  const bytes = Buffer.from(typeof known === 'string' ? known : '', 'base64url');
  if (bytes.length !== KEY_BYTES) throw new Error(`The store has lost the key ${id}.`);
  return bytes;
}

/** Resolves when the store answers; rejects as its reads do. */
export async function assertReachable(store: Store): Promise<void> {
  await idIn(store);
}

async function idIn(store: Store): Promise<string | undefined> {
  const id = (await store.get('meta', 'deployment'))?.value.id;
  return typeof id === 'string' ? id : undefined;
}
