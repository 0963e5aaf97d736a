/** One run of a transaction's body: what it read, with proof for later, and what it wants written. */
import { type JsonObject } from '../../json';
import { type History } from './history';
import { type Doc, type Page, type PutOptions, type Query, type Transaction } from '../store';
import { type Position, type Selection } from '../store-query';
import type { NewRow } from './rows';

export type PendingWrite =
  | { readonly collection: string; readonly id: string; readonly row: NewRow }
  | { readonly collection: string; readonly id: string; readonly row: undefined };

/** What a run needs of the store. Reads happen at once. */
export interface TransactionSource {
  read(collection: string, id: string): Doc | undefined;
  select(query: Query): {
    readonly page: Page;
    readonly selection: Selection;
    readonly last: Position | undefined;
  };
  prepare(collection: string, id: string, value: JsonObject, options: PutOptions | undefined): NewRow;
  history(collection: string): History;
  fieldNumber(collection: string, field: string): number | undefined;
  /** Number of the last commit. */
  readonly seq: number;
}

type ReadProof = (now: number) => boolean;

export class SqliteTransaction implements Transaction {
  /** Number of the last commit when the run began: no read of it is older. */
  readonly since: number;
  readonly collections = new Set<string>();
  readonly writes = new Map<string, PendingWrite>();
  chars = 0;
  readonly #source: TransactionSource;
  readonly #proofs: ReadProof[] = [];
  /** When the first of the documents read expires: then the result is not the same any more. */
  #expires = Infinity;
  #ended = false;

  constructor(source: TransactionSource) {
    this.#source = source;
    this.since = source.seq;
  }

  /** The body is done with it, or too late. */
  end(): void {
    this.#ended = true;
  }

  /** Whether one moment exists in which all reads give what they gave. A single read has its own. */
  get consistentAlone(): boolean {
    return this.#proofs.length <= 1;
  }

  holds(now: number): boolean {
    return now < this.#expires && this.#proofs.every((proof) => proof(now));
  }

  async get(collection: string, id: string): Promise<Doc | undefined> {
    return this.#read(collection, id);
  }

  async getAll(collection: string, ids: readonly string[]): Promise<readonly (Doc | undefined)[]> {
    return ids.map((id) => this.#read(collection, id));
  }

  #read(collection: string, id: string): Doc | undefined {
    this.#beforeRead(collection);
    const readAt = this.#source.seq;
    const doc = this.#source.read(collection, id);
    const history = this.#source.history(collection);
    this.#noteExpiry(doc);
    this.#proofs.push(() => history.documentHolds(id, readAt));
    return doc;
  }

  async query(query: Query): Promise<Page> {
    this.#beforeRead(query.collection);
    const readAt = this.#source.seq;
    const { page, selection, last } = this.#source.select(query);
    const history = this.#source.history(query.collection);
    const fieldNumber = (field: string): number | undefined => this.#source.fieldNumber(query.collection, field);
    for (const doc of page.docs) this.#noteExpiry(doc);
    this.#proofs.push(() => history.queryHolds(selection, last, fieldNumber, readAt));
    return page;
  }

  #beforeRead(collection: string): void {
    this.#assertOpen();
    if (this.writes.size > 0) throw new Error('A transaction reads first and writes then; move this read up.');
    this.collections.add(collection);
  }

  #noteExpiry(doc: Doc | undefined): void {
    if (doc?.expiresAt !== undefined) this.#expires = Math.min(this.#expires, doc.expiresAt);
  }

  put(collection: string, id: string, value: JsonObject, options?: PutOptions): void {
    this.#assertOpen();
    const row = this.#source.prepare(collection, id, value, options);
    this.chars += row.value.length;
    this.#write({ collection, id, row });
  }

  delete(collection: string, id: string): void {
    this.#assertOpen();
    this.#write({ collection, id, row: undefined });
  }

  /** The last write of a document counts; the commit changes it once. */
  #write(write: PendingWrite): void {
    this.writes.set(`${write.collection}\0${write.id}`, write);
  }

  #assertOpen(): void {
    if (this.#ended) throw new Error('The transaction has ended; await every call inside its body.');
  }
}
