/** The collections in memory: their watches, and their recent changes for running transactions. */
import { type Log } from '../../log';
import { type Change, type Watch, type WatchScope } from '../store';
import { type IndexEntry } from '../store-query';
import { History } from './history';
import { type SqliteTransaction } from './transaction';

export interface Collection {
  readonly name: string;
  readonly history: History;
  readonly listeners: Set<(changes: readonly Change[]) => void>;
  /** Number of the last commit that changed it. */
  lastCommitted: number;
}

export class Collections {
  readonly #log: Log;
  readonly #known = new Map<string, Collection>();
  /** Running transactions, the oldest first. */
  readonly #running = new Set<SqliteTransaction>();
  /** Collections that keep changes for running transactions. */
  readonly #remembering = new Set<Collection>();

  constructor(log: Log) {
    this.#log = log;
  }

  get(name: string): Collection {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const made = { name, history: new History(), listeners: new Set<never>(), lastCommitted: 0 };
    this.#known.set(name, made);
    return made;
  }

  /** Number of the last commit that changed a collection; 0 when none did since the start. */
  lastCommitted(name: string): number {
    return this.#known.get(name)?.lastCommitted ?? 0;
  }

  began(run: SqliteTransaction): void {
    this.#running.add(run);
  }

  /** Drops changes that no other running transaction needs; `seq` is the number of the last commit. */
  ended(run: SqliteTransaction, seq: number): void {
    const [oldest] = this.#running;
    this.#running.delete(run);
    if (oldest !== run) return;
    const [next] = this.#running;
    for (const collection of this.#remembering) {
      collection.history.forgetUpTo(next?.since ?? seq);
    }
    if (next === undefined) this.#remembering.clear();
  }

  /** Notes that commit `seq` changes a document. */
  changed(
    seq: number,
    collection: Collection,
    id: string,
    before: IndexEntry | undefined,
    after: IndexEntry | undefined,
  ): void {
    if (this.#running.size === 0) {
      collection.history.skip(seq);
    } else {
      collection.history.add({ seq, id, before, after });
      this.#remembering.add(collection);
    }
  }

  watch({ collection, id, prefix }: WatchScope, listener: (changes: readonly Change[]) => void): Watch {
    const { listeners } = this.get(collection);
    // A new function for each watch, so that one listener may watch twice.
    const own = (changes: readonly Change[]): void => {
      const wanted = changes.filter(
        (change) =>
          (id === undefined || change.id === id) && (prefix === undefined || change.id.startsWith(prefix)),
      );
      if (wanted.length > 0) listener(wanted);
    };
    listeners.add(own);
    return { ready: Promise.resolve(), end: () => void listeners.delete(own) };
  }

  /** Calls the listeners. */
  notify(changed: ReadonlyMap<Collection, readonly Change[]>): void {
    for (const [{ name, listeners }, changes] of changed) {
      for (const listener of listeners) {
        try {
          listener(changes);
        } catch (error) {
          this.#log.error('a listener of the store failed', { collection: name, cause: error });
        }
      }
    }
  }
}
