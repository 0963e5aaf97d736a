/** Limits of the store on SQLite. */

/** Milliseconds for which one transaction may have the store alone; others wait. */
export const EXCLUSIVE_MS = 5000;
/** Pages of 4 KiB in the write-ahead log after which a checkpoint runs beside the writes. */
export const CHECKPOINT_PAGES = 2000;
/** Milliseconds to wait for another process that locks the database file for a moment, such as a backup. */
export const DATABASE_BUSY_MS = 5000;
