/**
 * Locks a data directory for one process (`test/integration/store-directory.test.ts`).
 *
 * The lock is an exclusive transaction on a SQLite file of its own. The operating system releases it when the process
 * ends in any way, so there are no stale locks. A second file has the process id, for the message only: closing any
 * descriptor of the locked file would release every POSIX lock of the process on it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { CmbsError } from '../../errors';
import { isSqliteError, SQLITE_BUSY } from './errors';

export interface DirectoryLock {
  release(): void;
}

/**
 * Takes the lock without waiting.
 *
 * @throws CmbsError `conflict` when another process has it
 */
export function lockDirectory(directory: string): DirectoryLock {
  const pidFile = join(directory, 'lock.pid');
  const db = new DatabaseSync(join(directory, 'lock.db'), { timeout: 0 });
  try {
    db.exec('PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if (!isSqliteError(error, SQLITE_BUSY)) throw error;
    throw new CmbsError(
      'conflict',
      `The data directory ${directory} is in use by another process${holder(pidFile)}; ` +
        'stop it or set CMBS_DATA_DIR to another directory.',
      { cause: error },
    );
  }
  try {
    writeFileSync(pidFile, `${process.pid}\n`);
  } catch (error) {
    db.close();
    throw error;
  }
  let isLocked = true;
  return {
    release: () => {
      if (!isLocked) return;
      isLocked = false;
      db.close();
    },
  };
}

/** The process that has the lock, for the message; empty when its id cannot be read. */
function holder(pidFile: string): string {
  try {
    const pid = readFileSync(pidFile, 'utf8').trim();
    return /^\d+$/.test(pid) ? ` (pid ${pid})` : '';
  } catch {
    return ''; // the message does without the id
  }
}
