/**
 * Cursors of a closed deployment. A page may end after an entity that its caller may not see, and the cursor names that
 * entity; so the cursor is encrypted, and its length tells nothing either.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { badRequest } from '../errors';
import type { Cursors } from '../occi';
import { deploymentKey, type Store } from '../store';

const KEY_ID = 'cursor-key';
const ALGORITHM = 'aes-256-gcm';
/** Bytes of the random nonce: with 96 bits, one key may encrypt 2^32 cursors (NIST SP 800-38D §8.3). */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Cursors are filled up to a multiple of this many bytes, since the length of a path may tell whose it is. */
const BLOCK_BYTES = 256;

export class SealedCursors implements Cursors {
  readonly #store: Pick<Store, 'get' | 'create'>;
  #key: Promise<Buffer> | undefined;

  /** @param store has the key of the deployment, which is read when the first cursor is needed */
  constructor(store: Pick<Store, 'get' | 'create'>) {
    this.#store = store;
  }

  async seal(cursor: string): Promise<string> {
    const bytes = Buffer.byteLength(cursor);
    // A cursor has no spaces.
    const filled = cursor + ' '.repeat(Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES - bytes);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, await this.#loadedKey(), nonce, { authTagLength: TAG_BYTES });
    const sealed = [nonce, cipher.update(filled, 'utf8'), cipher.final(), cipher.getAuthTag()];
    return Buffer.concat(sealed).toString('base64url');
  }

  async open(text: string): Promise<string> {
    const key = await this.#loadedKey();
    const bytes = Buffer.from(text, 'base64url');
    if (bytes.length <= NONCE_BYTES + TAG_BYTES) throw notOpened();
    const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      const filled = [decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()];
      return Buffer.concat(filled).toString('utf8').trimEnd();
    } catch (cause) {
      throw notOpened(cause);
    }
  }

  #loadedKey(): Promise<Buffer> {
    const key = (this.#key ??= deploymentKey(this.#store, KEY_ID));
    key.catch(() => (this.#key = undefined)); // the next request tries again
    return key;
  }
}

const notOpened = (cause?: unknown): Error =>
  badRequest('The cursor is not one that this deployment gave out; start again without a cursor.', { cause });
