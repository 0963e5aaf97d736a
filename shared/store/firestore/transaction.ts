/**
 * Optimistic transactions. A body reads at one moment, without locks. Its writes are committed if nothing that it read
 * has changed; otherwise the body runs again.
 *
 * For a written document the condition is a precondition of the write. Documents that were only read, and results of
 * queries, are read again inside a Firestore transaction, whose locks last until the commit.
 *
 * A Firestore transaction over the whole body, as Google's client offers, would lock from the first read on: other
 * transactions wait for the body; two that both read and write the same documents wait for each other; and a process that
 * is frozen or killed (a function may be, once it has answered) leaves its locks for a minute. Tests:
 * `test/cloud/store-faults.test.ts` ("two stores") and the transactions of `test/contract/store-contract.ts`.
 */
import { backOff } from '../../back-off';
import { type JsonObject } from '../../json';
import { FIRESTORE_CONFLICT_MAX_MS, FIRESTORE_CONFLICT_MS } from './limits';
import { type Deadline } from './deadline';
import { type Context, refusal } from './context';
import { isExpired, preparePut, type PreparedPut, type Stored, toDoc } from './documents';
import { contentionError } from './errors';
import { pathOf } from './names';
import { readPage, type Seen } from './query';
import { ReadSnapshot } from './read-snapshot';
import { type KeyedMutex } from './keyed-mutex';
import { commitIfUnchanged, type Version } from './unchanged';
import { Cancelled, withinDeadline } from '../cancellation';
import { type Doc, type Page, type PutOptions, type Query, type Transaction } from '../store';
import { toSelection } from '../store-query';

/** Runs `body` until its writes are committed. Rejects with the error of the body, or as `Store.transact` says. */
export async function runTransaction<T>(
  context: Context,
  mutex: KeyedMutex,
  deadline: Deadline,
  body: (tx: Transaction) => Promise<T>,
): Promise<T> {
  let unlock: (() => void) | undefined;
  for (let attempt = 1; ; attempt++) {
    let run: FirestoreTransaction;
    try {
      run = new FirestoreTransaction(await ReadSnapshot.open(context, deadline));
      const value = await run.finish(body);
      if (await run.commit()) return value;
    } finally {
      unlock?.();
    }
    deadline.assertLeft(contentionError);
    await deadline.pause(backOff(attempt, FIRESTORE_CONFLICT_MS, FIRESTORE_CONFLICT_MAX_MS, context.random));
    unlock = await mutex.lock(run.firstWritten, deadline);
  }
}

function bodyTooSlow(): Cancelled {
  return new Cancelled('unavailable', 'The transaction took too long, nothing was written; repeat the request.');
}

class FirestoreTransaction implements Transaction {
  readonly #snapshot: ReadSnapshot;
  /** Documents that the body read, by path. */
  readonly #read = new Map<string, Version>();
  /** Documents that its queries found, by path. */
  readonly #found = new Map<string, Version>();
  readonly #queries: Seen[] = [];
  readonly #writes = new Map<string, PreparedPut | 'delete'>();
  /** When the first of these documents expires: from then on the body would read something else. */
  #expires = Infinity;
  #ended = false;

  constructor(snapshot: ReadSnapshot) {
    this.#snapshot = snapshot;
  }

  /** Runs the body, within the deadline. */
  async finish<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    const { deadline } = this.#snapshot;
    try {
      return await withinDeadline(() => body(this), deadline.signal, deadline.left, bodyTooSlow);
    } finally {
      this.#ended = true;
    }
  }

  /** Path of the first document that the body wrote. */
  get firstWritten(): string {
    const [first = ''] = this.#writes.keys();
    return first;
  }

  /** False when something that the body read has changed; then nothing was written. */
  async commit(): Promise<boolean> {
    this.#snapshot.deadline.assertNotAborted();
    if (this.#writes.size === 0) return true;
    return this.#calling(() =>
      commitIfUnchanged(this.#snapshot, {
        writes: this.#writes,
        read: this.#read,
        found: this.#found,
        queries: this.#queries,
        expires: this.#expires,
      }),
    );
  }

  // --- For the body ---

  async get(collection: string, id: string): Promise<Doc | undefined> {
    const [doc] = await this.getAll(collection, [id]);
    return doc;
  }

  async getAll(collection: string, ids: readonly string[]): Promise<readonly (Doc | undefined)[]> {
    this.#beforeRead();
    const paths = ids.map((id) => pathOf(collection, id));
    const stored = await this.#calling(() => this.#snapshot.getAll(paths));
    return paths.map((path) => this.#seen(this.#read, path, stored.get(path)));
  }

  async query(query: Query): Promise<Page> {
    this.#beforeRead();
    const selection = toSelection(query);
    const { page, documents, seen } = await this.#calling(() => readPage(this.#snapshot, selection));
    this.#queries.push(seen);
    for (const stored of documents) this.#seen(this.#found, pathOf(query.collection, stored.id), stored);
    return page;
  }

  put(collection: string, id: string, value: JsonObject, options?: PutOptions): void {
    this.#assertOpen();
    const path = pathOf(collection, id);
    this.#writes.set(path, preparePut(path, value, options));
  }

  delete(collection: string, id: string): void {
    this.#assertOpen();
    this.#writes.set(pathOf(collection, id), 'delete');
  }

  #beforeRead(): void {
    this.#assertOpen();
    if (this.#writes.size > 0) throw new Error('A transaction reads before it writes; move this read up.');
  }

  #assertOpen(): void {
    if (this.#ended) throw new Error('The transaction has ended; await every call inside its body.');
  }

  /** Converts errors of Firestore here, where they cannot be mistaken for errors of the body. */
  async #calling<T>(call: () => Promise<T>): Promise<T> {
    const { context, deadline } = this.#snapshot;
    try {
      return await call();
    } catch (error) {
      throw refusal(context, deadline, error, 'write');
    }
  }

  #seen(versions: Map<string, Version>, path: string, stored: Stored | undefined): Doc | undefined {
    const { clock } = this.#snapshot.context;
    if (stored === undefined || isExpired(stored.expiresAt, clock.now())) {
      versions.set(path, { updateTime: stored?.updateTime, revision: 0 });
      return undefined;
    }
    versions.set(path, stored);
    this.#expires = Math.min(this.#expires, stored.expiresAt ?? Infinity);
    return toDoc(stored);
  }
}
