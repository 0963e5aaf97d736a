/**
 * Key-value databases (docs/services.md, "Key-value databases"), in the deployment's store. `accounts.ts` says how their
 * size is bounded, `../stored-value.ts` how values are stored.
 *
 * An entry is one document. Its id has the scope, the database, the part (of one caller, or common) and the key, so that a
 * list by prefix reads the entries of its page only. Because the id follows from the names, a database needs no document
 * that every operation would read.
 */
import type { Clock, NewId } from '../../clock';
import type { CallOptions, Store } from '../../store';
import { addDatabases, scopeIn, SCOPES } from './accounts';
import { Database, type Shared } from './database';
import { KEY_VALUE_LIMITS, type KeyValueLimits, PAGE_SCOPES, UNIT_BYTES } from './limits';
import { databasePrefix, placeOf, type Scope } from './places';
import { Precedence } from './precedence';

/** The databases of one module or caller. */
export interface ScopeDatabases {
  readonly scope: string;
  readonly databases: readonly string[];
  /** Bytes that are set aside for them, of those that they may have. */
  readonly reservedBytes: number;
}

export interface KeyValuesOptions {
  readonly store: Store;
  readonly newId: NewId;
  readonly clock: Clock;
  readonly limits?: Partial<KeyValueLimits>;
}

/** The key-value databases of a deployment, for one process. */
export class KeyValues {
  readonly #shared: Shared;
  /** Open databases, by the prefix of their entries. */
  readonly #open = new Map<string, { readonly database: Database; users: number }>();

  constructor({ store, newId, clock, limits }: KeyValuesOptions) {
    const precedence = new Precedence(clock);
    this.#shared = { store, newId, clock, limits: { ...KEY_VALUE_LIMITS, ...limits }, precedence };
  }

  /**
   * Runs `work` with the database. Everything in this process that uses a database at the same time has the same handle,
   * which combines their increments; when no one uses the database, nothing of it is kept.
   * @throws CmbsError `bad_request` for a name that a database cannot have, and the errors of `work`
   */
  async use<T>(scope: Scope, name: string, work: (database: Database) => Promise<T>): Promise<T> {
    const place = placeOf(scope, name);
    const key = databasePrefix(place);
    const handle = this.#open.get(key) ?? { database: new Database(place, this.#shared), users: 0 };
    this.#open.set(key, handle);
    handle.users += 1;
    try {
      return await work(handle.database);
    } finally {
      handle.users -= 1;
      if (handle.users === 0) this.#open.delete(key);
    }
  }

  /** Number of databases that are in use now. */
  get inUse(): number {
    return this.#open.size;
  }

  /** Names of the databases of a scope, sorted. */
  async databases({ id }: Scope, options?: CallOptions): Promise<readonly string[]> {
    const doc = await this.#shared.store.get(SCOPES, id, options);
    return doc === undefined ? [] : scopeIn(doc).databases;
  }

  /**
   * Makes databases that do not exist yet. The first entry of a database makes it too.
   * @throws CmbsError `bad_request` for a name that a database cannot have, `storage_full` for too many databases
   */
  async register(scope: Scope, names: readonly string[], options?: CallOptions): Promise<void> {
    for (const name of names) placeOf(scope, name);
    const { store, limits } = this.#shared;
    await store.transact((tx) => addDatabases(tx, scope, names, limits), options);
  }

  /** The databases of all modules and callers, a page at a time, for administrators. */
  async allDatabases(
    after: string | undefined,
    options?: CallOptions,
  ): Promise<{ readonly scopes: readonly ScopeDatabases[]; readonly next?: string }> {
    const { docs, next } = await this.#shared.store.query(
      { collection: SCOPES, limit: PAGE_SCOPES, ...(after === undefined ? {} : { after }) },
      options,
    );
    const scopes = docs.map(scopeIn).map(({ scope, databases, allowed }) => ({
      scope,
      databases,
      reservedBytes: allowed * UNIT_BYTES,
    }));
    return { scopes, ...(next === undefined ? {} : { next }) };
  }
}
