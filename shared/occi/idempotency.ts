/** `Idempotency-Key`: for 24 hours, requests with the same key get the answer of the first. */
import { createHash } from 'node:crypto';
import { badRequest, CmbsError } from '../errors';
import type { JsonObject } from '../json';
import { MAX_NAME_LENGTH } from '../limits';
import type { Clock } from '../clock';
import type { Store, Transaction } from '../store';

/** Milliseconds that an answer is kept: 24 hours. */
export const IDEMPOTENCY_MS = 24 * 60 * 60 * 1000;

/** Collection of the answers. */
export const IDEMPOTENCY = 'idempotency';

export interface IdempotentRequest {
  readonly key: string;
  /** The caller, since two callers may choose the same key. */
  readonly owner: string;
  /** Digest of the request. A different request with the same key is refused. */
  readonly fingerprint: string;
}

/** A digest of the parts and their order. */
export function fingerprint(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

/** @throws CmbsError `bad_request` */
export function checkIdempotencyKey(key: string): string {
  if (key === '' || key.length > MAX_NAME_LENGTH) {
    throw badRequest(`An Idempotency-Key has 1 to ${MAX_NAME_LENGTH} characters; choose another.`);
  }
  return key;
}

/** Id of the document about the request. */
export const idOf = ({ owner, key }: IdempotentRequest): string => fingerprint(owner, key);

/** The refusal of a different request with the same key. */
export const mismatch = (): CmbsError =>
  new CmbsError(
    'idempotency_mismatch',
    'This Idempotency-Key was used for a different request; choose a new key.',
  );

/**
 * The answer of the first request with the key; undefined if there was none. To be read in the transaction that would act.
 * @throws CmbsError `idempotency_mismatch` if the key was used for a different request
 */
export async function earlierAnswer(
  tx: Pick<Transaction, 'get'>,
  request: IdempotentRequest,
): Promise<JsonObject | undefined> {
  const doc = await tx.get(IDEMPOTENCY, idOf(request));
  if (doc === undefined) return undefined;
  if (doc.value.fingerprint !== request.fingerprint) throw mismatch();
  return doc.value.answer as JsonObject;
}

/** Keeps the answer of a request, in the transaction that acts. `now` is in milliseconds since the epoch. */
export function rememberAnswer(
  tx: Transaction,
  request: IdempotentRequest,
  answer: JsonObject,
  now: number,
): void {
  tx.put(
    IDEMPOTENCY,
    idOf(request),
    { fingerprint: request.fingerprint, answer },
    { expiresAt: now + IDEMPOTENCY_MS },
  );
}

/**
 * Runs the body of a transaction once for a key. The answer, which is JSON, is committed with the writes, and a repeated
 * request gets the answer. Without a key the body always runs.
 * @throws CmbsError `idempotency_mismatch`
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
 * Idempotency for work in many steps, each of which may be repeated. The answer is kept when the work is complete; after an
 * interruption the same request starts the work again.
 */
export class AnsweredRequests {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /**
   * @param isFinal whether the work is complete, so that a repeated request gets the answer
   * @throws CmbsError `idempotency_mismatch`
   */
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
