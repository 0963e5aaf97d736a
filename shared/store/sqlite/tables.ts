/**
 * The one owner of the database connection and of every prepared statement (DESIGN decision 25): they live as long
 * as it does, and nothing else touches them. All calls are synchronous; a commit happens within one turn of the
 * event loop, so whoever reads sees whole transactions.
 */
import { type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite';
import { CmbsError } from '../../errors';
import { type IndexEntry, type Selection } from '../store-query';
import { type Standing } from './acknowledged';
import { checksum } from './checksum';

/** Index entries counted per `where` term to find the rarest: about 30 microseconds each. */
const SELECTIVITY_PROBE = 500;
/** Expired documents removed in one commit: about 10 ms. */
const SWEEP_CHUNK = 256;

/** A document as it lies in its row; `value` and `entries` are JSON. */
export interface Row {
  readonly id: string;
  readonly revision: number;
  readonly value: string;
  readonly sort: string | null;
  readonly expires: number | null;
}

/** An index entry of a document: the number of a field, and a value. */
type Entry = readonly [number, string];

/** What is to be written. */
export interface NewRow {
  readonly id: string;
  readonly value: string;
  readonly sort: string | null;
  readonly expires: number | null;
  readonly entries: readonly Entry[];
}

export interface Written {
  readonly before: IndexEntry | undefined;
  readonly after: IndexEntry | undefined;
}

interface Existing {
  readonly doc: number;
  readonly revision: number;
  readonly sort: string | null;
  readonly expires: number | null;
  readonly entries: string | null;
}

type Column = string | number | null;
/** A prepared statement that gives rows as arrays, which is faster than objects. */
interface Statement {
  get(...parameters: Column[]): readonly Column[] | undefined;
  all(...parameters: Column[]): readonly (readonly Column[])[];
  /** Row by row; the statement is free for another use when the loop ends. */
  iterate(...parameters: Column[]): Iterable<readonly Column[]>;
  run(...parameters: Column[]): { readonly changes: number; readonly lastInsertRowid: number | bigint };
}

/** The number of a collection (`field` empty) or of an indexed field of it. */
interface Name {
  readonly n: number;
  readonly collection: string;
  readonly field: string;
}

interface EntryRow {
  readonly field: number;
  readonly value: string;
  readonly sort: string | null;
  readonly id: string;
  readonly doc: number;
}

/** Rows per INSERT of many: above, nothing is gained any more. */
const INSERT_SIZES = [32, 8, 1] as const;

export class Tables {
  readonly #db: DatabaseSyncInstance;
  readonly #statements = new Map<string, Statement>();
  /** By collection, then field. */
  readonly #names = new Map<string, Map<string, number>>();
  readonly #collections = new Map<number, string>();
  /** Names that no commit has stored yet. They go with the next commit that changes anything. */
  #newNames: Name[] = [];
  #nextName: number;
  readonly #find: Statement;
  readonly #findForWrite: Statement;
  #nextDoc: number;
  /** Index entries of this transaction that are not written yet: many in one statement cost a third. */
  #newEntries: EntryRow[] = [];
  /** The documents that these are of. */
  readonly #newlyIndexed = new Set<number>();

  constructor(db: DatabaseSyncInstance) {
    this.#db = db;
    this.#find = this.#statement(
      'SELECT id, revision, value, sort, expires, entries, sum FROM document WHERE collection = ? AND id = ?',
    );
    this.#findForWrite = this.#statement(
      'SELECT doc, revision, sort, expires, entries FROM document WHERE collection = ? AND id = ?',
    );
    for (const [n, collection, field] of this.#statement('SELECT n, collection, field FROM name').all()) {
      this.#setNumber({ n: Number(n), collection: String(collection), field: String(field) });
    }
    this.#nextName = Number(this.#statement('SELECT coalesce(max(n), 0) FROM name').get()?.[0]) + 1;
    this.#nextDoc = Number(this.#statement('SELECT coalesce(max(doc), 0) FROM document').get()?.[0]) + 1;
  }

  #statement(sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const prepared: StatementSyncInstance = this.#db.prepare(sql);
    prepared.setReturnArrays(true);
    const statement: Statement = {
      get: (...parameters) => prepared.get(...parameters) as readonly Column[] | undefined,
      all: (...parameters) => prepared.all(...parameters) as readonly (readonly Column[])[],
      iterate: (...parameters) => prepared.iterate(...parameters) as Iterable<readonly Column[]>,
      run: (...parameters) => prepared.run(...parameters),
    };
    this.#statements.set(sql, statement);
    return statement;
  }

  // --- Names ---

  /** The number of a collection (`field` empty) or of an indexed field of it; undefined when nothing used it yet. */
  number(collection: string, field = ''): number | undefined {
    return this.#names.get(collection)?.get(field);
  }

  #setNumber({ n, collection, field }: Name): void {
    const fields = this.#names.get(collection);
    if (fields === undefined) this.#names.set(collection, new Map([[field, n]]));
    else fields.set(field, n);
    if (field === '') this.#collections.set(n, collection);
  }

  /** The same, made when missing. The number stays even if the transaction that asked for it does not happen. */
  intern(collection: string, field = ''): number {
    const known = this.number(collection, field);
    if (known !== undefined) return known;
    const name = { n: this.#nextName++, collection, field };
    this.#setNumber(name);
    this.#newNames.push(name);
    return name.n;
  }

  collectionName(n: number): string {
    return this.#collections.get(n) ?? '';
  }

  // --- Reads ---

  find(collection: number, id: string): Row | undefined {
    const row = this.#find.get(collection, id);
    return row === undefined ? undefined : toRow(collection, row);
  }

  /** In the order of the selection, without what expired by `now`, and whether there are more than it allows. */
  select(selection: Selection, now: number): { readonly rows: readonly Row[]; readonly isMore: boolean } {
    const { limit, maxChars } = selection;
    // One more than asked for tells whether there are more.
    const { sql, parameters } = this.#compile(
      selection,
      limit + 1,
      now,
      'd.id, d.revision, d.value, d.sort, d.expires, d.entries, d.sum',
    );
    const collection = this.number(selection.collection);
    if (sql === undefined || collection === undefined) return { rows: [], isMore: false };
    if (maxChars === undefined) {
      const found = this.#statement(sql).all(...parameters);
      return { rows: found.slice(0, limit).map((row) => toRow(collection, row)), isMore: found.length > limit };
    }
    const rows: Row[] = [];
    let chars = 0;
    for (const found of this.#statement(sql).iterate(...parameters)) {
      if (rows.length === limit || chars >= maxChars) return { rows, isMore: true };
      const row = toRow(collection, found);
      chars += row.value.length;
      rows.push(row);
    }
    return { rows, isMore: false };
  }

  count(selection: Selection, limit: number, now: number): number {
    const { sql, parameters } = this.#compile(selection, limit, now, '1', this.#nothingExpired(now));
    if (sql === undefined) return 0;
    return Number(this.#statement(`SELECT count(*) FROM (${sql})`).get(...parameters)?.[0]);
  }

  /** Documents with an order, and the bytes of their values. */
  measure(collection: string, limit: number, now: number): { readonly count: number; readonly bytes: number } {
    const n = this.number(collection);
    if (n === undefined) return { count: 0, bytes: 0 };
    const sql = `SELECT count(*), total(bytes) FROM (
      SELECT octet_length(value) AS bytes FROM document INDEXED BY document_sort
      WHERE collection = ? AND sort IS NOT NULL AND (expires IS NULL OR expires > ?) LIMIT ?)`;
    const [count, bytes] = this.#statement(sql).get(n, now, limit) ?? [];
    return { count: Number(count), bytes: Number(bytes) };
  }

  /** Mostly so, for a sweep removes what has: then a count need not look at the documents behind an index. */
  #nothingExpired(now: number): boolean {
    const sql = 'SELECT 1 FROM document INDEXED BY document_expires WHERE expires <= ? LIMIT 1';
    return this.#statement(sql).get(now) === undefined;
  }

  /**
   * One index is walked in the order of the result from the cursor on, so a page costs what it shows: the document's
   * own index, or that of the rarest `where` term, with a look-up per further term. `INDEXED BY` and `CROSS JOIN`
   * keep SQLite to this plan, which it would otherwise choose without statistics.
   */
  #compile(
    selection: Selection,
    limit: number,
    now: number,
    columns: string,
    indexOnly = false,
  ): { readonly sql: string | undefined; readonly parameters: Column[] } {
    const collection = this.number(selection.collection);
    const terms = this.#rarestFirst(selection);
    if (collection === undefined || terms === undefined) return { sql: undefined, parameters: [] };

    const { byOrder, prefix, after, upTo } = selection;
    const [driving, ...others] = terms;
    const parameters: Column[] = [];
    const key = driving === undefined ? 'd' : 'e';
    let sql: string;
    if (driving === undefined) {
      const index = byOrder ? 'document_sort' : 'document_id';
      sql = `SELECT ${columns} FROM document d INDEXED BY ${index} WHERE d.collection = ?`;
      parameters.push(collection);
      if (byOrder) sql += ' AND d.sort IS NOT NULL';
    } else {
      sql = `SELECT ${columns} FROM ${byOrder ? 'sorted_entry' : 'entry'} e`;
      if (!indexOnly) sql += ' CROSS JOIN document d ON d.doc = e.doc';
      sql += ' WHERE e.field = ? AND e.value = ?';
      parameters.push(driving.field, driving.value);
    }
    if (prefix !== '') {
      sql += ` AND ${key}.id >= ?`;
      parameters.push(prefix);
      if (selection.prefixEnd !== undefined) {
        sql += ` AND ${key}.id < ?`;
        parameters.push(selection.prefixEnd);
      }
    }
    if (upTo !== undefined) {
      sql += ` AND ${key}.sort <= ?`;
      parameters.push(upTo);
    }
    if (after !== undefined) {
      sql += byOrder ? ` AND (${key}.sort, ${key}.id) > (?, ?)` : ` AND ${key}.id > ?`;
      parameters.push(...(byOrder ? [after.sort, after.id] : [after.id]));
    }
    for (const { field, value } of others) {
      sql += ' AND EXISTS (SELECT 1 FROM entry x WHERE x.field = ? AND x.value = ? AND x.id = e.id)';
      parameters.push(field, value);
    }
    if (!indexOnly) {
      sql += ' AND (d.expires IS NULL OR d.expires > ?)';
      parameters.push(now);
    }
    sql += ` ORDER BY ${byOrder ? `${key}.sort, ` : ''}${key}.id LIMIT ?`;
    parameters.push(limit);
    return { sql, parameters };
  }

  /** The terms with interned fields; undefined when one cannot match anything. */
  #rarestFirst(selection: Selection): readonly { readonly field: number; readonly value: string }[] | undefined {
    const terms: { field: number; value: string; found: number }[] = [];
    for (const { field, value } of selection.terms) {
      const n = this.number(selection.collection, field);
      if (n === undefined) return undefined;
      terms.push({ field: n, value, found: 0 });
    }
    if (terms.length < 2) return terms;
    const probe = this.#statement(
      'SELECT count(*) FROM (SELECT 1 FROM entry WHERE field = ? AND value = ? LIMIT ?)',
    );
    for (const term of terms) term.found = Number(probe.get(term.field, term.value, SELECTIVITY_PROBE)?.[0]);
    return terms.sort((a, b) => a.found - b.found);
  }

  // --- Writes, between `begin` and `commit` ---

  begin(): void {
    this.#db.exec('BEGIN IMMEDIATE');
  }

  /** With the number of the commit, where it changes anything. */
  commit(commits: number | undefined): void {
    this.#writeEntries();
    const names = commits === undefined ? [] : this.#newNames;
    this.#insertMany(
      NAME,
      names.map(({ n, collection, field }) => [n, collection, field]),
    );
    if (commits !== undefined) this.#statement('UPDATE state SET commits = ?').run(commits);
    this.#db.exec('COMMIT');
    // After a failure they are new still, and the next commit stores them.
    if (names.length > 0) this.#newNames = [];
  }

  /** Also right after a failure by which SQLite ended the transaction itself. */
  rollback(): void {
    this.#newEntries = [];
    this.#newlyIndexed.clear();
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
  }

  /**
   * Inserts those rows whose id is free (what expired by `now` does not count); says for each whether it was.
   * Numbers are given out here, not by SQLite, so that after one statement for many rows it shows which went in.
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
        this.#addEntries(doc, row, row.entries);
        inserted.push(true);
        return;
      }
      const existing = this.#existing(collection, row.id);
      const expired = existing !== undefined && existing.expires !== null && existing.expires <= now;
      if (expired) this.#replace(collection, existing, row, 1);
      inserted.push(expired);
    });
  }

  put(collection: number, row: NewRow, now: number): Written {
    const existing = this.#existing(collection, row.id);
    const after = { sort: row.sort, entries: row.entries };
    if (existing === undefined) {
      this.#insertChunk(collection, [row], now, []);
      return { before: undefined, after };
    }
    const expired = existing.expires !== null && existing.expires <= now;
    this.#replace(collection, existing, row, expired ? 1 : existing.revision + 1);
    return { before: indexEntryOf(existing), after };
  }

  /** Undefined when there was nothing to delete. */
  delete(collection: number, id: string): IndexEntry | undefined {
    const existing = this.#existing(collection, id);
    if (existing === undefined) return undefined;
    this.#removeEntries(existing, id, parseEntries(existing.entries));
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
    if (row === undefined) return undefined;
    const [doc, revision, sort, expires, entries] = row as readonly [
      number,
      number,
      string | null,
      number | null,
      string | null,
    ];
    return { doc, revision, sort, expires, entries };
  }

  #replace(collection: number, existing: Existing, row: NewRow, revision: number): void {
    const { id, value, sort, expires } = row;
    const entries = entriesText(row);
    const sum = checksum(collection, id, revision, value, sort, expires, entries);
    // SQLite rewrites the indexes of every column that an UPDATE names, changed or not.
    if (existing.sort === sort && existing.expires === expires) {
      if (existing.entries === entries) {
        this.#statement('UPDATE document SET revision = ?, value = ?, sum = ? WHERE doc = ?').run(
          revision,
          value,
          sum,
          existing.doc,
        );
        return;
      }
      this.#statement('UPDATE document SET revision = ?, value = ?, entries = ?, sum = ? WHERE doc = ?').run(
        revision,
        value,
        entries,
        sum,
        existing.doc,
      );
    } else {
      this.#statement(
        'UPDATE document SET revision = ?, value = ?, sort = ?, expires = ?, entries = ?, sum = ? WHERE doc = ?',
      ).run(revision, value, sort, expires, entries, sum, existing.doc);
    }
    const before = parseEntries(existing.entries);
    // Most changes leave most entries as they are.
    const stays = existing.sort === row.sort;
    this.#removeEntries(existing, row.id, stays ? missingFrom(row.entries, before) : before);
    this.#addEntries(existing.doc, row, stays ? missingFrom(before, row.entries) : row.entries);
  }

  #addEntries(doc: number, { id, sort }: NewRow, entries: readonly Entry[]): void {
    if (entries.length > 0) this.#newlyIndexed.add(doc);
    for (const [field, value] of entries) this.#newEntries.push({ field, value, sort, id, doc });
  }

  /** In the order of the index, so that each of its pages is looked for once. */
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
    // What is removed may have been added by a write before it in the same transaction.
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

  /** Which database this is, and the number of its last commit. */
  standing(): Standing {
    const [lineage, commits] = this.#statement('SELECT lineage, commits FROM state').get() ?? [];
    return { lineage: String(lineage), commits: Number(commits) };
  }

  // --- The log ---

  /** Pages in the write-ahead log, and how many of them are in the database file already. */
  walPages(): { readonly log: number; readonly checkpointed: number } {
    const row = this.#statement('PRAGMA wal_checkpoint(NOOP)').get();
    return { log: Number(row?.[1]), checkpointed: Number(row?.[2]) };
  }

  /** From here on commits are made durable by `WalSync`, and checkpoints run elsewhere. */
  prepareLog(sizeLimit: number): void {
    this.#db.exec(
      `PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=${sizeLimit}`,
    );
  }

  /** Without a checkpoint thread, every so many pages within a commit; 0 for never. */
  checkpointInCommits(pages: number): void {
    this.#db.exec(`PRAGMA wal_autocheckpoint=${pages}`);
  }

  /**
   * Checkpoints (bounded by the length of the log) and closes. The checkpoint is ours to do: the binding leaves
   * statements to the garbage collector, and SQLite's own would only come with the last of them.
   */
  close(): void {
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } finally {
      this.#statements.clear();
      this.#db.close();
    }
  }
}

/** A table with its columns, and the statements that insert so many rows. */
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

function inIndexOrder(a: EntryRow, b: EntryRow): number {
  if (a.field !== b.field) return a.field - b.field;
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}

function toRow(collection: number, columns: readonly Column[]): Row {
  const [id, revision, value, sort, expires, entries, sum] = columns as readonly [
    string,
    number,
    string,
    string | null,
    number | null,
    string | null,
    number | null,
  ];
  // Documents of a release that had no checksums have none until they are written again.
  if (sum !== null && sum !== checksum(collection, id, revision, value, sort, expires, entries)) {
    throw new CmbsError(
      'internal',
      'Stored data are damaged and therefore not shown; stop the program, restore a backup and start again.',
      { cause: new Error(`document ${id} of collection ${collection} does not match its checksum`) },
    );
  }
  return { id, revision, value, sort, expires };
}

function entriesText({ entries }: NewRow): string | null {
  return entries.length === 0 ? null : JSON.stringify(entries);
}

function parseEntries(text: string | null): readonly Entry[] {
  return text === null ? [] : (JSON.parse(text) as readonly Entry[]);
}

/** Those of `entries` that are not among `others`. */
function missingFrom(others: readonly Entry[], entries: readonly Entry[]): readonly Entry[] {
  const key = ([field, value]: Entry): string => `${field} ${value}`;
  const known = new Set(others.map(key));
  return entries.filter((entry) => !known.has(key(entry)));
}

function indexEntryOf(existing: Existing): IndexEntry {
  return { sort: existing.sort, entries: parseEntries(existing.entries) };
}
