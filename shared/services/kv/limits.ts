/** Limits of key-value databases, each with its unit and reason; tests pass smaller ones. */

/**
 * Bytes in which entries are charged: the key and the value as JSON, rounded up. A counter that grows from 9 to 10 is
 * charged as before, so that its change writes no other document. Because every entry is charged one unit at least, the
 * bound on units is a bound on the number of entries too.
 */
export const UNIT_BYTES = 1024;

export interface KeyValueLimits {
  /** Units of all databases of one module: 256 MiB, or 262,144 entries. */
  readonly moduleUnits: number;
  /** Units of all databases of one caller: 16 MiB, or 16,384 entries. There may be thousands of callers. */
  readonly callerUnits: number;
  /** Databases of one module or one caller: one document has all their names. */
  readonly databases: number;
  /** Milliseconds in which one call deletes the entries of a database: less than the deadline of a call. */
  readonly dropMs: number;
}

export const KEY_VALUE_LIMITS: KeyValueLimits = {
  moduleUnits: 256 * 1024,
  callerUnits: 16 * 1024,
  databases: 32,
  dropMs: 10_000,
};

/** Bytes of a key in UTF-8. Firestore allows 1,500 for an id, in which a dot and a slash count twice. */
export const MAX_KEY_BYTES = 512;
/** Bytes of a value as JSON, in which bytes are base64: a value is one document, of 1 MiB in Firestore. */
export const MAX_ENTRY_BYTES = 1_000_000;
/** Keys that one transaction reads and writes: with their accounts they are one commit of the store. */
export const MAX_TRANSACTION_KEYS = 64;
/** Bytes of the values that one transaction writes: Firestore takes 10 MiB, with the ids. */
export const MAX_TRANSACTION_BYTES = 4 * 1024 * 1024;
/** Entries on a page, at most and by default. */
export const MAX_PAGE_ENTRIES = 1000;
export const PAGE_ENTRIES = 100;
/** Characters of the values after which a page ends: with the largest value it is a moderate answer. */
export const PAGE_CHARS = 512 * 1024;
/** Modules and callers on a page of all databases. */
export const PAGE_SCOPES = 100;
/** Increments of one counter that wait in one process: each is a call in flight. */
export const MAX_WAITING_INCREMENTS = 10_000;
/** Increments that one transaction of the store applies together: a moment of work between other requests. */
export const INCREMENTS_TOGETHER = 1000;
/** Entries that one step of the deletion of a database deletes: with their accounts they are one commit of the store. */
export const DROP_STEP_ENTRIES = 100;
