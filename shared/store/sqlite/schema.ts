/** The database file: its schema, its migrations, and the checks before anything is written to it. */
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

/** Bytes of a database up to which it is checked when it is opened: half a second at most. */
const MAX_CHECKED_BYTES = 64 * 1024 * 1024;

export const DATABASE_FILE = 'cmbs.db';

/** `PRAGMA application_id`: "CMBS" in ASCII, by which this program and `file` recognise the database. */
const APPLICATION_ID = 0x434d4253;

/**
 * Script n brings a file from version n to n + 1 (`PRAGMA user_version`), in one transaction with the number. Released
 * scripts are never changed; each change is a new script.
 *
 * 1: `name` numbers collections and their indexed fields. A document is a row with an integer key, because a table
 * without one moves whole rows when its tree is rebalanced (measured: 100 µs for a row of 800 bytes, 20 µs with the key).
 * `entry` answers equality by id; `sorted_entry` has the entries of documents with an order again. `entries` lists the
 * entries of a document, so that a write finds them without a further index.
 *
 * 2: A checksum for each document (`checksum.ts`), null in older documents, and the number of the last commit
 * (`acknowledged.ts`).
 *
 * 3: The number of the last document whose index entries are in the tables (`recent-documents.ts`).
 *
 * 4: The sizes of the documents with an order, so that an inbox is measured without reading its entries.
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
  `
  ALTER TABLE state ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;
  UPDATE state SET indexed = (SELECT coalesce(max(doc), 0) FROM document);
  `,
  `
  CREATE INDEX document_size ON document (collection, expires, octet_length(value)) WHERE sort IS NOT NULL;
  `,
];
/** The first version with checksums and the number of the last commit. */
const CHECKED_VERSION = 2;

export interface OpenDatabaseOptions {
  readonly directory: string;
  readonly migrations: readonly string[];
  /** `PRAGMA max_page_count`: beyond, writes are refused as on a full disk. */
  readonly maxPages?: number | undefined;
  readonly log: Pick<Log, 'info' | 'warn'>;
  /** Opens a database that lost acknowledged commits, and removes documents with a wrong checksum. */
  readonly acceptDataLoss?: boolean | undefined;
}

/** Opens or creates the database. The directory must be locked. */
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
 * The version of an existing file; undefined when there is none. Reads only, because a file of another program or of a
 * newer version must stay as it is; a read-only connection does not run a checkpoint when it closes.
 */
function inspect(path: string, options: OpenDatabaseOptions): number | undefined {
  const latest = options.migrations.length;
  // A process that crashed while it created the database left an empty file.
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
  log.warn(`${lost}; going on without them because of CMBS_ACCEPT_DATA_LOSS`);
}

function standingOf(db: DatabaseSyncInstance): Standing {
  return {
    lineage: readText(db, 'SELECT lineage FROM state'),
    commits: readNumber(db, 'SELECT commits FROM state'),
  };
}

/** Looks for changed bytes in the pages and documents of a database that is not too large. */
function checkContent(db: DatabaseSyncInstance, path: string, version: number, acceptDataLoss: boolean): void {
  if (statSync(path).size > MAX_CHECKED_BYTES && !acceptDataLoss) return;
  const answer = readText(db, 'SELECT quick_check FROM pragma_quick_check LIMIT 1');
  if (answer !== 'ok') throw damaged(path, new Error(answer));
  if (version < CHECKED_VERSION || acceptDataLoss) return;
  const { count, ids } = findDamage(db, false);
  if (count > 0) throw refusal(`${count} documents in ${path} are damaged, ${ids.join(', ')} among them`);
}

function refusal(loss: string): CmbsError {
  return new CmbsError(
    'conflict',
    `${loss}; nothing was changed: restore a backup, or set CMBS_ACCEPT_DATA_LOSS=true to go on with what there is.`,
  );
}

/** SQLite opens a file that was cut short, and fails at the first missing page. */
function checkLength(db: DatabaseSyncInstance, path: string): void {
  const expected = readNumber(db, 'SELECT page_count * page_size FROM pragma_page_count, pragma_page_size');
  const wal = `${path}-wal`;
  // Pages in the log need not be in the file yet.
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
