/**
 * Commits batches of the commit queue: each batch is one SQLite transaction, in which each of our transactions is first
 * checked against its reads. Callers hear of a commit when it is on the disk.
 */
import { type Clock } from '../../clock';
import { type IndexEntry } from '../store-query';
import { type Collection, type Collections, type CommittedChange } from './collections';
import { type QueuedWork } from './commit-queue';
import { toStoreError } from './errors';
import { closedError, type StoreHealth } from './health';
import { TOGETHER_FROM } from './ids';
import type { Existing, NewRow } from './rows';
import type { Tables } from './tables';
import { type SqliteTransaction } from './transaction';
import { type WalSync } from './wal-sync';

/** Characters that a write adds to the log besides its value: about one page. */
const WRITE_OVERHEAD_CHARS = 4096;

interface Create extends QueuedWork {
  readonly kind: 'create';
  readonly collection: Collection;
  readonly row: NewRow;
  readonly resolve: (created: boolean) => void;
  readonly reject: (error: Error) => void;
}

export type Verdict = 'committed' | 'conflict';

interface Write extends QueuedWork {
  readonly kind: 'write';
  readonly run: SqliteTransaction;
  readonly resolve: (verdict: Verdict) => void;
  readonly reject: (error: Error) => void;
}

interface Sweep extends QueuedWork {
  readonly kind: 'sweep';
  readonly limit: number;
  readonly resolve: (removed: number) => void;
  readonly reject: (error: Error) => void;
}

export type Work = Create | Write | Sweep;

export interface CommitterParts {
  readonly tables: Tables;
  readonly collections: Collections;
  readonly health: StoreHealth;
  readonly walSync: WalSync;
  readonly clock: Clock;
  /** Number of the last commit. */
  readonly seq: number;
  /** Called when a document changed: cached copies are out of date. */
  readonly forget: (
    collection: number,
    id: string,
    before: IndexEntry | undefined,
    after: IndexEntry | undefined,
  ) => void;
  /** Called with the characters that a commit added to the log, approximately. */
  readonly onLogged: (chars: number) => void;
}

export class Committer {
  readonly #parts: CommitterParts;
  readonly #tables: Tables;
  readonly #collections: Collections;
  readonly #health: StoreHealth;
  #seq: number;

  constructor(parts: CommitterParts) {
    this.#parts = parts;
    this.#tables = parts.tables;
    this.#collections = parts.collections;
    this.#health = parts.health;
    this.#seq = parts.seq;
  }

  /** Number of the last commit since the database was created. */
  get seq(): number {
    return this.#seq;
  }

  /** Settles each member of the batch, and does not throw. */
  commit(batch: readonly Work[]): void {
    const commit = new Commit(this.#seq + 1, this.#parts.clock.now(), batch);
    try {
      // Not again before the acknowledgement: files that vanish then are as lost as files that vanish right after it.
      this.#health.look();
      if (this.#health.refusal !== undefined) throw this.#health.refusal;
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
    this.#parts.walSync.whenDurable(
      this.#seq,
      () => {
        for (const settle of commit.results) settle();
        this.#collections.notify(commit.changed);
      },
      () => {
        for (const { reject } of batch) reject(this.#health.refusal ?? closedError());
      },
    );
  }

  #commitFailed(batch: readonly Work[], commit: Commit, error: unknown): void {
    // Otherwise readers of these documents would conflict forever.
    for (const { history } of commit.changed.keys()) history.undo(commit.seq);
    try {
      this.#tables.rollback();
    } catch (failure) {
      // The state of a connection that cannot roll back is unknown.
      this.#health.refuse('The store failed and has stopped; look at its log and start it again.', failure);
    }
    const [first, ...others] = batch;
    if (others.length > 0 && this.#health.refusal === undefined) {
      // One of them may be at fault, or too large for the free space; the others may succeed.
      for (const work of batch) this.commit([work]);
      return;
    }
    const known = this.#health.refusal ?? this.#health.logged(toStoreError(error));
    first?.reject(known);
    for (const { reject } of others) reject(known);
  }

  #committed(commit: Commit): void {
    this.#seq = commit.seq;
    for (const [collection, changes] of commit.changed) {
      collection.lastCommitted = commit.seq;
      const n = this.#tables.names.number(collection.name);
      if (n === undefined) continue;
      for (const { id, before, after } of changes) this.#parts.forget(n, id, before, after);
    }
    this.#parts.walSync.committed(commit.seq);
    this.#parts.onLogged(commit.chars);
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
        this.#tables.names.intern(collection.name),
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
    const known = run.writes.size < TOGETHER_FROM ? undefined : this.#lookUp(run);
    for (const { collection: name, id, row } of run.writes.values()) {
      const collection = this.#collections.get(name);
      if (row !== undefined) {
        const n = this.#tables.names.intern(name);
        const { before, after } = this.#tables.put(n, row, commit.now, known?.get(name));
        this.#changed(commit, collection, id, before, after);
        continue;
      }
      const n = this.#tables.names.number(name);
      const before = n === undefined ? undefined : this.#tables.delete(n, id);
      if (before !== undefined) this.#changed(commit, collection, id, before, undefined);
    }
    commit.results.push(() => resolve('committed'));
  }

  /** The documents that a run puts, by collection. A run writes each document once, so they stay as they are until then. */
  #lookUp({ writes }: SqliteTransaction): ReadonlyMap<string, ReadonlyMap<string, Existing>> {
    const ids = new Map<string, string[]>();
    for (const { collection, id, row } of writes.values()) {
      if (row === undefined) continue;
      const same = ids.get(collection);
      if (same === undefined) ids.set(collection, [id]);
      else same.push(id);
    }
    const { names } = this.#tables;
    return new Map([...ids].map(([name, some]) => [name, this.#tables.lookUp(names.intern(name), some)]));
  }

  #applySweep({ limit, resolve }: Sweep, commit: Commit): void {
    const expired = this.#tables.expired(limit, commit.now);
    for (const { collection: n, id } of expired) {
      const before = this.#tables.delete(n, id);
      this.#changed(commit, this.#collections.get(this.#tables.names.collection(n)), id, before, undefined);
    }
    commit.results.push(() => resolve(expired.length));
  }

  #changed(
    commit: Commit,
    collection: Collection,
    id: string,
    before: IndexEntry | undefined,
    after: IndexEntry | undefined,
  ): void {
    const change = { id, before, after };
    const changes = commit.changed.get(collection);
    if (changes === undefined) commit.changed.set(collection, [change]);
    else changes.push(change);
    this.#collections.changed(commit.seq, collection, id, before, after);
  }
}

/** A commit that is being made: its changes, and the callers to settle afterwards. */
class Commit {
  readonly changed = new Map<Collection, CommittedChange[]>();
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
