/** Limits that several files of this folder share: each with its unit and reason. */

/** Milliseconds that a transaction may hold the store for itself; others wait meanwhile. */
export const EXCLUSIVE_HOLD_MS = 5000;
/** Pages of 4 KiB in the write-ahead log after which a checkpoint runs beside the writes. */
export const CHECKPOINT_PAGES = 2000;
/** Milliseconds to wait for another process that holds the database file for a moment (a backup that ends). */
export const DATABASE_BUSY_MS = 5000;
