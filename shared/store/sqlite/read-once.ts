/**
 * Reads one value without a prepared statement. The binding finalizes a statement only when it is garbage-collected;
 * until then a closed connection keeps its descriptor and its lock, and another connection finds the database locked. A
 * connection that reads once must release them when it is closed (`test/integration/store-directory.test.ts`, "is closed
 * at once").
 */
import { type DatabaseSyncInstance } from '@photostructure/sqlite';

/** The only column of the last row; undefined without rows. */
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
