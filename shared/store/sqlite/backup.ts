/** Copies a database at one point in time, while other processes may write to it. */
import { closeSync, existsSync, fsyncSync, mkdtempSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { makeDirectory } from '../../make-directory';
import { DatabaseSync } from '@photostructure/sqlite';
import { CmbsError } from '../../errors';
import { DATABASE_BUSY_MS } from './limits';
import { readText } from './read-once';

/**
 * Copies the database at `source` to `target`, which appears complete, checked and durable, or not at all. An earlier
 * `target` is replaced.
 */
export function copyDatabase(source: string, target: string): void {
  const partial = `${target}.partial`;
  rmSync(partial, { force: true });
  try {
    // Creates the file with the mode of the source: VACUUM INTO would use the umask, and data may be private.
    closeSync(openSync(partial, 'w', statSync(source).mode & 0o777));
    const db = new DatabaseSync(source, { readOnly: true, timeout: DATABASE_BUSY_MS });
    try {
      db.exec(`VACUUM INTO '${partial.replaceAll("'", "''")}'`);
    } finally {
      db.close();
    }
    verify(partial);
    syncPath(partial);
    renameSync(partial, target);
    syncPath(dirname(target));
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}

/**
 * Copies the data directory `source`, of a running or stopped stack, to the new directory `target`, which is a data
 * directory too.
 *
 * @throws CmbsError `not_found` without a database in `source`, `conflict` when `target` exists
 */
export function backupDirectory(source: string, target: string): void {
  const database = join(source, 'cmbs.db');
  if (!existsSync(database)) {
    throw new CmbsError(
      'not_found',
      `There is no database in ${source}; set CMBS_DATA_DIR to the data directory.`,
    );
  }
  if (existsSync(target)) {
    throw new CmbsError('conflict', `${target} exists already; name a directory that does not.`);
  }
  makeDirectory(dirname(resolve(target)));
  const partial = mkdtempSync(`${resolve(target)}.partial-`);
  try {
    copyDatabase(database, join(partial, 'cmbs.db'));
    renameSync(partial, target);
    syncPath(dirname(resolve(target)));
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

function verify(path: string): void {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const answer = readText(db, 'SELECT integrity_check FROM pragma_integrity_check LIMIT 1');
    if (answer !== 'ok') {
      throw new CmbsError('internal', `The copy is damaged (${answer}); the original may be, too.`);
    }
  } finally {
    db.close();
  }
}

/** Makes a file, or the entries of a directory, durable. */
export function syncPath(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
