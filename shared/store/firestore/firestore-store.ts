/**
 * The store on Firestore, for deployments of several processes (docs/design.md). It caches nothing: each read asks
 * Firestore, so a process reads what another one has committed.
 *
 * Firestore's limits hold: 1 MiB for a document, 10 MiB for a transaction, 1,500 bytes for an id. A write beyond them is
 * refused (`too_large`, `bad_request`) before anything is sent. Every operation has a deadline. After it a read fails
 * with `deadline_exceeded`, and a write with "outcome unknown" unless it is certain that nothing was written.
 */
import { backOff, type Random } from '../../back-off';
import { newId, type NewId } from '../../clock';
import { type JsonObject } from '../../json';
import {
  FIRESTORE_CONFLICT_MAX_MS,
  FIRESTORE_CONFLICT_MS,
  FIRESTORE_LIMITS,
  type FirestoreLimits,
} from './limits';
import { silentLog } from '../../log';
import { Deadline } from './deadline';
import { commitWrites } from './commit';
import { FirestoreClient, type FirestoreClientOptions } from './client';
import { type Context, refusal } from './context';
import { countUpTo, measureUpTo } from './count';
import { isExpired, preparePut, toDoc, withCommit } from './documents';
import { closedError, contentionError, fullError } from './errors';
import { FIELD } from './layout';
import { pathOf } from './names';
import { type Precondition } from './protocol';
import { readPage } from './query';
import { documentsOf, ReadSnapshot } from './read-snapshot';
import { sweepEmulator } from './sweep';
import { runTransaction } from './transaction';
import { KeyedMutex } from './keyed-mutex';
import { FirestoreWatch } from './watch';
import { withinDeadline } from '../cancellation';
import { type StoreOptions } from '../options';
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
import { toSelection } from '../store-query';

/** Watches of one store, each with a stream of its own; the client's other streams are left to calls. */
const FIRESTORE_MAX_WATCHES = 3000;

export interface FirestoreStoreOptions extends FirestoreClientOptions, StoreOptions {
  readonly limits?: Partial<FirestoreLimits>;
  readonly newId?: NewId;
  /** From 0 to below 1. */
  readonly random?: Random;
}

/**
 * Opens the store. Nothing is sent before the first operation, which fails with `unavailable` when the database cannot
 * be used.
 *
 * @example
 * const store = openFirestoreStore({ clock: systemClock, projectId: 'my-project' });
 */
export function openFirestoreStore(options: FirestoreStoreOptions): Store {
  return new FirestoreStore(options);
}

class FirestoreStore implements Store {
  readonly #context: Context;
  readonly #limits: FirestoreLimits;
  readonly #mutex = new KeyedMutex();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #watches = new Set<Watch>();
  #closing: Promise<void> | undefined;

  constructor(options: FirestoreStoreOptions) {
    const { emulatorHost = emulatorInEnvironment() } = options;
    this.#limits = { ...FIRESTORE_LIMITS, ...options.limits };
    this.#context = {
      connection: new FirestoreClient({ ...options, emulatorHost }, this.#limits.calls),
      clock: options.clock,
      log: options.log ?? silentLog,
      newId: options.newId ?? newId,
      random: options.random ?? Math.random,
    };
  }

  // --- Reads ---

  async get(collection: string, id: string, options?: CallOptions): Promise<Doc | undefined> {
    const [doc] = await this.getAll(collection, [id], options);
    return doc;
  }

  async getAll(
    collection: string,
    ids: readonly string[],
    options?: CallOptions,
  ): Promise<readonly (Doc | undefined)[]> {
    return this.#reading(options, async (snapshot) => {
      const paths = ids.map((id) => pathOf(collection, id));
      const found = await snapshot.getAll(paths);
      const now = this.#context.clock.now();
      return paths.map((path) => {
        const stored = found.get(path);
        return stored === undefined || isExpired(stored.expiresAt, now) ? undefined : toDoc(stored);
      });
    });
  }

  async query(query: Query, options?: CallOptions): Promise<Page> {
    const selection = toSelection(query);
    return this.#reading(options, async (snapshot) => (await readPage(snapshot, selection)).page);
  }

  async count(query: Omit<Query, 'limit' | 'after'>, atMost: number, options?: CallOptions): Promise<number> {
    const selection = toSelection({ ...query, limit: 1 });
    return this.#reading(options, (snapshot) => countUpTo(snapshot, selection, Math.trunc(atMost)));
  }

  async measure(collection: string, atMost: number, options?: CallOptions): Promise<Size> {
    const selection = toSelection({ collection, by: 'order', limit: 1 });
    return this.#reading(options, (snapshot) => measureUpTo(snapshot, selection, Math.trunc(atMost)));
  }

  #reading<T>(options: CallOptions | undefined, read: (snapshot: ReadSnapshot) => Promise<T>): Promise<T> {
    return this.#operate('read', options, async (deadline) =>
      read(await ReadSnapshot.open(this.#context, deadline)),
    );
  }

  // --- Writes ---

  async transact<T>(body: (tx: Transaction) => Promise<T>, options?: CallOptions): Promise<T> {
    const deadline = this.#begin('write', options);
    return this.#track(runTransaction(this.#context, this.#mutex, deadline, body));
  }

  async create(
    collection: string,
    id: string,
    value: JsonObject,
    options: PutOptions & CallOptions = {},
  ): Promise<boolean> {
    const path = pathOf(collection, id);
    const put = preparePut(path, value, options);
    return this.#operate('write', options, async (deadline) => {
      const database = await this.#context.connection.database(deadline);
      const name = `${documentsOf(database)}/${path}`;
      const { clock, random } = this.#context;
      let expected: Precondition = { exists: false };
      for (let attempt = 1; ; attempt++) {
        const commit = this.#context.newId();
        const write = { update: { name, fields: withCommit(put.fields, 1, commit) }, currentDocument: expected };
        const fate = await commitWrites(this.#context, { database, writes: [write] }, commit, deadline);
        if (fate === 'applied') return true;
        const latest = new ReadSnapshot(this.#context, database, deadline);
        const there = (await latest.getAll([path], [FIELD.expires])).get(path);
        if (there !== undefined && !isExpired(there.expiresAt, clock.now())) return false;
        expected = there === undefined ? { exists: false } : { updateTime: there.updateTime };
        deadline.assertLeft(contentionError);
        await deadline.pause(backOff(attempt, FIRESTORE_CONFLICT_MS, FIRESTORE_CONFLICT_MAX_MS, random));
      }
    });
  }

  /** Only with an emulator. In Firestore a TTL policy removes expired documents (`sweep.ts`), and this returns 0. */
  async sweep(limit: number): Promise<number> {
    if (!this.#context.connection.isEmulator) return 0;
    return this.#operate('write', undefined, async (deadline) =>
      sweepEmulator(await ReadSnapshot.open(this.#context, deadline), limit),
    );
  }

  // --- The rest ---

  /** @throws CmbsError `queue_full` beyond `FIRESTORE_MAX_WATCHES` */
  watch(scope: WatchScope, listener: (changes: readonly Change[]) => void): Watch {
    if (this.#closing !== undefined) throw closedError();
    if (this.#watches.size >= FIRESTORE_MAX_WATCHES) throw fullError();
    const watch: Watch = new FirestoreWatch(this.#context, {
      scope,
      listener,
      onEnd: () => this.#watches.delete(watch),
      readMs: this.#limits.readMs,
    });
    this.#watches.add(watch);
    return watch;
  }

  async #operate<T>(
    kind: 'read' | 'write',
    options: CallOptions | undefined,
    operation: (deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    const deadline = this.#begin(kind, options);
    try {
      return await this.#track(operation(deadline));
    } catch (error) {
      throw refusal(this.#context, deadline, error, kind);
    }
  }

  #begin(kind: 'read' | 'write', options: CallOptions | undefined): Deadline {
    if (this.#closing !== undefined) throw closedError();
    const deadline = new Deadline(kind === 'read' ? this.#limits.readMs : this.#limits.writeMs, options?.signal);
    deadline.assertNotAborted();
    return deadline;
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(work);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const watch of [...this.#watches]) watch.end();
    const done = Promise.allSettled([...this.#underWay]);
    await withinDeadline(() => done, undefined, this.#limits.closeMs).catch(() => undefined);
    await this.#context.connection.close();
  }
}

/** As Google's own clients do. */
function emulatorInEnvironment(): string | undefined {
  const { FIRESTORE_EMULATOR_HOST: host = '' } = process.env;
  return host === '' ? undefined : host;
}
