/**
 * Writes documents to the tables. All calls are synchronous and a commit happens within one turn of the event loop, so
 * that readers see whole transactions only.
 */
import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import type { IndexEntry } from '../store-query';
import type { Standing } from './acknowledged';
import { checksum } from './checksum';
import { Connection, type Statement } from './connection';
import { DocumentReader } from './document-reader';
import { idLists, WITH_IDS } from './ids';
import { Names } from './names';
import { MAX_RECENT_ENTRIES, type RecentDocument, RecentDocuments } from './recent-documents';
import {
  type Column,
  entriesText,
  type Entry,
  type Existing,
  indexEntryOf,
  missingFrom,
  type NewRow,
  parseEntries,
} from './rows';

/** Rows beyond those whose entries are in the tables: a start reads them, in some 20 ms. */
const MAX_ROWS_BEHIND = 4096;
/** Expired documents removed in one commit: about 10 ms. */
const SWEEP_CHUNK = 256;

export interface Written {
  readonly before: IndexEntry | undefined;
  readonly after: IndexEntry | undefined;
}

interface EntryRow {
  readonly field: number;
  readonly value: string;
  readonly sort: string | null;
  readonly id: string;
  readonly doc: number;
}

/** Rows of one INSERT; more would not be faster. */
const INSERT_SIZES = [32, 8, 1] as const;

export class Tables {
  readonly connection: Connection;
  readonly names: Names;
  readonly reader: DocumentReader;
  readonly #recent: RecentDocuments;
  readonly #findForWrite: Statement;
  readonly #indexedTogether: number;
  #nextDoc: number;
  /** Index entries of this transaction that are not written yet: one statement for many costs a third. */
  #newEntries: EntryRow[] = [];
  /** The documents of these entries. */
  readonly #newlyIndexed = new Set<number>();

  /** @param indexedTogether recent documents from which on their index entries are written */
  constructor(db: DatabaseSyncInstance, indexedTogether: number) {
    this.#indexedTogether = indexedTogether;
    this.connection = new Connection(db);
    this.names = new Names(this.connection);
    this.#recent = new RecentDocuments(this.connection);
    this.reader = new DocumentReader(this.connection, this.names, this.#recent);
    this.#findForWrite = this.#statement(
      'SELECT doc, revision, sort, expires, entries FROM document WHERE collection = ? AND id = ?',
    );
    const last = Number(this.#statement('SELECT coalesce(max(doc), 0) FROM document').get()?.[0]);
    // A new document must not have the number of a deleted one, up to which all are indexed.
    this.#nextDoc = Math.max(last, this.#recent.indexed) + 1;
  }

  #statement(sql: string): Statement {
    return this.connection.statement(sql);
  }

  // --- Writes, between `begin` and `commit` ---

  begin(): void {
    this.connection.begin();
  }

  /** @param commits number of this commit; undefined when it changes no document */
  commit(commits: number | undefined): void {
    const indexed = commits !== undefined && this.#isTimeToIndex ? this.#indexRecent() : undefined;
    this.#writeEntries();
    const names = commits === undefined ? [] : this.names.unstored;
    this.#insertMany(
      NAME,
      names.map(({ n, collection, field }) => [n, collection, field]),
    );
    if (commits !== undefined) {
      this.#statement('UPDATE state SET commits = ?, indexed = ?').run(commits, indexed ?? this.#recent.indexed);
    }
    this.connection.commit();
    // After a failed commit the next one does these again.
    if (names.length > 0) this.names.stored();
    if (indexed !== undefined) this.#recent.clear(indexed);
  }

  get #isTimeToIndex(): boolean {
    const { size, entries, indexed } = this.#recent;
    if (size >= this.#indexedTogether || entries >= MAX_RECENT_ENTRIES) return true;
    // With none, or few among many without entries, there are fewer rows to read after a crash.
    return size === 0 || this.#nextDoc - indexed > MAX_ROWS_BEHIND;
  }

  /** Adds the entries of all recent documents to this transaction; returns the last number that was given. */
  #indexRecent(): number {
    for (const document of this.#recent) this.#addEntries(document.doc, document, document.entries);
    return this.#nextDoc - 1;
  }

  rollback(): void {
    this.#newEntries = [];
    this.#newlyIndexed.clear();
    this.connection.rollback();
    this.#recent.reload();
  }

  /**
   * Inserts the rows whose id is free (an expired document counts as absent); returns for each row whether it was
   * inserted. The row numbers are assigned here, so that after one statement for many rows it is known which were
   * inserted.
   */
  insertMissing(collection: number, rows: readonly NewRow[], now: number): readonly boolean[] {
    const inserted: boolean[] = [];
    let from = 0;
    for (const size of INSERT_SIZES) {
      for (; rows.length - from >= size; from += size) {
        this.#insertChunk(collection, rows.slice(from, from + size), now, inserted);
      }
    }
    return inserted;
  }

  #insertChunk(collection: number, rows: readonly NewRow[], now: number, inserted: boolean[]): void {
    const first = this.#nextDoc;
    const parameters: Column[] = [];
    for (const row of rows) {
      const { id, value, sort, expires } = row;
      const entries = entriesText(row);
      const sum = checksum(collection, id, 1, value, sort, expires, entries);
      parameters.push(this.#nextDoc++, collection, id, value, sort, expires, entries, sum);
    }
    const { changes } = this.#statement(insertSql(rows.length)).run(...parameters);

    const present =
      changes === rows.length
        ? undefined
        : new Set(
            this.#statement('SELECT doc FROM document WHERE doc >= ?')
              .all(first)
              .map(([doc]) => doc),
          );
    rows.forEach((row, i) => {
      const doc = first + i;
      if (present === undefined || present.has(doc)) {
        this.#recent.put(recentDocument(doc, row));
        inserted.push(true);
        return;
      }
      const existing = this.#existing(collection, row.id);
      const expired = existing !== undefined && existing.expires !== null && existing.expires <= now;
      if (expired) this.#replace(collection, existing, row, 1);
      inserted.push(expired);
    });
  }

  /** What {@link put} needs to know of each document that exists. */
  lookUp(collection: number, ids: readonly string[]): ReadonlyMap<string, Existing> {
    const statement = this.#statement(`SELECT d.id, d.doc, d.revision, d.sort, d.expires, d.entries ${WITH_IDS}`);
    const found = new Map<string, Existing>();
    for (const list of idLists(ids)) {
      for (const [id, ...row] of statement.all(list, collection)) found.set(String(id), toExisting(row));
    }
    return found;
  }

  /** @param known of this document too, as it is now; absent: it is looked up */
  put(collection: number, row: NewRow, now: number, known?: ReadonlyMap<string, Existing>): Written {
    const existing = known === undefined ? this.#existing(collection, row.id) : known.get(row.id);
    const after = { sort: row.sort, entries: row.entries };
    if (existing === undefined) {
      this.#insertChunk(collection, [row], now, []);
      return { before: undefined, after };
    }
    const expired = existing.expires !== null && existing.expires <= now;
    this.#replace(collection, existing, row, expired ? 1 : existing.revision + 1);
    return { before: indexEntryOf(existing), after };
  }

  /** The index entry of the deleted document; undefined when there was none. */
  delete(collection: number, id: string): IndexEntry | undefined {
    const existing = this.#existing(collection, id);
    if (existing === undefined) return undefined;
    if (this.#recent.isRecent(existing.doc)) this.#recent.remove(existing.doc);
    else this.#removeEntries(existing, id, parseEntries(existing.entries));
    this.#statement('DELETE FROM document WHERE doc = ?').run(existing.doc);
    return indexEntryOf(existing);
  }

  /** Up to {@link SWEEP_CHUNK} documents that expired by `now`, the oldest first. */
  expired(limit: number, now: number): readonly { readonly collection: number; readonly id: string }[] {
    return this.#statement(
      'SELECT collection, id FROM document INDEXED BY document_expires WHERE expires <= ? ORDER BY expires LIMIT ?',
    )
      .all(now, Math.min(limit, SWEEP_CHUNK))
      .map(([collection, id]) => ({ collection: Number(collection), id: String(id) }));
  }

  #existing(collection: number, id: string): Existing | undefined {
    const row = this.#findForWrite.get(collection, id);
    return row === undefined ? undefined : toExisting(row);
  }

  #replace(collection: number, existing: Existing, row: NewRow, revision: number): void {
    const { id, value, sort, expires } = row;
    const entries = entriesText(row);
    const sum = checksum(collection, id, revision, value, sort, expires, entries);
    const isRecent = this.#recent.isRecent(existing.doc);
    if (isRecent) this.#recent.put(recentDocument(existing.doc, row));
    // SQLite rewrites the indexes of every column that an UPDATE names, changed or not.
    const changed = Object.entries({ sort, expires, entries }).filter(
      ([column, next]) => existing[column as 'sort' | 'expires' | 'entries'] !== next,
    );
    const columns = changed.map(([column]) => `${column} = ?, `).join('');
    this.#statement(`UPDATE document SET ${columns}revision = ?, value = ?, sum = ? WHERE doc = ?`).run(
      ...changed.map(([, next]) => next),
      revision,
      value,
      sum,
      existing.doc,
    );
    if (isRecent || (existing.sort === sort && existing.entries === entries)) return;
    const before = parseEntries(existing.entries);
    // Most writes change few index entries.
    const stays = existing.sort === row.sort;
    this.#removeEntries(existing, row.id, stays ? missingFrom(row.entries, before) : before);
    this.#addEntries(existing.doc, row, stays ? missingFrom(before, row.entries) : row.entries);
  }

  #addEntries(doc: number, { id, sort }: Pick<NewRow, 'id' | 'sort'>, entries: readonly Entry[]): void {
    if (entries.length > 0) this.#newlyIndexed.add(doc);
    for (const [field, value] of entries) this.#newEntries.push({ field, value, sort, id, doc });
  }

  /** In the order of the index, so that each page of it is found once. */
  #writeEntries(): void {
    const entries = this.#newEntries.sort(inIndexOrder);
    if (entries.length === 0) return;
    this.#newEntries = [];
    this.#newlyIndexed.clear();
    this.#insertMany(
      ENTRY,
      entries.map(({ field, value, id, doc }) => [field, value, id, doc]),
    );
    this.#insertMany(
      SORTED_ENTRY,
      entries.flatMap(({ field, value, sort, id, doc }) => (sort === null ? [] : [[field, value, sort, id, doc]])),
    );
  }

  #insertMany(into: Target, rows: readonly (readonly Column[])[]): void {
    let from = 0;
    for (const size of INSERT_SIZES) {
      for (; rows.length - from >= size; from += size) {
        const chunk = rows.slice(from, from + size);
        this.#statement(insertManySql(into, size)).run(...chunk.flat());
      }
    }
  }

  #removeEntries(existing: Existing, id: string, entries: readonly Entry[]): void {
    // An earlier write of this transaction may have added these entries.
    if (this.#newlyIndexed.has(existing.doc)) this.#writeEntries();
    for (const [field, value] of entries) {
      this.#statement('DELETE FROM entry WHERE field = ? AND value = ? AND id = ?').run(field, value, id);
      if (existing.sort === null) continue;
      this.#statement('DELETE FROM sorted_entry WHERE field = ? AND value = ? AND sort = ? AND id = ?').run(
        field,
        value,
        existing.sort,
        id,
      );
    }
  }

  /** The identity of the database, and the number of its last commit. */
  standing(): Standing {
    const [lineage, commits] = this.#statement('SELECT lineage, commits FROM state').get() ?? [];
    return { lineage: String(lineage), commits: Number(commits) };
  }
}

/** A table with its columns, and its INSERT statements by number of rows. */
interface Target {
  readonly columns: readonly string[];
  readonly table: string;
  readonly sql: Map<number, string>;
}

const NAME: Target = { table: 'name', columns: ['n', 'collection', 'field'], sql: new Map() };
const ENTRY: Target = { table: 'entry', columns: ['field', 'value', 'id', 'doc'], sql: new Map() };
const SORTED_ENTRY: Target = {
  table: 'sorted_entry',
  columns: ['field', 'value', 'sort', 'id', 'doc'],
  sql: new Map(),
};

function insertManySql({ table, columns, sql }: Target, rows: number): string {
  let text = sql.get(rows);
  if (text === undefined) {
    const places = `(${columns.map(() => '?').join(', ')})`;
    text = `INSERT INTO ${table} (${columns.join(', ')}) VALUES ${Array<string>(rows).fill(places).join(', ')}`;
    sql.set(rows, text);
  }
  return text;
}

const insertSqlBySize = new Map<number, string>();

function insertSql(rows: number): string {
  const known = insertSqlBySize.get(rows);
  if (known !== undefined) return known;
  const sql =
    'INSERT INTO document (doc, collection, id, revision, value, sort, expires, entries, sum) VALUES ' +
    Array<string>(rows).fill('(?, ?, ?, 1, ?, ?, ?, ?, ?)').join(', ') +
    ' ON CONFLICT (collection, id) DO NOTHING';
  insertSqlBySize.set(rows, sql);
  return sql;
}

function toExisting(row: readonly Column[]): Existing {
  const [doc, revision, sort, expires, entries] = row as readonly [
    number,
    number,
    string | null,
    number | null,
    string | null,
  ];
  return { doc, revision, sort, expires, entries };
}

/** Without the value, which stays on the disk. */
function recentDocument(doc: number, { id, sort, expires, entries }: NewRow): RecentDocument {
  return { doc, id, sort, expires, entries };
}

function inIndexOrder(a: EntryRow, b: EntryRow): number {
  if (a.field !== b.field) return a.field - b.field;
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}
