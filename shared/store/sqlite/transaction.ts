/** One run of a transaction's body: its reads, for a check at the commit, and its writes. */
import { type JsonObject } from '../../json';
import { type History } from './history';
import { type Doc, type Page, type PutOptions, type Query, type Transaction } from '../store';
import { type Position, type Selection } from '../store-query';
import type { NewRow } from './rows';

export type PendingWrite =
  | { readonly collection: string; readonly id: string; readonly row: NewRow }
  | { readonly collection: string; readonly id: string; readonly row: undefined };

/** What a run needs of the store. Reads are synchronous. */
export interface TransactionSource {
  readAll(collection: string, ids: readonly string[]): readonly (Doc | undefined)[];
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

type ReadCheck = (now: number) => boolean;

export class SqliteTransaction implements Transaction {
  /** Number of the last commit when the run began. */
  readonly since: number;
  readonly collections = new Set<string>();
  readonly writes = new Map<string, PendingWrite>();
  chars = 0;
  readonly #source: TransactionSource;
  readonly #checks: ReadCheck[] = [];
  /** When the first of the documents that were read expires; then the run no longer holds. */
  #expires = Infinity;
  #ended = false;

  constructor(source: TransactionSource) {
    this.#source = source;
    this.since = source.seq;
  }

  /** The body has ended, or its time is over. */
  end(): void {
    this.#ended = true;
  }

  /** True when there was at most one read, which is consistent by itself: it takes no turn of the event loop. */
  get consistentAlone(): boolean {
    return this.#checks.length <= 1;
  }

  holds(now: number): boolean {
    return now < this.#expires && this.#checks.every((check) => check(now));
  }

  async get(collection: string, id: string): Promise<Doc | undefined> {
    const [doc] = await this.getAll(collection, [id]);
    return doc;
  }

  async getAll(collection: string, ids: readonly string[]): Promise<readonly (Doc | undefined)[]> {
    this.#beforeRead(collection);
    const readAt = this.#source.seq;
    const docs = this.#source.readAll(collection, ids);
    const history = this.#source.history(collection);
    for (const doc of docs) this.#noteExpiry(doc);
    this.#checks.push(() => ids.every((id) => history.documentHolds(id, readAt)));
    return docs;
  }

  async query(query: Query): Promise<Page> {
    this.#beforeRead(query.collection);
    const readAt = this.#source.seq;
    const { page, selection, last } = this.#source.select(query);
    const history = this.#source.history(query.collection);
    const fieldNumber = (field: string): number | undefined => this.#source.fieldNumber(query.collection, field);
    for (const doc of page.docs) this.#noteExpiry(doc);
    this.#checks.push(() => history.queryHolds(selection, last, fieldNumber, readAt));
    return page;
  }

  #beforeRead(collection: string): void {
    this.#assertOpen();
    if (this.writes.size > 0) throw new Error('A transaction reads before it writes; move this read up.');
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

  /** Only the last write of a document is committed. */
  #write(write: PendingWrite): void {
    this.writes.set(`${write.collection}\0${write.id}`, write);
  }

  #assertOpen(): void {
    if (this.#ended) throw new Error('The transaction has ended; await every call inside its body.');
  }
}
