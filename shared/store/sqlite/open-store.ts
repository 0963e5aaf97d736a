/**
 * The open store. Transactions are optimistic, as on Firestore, because a body awaits other things than the store, while
 * SQLite has one writer: the body reads committed documents and collects its writes, then joins the commit queue. The
 * transactions in the queue share one SQLite transaction. Each is first checked against the changes since its reads
 * ({@link History}), including those of earlier ones in the same commit. A transaction with a conflict runs again, and
 * after several runs alone. Tests: the transactions of `test/contract/store-contract.ts`.
 *
 * A commit is acknowledged, and shown to readers outside transactions, when it is on the disk ({@link WalSync}).
 * Transactions may read it earlier, because their own commit follows it in the log.
 */
import { type Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { type JsonObject } from '../../json';
import { CHECKPOINT_PAGES, EXCLUSIVE_MS } from './limits';
import { type Log } from '../../log';
import { abortable, Cancelled, withinDeadline } from '../cancellation';
import {
  type CallOptions,
  type Change,
  type Doc,
  type Page,
  type PutOptions,
  type Query,
  type Size,
  type Store,
  type Transaction,
  type Watch,
  type WatchScope,
} from '../store';
import { type AcknowledgedRecord } from './acknowledged';
import { Checkpointer } from './checkpointer';
import { Collections } from './collections';
import { CommitQueue, type Owner } from './commit-queue';
import { Committer, type Verdict, type Work } from './committer';
import { type DirectoryLock } from './directory-lock';
import { closedError, StoreHealth } from './health';
import { StoreReader } from './store-reader';
import type { Tables } from './tables';
import { SqliteTransaction } from './transaction';
import { WalSync } from './wal-sync';

/** Optimistic runs of one transaction before it runs alone, so that conflicts end. */
export const MAX_OPTIMISTIC_RUNS = 8;
/** Bytes written, approximately, between two checks of the log's length: a check costs as much as a small commit. */
const LOG_CHECK_CHARS = 2 * 1024 * 1024;

/** An open store owns these, and closes them. */
export interface OpenStoreParts {
  readonly tables: Tables;
  readonly record: AcknowledgedRecord;
  readonly lock: DirectoryLock;
  /** Path of the database. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class OpenStore implements Store {
  readonly #tables: Tables;
  readonly #record: AcknowledgedRecord;
  readonly #lock: DirectoryLock;
  readonly #clock: Clock;
  readonly #health: StoreHealth;
  readonly #collections: Collections;
  readonly #reader: StoreReader;
  readonly #queue: CommitQueue<Work>;
  readonly #committer: Committer;
  readonly #walSync: WalSync;
  readonly #checkpointer: Checkpointer;
  #charsSinceCheck = 0;
  #closing: Promise<void> | undefined;

  constructor({ tables, record, lock, path, clock, log }: OpenStoreParts) {
    this.#tables = tables;
    this.#record = record;
    this.#lock = lock;
    this.#clock = clock;
    this.#health = new StoreHealth(path, clock, log);
    this.#collections = new Collections(log, (collection, field) => tables.names.number(collection, field));
    const seq = tables.standing().commits;
    this.#reader = new StoreReader({
      tables,
      collections: this.#collections,
      health: this.#health,
      clock,
      seq: () => this.#committer.seq,
    });
    this.#walSync = new WalSync(
      `${path}-wal`,
      seq,
      (durable) => {
        if (this.#health.refusal !== undefined) throw this.#health.refusal;
        this.#record.write(durable);
      },
      (error) => this.#health.syncFailed(error),
    );
    this.#checkpointer = new Checkpointer({
      path,
      log,
      onPass: () => this.#queue.wake(),
      onUnavailable: () => this.#tables.connection.checkpointInCommits(CHECKPOINT_PAGES),
    });
    this.#committer = new Committer({
      tables,
      collections: this.#collections,
      health: this.#health,
      walSync: this.#walSync,
      clock,
      seq,
      forget: (...change) => this.#reader.forget(...change),
      onLogged: (chars) => this.#observeLog(chars),
    });
    this.#queue = new CommitQueue<Work>({
      commit: (batch) => this.#committer.commit(batch),
      ready: () => !this.#checkpointer.holdsWrites,
    });
    this.#health.lookAgain(() => this.#record.sync((error) => this.#health.syncFailed(error)));
  }

  #observeLog(chars: number): void {
    this.#charsSinceCheck += chars;
    if (this.#charsSinceCheck < LOG_CHECK_CHARS) return;
    this.#charsSinceCheck = 0;
    const { log, checkpointed } = this.#tables.connection.walPages();
    this.#checkpointer.observe(log, checkpointed);
  }

  assertInPlace(): void {
    this.#health.look();
    this.#health.assertUsable(undefined);
  }

  // --- Reads ---

  async get(collection: string, id: string, options?: CallOptions): Promise<Doc | undefined> {
    this.#health.assertUsable(options?.signal);
    const doc = this.#reader.read(collection, id);
    await this.#untilDurable(collection, options?.signal);
    return doc;
  }

  async getAll(
    collection: string,
    ids: readonly string[],
    options?: CallOptions,
  ): Promise<readonly (Doc | undefined)[]> {
    this.#health.assertUsable(options?.signal);
    const docs = this.#reader.readAll(collection, ids);
    await this.#untilDurable(collection, options?.signal);
    return docs;
  }

  async query(query: Query, options?: CallOptions): Promise<Page> {
    this.#health.assertUsable(options?.signal);
    const { page } = this.#reader.select(query);
    await this.#untilDurable(query.collection, options?.signal);
    return page;
  }

  async count(query: Omit<Query, 'limit' | 'after'>, atMost: number, options?: CallOptions): Promise<number> {
    this.#health.assertUsable(options?.signal);
    const n = this.#reader.count(query, atMost);
    await this.#untilDurable(query.collection, options?.signal);
    return n;
  }

  async measure(collection: string, atMost: number, options?: CallOptions): Promise<Size> {
    this.#health.assertUsable(options?.signal);
    const size = this.#reader.measure(collection, atMost);
    await this.#untilDurable(collection, options?.signal);
    return size;
  }

  /** Waits until the last commit that changed the collection is durable. */
  #untilDurable(collection: string, signal: AbortSignal | undefined): Promise<void> | undefined {
    const seq = this.#collections.lastCommitted(collection);
    return this.#walSync.isDurable(seq) ? undefined : this.#whenDurable(seq, signal);
  }

  #whenDurable(seq: number, signal: AbortSignal | undefined): Promise<void> {
    return abortable(signal, (resolve, reject) => {
      this.#walSync.whenDurable(seq, resolve, () => reject(this.#health.refusal ?? closedError()));
    });
  }

  // --- Transactions ---

  async transact<T>(body: (tx: Transaction) => Promise<T>, options: CallOptions = {}): Promise<T> {
    for (let run = 0; run < MAX_OPTIMISTIC_RUNS; run++) {
      const result = await this.#attempt(body, options.signal, undefined);
      if (result !== undefined) return result.value;
    }
    // When it is aborted while it waits to run alone, the wait ends at once, and its run does nothing later.
    return abortable(options.signal, (resolve, reject) => {
      this.#queue.exclusively((owner) => this.#runAlone(body, options.signal, owner)).then(resolve, reject);
    });
  }

  async #runAlone<T>(
    body: (tx: Transaction) => Promise<T>,
    signal: AbortSignal | undefined,
    owner: Owner,
  ): Promise<T> {
    // Alone, a run can only fail because a document that it read has expired.
    for (let run = 0; run < MAX_OPTIMISTIC_RUNS; run++) {
      const result = await this.#attempt(body, signal, owner);
      if (result !== undefined) return result.value;
    }
    throw new CmbsError('unavailable', 'Too many requests change the same data; repeat this one later.');
  }

  /** Undefined when a document or result that was read has changed before the commit. */
  async #attempt<T>(
    body: (tx: Transaction) => Promise<T>,
    signal: AbortSignal | undefined,
    owner: Owner | undefined,
  ): Promise<{ readonly value: T } | undefined> {
    this.#health.assertUsable(signal);
    const run = new SqliteTransaction(this.#reader);
    this.#collections.began(run);
    try {
      const value = await withinDeadline(() => body(run), signal, owner === undefined ? undefined : EXCLUSIVE_MS);
      this.#health.assertUsable(signal);
      if (run.writes.size === 0) {
        if (!run.consistentAlone && !run.holds(this.#clock.now())) return undefined;
        await this.#untilReadDurable(run, signal);
        return { value };
      }
      return (await this.#enqueueWrites(run, signal, owner)) === 'committed' ? { value } : undefined;
    } catch (error) {
      if (error instanceof Cancelled || this.#health.isClosed) throw error;
      // Reads that were never consistent together prove nothing, so neither does an error that follows from them.
      if (!run.consistentAlone && !run.holds(this.#clock.now())) return undefined;
      await this.#untilReadDurable(run, signal);
      throw error;
    } finally {
      run.end();
      this.#collections.ended(run, this.#committer.seq);
    }
  }

  async #untilReadDurable(run: SqliteTransaction, signal: AbortSignal | undefined): Promise<void> {
    for (const collection of run.collections) await this.#untilDurable(collection, signal);
  }

  #enqueueWrites(
    run: SqliteTransaction,
    signal: AbortSignal | undefined,
    owner: Owner | undefined,
  ): Promise<Verdict> {
    return this.#enqueue(signal, (resolve, reject) => ({
      kind: 'write',
      run,
      owner,
      writes: run.writes.size,
      chars: run.chars,
      resolve,
      reject,
      cancelled: false,
      started: false,
    }));
  }

  async create(
    collection: string,
    id: string,
    value: JsonObject,
    options: PutOptions & CallOptions = {},
  ): Promise<boolean> {
    this.#health.assertUsable(options.signal);
    const row = this.#reader.prepare(collection, id, value, options);
    const state = this.#collections.get(collection);
    return this.#enqueue<boolean>(options.signal, (resolve, reject) => ({
      kind: 'create',
      collection: state,
      row,
      owner: undefined,
      writes: 1,
      chars: row.value.length,
      resolve,
      reject,
      cancelled: false,
      started: false,
    }));
  }

  async sweep(limit: number): Promise<number> {
    let removed = 0;
    while (removed < limit) {
      this.#health.assertUsable(undefined);
      const left = limit - removed;
      const now = await this.#enqueue<number>(undefined, (resolve, reject) => ({
        kind: 'sweep',
        limit: left,
        owner: undefined,
        writes: 1,
        chars: 0,
        resolve,
        reject,
        cancelled: false,
        started: false,
      }));
      if (now === 0) break;
      removed += now;
    }
    return removed;
  }

  /** An abort before the commit begins drops the work; after that it only ends the wait. */
  #enqueue<T>(
    signal: AbortSignal | undefined,
    make: (resolve: (result: T) => void, reject: (error: Error) => void) => Work,
  ): Promise<T> {
    let work: Work | undefined;
    return abortable<T>(
      signal,
      (resolve, reject) => {
        work = make(resolve, reject);
        this.#queue.add(work);
      },
      () => {
        if (work !== undefined && !work.started) work.cancelled = true;
      },
    );
  }

  // --- The rest ---

  watch(scope: WatchScope, listener: (changes: readonly Change[]) => void): Watch {
    return this.#collections.watch(scope, listener);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#health.close();
    await this.#queue.idle();
    await this.#walSync.close();
    await this.#checkpointer.close();
    this.#tables.connection.close();
    await this.#record.close();
    this.#lock.release();
  }
}
