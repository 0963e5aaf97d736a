/**
 * The embedded store: one SQLite file in the data directory, one process (DESIGN decisions 10 and 17).
 *
 * A transaction runs optimistically, as on Firestore: its body reads what is committed and collects writes; then it
 * joins the commit queue. All that waits there shares one SQLite transaction, in which each is first checked against
 * what it read ({@link History}), including what those before it in the same commit have just written; one that does
 * not hold any more runs again, and after several runs alone. Callers are told when the commit is on the disk
 * ({@link WalSync}); nothing that is not is shown to readers outside transactions. A transaction may build on it, since its own
 * commit comes later in the same log.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock } from '../clock';
import { CmbsError } from '../errors';
import { type JsonObject } from '../json';
import {
  CHECKPOINT_LOOK_CHARS,
  CHECKPOINT_PAGES,
  EXCLUSIVE_HOLD_MS,
  FILE_LOOK_MS,
  MAX_OPTIMISTIC_RUNS,
  WAL_SIZE_LIMIT,
} from '../limits';
import { type Log, silentLog } from '../log';
import { AcknowledgedRecord } from './sqlite/acknowledged';
import { Checkpointer } from './sqlite/checkpointer';
import { CommitQueue, type Owner, type QueuedWork } from './sqlite/commit-queue';
import { type DirectoryLock, lockDirectory } from './sqlite/directory-lock';
import { DocumentCache } from './sqlite/document-cache';
import { FileIdentity } from './sqlite/file-identity';
import { History } from './sqlite/history';
import { checkKey, indexable } from './keys';
import { DATABASE_FILE, MIGRATIONS, openDatabase } from './sqlite/schema';
import { abortable, abortedError, GivenUp, withinBounds } from './giving-up';
import { toStoreError } from './sqlite/errors';
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
} from './store';
import { cursorAt, type Footprint, type Position, type Selection, toSelection } from './store-query';
import { type NewRow, type Row, Tables } from './sqlite/tables';
import { TransactionRun, type TransactionSource } from './sqlite/transaction-run';
import { WalSync } from './sqlite/wal-sync';

export interface SqliteStoreOptions {
  /** The data directory; created when missing. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log?: Log;
  /** Upper bound of the database file in pages of 4 KiB, beyond which writes are refused `storage_full`. */
  readonly maxPages?: number;
  /** For tests of migration; the product's own by default. */
  readonly migrations?: readonly string[];
  /** Goes on with what there is where acknowledged writes are missing or damaged. */
  readonly acceptDataLoss?: boolean;
}

export interface SqliteStore extends Store {
  /** Throws `unavailable` when the store has stopped, as it does now if its files are not those of its directory any more. */
  assertInPlace(): void;
}

/**
 * Opens or creates the store. Rejects with `conflict` when another process has the directory, or when the file in it
 * is not ours, damaged, or newer than this program (then nothing is changed); `storage_full` on a full disk.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const { directory, clock, log = silentLog, maxPages, migrations = MIGRATIONS, acceptDataLoss } = options;
  let lock: DirectoryLock | undefined;
  let tables: Tables | undefined;
  let record: AcknowledgedRecord | undefined;
  try {
    mkdirSync(directory, { recursive: true });
    lock = lockDirectory(directory);
    tables = new Tables(openDatabase({ directory, migrations, maxPages, log, acceptDataLoss }));
    tables.prepareLog(WAL_SIZE_LIMIT);
    record = new AcknowledgedRecord(directory, tables.standing());
    return new OpenStore(tables, record, lock, join(directory, DATABASE_FILE), clock, log);
  } catch (error) {
    await record?.close();
    tables?.close();
    lock?.release();
    if (error instanceof CmbsError) throw error;
    const known = toStoreError(error);
    if (known.code !== 'internal') throw known;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CmbsError('unavailable', `The data directory ${directory} cannot be used: ${reason}.`, {
      cause: error,
    });
  }
}

/** What a write adds to the log besides its value: about one page of an index. */
const WRITE_OVERHEAD_CHARS = 4096;

/** What is known of a collection in memory. */
interface Collection {
  readonly name: string;
  readonly history: History;
  readonly listeners: Set<(changes: readonly Change[]) => void>;
  /** Number of the last commit that changed it. */
  lastCommitted: number;
}

interface Create extends QueuedWork {
  readonly kind: 'create';
  readonly collection: Collection;
  readonly row: NewRow;
  readonly resolve: (created: boolean) => void;
  readonly reject: (error: Error) => void;
}

type Verdict = 'committed' | 'conflict';

interface Write extends QueuedWork {
  readonly kind: 'write';
  readonly run: TransactionRun;
  readonly resolve: (verdict: Verdict) => void;
  readonly reject: (error: Error) => void;
}

interface Sweep extends QueuedWork {
  readonly kind: 'sweep';
  readonly limit: number;
  readonly resolve: (removed: number) => void;
  readonly reject: (error: Error) => void;
}

type Work = Create | Write | Sweep;

class OpenStore implements SqliteStore, TransactionSource {
  readonly #tables: Tables;
  readonly #record: AcknowledgedRecord;
  readonly #files: FileIdentity;
  readonly #lock: DirectoryLock;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #cache = new DocumentCache();
  readonly #collections = new Map<string, Collection>();
  /** Running transactions, the oldest first. */
  readonly #running = new Set<TransactionRun>();
  /** Collections that remember changes for them. */
  readonly #remembering = new Set<Collection>();
  readonly #queue: CommitQueue<Work>;
  readonly #walSync: WalSync;
  readonly #checkpointer: Checkpointer;
  #cancelLook = (): void => undefined;
  /** Number of the last commit, counted over the life of the database. */
  #seq: number;
  #charsSinceLook = 0;
  #refusal: CmbsError | undefined;
  #closing: Promise<void> | undefined;
  #closed = false;

  constructor(
    tables: Tables,
    record: AcknowledgedRecord,
    lock: DirectoryLock,
    path: string,
    clock: Clock,
    log: Log,
  ) {
    this.#tables = tables;
    this.#record = record;
    this.#files = new FileIdentity([path, `${path}-wal`]);
    this.#seq = tables.standing().commits;
    this.#lock = lock;
    this.#clock = clock;
    this.#log = log;
    this.#walSync = new WalSync(
      `${path}-wal`,
      this.#seq,
      (seq) => {
        this.#look();
        if (this.#refusal !== undefined) throw this.#refusal;
        this.#record.write(seq);
      },
      (error) => this.#syncFailed(error),
    );
    this.#checkpointer = new Checkpointer({
      path,
      log,
      onPass: () => this.#queue.wake(),
      onUnavailable: () => this.#tables.checkpointInCommits(CHECKPOINT_PAGES),
    });
    this.#queue = new CommitQueue<Work>({
      commit: (batch) => this.#commit(batch),
      ready: () => !this.#checkpointer.holdsWrites,
    });
    this.#lookAgain();
  }

  /** From time to time: a store that is idle has no commit that would find out. */
  #lookAgain(): void {
    this.#cancelLook = this.#clock.after(FILE_LOOK_MS, () => {
      this.#look();
      if (this.#refusal !== undefined || this.#closed) return;
      this.#record.sync((error) => this.#syncFailed(error));
      this.#lookAgain();
    });
  }

  #look(): void {
    if (this.#refusal !== undefined) return;
    const changed = this.#files.changed();
    if (changed === undefined) return;
    this.#refuse(
      'The data directory was deleted, moved or replaced while the program ran, and the store has stopped: nothing ' +
        'written now would last. Stop the program, put the directory or a backup in its place and start again.',
      new Error(`${changed} is not the file that is open`),
    );
  }

  assertInPlace(): void {
    this.#look();
    this.#assertUsable(undefined);
  }

  // --- Reads ---

  async get(collection: string, id: string, options?: CallOptions): Promise<Doc | undefined> {
    this.#assertUsable(options?.signal);
    const doc = this.read(collection, id);
    await this.#shown(collection, options?.signal);
    return doc;
  }

  async getAll(
    collection: string,
    ids: readonly string[],
    options?: CallOptions,
  ): Promise<readonly (Doc | undefined)[]> {
    this.#assertUsable(options?.signal);
    const docs = ids.map((id) => this.read(collection, id));
    await this.#shown(collection, options?.signal);
    return docs;
  }

  async query(query: Query, options?: CallOptions): Promise<Page> {
    this.#assertUsable(options?.signal);
    const { page } = this.select(query);
    await this.#shown(query.collection, options?.signal);
    return page;
  }

  async count(query: Omit<Query, 'limit' | 'after'>, atMost: number, options?: CallOptions): Promise<number> {
    this.#assertUsable(options?.signal);
    const selection = toSelection({ ...query, limit: 1 });
    const n = this.#reading(() => this.#tables.count(selection, Math.trunc(atMost), this.#clock.now()));
    await this.#shown(query.collection, options?.signal);
    return n;
  }

  async measure(collection: string, atMost: number, options?: CallOptions): Promise<Size> {
    this.#assertUsable(options?.signal);
    const size = this.#reading(() => this.#tables.measure(collection, Math.trunc(atMost), this.#clock.now()));
    await this.#shown(collection, options?.signal);
    return size;
  }

  /** Waits until what a reader has just seen of the collection is durable. */
  #shown(collection: string, signal: AbortSignal | undefined): Promise<void> | undefined {
    const seq = this.#collections.get(collection)?.lastCommitted ?? 0;
    return this.#walSync.isDurable(seq) ? undefined : this.#whenDurable(seq, signal);
  }

  #whenDurable(seq: number, signal: AbortSignal | undefined): Promise<void> {
    return abortable(signal, (resolve, reject) => {
      this.#walSync.whenDurable(seq, resolve, () => reject(this.#refusal ?? closedError()));
    });
  }

  // --- What transactions read ---

  get seq(): number {
    return this.#seq;
  }

  read(collection: string, id: string): Doc | undefined {
    this.#assertUsable(undefined);
    const n = this.#tables.number(collection);
    if (n === undefined) return undefined;
    const now = this.#clock.now();
    const key = cacheKey(n, id);
    const cached = this.#cache.get(key);
    if (cached !== undefined) return isExpired(cached.expiresAt, now) ? undefined : cached;
    const row = this.#reading(() => this.#tables.find(n, id));
    if (row === undefined || isExpired(row.expires ?? undefined, now)) return undefined;
    const doc = toDoc(row);
    this.#cache.add(key, doc, row.value.length);
    return doc;
  }

  select(query: Query): {
    readonly page: Page;
    readonly selection: Selection;
    readonly last: Position | undefined;
  } {
    this.#assertUsable(undefined);
    const selection = toSelection(query);
    const { rows, isMore } = this.#reading(() => this.#tables.select(selection, this.#clock.now()));
    const docs = rows.map(toDoc);
    const final = docs.at(-1);
    if (!isMore || final === undefined) return { page: { docs }, selection, last: undefined };
    const last = { sort: selection.byOrder ? (final.order ?? '') : '', id: final.id };
    return { page: { docs, next: cursorAt(last, selection.byOrder) }, selection, last };
  }

  history(collection: string): History {
    return this.#collection(collection).history;
  }

  fieldNumber(collection: string, field: string): number | undefined {
    return this.#tables.number(collection, field);
  }

  /** Checks and renders a write; interns its names, which stay even if the write does not happen. */
  prepare(collection: string, id: string, value: JsonObject, options: PutOptions = {}): NewRow {
    checkKey('collection', collection);
    checkKey('id', id);
    if (options.order !== undefined) checkKey('order', options.order);
    return this.#reading(() => {
      this.#tables.intern(collection);
      const entries = Object.entries(options.index ?? {}).flatMap(([field, values]) => {
        if (values.length === 0) return [];
        const n = this.#tables.intern(collection, field);
        return [...new Set(values)].map((each) => [n, indexable(each)] as const);
      });
      return {
        id,
        value: JSON.stringify(value),
        sort: options.order ?? null,
        expires: options.expiresAt === undefined ? null : Math.trunc(options.expiresAt),
        entries,
      };
    });
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw this.#logged(toStoreError(error));
    }
  }

  #collection(name: string): Collection {
    const known = this.#collections.get(name);
    if (known !== undefined) return known;
    const made = { name, history: new History(), listeners: new Set<never>(), lastCommitted: 0 };
    this.#collections.set(name, made);
    return made;
  }

  // --- Transactions ---

  async transact<T>(body: (tx: Transaction) => Promise<T>, options: CallOptions = {}): Promise<T> {
    for (let run = 0; run < MAX_OPTIMISTIC_RUNS; run++) {
      const result = await this.#attempt(body, options.signal, undefined);
      if (result !== undefined) return result.value;
    }
    // Aborted while it waits for its turn, it gives up at once, and in its turn finds that it has nothing to do.
    return abortable(options.signal, (resolve, reject) => {
      this.#queue.exclusively((owner) => this.#runAlone(body, options.signal, owner)).then(resolve, reject);
    });
  }

  async #runAlone<T>(
    body: (tx: Transaction) => Promise<T>,
    signal: AbortSignal | undefined,
    owner: Owner,
  ): Promise<T> {
    // Alone, a run can only fail because a document that it read expired meanwhile.
    for (let run = 0; run < MAX_OPTIMISTIC_RUNS; run++) {
      const result = await this.#attempt(body, signal, owner);
      if (result !== undefined) return result.value;
    }
    throw new CmbsError('unavailable', 'Too many requests change the same data; repeat this one later.');
  }

  /** Undefined when something that was read changed before the commit. */
  async #attempt<T>(
    body: (tx: Transaction) => Promise<T>,
    signal: AbortSignal | undefined,
    owner: Owner | undefined,
  ): Promise<{ readonly value: T } | undefined> {
    this.#assertUsable(signal);
    const run = new TransactionRun(this);
    this.#running.add(run);
    try {
      const value = await withinBounds(
        () => body(run),
        signal,
        owner === undefined ? undefined : EXCLUSIVE_HOLD_MS,
      );
      this.#assertUsable(signal);
      if (run.writes.size === 0) {
        if (!run.consistentAlone && !run.holds(this.#clock.now())) return undefined;
        await this.#shownTo(run, signal);
        return { value };
      }
      return (await this.#enqueueWrites(run, signal, owner)) === 'committed' ? { value } : undefined;
    } catch (error) {
      if (error instanceof GivenUp || this.#closed) throw error;
      // What a body concludes from reads that never held together is not to be believed, an error no more than a value.
      if (!run.consistentAlone && !run.holds(this.#clock.now())) return undefined;
      await this.#shownTo(run, signal);
      throw error;
    } finally {
      run.end();
      this.#ended(run);
    }
  }

  async #shownTo(run: TransactionRun, signal: AbortSignal | undefined): Promise<void> {
    for (const collection of run.collections) await this.#shown(collection, signal);
  }

  /** Forgets the changes that only this one could have missed. */
  #ended(run: TransactionRun): void {
    const [oldest] = this.#running;
    this.#running.delete(run);
    if (oldest !== run) return;
    const [next] = this.#running;
    for (const collection of this.#remembering) {
      collection.history.forgetUpTo(next?.since ?? this.#seq);
    }
    if (next === undefined) this.#remembering.clear();
  }

  #enqueueWrites(
    run: TransactionRun,
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
    this.#assertUsable(options.signal);
    const row = this.prepare(collection, id, value, options);
    const state = this.#collection(collection);
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
      this.#assertUsable(undefined);
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

  /** Aborted before its commit begins, the work is dropped; later, only the wait for it ends. */
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

  // --- Commits ---

  #commit(batch: readonly Work[]): void {
    const commit = new Commit(this.#seq + 1, this.#clock.now(), batch);
    try {
      // Now, so that what is refused is not written; and before it is told, for what happens in between.
      this.#look();
      if (this.#refusal !== undefined) throw this.#refusal;
      this.#tables.begin();
      this.#applyCreates(batch, commit);
      for (const work of batch) {
        if (work.kind === 'write') this.#applyWrite(work, commit);
        else if (work.kind === 'sweep') this.#applySweep(work, commit);
      }
      this.#tables.commit(commit.changed.size > 0 ? commit.seq : undefined);
    } catch (error) {
      this.#commitFailed(batch, commit, error);
      return;
    }
    if (commit.changed.size > 0) this.#committed(commit);
    for (const settle of commit.conflicts) settle();
    this.#walSync.whenDurable(
      this.#seq,
      () => {
        for (const settle of commit.results) settle();
        this.#notify(commit);
      },
      () => {
        for (const { reject } of batch) reject(this.#refusal ?? closedError());
      },
    );
  }

  #commitFailed(batch: readonly Work[], commit: Commit, error: unknown): void {
    // Else whoever read what it would have changed would count as outrun, for ever.
    for (const { history } of commit.changed.keys()) history.undo(commit.seq);
    try {
      this.#tables.rollback();
    } catch (failure) {
      // A connection that cannot even roll back is in a state that nobody knows.
      this.#refuse('The store failed and has stopped; look at its log and start it again.', failure);
    }
    const [first, ...others] = batch;
    if (others.length > 0 && this.#refusal === undefined) {
      // One of them may be to blame, or too large for what room there is; the others need not fail with it.
      for (const work of batch) this.#commit([work]);
      return;
    }
    const known = this.#refusal ?? this.#logged(toStoreError(error));
    first?.reject(known);
    for (const { reject } of others) reject(known);
  }

  #committed(commit: Commit): void {
    this.#seq = commit.seq;
    for (const [collection, ids] of commit.changed) {
      collection.lastCommitted = commit.seq;
      const n = this.#tables.number(collection.name);
      if (n === undefined) continue;
      for (const { id } of ids) this.#cache.remove(cacheKey(n, id));
    }
    this.#walSync.committed(commit.seq);
    this.#charsSinceLook += commit.chars;
    if (this.#charsSinceLook < CHECKPOINT_LOOK_CHARS) return;
    this.#charsSinceLook = 0;
    const { log, checkpointed } = this.#tables.walPages();
    this.#checkpointer.observe(log, checkpointed);
  }

  #notify(commit: Commit): void {
    for (const [{ name, listeners }, changes] of commit.changed) {
      for (const listener of listeners) {
        try {
          listener(changes);
        } catch (error) {
          this.#log.error('a listener of the store failed', { collection: name, cause: error });
        }
      }
    }
  }

  #applyCreates(batch: readonly Work[], commit: Commit): void {
    const byCollection = new Map<Collection, Create[]>();
    for (const work of batch) {
      if (work.kind !== 'create') continue;
      const same = byCollection.get(work.collection);
      if (same === undefined) byCollection.set(work.collection, [work]);
      else same.push(work);
    }
    for (const [collection, works] of byCollection) {
      const created = this.#tables.insertMissing(
        this.#tables.intern(collection.name),
        works.map(({ row }) => row),
        commit.now,
      );
      works.forEach(({ row, resolve }, i) => {
        const done = created[i] === true;
        if (done) this.#changed(commit, collection, row.id, undefined, row);
        commit.results.push(() => resolve(done));
      });
    }
  }

  #applyWrite({ run, resolve }: Write, commit: Commit): void {
    if (!run.holds(commit.now)) {
      commit.conflicts.push(() => resolve('conflict'));
      return;
    }
    for (const { collection: name, id, row } of run.writes.values()) {
      const collection = this.#collection(name);
      if (row !== undefined) {
        const { before, after } = this.#tables.put(this.#tables.intern(name), row, commit.now);
        this.#changed(commit, collection, id, before, after);
        continue;
      }
      const n = this.#tables.number(name);
      const before = n === undefined ? undefined : this.#tables.delete(n, id);
      if (before !== undefined) this.#changed(commit, collection, id, before, undefined);
    }
    commit.results.push(() => resolve('committed'));
  }

  #applySweep({ limit, resolve }: Sweep, commit: Commit): void {
    const expired = this.#tables.expired(limit, commit.now);
    for (const { collection: n, id } of expired) {
      const before = this.#tables.delete(n, id);
      this.#changed(commit, this.#collection(this.#tables.collectionName(n)), id, before, undefined);
    }
    commit.results.push(() => resolve(expired.length));
  }

  #changed(
    commit: Commit,
    collection: Collection,
    id: string,
    before: Footprint | undefined,
    after: Footprint | undefined,
  ): void {
    const change = { collection: collection.name, id, deleted: after === undefined };
    const changes = commit.changed.get(collection);
    if (changes === undefined) commit.changed.set(collection, [change]);
    else changes.push(change);
    if (this.#running.size === 0) {
      collection.history.skip(commit.seq);
    } else {
      collection.history.add({ seq: commit.seq, id, before, after });
      this.#remembering.add(collection);
    }
  }

  // --- The rest ---

  watch({ collection, prefix }: WatchScope, listener: (changes: readonly Change[]) => void): Watch {
    const { listeners } = this.#collection(collection);
    // An entry of its own, so that the same function may watch twice and each end is its own.
    const own = (changes: readonly Change[]): void => {
      const wanted = prefix === undefined ? changes : changes.filter(({ id }) => id.startsWith(prefix));
      if (wanted.length > 0) listener(wanted);
    };
    listeners.add(own);
    return { ready: Promise.resolve(), end: () => void listeners.delete(own) };
  }

  #assertUsable(signal: AbortSignal | undefined): void {
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#closed) throw closedError();
    if (signal?.aborted === true) throw abortedError(signal);
  }

  /** A failed sync cannot be repeated: the kernel may have dropped what it could not write and forgotten about it. */
  #syncFailed(error: Error): void {
    this.#refuse(
      'The store could not make writes durable and has stopped; check the disk of the data directory and start again.',
      error,
    );
  }

  #refuse(message: string, cause: unknown): void {
    // What follows from the first reason is no news.
    if (this.#refusal !== undefined) return;
    this.#refusal = new CmbsError('unavailable', message, { cause });
    this.#log.error(message, { cause });
  }

  #logged(error: CmbsError): CmbsError {
    if (error.cause !== undefined)
      this.#log.error('the store refused a request', { code: error.code, cause: error.cause });
    return error;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook();
    await this.#queue.idle();
    await this.#walSync.close();
    await this.#checkpointer.close();
    this.#tables.close();
    await this.#record.close();
    this.#lock.release();
  }
}

/** One SQLite transaction in the making, and what to tell whom after it. */
class Commit {
  readonly changed = new Map<Collection, Change[]>();
  readonly conflicts: (() => void)[] = [];
  readonly results: (() => void)[] = [];
  readonly chars: number;

  constructor(
    readonly seq: number,
    readonly now: number,
    batch: readonly Work[],
  ) {
    this.chars = batch.reduce((sum, { chars, writes }) => sum + chars + writes * WRITE_OVERHEAD_CHARS, 0);
  }
}

function closedError(): CmbsError {
  return new CmbsError('unavailable', 'The store is closed; repeat the request when the program runs again.');
}

function cacheKey(collection: number, id: string): string {
  return `${collection}/${id}`;
}

function isExpired(expiresAt: number | undefined, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}

function toDoc({ id, revision, value, sort, expires }: Row): Doc {
  return {
    id,
    revision,
    value: JSON.parse(value) as JsonObject,
    ...(sort === null ? {} : { order: sort }),
    ...(expires === null ? {} : { expiresAt: expires }),
  };
}
