/** Limits of the store on Firestore. */

/** Limits that {@link FirestoreStoreOptions} can change. */
export interface FirestoreLimits {
  /** Milliseconds for a read: a caller over HTTP waits no longer for a page. */
  readonly readMs: number;
  /** Milliseconds for a transaction or a creation, all its attempts included. */
  readonly writeMs: number;
  /** Milliseconds that closing waits for operations under way. */
  readonly closeMs: number;
  /** Calls and watches at the same time; further ones are refused with `queue_full`. */
  readonly calls: number;
}

export const FIRESTORE_LIMITS: FirestoreLimits = { readMs: 10_000, writeMs: 20_000, closeMs: 5000, calls: 4000 };

/** Attempts per call while Firestore is unreachable: about a second in all, with the pauses. */
export const FIRESTORE_ATTEMPTS = 4;
/** Milliseconds between two attempts, at first and at most. */
export const FIRESTORE_RETRY_MS = 50;
export const FIRESTORE_RETRY_MAX_MS = 1000;
/** Milliseconds before a transaction runs again after a conflict, at first and at most: the other one has committed. */
export const FIRESTORE_CONFLICT_MS = 5;
export const FIRESTORE_CONFLICT_MAX_MS = 250;
/** Documents that a query asks for in one call, which deadline the documents that it reads in vain. */
export const FIRESTORE_SCAN_DOCS = 1000;
