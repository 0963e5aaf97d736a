/** `Idempotency-Key`: the same key again gives the same answer, kept 24 hours. */
import { createHash } from 'node:crypto';
import { badRequest, CmbsError } from '../errors';
import type { JsonObject } from '../json';
import { IDEMPOTENCY_MS, MAX_NAME_LENGTH } from '../limits';
import type { Transaction } from '../store/store';

const COLLECTION = 'idempotency';

export interface IdempotentRequest {
  readonly key: string;
  /** Who used the key: two callers may choose the same one. */
  readonly owner: string;
  /** Digest of what makes the request what it is; another one under the same key is refused. */
  readonly fingerprint: string;
}

export function fingerprint(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

export function checkIdempotencyKey(key: string): string {
  if (key === '' || key.length > MAX_NAME_LENGTH) {
    throw badRequest(`An Idempotency-Key has 1 to ${MAX_NAME_LENGTH} characters.`);
  }
  return key;
}

const idOf = ({ owner, key }: IdempotentRequest): string => fingerprint(owner, key);

/** What the first request with this key was answered, read inside the transaction that would act on it. */
export async function earlierAnswer(tx: Transaction, request: IdempotentRequest): Promise<JsonObject | undefined> {
  const doc = await tx.get(COLLECTION, idOf(request));
  if (doc === undefined) return undefined;
  if (doc.value.fingerprint !== request.fingerprint) {
    throw new CmbsError('idempotency_mismatch', 'This Idempotency-Key was used for another request before.');
  }
  return doc.value.answer as JsonObject;
}

export function rememberAnswer(
  tx: Transaction,
  request: IdempotentRequest,
  answer: JsonObject,
  now: number,
): void {
  tx.put(
    COLLECTION,
    idOf(request),
    { fingerprint: request.fingerprint, answer },
    { expiresAt: now + IDEMPOTENCY_MS },
  );
}
