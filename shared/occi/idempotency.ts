/** `Idempotency-Key`: the same key again gives the same answer, kept 24 hours. */
import { createHash } from 'node:crypto';
import { badRequest, CmbsError } from '../errors';
import type { JsonObject } from '../json';
import { MAX_NAME_LENGTH } from '../limits';
import type { Clock } from '../clock';
import type { Store, Transaction } from '../store';

/** Milliseconds that the answer under an `Idempotency-Key` is kept: 24 hours. */
const IDEMPOTENCY_MS = 24 * 60 * 60 * 1000;

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
export async function earlierAnswer(
  tx: Pick<Transaction, 'get'>,
  request: IdempotentRequest,
): Promise<JsonObject | undefined> {
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

/**
 * Runs the body of a transaction once for a key: its answer is committed with what it writes, and a repeated request gets
 * that answer, which is JSON. Without a key it runs each time.
 */
export async function once<T extends object>(
  tx: Transaction,
  request: IdempotentRequest | undefined,
  now: number,
  body: () => Promise<T>,
): Promise<T> {
  if (request === undefined) return body();
  const earlier = await earlierAnswer(tx, request);
  if (earlier !== undefined) return earlier as unknown as T;
  const made = await body();
  rememberAnswer(tx, request, made as unknown as JsonObject, now);
  return made;
}

/**
 * For work of many steps, each of which may be done again without harm: what came of it is kept when all of it is done.
 * What is cut off in between starts again with the same request.
 */
export class AnsweredRequests {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** @param isFinal whether an answer is the last one, and a repeated request gets it */
  async once<T extends object>(
    request: IdempotentRequest | undefined,
    run: () => Promise<T>,
    isFinal: (made: T) => boolean = () => true,
  ): Promise<T> {
    if (request === undefined) return run();
    const earlier = await earlierAnswer(this.#store, request);
    if (earlier !== undefined) return earlier as unknown as T;
    const made = await run();
    if (!isFinal(made)) return made;
    return this.#store.transact((tx) => once(tx, request, this.#clock.now(), () => Promise.resolve(made)));
  }
}
