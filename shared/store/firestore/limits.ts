/** Limits that several files of this folder share: each with its unit and reason. */

/** Times that one call is made when Firestore cannot be reached for a moment: a second in all, with the pauses. */
export const FIRESTORE_ATTEMPTS = 4;
/** Milliseconds before a call is made again, at first and at most. */
export const FIRESTORE_RETRY_MS = 50;
export const FIRESTORE_RETRY_MAX_MS = 1000;
/** Milliseconds before a transaction that was outrun runs again, at first and at most: the other has committed. */
export const FIRESTORE_CONFLICT_MS = 5;
export const FIRESTORE_CONFLICT_MAX_MS = 250;
/** Documents that a query asks for in one call; what it reads in vain is no more. */
export const FIRESTORE_SCAN_DOCS = 1000;
