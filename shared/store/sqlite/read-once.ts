/**
 * Reads one value without a prepared statement. The binding finalizes a statement only when it is garbage-collected,
 * and until then a closed connection goes on living inside SQLite, with its descriptors and locks. A connection that
 * is opened for one look and closed again must really be gone.
 */
import { type DatabaseSyncInstance } from '@photostructure/sqlite';

/** The last row's only column, or undefined without rows. */
function readOnce(db: DatabaseSyncInstance, sql: string): unknown {
  let seen: unknown;
  db.function('cmbs_read', { directOnly: true }, (value: unknown) => {
    seen = value;
    return null;
  });
  db.exec(`SELECT cmbs_read((${sql}))`);
  return seen;
}

export function readNumber(db: DatabaseSyncInstance, sql: string): number {
  return Number(readOnce(db, sql));
}

export function readText(db: DatabaseSyncInstance, sql: string): string {
  return String(readOnce(db, sql));
}
