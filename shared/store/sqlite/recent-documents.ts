/**
 * The documents whose index entries are not in the tables yet. A commit writes the row of a new document and its unique
 * key only: a message has some 13 index entries, each in two tables and each on another page, which would be most of the
 * commit. Entries of many documents are written together, in the order of the tables ({@link INDEXED_TOGETHER}). Until
 * then queries find these documents here. `state.indexed` is the number of the last document whose entries are in the
 * tables; documents have ascending numbers, so after a crash those beyond it are read again.
 */
import { comparePositions, covers, type Position, type Selection } from '../store-query';
import type { Connection } from './connection';
import { type NewRow, parseEntries } from './rows';

/**
 * New documents after which their entries are written: some 6 ms of work. With 32 documents the work for each is twice
 * as much, with 1024 a tenth less.
 */
export const INDEXED_TOGETHER = 256;

/**
 * Index entries of new documents after which they are written, however few documents have them: as much work. A document
 * may have thousands, and each value may have hundreds of characters, which would stay in memory.
 */
export const MAX_RECENT_ENTRIES = 16 * INDEXED_TOGETHER;

/** A document, without its value, and the number of its row. */
export interface RecentDocument extends Omit<NewRow, 'value'> {
  readonly doc: number;
}

export class RecentDocuments {
  readonly #connection: Connection;
  /** By the number of the row. */
  readonly #documents = new Map<number, RecentDocument>();
  /** By the number of a field, which one collection has, and by value. */
  readonly #byEntry = new Map<number, Map<string, Set<RecentDocument>>>();
  #entries = 0;
  #indexed = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.reload();
  }

  /** Reads the documents from the tables; also after a transaction was rolled back. */
  reload(): void {
    this.clear(Number(this.#connection.statement('SELECT indexed FROM state').get()?.[0]));
    const rows = this.#connection.statement(
      'SELECT doc, id, sort, expires, entries FROM document WHERE doc > ? AND entries IS NOT NULL',
    );
    for (const row of rows.all(this.#indexed)) {
      const [doc, id, sort, expires, entries] = row as readonly [
        number,
        string,
        string | null,
        number | null,
        string | null,
      ];
      this.put({ doc, id, sort, expires, entries: parseEntries(entries) });
    }
  }

  /** Number of the last document whose entries are in the tables. */
  get indexed(): number {
    return this.#indexed;
  }

  get size(): number {
    return this.#documents.size;
  }

  /** Index entries of all documents. */
  get entries(): number {
    return this.#entries;
  }

  /** Whether the entries of the document with this number are not in the tables. */
  isRecent(doc: number): boolean {
    return doc > this.#indexed;
  }

  /** Adds or replaces a document. A document without entries needs no place here. */
  put(document: RecentDocument): void {
    this.remove(document.doc);
    if (document.entries.length === 0) return;
    this.#documents.set(document.doc, document);
    this.#entries += document.entries.length;
    for (const [field, value] of document.entries) {
      let values = this.#byEntry.get(field);
      if (values === undefined) this.#byEntry.set(field, (values = new Map<string, Set<RecentDocument>>()));
      const documents = values.get(value);
      if (documents === undefined) values.set(value, new Set([document]));
      else documents.add(document);
    }
  }

  remove(doc: number): void {
    const document = this.#documents.get(doc);
    if (document === undefined) return;
    this.#documents.delete(doc);
    this.#entries -= document.entries.length;
    for (const [field, value] of document.entries) {
      const values = this.#byEntry.get(field);
      const documents = values?.get(value);
      documents?.delete(document);
      if (documents?.size === 0) values?.delete(value);
    }
  }

  [Symbol.iterator](): IterableIterator<RecentDocument> {
    return this.#documents.values();
  }

  /** The entries of all documents up to number `indexed` are in the tables. */
  clear(indexed: number): void {
    this.#documents.clear();
    this.#byEntry.clear();
    this.#entries = 0;
    this.#indexed = indexed;
  }

  /** The documents that match and have not expired by `now`, in the order of the result. The selection has terms. */
  matching(
    selection: Selection,
    fieldNumber: (field: string) => number | undefined,
    now: number,
  ): readonly RecentDocument[] {
    let fewest: ReadonlySet<RecentDocument> | undefined;
    for (const { field, value } of selection.terms) {
      const n = fieldNumber(field);
      const documents = n === undefined ? undefined : this.#byEntry.get(n)?.get(value);
      if (documents === undefined) return [];
      if (fewest === undefined || documents.size < fewest.size) fewest = documents;
    }
    const found: RecentDocument[] = [];
    for (const document of fewest ?? []) {
      if (document.expires !== null && document.expires <= now) continue;
      if (covers(selection, undefined, fieldNumber, document.id, document)) found.push(document);
    }
    return found.sort((a, b) => comparePositions(positionOf(a, selection), positionOf(b, selection)));
  }
}

export function positionOf(
  { sort, id }: { readonly sort: string | null; readonly id: string },
  { byOrder }: Selection,
): Position {
  return { sort: byOrder ? (sort ?? '') : '', id };
}
