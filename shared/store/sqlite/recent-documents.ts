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

/** A document, without its value, and the number of its row. */
export interface RecentDocument extends Omit<NewRow, 'value'> {
  readonly doc: number;
}

export class RecentDocuments {
  readonly #connection: Connection;
  /** By collection, then by the number of the row. */
  readonly #collections = new Map<number, Map<number, RecentDocument>>();
  #size = 0;
  #indexed = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.reload();
  }

  /** Reads the documents from the tables; also after a transaction was rolled back. */
  reload(): void {
    this.clear(Number(this.#connection.statement('SELECT indexed FROM state').get()?.[0]));
    const rows = this.#connection.statement(
      'SELECT doc, collection, id, sort, expires, entries FROM document WHERE doc > ? AND entries IS NOT NULL',
    );
    for (const row of rows.all(this.#indexed)) {
      const [doc, collection, id, sort, expires, entries] = row as readonly [
        number,
        number,
        string,
        string | null,
        number | null,
        string | null,
      ];
      this.put(collection, { doc, id, sort, expires, entries: parseEntries(entries) });
    }
  }

  /** Number of the last document whose entries are in the tables. */
  get indexed(): number {
    return this.#indexed;
  }

  get size(): number {
    return this.#size;
  }

  /** Whether the entries of the document with this number are not in the tables. */
  isRecent(doc: number): boolean {
    return doc > this.#indexed;
  }

  /** Adds or replaces a document. A document without entries needs no place here. */
  put(collection: number, document: RecentDocument): void {
    this.remove(collection, document.doc);
    if (document.entries.length === 0) return;
    let documents = this.#collections.get(collection);
    if (documents === undefined)
      this.#collections.set(collection, (documents = new Map<number, RecentDocument>()));
    documents.set(document.doc, document);
    this.#size += 1;
  }

  remove(collection: number, doc: number): void {
    if (this.#collections.get(collection)?.delete(doc) === true) this.#size -= 1;
  }

  *[Symbol.iterator](): IterableIterator<RecentDocument> {
    for (const documents of this.#collections.values()) yield* documents.values();
  }

  /** The entries of all documents up to number `indexed` are in the tables. */
  clear(indexed: number): void {
    this.#collections.clear();
    this.#size = 0;
    this.#indexed = indexed;
  }

  /** The documents that match and have not expired by `now`, in the order of the result. */
  matching(
    selection: Selection,
    collection: number,
    fieldNumber: (field: string) => number | undefined,
    now: number,
  ): readonly RecentDocument[] {
    const documents = this.#collections.get(collection);
    if (documents === undefined) return [];
    const found: RecentDocument[] = [];
    for (const document of documents.values()) {
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
