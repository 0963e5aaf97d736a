/**
 * The interface to the database. Engines: SQLite (`store/sqlite`) and Firestore (`store/firestore`).
 * `test/contract/store-contract.ts` runs against every engine.
 *
 * Documents have a string id in a named collection. A document may have an `order` (a second sort key), index entries
 * (equality only) and an expiry. Ids and orders sort by code point.
 */
import type { JsonObject } from '../json';

export interface Doc {
  readonly id: string;
  /** 1 for a new document, one more with each write. */
  readonly revision: number;
  readonly value: JsonObject;
  readonly order?: string;
  /** Milliseconds since the epoch; an expired document counts as absent. */
  readonly expiresAt?: number;
}

export interface PutOptions {
  /** Index entries: field name to values. A write replaces the entries of an earlier one. */
  readonly index?: Readonly<Record<string, readonly string[]>>;
  readonly order?: string;
  readonly expiresAt?: number;
}

export interface Query {
  readonly collection: string;
  /** Only ids that start with this text. */
  readonly prefix?: string;
  /** Only documents with all of these index entries. */
  readonly where?: readonly { readonly field: string; readonly value: string }[];
  /** Sort key: `id` (the default) or `order`, then id. A query by `order` omits documents without one. */
  readonly by?: 'id' | 'order';
  /** With `by: 'order'`: only documents whose order is less than or equal to this. */
  readonly upTo?: string;
  /** With `by: 'order'`: only documents whose order is greater than this. */
  readonly above?: string;
  /** Opaque cursor: `next` of an earlier {@link Page}. */
  readonly after?: string;
  /** 1 to 10,000 documents. */
  readonly limit: number;
  /** Ends the page early, after the document with which the values as JSON reach this many characters. */
  readonly maxChars?: number;
}

export interface Page {
  readonly docs: readonly Doc[];
  /** Present when there may be more. */
  readonly next?: string;
}

/**
 * Inside a transaction: first all reads, then all writes (a read after a write throws). The body may run several times
 * and so must have no other effects. All writes of the last run are applied, or none.
 */
export interface Transaction {
  get(collection: string, id: string): Promise<Doc | undefined>;
  getAll(collection: string, ids: readonly string[]): Promise<readonly (Doc | undefined)[]>;
  /** When a document enters or leaves the result before the commit, the body runs again. */
  query(query: Query): Promise<Page>;
  put(collection: string, id: string, value: JsonObject, options?: PutOptions): void;
  delete(collection: string, id: string): void;
}

export interface Size {
  readonly count: number;
  /** Bytes of the values as JSON in UTF-8. */
  readonly bytes: number;
}

export interface CallOptions {
  /** Aborting ends the wait; a write may still happen. */
  readonly signal?: AbortSignal;
}

/** The documents whose changes are reported. */
export interface WatchScope {
  readonly collection: string;
  /** Only the document with this id. */
  readonly id?: string;
  /** Only ids that start with this text; not together with `id`. */
  readonly prefix?: string;
  /** Only documents with this index entry; a document that loses the entry is reported as deleted. */
  readonly where?: { readonly field: string; readonly value: string };
  /**
   * Only the document that comes last by its order, to wake the reader of a long queue without reading the queue.
   * Deletions are not reported then. An engine may report other documents too.
   */
  readonly newest?: true;
}

export interface Watch {
  /**
   * Resolves when every later commit will be reported. A caller that also reads waits for it before reading, to miss no
   * change. Rejects with `unavailable` when the watch was ended before, or could not begin in time; in the second case
   * it goes on trying.
   */
  readonly ready: Promise<void>;
  end(): void;
}

/** One committed change. */
export interface Change {
  readonly collection: string;
  readonly id: string;
  readonly deleted: boolean;
}

export interface Store {
  /** Like all reads: sees committed documents, and never a part of a transaction. */
  get(collection: string, id: string, options?: CallOptions): Promise<Doc | undefined>;
  /** In the order of `ids`; undefined for absent documents. */
  getAll(collection: string, ids: readonly string[], options?: CallOptions): Promise<readonly (Doc | undefined)[]>;
  /** @throws CmbsError `bad_request` for a limit, cursor or number of terms that is not allowed */
  query(query: Query, options?: CallOptions): Promise<Page>;
  /**
   * Number of documents that match, counted up to `atMost`. With `above`, a remote engine counts by an index that does not
   * know the expiry, so that expired documents count until the database removes them.
   */
  count(query: Omit<Query, 'limit' | 'after'>, atMost: number, options?: CallOptions): Promise<number>;
  /**
   * Number of documents of a collection with an order, counted up to `atMost`, and the bytes of their values. A remote
   * engine may estimate the bytes of more than a thousand documents by their mean.
   */
  measure(collection: string, atMost: number, options?: CallOptions): Promise<Size>;

  /**
   * Runs `body` and commits. Resolves when the commit is durable. Rejects with the error of the body, and then nothing
   * was written.
   *
   * @throws CmbsError `unavailable` (too many conflicts, or the store is closed), `storage_full`, `too_large`, or
   *   `deadline_exceeded` (aborted, or no answer in time; the outcome is unknown)
   */
  transact<T>(body: (tx: Transaction) => Promise<T>, options?: CallOptions): Promise<T>;

  /**
   * Creates a document; false when the document exists already. Durable when resolved. The only write without a
   * transaction, because receipts need a cheap one.
   */
  create(collection: string, id: string, value: JsonObject, options?: PutOptions & CallOptions): Promise<boolean>;

  /**
   * Calls `listener` after commits that change documents of the scope, in commit order for each document. Quick changes
   * of one document may be reported as one, and after a broken connection a change may be reported again.
   */
  watch(scope: WatchScope, listener: (changes: readonly Change[]) => void): Watch;

  /** Removes at most `limit` expired documents; resolves with their number. 0 when the database itself removes them. */
  sweep(limit: number): Promise<number>;

  close(): Promise<void>;
}
