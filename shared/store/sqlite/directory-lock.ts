/**
 * One process per data directory (DESIGN decision 17).
 *
 * The lock is an exclusive transaction on a SQLite file of its own, in rollback-journal mode, that never writes: the
 * operating system takes it back when the process dies, however it dies, so there is no stale lock to clean up. The
 * process id lies beside it in a plain file, for the message only. It cannot lie in the locked file: closing any
 * descriptor of a file drops every POSIX lock that the process holds on it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { CmbsError } from '../../errors';
import { isSqliteError, SQLITE_BUSY } from './errors';

export interface DirectoryLock {
  release(): void;
}

/** Takes the lock at once or throws `conflict` with a sentence that names the holder. */
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
  let held = true;
  return {
    release: () => {
      if (!held) return;
      held = false;
      db.close();
    },
  };
}

/** The process that wrote its id last; that may be one that died, but then nobody would be asking. */
function holder(pidFile: string): string {
  try {
    const pid = readFileSync(pidFile, 'utf8').trim();
    return /^\d+$/.test(pid) ? ` (pid ${pid})` : '';
  } catch {
    return ''; // Without the file the refusal stands as well; it only cannot name the process.
  }
}
