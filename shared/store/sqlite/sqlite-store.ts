/** Opens the embedded store: one SQLite file in the data directory, one process (DESIGN decisions 10 and 17). */
import { join } from 'node:path';
import { makeDirectory } from '../../make-directory';
import { type Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { type Log, silentLog } from '../../log';
import { AcknowledgedRecord } from './acknowledged';
import { type DirectoryLock, lockDirectory } from './directory-lock';
import { toStoreError } from './errors';
import { OpenStore } from './open-store';
import { DATABASE_FILE, MIGRATIONS, openDatabase } from './schema';
import { Tables } from './tables';
import { type Store } from '../store';

/** Bytes to which the log file is cut back when it starts over. */
const WAL_SIZE_LIMIT = 64 * 1024 * 1024;

export interface SqliteStoreOptions {
  /** The data directory; created when missing. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log?: Log;
  /** Upper bound of the database file in pages of 4 KiB, beyond which writes are refused `storage_full`. */
  readonly maxPages?: number;
  /** For tests of migration; the product's own by default. */
  readonly migrations?: readonly string[];
  /** Goes on with what there is where acknowledged writes are missing or damaged. */
  readonly acceptDataLoss?: boolean;
}

export interface SqliteStore extends Store {
  /** Throws `unavailable` when the store has stopped, as it does now if its files are not those of its directory any more. */
  assertInPlace(): void;
}

/**
 * Opens or creates the store. Rejects with `conflict` when another process has the directory, or when the file in it
 * is not ours, damaged, or newer than this program (then nothing is changed); `storage_full` on a full disk.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const { directory, clock, log = silentLog, maxPages, migrations = MIGRATIONS, acceptDataLoss } = options;
  let lock: DirectoryLock | undefined;
  let tables: Tables | undefined;
  let record: AcknowledgedRecord | undefined;
  try {
    makeDirectory(directory);
    lock = lockDirectory(directory);
    tables = new Tables(openDatabase({ directory, migrations, maxPages, log, acceptDataLoss }));
    tables.connection.prepareLog(WAL_SIZE_LIMIT);
    record = new AcknowledgedRecord(directory, tables.standing());
    return new OpenStore({ tables, record, lock, path: join(directory, DATABASE_FILE), clock, log });
  } catch (error) {
    await record?.close();
    tables?.connection.close();
    lock?.release();
    if (error instanceof CmbsError) throw error;
    const known = toStoreError(error);
    if (known.code !== 'internal') throw known;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CmbsError('unavailable', `The data directory ${directory} cannot be used: ${reason}.`, {
      cause: error,
    });
  }
}
