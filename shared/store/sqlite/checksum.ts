/**
 * A checksum for each document, so that bytes that changed on the disk are never returned as data. SQLite has checksums in
 * the write-ahead log but not in the database file (`test/integration/store-loss.test.ts`).
 */
import { crc32 } from 'node:zlib';
import { type DatabaseSyncInstance } from '@photostructure/sqlite';

type Text = string | null;

/** The checksum of a row without its number; it is in the column `sum`. */
export function checksum(
  collection: number,
  id: string,
  revision: number,
  value: string,
  sort: Text,
  expires: number | null,
  entries: Text,
): number {
  const others = `${collection}\0${id}\0${revision}\0${sort ?? ''}\0${expires ?? ''}\0${entries ?? ''}`;
  return crc32(value, crc32(others));
}

/** Columns of a document that the SQL function `cmbs_damaged` takes. */
const COLUMNS = 'collection, id, revision, value, sort, expires, entries, sum';

/** Documents that a message names; further ones are counted. */
const NAMED = 10;

export interface Damage {
  readonly count: number;
  /** Ids of the first documents that are damaged. */
  readonly ids: readonly string[];
}

/** Reads every document with a checksum; with `remove`, deletes those that do not match. */
export function findDamage(db: DatabaseSyncInstance, remove: boolean): Damage {
  const ids: string[] = [];
  let count = 0;
  db.function('cmbs_damaged', { directOnly: true, varargs: true }, (...row: unknown[]) => {
    const [collection, id, revision, value, sort, expires, entries, sum] = row as [
      number,
      string,
      number,
      string,
      Text,
      number | null,
      Text,
      number | null,
    ];
    // Written by a release without checksums.
    if (sum === null || sum === checksum(collection, id, revision, value, sort, expires, entries)) return 0;
    count += 1;
    if (ids.length < NAMED) ids.push(id);
    return 1;
  });
  if (remove) {
    db.exec(`DELETE FROM document WHERE cmbs_damaged(${COLUMNS})`);
    if (count === 0) return { count, ids };
    for (const table of ['entry', 'sorted_entry'])
      db.exec(`DELETE FROM ${table} WHERE doc NOT IN (SELECT doc FROM document)`);
  } else {
    // A prepared statement would keep the connection open (`read-once.ts`).
    db.exec(`SELECT count(*) FROM document WHERE cmbs_damaged(${COLUMNS})`);
  }
  return { count, ids };
}
