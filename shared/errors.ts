/**
 * The catalogue of errors. Every refusal, over HTTP or on a socket, has one of these codes. The code determines the HTTP
 * status and whether repeating the request can help.
 */
import type { JsonObject } from './json';

interface CatalogueEntry {
  readonly status: number;
  /** True when the same request may succeed later without any change to it. */
  readonly retryable: boolean;
}

/** Every code, with its HTTP status. docs/reference/errors.md is generated from it. */
export const CATALOGUE = {
  /** The bytes do not parse in their declared media type, or a value has the wrong form. */
  bad_request: { status: 400, retryable: false },
  /** The request names a category that this deployment does not have. */
  unknown_category: { status: 400, retryable: false },
  /** An attribute is missing, of the wrong type, immutable, undeclared, or does not match its pattern. */
  bad_attribute: { status: 400, retryable: false },
  /** The action is unknown, or the entity does not have it. */
  bad_action: { status: 400, retryable: false },
  /** Credentials are missing or not valid. */
  unauthenticated: { status: 401, retryable: false },
  /** Nobody may do this (for example, delete a built-in category), or this caller may not. */
  forbidden: { status: 403, retryable: false },
  /** There is nothing at this path. */
  not_found: { status: 404, retryable: false },
  /** The path does not have this method; the header `Allow` lists the methods it has. */
  method_not_allowed: { status: 405, retryable: false },
  /** None of the media types in `Accept` is offered. */
  not_acceptable: { status: 406, retryable: false },
  /** The request arrived too slowly. */
  request_timeout: { status: 408, retryable: true },
  /** The request contradicts what exists: an id or location in use, a state that does not allow it. */
  conflict: { status: 409, retryable: false },
  /** `If-Match` or `If-None-Match` does not hold. */
  precondition_failed: { status: 412, retryable: false },
  /** The body, the entity, the message or the page is larger than allowed. */
  too_large: { status: 413, retryable: false },
  /** The body has no `Content-Type`, or one that is not accepted. */
  unsupported_media_type: { status: 415, retryable: false },
  /** The range that the request asks for is not in the file. */
  range_not_satisfiable: { status: 416, retryable: false },
  /** `Expect` asks for something that is not offered. */
  expectation_failed: { status: 417, retryable: false },
  /** The request names another host than this server, or a frame names another member than the one at the socket. */
  misdirected: { status: 421, retryable: false },
  /** The `Idempotency-Key` was used before for another request. */
  idempotency_mismatch: { status: 422, retryable: false },
  /** A bounded queue is full; `Retry-After` says when to try again. */
  queue_full: { status: 429, retryable: true },
  /** Too many logins from this address have failed; `Retry-After` says when to try again. */
  too_many_attempts: { status: 429, retryable: true },
  /** The headers are larger than 16 KiB. */
  headers_too_large: { status: 431, retryable: false },
  /** A fault of this product; only the log has the details. */
  internal: { status: 500, retryable: true },
  /** The feature or the protocol version is not offered. */
  not_implemented: { status: 501, retryable: false },
  /** The companion, the store or the topic bus does not answer now; nothing was done. */
  unavailable: { status: 503, retryable: true },
  /** The store cannot take more data (a full disk). */
  storage_full: { status: 507, retryable: true },
  /** The deadline passed; the outcome of a write is not known. */
  deadline_exceeded: { status: 504, retryable: true },
  /** A call was interrupted: it may have run, and will not be run again. */
  outcome_unknown: { status: 504, retryable: false },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof CATALOGUE;

export interface CmbsErrorOptions {
  /** The cause, for the log; a caller never sees it. */
  readonly cause?: unknown;
  /** Machine-readable facts for the caller, in the field `details`. */
  readonly details?: JsonObject;
  /** Response headers that the refusal needs (`Allow`, `Retry-After`, `WWW-Authenticate`). */
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error for the caller. The message is one sentence that says what is wrong and what to do. */
export class CmbsError extends Error {
  override readonly name = 'CmbsError';
  readonly code: ErrorCode;
  readonly details: JsonObject | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, options: CmbsErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details;
    this.headers = options.headers ?? {};
  }

  get status(): number {
    return CATALOGUE[this.code].status;
  }

  get retryable(): boolean {
    return CATALOGUE[this.code].retryable;
  }
}

/** True for the transient failure of a dependency, such as the store; the request itself was valid. */
export const isOutage = (error: unknown): boolean =>
  error instanceof CmbsError && (error.code === 'unavailable' || error.code === 'deadline_exceeded');

/** An error with the code `bad_request`. */
export function badRequest(message: string, options?: CmbsErrorOptions): CmbsError {
  return new CmbsError('bad_request', message, options);
}

/** The error that a caller may see: a {@link CmbsError} unchanged, any other value as `internal`. */
export function toCmbsError(thrown: unknown): CmbsError {
  if (thrown instanceof CmbsError) return thrown;
  return new CmbsError('internal', 'The server failed; the cause is in its log.', { cause: thrown });
}

/**
 * The text of any thrown value and its causes, for the log.
 * @param shown the text of one error; its stack by default
 */
export function describeError(
  thrown: unknown,
  shown: (error: Error) => string = (error) => error.stack ?? String(error),
): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const cause = thrown.cause === undefined ? '' : ` (cause: ${describeError(thrown.cause, shown)})`;
  return shown(thrown) + cause;
}
