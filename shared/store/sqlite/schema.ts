/**
 * The database file: its schema, what is checked before anything is written to it, and how an older one is brought
 * up to date.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { CmbsError } from '../../errors';
import { DATABASE_BUSY_MS } from './limits';
import { type Log } from '../../log';
import { lossOf, type Standing } from './acknowledged';
import { copyDatabase } from './backup';
import { findDamage } from './checksum';
import { readNumber, readText } from './read-once';
import { isDamaged } from './errors';

/** Bytes of a database that are checked before it is opened: half a second at most. */
const MAX_CHECKED_BYTES = 64 * 1024 * 1024;

export const DATABASE_FILE = 'cmbs.db';

/** `PRAGMA application_id`: "CMBS" in ASCII, so that `file` and we know the file again. */
const APPLICATION_ID = 0x434d4253;

/**
 * The script at position n brings a file from version n to n + 1 (`PRAGMA user_version`), in one transaction with
 * the number. Scripts that were released are never changed; a change is a new script.
 *
 * 1: Collections and their indexed fields are interned in `name`. A document is a row with an integer key, because
 * tables without one carry the whole row through each rebalancing (100 µs a row measured for 800 bytes, 20 this way).
 * `entry` answers equality by id; `sorted_entry` has the same entries again for documents with an order. `entries`
 * in the document says which of them are its own, so that a write finds them without a further index.
 *
 * 2: A checksum for each document (checksum.ts), empty in those that were there before, and the number of the last commit
 * (acknowledged.ts).
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE name (
    n INTEGER PRIMARY KEY,
    collection TEXT NOT NULL,
    field TEXT NOT NULL,
    UNIQUE (collection, field)
  );
  CREATE TABLE document (
    doc INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    value TEXT NOT NULL,
    sort TEXT,
    expires INTEGER,
    entries TEXT
  );
  CREATE UNIQUE INDEX document_id ON document (collection, id);
  CREATE INDEX document_sort ON document (collection, sort, id) WHERE sort IS NOT NULL;
  CREATE INDEX document_expires ON document (expires) WHERE expires IS NOT NULL;
  CREATE TABLE entry (
    field INTEGER NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    doc INTEGER NOT NULL,
    PRIMARY KEY (field, value, id)
  ) WITHOUT ROWID;
  CREATE TABLE sorted_entry (
    field INTEGER NOT NULL,
    value TEXT NOT NULL,
    sort TEXT NOT NULL,
    id TEXT NOT NULL,
    doc INTEGER NOT NULL,
    PRIMARY KEY (field, value, sort, id)
  ) WITHOUT ROWID;
  `,
  `
  ALTER TABLE document ADD COLUMN sum INTEGER;
  CREATE TABLE state (lineage TEXT NOT NULL, commits INTEGER NOT NULL);
  INSERT INTO state VALUES (lower(hex(randomblob(16))), 0);
  `,
];
/** The version from which on there are checksums and the number of the last commit. */
const CHECKED_VERSION = 2;

export interface OpenDatabaseOptions {
  readonly directory: string;
  readonly migrations: readonly string[];
  /** `PRAGMA max_page_count`: a bound on the file, beyond which writes are refused as on a full disk. */
  readonly maxPages?: number | undefined;
  readonly log: Pick<Log, 'info' | 'warn'>;
  /** Opens a database that has lost acknowledged commits, and removes documents whose checksum is wrong. */
  readonly acceptDataLoss?: boolean | undefined;
}

/** Opens the file, new or old, with everything committed to it so far durable. The directory must be locked. */
export function openDatabase(options: OpenDatabaseOptions): DatabaseSyncInstance {
  const { directory, migrations, maxPages, log, acceptDataLoss = false } = options;
  const path = join(directory, DATABASE_FILE);
  const latest = migrations.length;
  const version = inspect(path, options);
  if (version !== undefined && version < latest) {
    const copy = `${path}.v${version}.bak`;
    copyDatabase(path, copy);
    log.info('migrating the database', { from: version, to: latest, copy });
  }

  const db = new DatabaseSync(path, { timeout: DATABASE_BUSY_MS });
  try {
    db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536');
    if (maxPages !== undefined) db.exec(`PRAGMA max_page_count=${Math.trunc(maxPages)}`);
    for (let v = version ?? 0; v < latest; v++) migrate(db, v, migrations[v] ?? '');
    checkLength(db, path);
    if (acceptDataLoss) {
      const { count, ids } = findDamage(db, true);
      if (count > 0) log.warn('damaged documents were removed', { count, ids });
    }
  } catch (error) {
    db.close();
    throw isDamaged(error) ? damaged(path, error) : error;
  }
  return db;
}

function migrate(db: DatabaseSyncInstance, from: number, script: string): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    db.exec(script);
    db.exec(`PRAGMA application_id=${APPLICATION_ID}; PRAGMA user_version=${from + 1}`);
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/**
 * The version of an existing file, or undefined when there is none. Reads only: a file that is not ours, or newer
 * than we are, must stay as it is (a read-only connection does not even checkpoint the log when it closes).
 */
function inspect(path: string, options: OpenDatabaseOptions): number | undefined {
  const latest = options.migrations.length;
  // An empty file is what a process leaves that died while it created the database.
  if (!existsSync(path) || statSync(path).size === 0) {
    assertNothingLost(undefined, options);
    return undefined;
  }
  const db = new DatabaseSync(path, { readOnly: true, timeout: DATABASE_BUSY_MS });
  try {
    const version = readNumber(db, 'SELECT user_version FROM pragma_user_version');
    const application = readNumber(db, 'SELECT application_id FROM pragma_application_id');
    const tables = readNumber(db, 'SELECT count(*) FROM sqlite_schema');
    if (version === 0 && application === 0 && tables === 0) {
      assertNothingLost(undefined, options);
      return undefined;
    }
    if (application !== APPLICATION_ID) {
      throw new CmbsError(
        'conflict',
        `${path} is a database of another program; move it away or set CMBS_DATA_DIR to another directory.`,
      );
    }
    if (version > latest) {
      throw new CmbsError(
        'conflict',
        `${path} was written by a newer version of this program (schema ${version}, this one knows ${latest}); ` +
          'start that version, or restore the copy it made before it migrated the file.',
      );
    }
    if (version >= CHECKED_VERSION) assertNothingLost(standingOf(db), options);
    checkContent(db, path, version, options.acceptDataLoss === true);
    return version;
  } catch (error) {
    throw isDamaged(error) ? damaged(path, error) : error;
  } finally {
    db.close();
  }
}

function assertNothingLost(
  standing: Standing | undefined,
  { directory, acceptDataLoss, log }: OpenDatabaseOptions,
): void {
  const lost = lossOf(directory, standing);
  if (lost === undefined) return;
  if (acceptDataLoss !== true) throw refusal(lost);
  log.warn(`${lost}; going on with what there is, as CMBS_ACCEPT_DATA_LOSS says`);
}

function standingOf(db: DatabaseSyncInstance): Standing {
  return {
    lineage: readText(db, 'SELECT lineage FROM state'),
    commits: readNumber(db, 'SELECT commits FROM state'),
  };
}

/** Looks for changed bytes in the pages and in the documents, where that takes no more than part of a second. */
function checkContent(db: DatabaseSyncInstance, path: string, version: number, acceptDataLoss: boolean): void {
  if (statSync(path).size > MAX_CHECKED_BYTES && !acceptDataLoss) return;
  const answer = readText(db, 'SELECT quick_check FROM pragma_quick_check LIMIT 1');
  if (answer !== 'ok') throw damaged(path, new Error(answer));
  if (version < CHECKED_VERSION || acceptDataLoss) return;
  const { count, ids } = findDamage(db, false);
  if (count > 0) throw refusal(`${count} documents in ${path} are damaged, ${ids.join(', ')} among them`);
}

function refusal(what: string): CmbsError {
  return new CmbsError(
    'conflict',
    `${what}; nothing was changed: restore a backup, or set CMBS_ACCEPT_DATA_LOSS=true to go on with what there is.`,
  );
}

/** A file cut short opens without complaint and fails later, at the first page that is missing. */
function checkLength(db: DatabaseSyncInstance, path: string): void {
  const expected = readNumber(db, 'SELECT page_count * page_size FROM pragma_page_count, pragma_page_size');
  const wal = `${path}-wal`;
  // Pages that are still in the log need not be in the file yet.
  const logged = existsSync(wal) && statSync(wal).size > 0;
  if (!logged && statSync(path).size < expected) throw damaged(path, undefined);
}

function damaged(path: string, cause: unknown): CmbsError {
  return new CmbsError(
    'conflict',
    `${path} is not a readable database, so nothing was changed; restore it from a backup or move it away.`,
    { cause },
  );
}
