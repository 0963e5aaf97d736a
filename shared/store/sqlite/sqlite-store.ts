/** The embedded store: one SQLite file in a data directory, for one process (docs/design.md). */
import { join } from 'node:path';
import { makeDirectory } from '../../make-directory';
import { type Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { silentLog } from '../../log';
import { AcknowledgedRecord } from './acknowledged';
import { type DirectoryLock, lockDirectory } from './directory-lock';
import { toStoreError } from './errors';
import { OpenStore } from './open-store';
import { DATABASE_FILE, MIGRATIONS, openDatabase } from './schema';
import { INDEXED_TOGETHER } from './recent-documents';
import { Tables } from './tables';
import { type StoreOptions } from '../options';
import { type Store } from '../store';

/** Bytes to which the log file is truncated when the log starts over. */
const WAL_SIZE_LIMIT = 64 * 1024 * 1024;

export interface SqliteStoreOptions extends StoreOptions {
  /** The data directory; created when it is missing. */
  readonly directory: string;
  readonly clock: Clock;
  /** Pages of 4 KiB in the database file; beyond, writes are refused (`storage_full`). */
  readonly maxPages?: number;
  /** Default: {@link MIGRATIONS}; for tests of migrations. */
  readonly migrations?: readonly string[];
  /** New documents whose index entries are written together. Default: {@link INDEXED_TOGETHER}. */
  readonly indexedTogether?: number;
  /** Opens the store although acknowledged writes are missing or damaged. */
  readonly acceptDataLoss?: boolean;
}

export interface SqliteStore extends Store {
  /** @throws CmbsError `unavailable` when the store has stopped, or its files were deleted, moved or replaced */
  assertInPlace(): void;
}

/**
 * Opens or creates the store.
 *
 * @throws CmbsError `conflict` when another process uses the directory, or the file in it is damaged, of another program
 *   or of a newer version (nothing is changed then); `storage_full`; `unavailable` when the directory cannot be used
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const { directory, clock, log = silentLog, maxPages, migrations = MIGRATIONS, acceptDataLoss } = options;
  const { indexedTogether = INDEXED_TOGETHER } = options;
  let lock: DirectoryLock | undefined;
  let tables: Tables | undefined;
  let record: AcknowledgedRecord | undefined;
  try {
    makeDirectory(directory);
    lock = lockDirectory(directory);
    tables = new Tables(openDatabase({ directory, migrations, maxPages, log, acceptDataLoss }), indexedTogether);
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
