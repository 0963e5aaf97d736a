/** Reads documents from the tables. */
import { comparePositions, type Selection } from '../store-query';
import type { Connection, Statement } from './connection';
import { idLists, WITH_IDS } from './ids';
import type { Names } from './names';
import { positionOf, type RecentDocument, type RecentDocuments } from './recent-documents';
import { type Column, type Row, toRow } from './rows';

/** Index entries counted at most to find the rarest `where` term: about 30 microseconds. */
const SELECTIVITY_PROBE = 500;

/** A term with the number of its field. */
interface Term {
  readonly field: number;
  readonly value: string;
}

const COLUMNS = 'd.id, d.revision, d.value, d.sort, d.expires, d.entries, d.sum';

export class DocumentReader {
  readonly #connection: Connection;
  readonly #names: Names;
  readonly #recent: RecentDocuments;
  readonly #find: Statement;
  readonly #findMany: Statement;
  readonly #findByNumber: Statement;

  constructor(connection: Connection, names: Names, recent: RecentDocuments) {
    this.#connection = connection;
    this.#names = names;
    this.#recent = recent;
    this.#find = connection.statement(`SELECT ${COLUMNS} FROM document d WHERE d.collection = ? AND d.id = ?`);
    this.#findMany = connection.statement(`SELECT ${COLUMNS} ${WITH_IDS}`);
    this.#findByNumber = connection.statement(`SELECT ${COLUMNS} FROM document d WHERE d.doc = ?`);
  }

  find(collection: number, id: string): Row | undefined {
    const row = this.#find.get(collection, id);
    return row === undefined ? undefined : toRow(collection, row);
  }

  /** The rows that exist, in any order. */
  findMany(collection: number, ids: readonly string[]): readonly Row[] {
    return [...idLists(ids)].flatMap((list) =>
      this.#findMany.all(list, collection).map((row) => toRow(collection, row)),
    );
  }

  /** The rows in order, without those that expired by `now`, and whether more follow. */
  select(selection: Selection, now: number): { readonly rows: readonly Row[]; readonly isMore: boolean } {
    const { limit, maxChars } = selection;
    // One row more than the limit tells whether more follow.
    const { sql, parameters } = this.#compile(selection, limit + 1, now, COLUMNS);
    const collection = this.#names.number(selection.collection);
    if (collection === undefined) return { rows: [], isMore: false };
    const recent = this.#recentMatching(selection, now);
    const statement = sql === undefined ? undefined : this.#connection.statement(sql);
    if (maxChars === undefined && recent.length === 0) {
      const found = statement?.all(...parameters) ?? [];
      return { rows: found.slice(0, limit).map((row) => toRow(collection, row)), isMore: found.length > limit };
    }
    const rows: Row[] = [];
    let chars = 0;
    for (const found of this.#merged(statement?.iterate(...parameters) ?? [], recent, selection)) {
      if (rows.length === limit || (maxChars !== undefined && chars >= maxChars)) return { rows, isMore: true };
      const row = toRow(collection, found);
      chars += row.value.length;
      rows.push(row);
    }
    return { rows, isMore: false };
  }

  /** The recent documents that a query through index entries does not find in the tables. */
  #recentMatching(selection: Selection, now: number): readonly RecentDocument[] {
    if (selection.terms.length === 0) return [];
    return this.#recent.matching(selection, (field) => this.#names.number(selection.collection, field), now);
  }

  /** Both in one order. No document is in both: the tables have no entries of recent documents. */
  *#merged(
    indexed: Iterable<readonly Column[]>,
    recent: readonly RecentDocument[],
    selection: Selection,
  ): IterableIterator<readonly Column[]> {
    let next = 0;
    for (const row of indexed) {
      const position = positionOf({ id: String(row[0]), sort: row[3] as string | null }, selection);
      for (; next < recent.length; next++) {
        const document = recent[next] as RecentDocument;
        if (comparePositions(positionOf(document, selection), position) > 0) break;
        yield* this.#columns(document);
      }
      yield row;
    }
    for (; next < recent.length; next++) yield* this.#columns(recent[next] as RecentDocument);
  }

  #columns({ doc }: RecentDocument): readonly (readonly Column[])[] {
    const row = this.#findByNumber.get(doc);
    return row === undefined ? [] : [row];
  }

  count(selection: Selection, limit: number, now: number): number {
    const { sql, parameters } = this.#compile(selection, limit, now, '1', this.#nothingExpired(now));
    const counted =
      sql === undefined
        ? undefined
        : this.#connection.statement(`SELECT count(*) FROM (${sql})`).get(...parameters);
    const indexed = Number(counted?.[0] ?? 0);
    return Math.min(limit, indexed + this.#recentMatching(selection, now).length);
  }

  /** Number of documents with an order, and the bytes of their values. */
  measure(collection: string, limit: number, now: number): { readonly count: number; readonly bytes: number } {
    const n = this.#names.number(collection);
    if (n === undefined) return { count: 0, bytes: 0 };
    const sql = `SELECT count(*), total(bytes) FROM (
      SELECT octet_length(value) AS bytes FROM document INDEXED BY document_size
      WHERE collection = ? AND sort IS NOT NULL AND (expires IS NULL OR expires > ?) LIMIT ?)`;
    const [count, bytes] = this.#connection.statement(sql).get(n, now, limit) ?? [];
    return { count: Number(count), bytes: Number(bytes) };
  }

  /** Usually true, because sweeps remove expired documents. Then a count can use an index alone. */
  #nothingExpired(now: number): boolean {
    const sql = 'SELECT 1 FROM document INDEXED BY document_expires WHERE expires <= ? LIMIT 1';
    return this.#connection.statement(sql).get(now) === undefined;
  }

  /**
   * Reads one index in the order of the result from the cursor on, so that the cost of a page depends on its size: the
   * index of the documents, or that of the rarest `where` term, with a look-up for each further term. `INDEXED BY` and
   * `CROSS JOIN` make SQLite use this plan; it has no statistics to choose one.
   */
  #compile(
    selection: Selection,
    limit: number,
    now: number,
    columns: string,
    indexOnly = false,
  ): { readonly sql: string | undefined; readonly parameters: Column[] } {
    const collection = this.#names.number(selection.collection);
    const terms = this.#rarestFirst(selection);
    if (collection === undefined || terms === undefined) return { sql: undefined, parameters: [] };

    const { byOrder, prefix, after, upTo, above } = selection;
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
    if (above !== undefined) {
      sql += ` AND ${key}.sort > ?`;
      parameters.push(above);
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

  /** The terms, the rarest first; undefined when the tables have no document that matches one of them. */
  #rarestFirst(selection: Selection): readonly Term[] | undefined {
    const terms: Term[] = [];
    for (const { field, value } of selection.terms) {
      const n = this.#names.number(selection.collection, field);
      if (n === undefined) return undefined;
      terms.push({ field: n, value });
    }
    if (terms.length < 2) return terms;
    const probe = this.#connection.statement(
      'SELECT count(*) FROM (SELECT 1 FROM entry WHERE field = ? AND value = ? LIMIT ?)',
    );
    let [rarest] = terms;
    let fewest = SELECTIVITY_PROBE;
    // Callers name the category first, which is seldom the rarest. No term is counted beyond the rarest so far.
    for (const term of [...terms].reverse()) {
      const found = Number(probe.get(term.field, term.value, fewest)?.[0]);
      if (found === 0) return undefined;
      if (found < fewest) [rarest, fewest] = [term, found];
    }
    return rarest === undefined ? terms : [rarest, ...terms.filter((term) => term !== rarest)];
  }
}
