/**
 * Transactions. A body reads at one moment (`snapshot.ts`) without locking anything. What it writes is
 * committed on condition that nothing it has read is different by then; else it runs again.
 *
 * For documents that are written, the condition goes with the write. What was only read, and what a query found, is
 * looked at again inside a Firestore transaction, whose locks keep it so for the moment until the commit. A transaction
 * of Firestore over the whole body, as its client offers, would lock from the first read on: others wait while a body
 * thinks, two that read what they both write wait for each other, and what a program leaves locked when it is frozen or
 * killed (a function may be, once it has answered) stays so for a minute.
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
import { GivenUp, withinDeadline } from '../giving-up';
import { type Doc, type Page, type PutOptions, type Query, type Transaction } from '../store';
import { toSelection } from '../store-query';

/** Runs `body` until what it wrote is committed. Rejects with what it threw, or as store.ts says. */
export async function runTransaction<T>(
  context: Context,
  turns: KeyedMutex,
  bounds: Deadline,
  body: (tx: Transaction) => Promise<T>,
): Promise<T> {
  let endTurn: (() => void) | undefined;
  for (let attempt = 1; ; attempt++) {
    let run: FirestoreTransaction;
    try {
      run = new FirestoreTransaction(await ReadSnapshot.open(context, bounds));
      const value = await run.finish(body);
      if (await run.commit()) return value;
    } finally {
      endTurn?.();
    }
    bounds.assertLeft(contentionError);
    await bounds.pause(backOff(attempt, FIRESTORE_CONFLICT_MS, FIRESTORE_CONFLICT_MAX_MS, context.random));
    endTurn = await turns.lock(run.firstWritten, bounds);
  }
}

function bodyTooSlow(): GivenUp {
  return new GivenUp('unavailable', 'The transaction took too long, nothing was written; repeat the request.');
}

class FirestoreTransaction implements Transaction {
  readonly #snapshot: ReadSnapshot;
  /** By path, what the body has asked for. */
  readonly #read = new Map<string, Version>();
  /** By path, what its queries have found. */
  readonly #found = new Map<string, Version>();
  readonly #queries: Seen[] = [];
  readonly #writes = new Map<string, PreparedPut | 'delete'>();
  /** When the first of the documents read expires: from then on the body would see something else. */
  #expires = Infinity;
  #ended = false;

  constructor(snapshot: ReadSnapshot) {
    this.#snapshot = snapshot;
  }

  /** Runs the body, no longer than there is time. */
  async finish<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    const { bounds } = this.#snapshot;
    try {
      return await withinDeadline(() => body(this), bounds.signal, bounds.left, bodyTooSlow);
    } finally {
      this.#ended = true;
    }
  }

  /** Path of the first document that the body has written. */
  get firstWritten(): string {
    const [first = ''] = this.#writes.keys();
    return first;
  }

  /** False when something is not any more as the body saw it; then nothing was written. */
  async commit(): Promise<boolean> {
    this.#snapshot.bounds.assertWanted();
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

  // --- What bodies call ---

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
    if (this.#writes.size > 0) throw new Error('A transaction reads first and writes then; move this read up.');
  }

  #assertOpen(): void {
    if (this.#ended) throw new Error('The transaction has ended; await every call inside its body.');
  }

  /** Errors of Firestore become ours here, where they cannot be taken for errors of the body. */
  async #calling<T>(call: () => Promise<T>): Promise<T> {
    const { context, bounds } = this.#snapshot;
    try {
      return await call();
    } catch (error) {
      throw refusal(context, bounds, error, 'write');
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
