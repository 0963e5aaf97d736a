/** The collections in memory: their watches, and their recent changes for running transactions. */
import { type Log } from '../../log';
import { type Change, type Watch, type WatchScope } from '../store';
import { indexable } from '../keys';
import { type IndexEntry } from '../store-query';
import { History } from './history';
import { type SqliteTransaction } from './transaction';

/** A change, with the index entries of the document; undefined where there is no document. */
export interface CommittedChange {
  readonly id: string;
  readonly before: IndexEntry | undefined;
  readonly after: IndexEntry | undefined;
}

export interface Collection {
  readonly name: string;
  readonly history: History;
  readonly listeners: Set<(changes: readonly CommittedChange[]) => void>;
  /** Number of the last commit that changed it. */
  lastCommitted: number;
}

export class Collections {
  readonly #log: Log;
  readonly #fieldNumber: (collection: string, field: string) => number | undefined;
  readonly #known = new Map<string, Collection>();
  /** Running transactions, the oldest first. */
  readonly #running = new Set<SqliteTransaction>();
  /** Collections that keep changes for running transactions. */
  readonly #remembering = new Set<Collection>();

  /** @param fieldNumber the number of an indexed field; undefined for a field that no document has */
  constructor(log: Log, fieldNumber: (collection: string, field: string) => number | undefined) {
    this.#log = log;
    this.#fieldNumber = fieldNumber;
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

  watch({ collection, id, prefix, where }: WatchScope, listener: (changes: readonly Change[]) => void): Watch {
    const { listeners } = this.get(collection);
    const isFound = (entry: IndexEntry | undefined): boolean => {
      if (entry === undefined) return false;
      if (where === undefined) return true;
      const n = this.#fieldNumber(collection, where.field);
      const sought = indexable(where.value);
      return entry.entries.some(([field, value]) => field === n && value === sought);
    };
    // A new function for each watch, so that one listener may watch twice.
    const own = (changes: readonly CommittedChange[]): void => {
      const wanted = changes.flatMap(({ before, after, ...change }): readonly Change[] => {
        if (id !== undefined && change.id !== id) return [];
        if (prefix !== undefined && !change.id.startsWith(prefix)) return [];
        const isThere = isFound(after);
        return isThere || isFound(before) ? [{ collection, id: change.id, deleted: !isThere }] : [];
      });
      if (wanted.length > 0) listener(wanted);
    };
    listeners.add(own);
    return { ready: Promise.resolve(), end: () => void listeners.delete(own) };
  }

  /** Calls the listeners. */
  notify(changed: ReadonlyMap<Collection, readonly CommittedChange[]>): void {
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
