/**
 * What this product asks of a database. Two engines implement it (`sqlite.ts` here; Firestore in the cloud) and one
 * contract suite holds both to it, so nothing below may promise what either cannot keep.
 *
 * Documents live in named collections under a string id. A document may carry an `order` (a second sort key), index
 * entries (equality only) and an expiry. Ids and orders compare by UTF-16 code unit, as JavaScript's `<` does for
 * the ASCII that this product uses in them.
 */
import type { JsonObject } from '../json';

export interface Doc {
  readonly id: string;
  /** 1 for a document just created, one more with each write of it. */
  readonly revision: number;
  readonly value: JsonObject;
  readonly order?: string;
  /** Milliseconds since the epoch; an expired document is as good as absent. */
  readonly expiresAt?: number;
}

export interface PutOptions {
  /** Field name to values; replaces the entries of an earlier write. */
  readonly index?: Readonly<Record<string, readonly string[]>>;
  readonly order?: string;
  readonly expiresAt?: number;
}

export interface Query {
  readonly collection: string;
  /** Only ids that start with this. */
  readonly prefix?: string;
  /** Equality on indexed fields, all of which must hold. */
  readonly where?: readonly { readonly field: string; readonly value: string }[];
  /** Sort key: `id` (the default) or `order`, ties by id. Sorting by `order` leaves out documents without one. */
  readonly by?: 'id' | 'order';
  /** With `by: 'order'`: only documents whose order is less than or equal to this. */
  readonly upTo?: string;
  /** Opaque cursor from an earlier {@link Page}. */
  readonly after?: string;
  /** 1 to 10,000 documents. */
  readonly limit: number;
  /** Ends the page early, after the document with which their JSON has this many characters. */
  readonly maxChars?: number;
}

export interface Page {
  readonly docs: readonly Doc[];
  /** Present when there may be more. */
  readonly next?: string;
}

/**
 * Inside a transaction: all reads first, then writes (a read after a write throws). The body may run several times,
 * so it must have no effects of its own; only the last run's writes are applied, and all of them or none.
 */
export interface Transaction {
  get(collection: string, id: string): Promise<Doc | undefined>;
  getAll(collection: string, ids: readonly string[]): Promise<readonly (Doc | undefined)[]>;
  /**
   * Consistent: a document that enters or leaves the result before the commit makes the body run again, or waits for
   * the commit.
   */
  query(query: Query): Promise<Page>;
  put(collection: string, id: string, value: JsonObject, options?: PutOptions): void;
  delete(collection: string, id: string): void;
}

export interface Size {
  readonly count: number;
  /** Of UTF-8. */
  readonly bytes: number;
}

export interface CallOptions {
  /** Aborting gives up waiting; a write may then still happen. */
  readonly signal?: AbortSignal;
}

/** Whose changes a watcher wants to hear of; it may hear of others in the collection. */
export interface WatchScope {
  readonly collection: string;
  /** Only the document of this id. */
  readonly id?: string;
  /** Only ids that start with this; not beside `id`. */
  readonly prefix?: string;
  /**
   * Only the document that comes last by its order: what wakes a reader of a long queue, without a remote engine
   * having to read the queue. Deletions are not told then.
   */
  readonly newest?: true;
}

export interface Watch {
  /**
   * Resolves when every later commit will be told. Whoever watches and reads waits for it before reading, so that
   * nothing falls in between. Rejects with `unavailable` when watching was ended before, or could not begin in time;
   * then it goes on trying.
   */
  readonly ready: Promise<void>;
  end(): void;
}

/** One committed change, as a watcher sees it. */
export interface Change {
  readonly collection: string;
  readonly id: string;
  readonly deleted: boolean;
}

export interface Store {
  /** Reads see what is committed, never part of a transaction. */
  get(collection: string, id: string, options?: CallOptions): Promise<Doc | undefined>;
  getAll(collection: string, ids: readonly string[], options?: CallOptions): Promise<readonly (Doc | undefined)[]>;
  query(query: Query, options?: CallOptions): Promise<Page>;
  /** Number of documents that match, counted no further than `atMost`. */
  count(query: Omit<Query, 'limit' | 'after'>, atMost: number, options?: CallOptions): Promise<number>;
  /**
   * How many documents of a collection have an order, counted no further than `atMost`, and the bytes of their JSON. A
   * remote engine may tell the bytes of more than a thousand by their mean.
   */
  measure(collection: string, atMost: number, options?: CallOptions): Promise<Size>;

  /**
   * Runs `body` and commits. Resolves only after the commit is durable. Rejects with what the body threw (nothing
   * was written), or with `CmbsError` `unavailable` (contention that did not end, store closed), `storage_full`, or
   * `deadline_exceeded` (aborted; fate unknown).
   */
  transact<T>(body: (tx: Transaction) => Promise<T>, options?: CallOptions): Promise<T>;

  /**
   * Writes a document only if none is there (an expired one counts as absent); false when one was. The single write
   * that needs no transaction, and the hot path of receipts. Durable when resolved.
   */
  create(collection: string, id: string, value: JsonObject, options?: PutOptions & CallOptions): Promise<boolean>;

  /**
   * Calls `listener` after commits that touch the scope, for each document in commit order. Changes of one document
   * that follow each other closely may come as one, and after a broken connection a change may come again.
   */
  watch(scope: WatchScope, listener: (changes: readonly Change[]) => void): Watch;

  /** Removes expired documents, at most `limit` of them; returns how many: none where the database does it itself. */
  sweep(limit: number): Promise<number>;

  close(): Promise<void>;
}
