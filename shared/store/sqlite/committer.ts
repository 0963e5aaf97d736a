/**
 * Writes what waits in the commit queue: a batch shares one SQLite transaction, in which each transaction is first checked
 * against what it read. Callers are told when the commit is on the disk.
 */
import { type Clock } from '../../clock';
import { type Change } from '../store';
import { type IndexEntry } from '../store-query';
import { type Collection, type Collections } from './collections';
import { type QueuedWork } from './commit-queue';
import { toStoreError } from './errors';
import { closedError, type StoreHealth } from './health';
import type { NewRow } from './rows';
import type { Tables } from './tables';
import { type SqliteTransaction } from './transaction';
import { type WalSync } from './wal-sync';

/** What a write adds to the log besides its value: about one page of an index. */
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
  /** A document changed: copies of it in memory are old. */
  readonly forget: (collection: number, id: string) => void;
  /** So many characters were added to the log, about. */
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

  /** Number of the last commit, counted over the life of the database. */
  get seq(): number {
    return this.#seq;
  }

  /** Settles each member of the batch, and does not throw. */
  commit(batch: readonly Work[]): void {
    const commit = new Commit(this.#seq + 1, this.#parts.clock.now(), batch);
    try {
      // Now, so that what is refused is not written; and before it is told, for what happens in between.
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
    // Else whoever read what it would have changed would count as outrun, for ever.
    for (const { history } of commit.changed.keys()) history.undo(commit.seq);
    try {
      this.#tables.rollback();
    } catch (failure) {
      // A connection that cannot even roll back is in a state that nobody knows.
      this.#health.refuse('The store failed and has stopped; look at its log and start it again.', failure);
    }
    const [first, ...others] = batch;
    if (others.length > 0 && this.#health.refusal === undefined) {
      // One of them may be to blame, or too large for what room there is; the others need not fail with it.
      for (const work of batch) this.commit([work]);
      return;
    }
    const known = this.#health.refusal ?? this.#health.logged(toStoreError(error));
    first?.reject(known);
    for (const { reject } of others) reject(known);
  }

  #committed(commit: Commit): void {
    this.#seq = commit.seq;
    for (const [collection, ids] of commit.changed) {
      collection.lastCommitted = commit.seq;
      const n = this.#tables.names.number(collection.name);
      if (n === undefined) continue;
      for (const { id } of ids) this.#parts.forget(n, id);
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
    for (const { collection: name, id, row } of run.writes.values()) {
      const collection = this.#collections.get(name);
      if (row !== undefined) {
        const { before, after } = this.#tables.put(this.#tables.names.intern(name), row, commit.now);
        this.#changed(commit, collection, id, before, after);
        continue;
      }
      const n = this.#tables.names.number(name);
      const before = n === undefined ? undefined : this.#tables.delete(n, id);
      if (before !== undefined) this.#changed(commit, collection, id, before, undefined);
    }
    commit.results.push(() => resolve('committed'));
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
    const change = { collection: collection.name, id, deleted: after === undefined };
    const changes = commit.changed.get(collection);
    if (changes === undefined) commit.changed.set(collection, [change]);
    else changes.push(change);
    this.#collections.changed(commit.seq, collection, id, before, after);
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
