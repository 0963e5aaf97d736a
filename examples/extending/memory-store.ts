/**
 * A store engine in memory. A transaction remembers its reads and runs again when they have changed before the commit.
 * The engine meets the whole contract of `Store`, except that the data end with the process.
 */
import { badRequest, CmbsError, type Clock, type JsonObject, type Log } from '@cmbs/shared';
import type {
  CallOptions,
  Change,
  Doc,
  Page,
  PutOptions,
  Query,
  Size,
  Store,
  Transaction,
  Watch,
  WatchScope,
} from '@cmbs/shared/store';

/** Documents on a page of a query. */
const MAX_PAGE_DOCS = 10_000;

interface Stored extends Doc {
  readonly index: Readonly<Record<string, readonly string[]>>;
}

/** Documents by collection and id. */
export type MemoryData = Map<string, Map<string, Stored>>;

type Index = NonNullable<PutOptions['index']>;

/** A change, with the index entries of the document; undefined where there is no document. */
interface Changed {
  readonly collection: string;
  readonly id: string;
  readonly before: Index | undefined;
  readonly after: Index | undefined;
}

interface Watching {
  readonly scope: WatchScope;
  readonly listener: (changes: readonly Change[]) => void;
}

interface Write {
  readonly collection: string;
  readonly id: string;
  /** Undefined when the document is deleted. */
  readonly value?: JsonObject;
  readonly options: PutOptions;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export class MemoryStore implements Store {
  readonly #data: MemoryData;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watches = new Set<Watching>();
  readonly #running = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(clock: Clock, log: Log, data: MemoryData = new Map()) {
    this.#clock = clock;
    this.#log = log;
    this.#data = data;
  }

  async get(collection: string, id: string, options: CallOptions = {}): Promise<Doc | undefined> {
    this.#assertOpen(options.signal);
    const stored = this.#find(collection, id);
    return stored === undefined ? undefined : asDoc(stored);
  }

  async getAll(
    collection: string,
    ids: readonly string[],
    options?: CallOptions,
  ): Promise<readonly (Doc | undefined)[]> {
    return Promise.all(ids.map((id) => this.get(collection, id, options)));
  }

  async query(query: Query, options: CallOptions = {}): Promise<Page> {
    this.#assertOpen(options.signal);
    return pageOf(query, this.#select(query));
  }

  async count(query: Omit<Query, 'limit' | 'after'>, atMost: number, options: CallOptions = {}): Promise<number> {
    this.#assertOpen(options.signal);
    return Math.min(atMost, this.#select(query).length);
  }

  async measure(collection: string, atMost: number, options: CallOptions = {}): Promise<Size> {
    this.#assertOpen(options.signal);
    const found = this.#select({ collection, by: 'order' }).slice(0, atMost);
    const bytes = found.reduce((sum, { value }) => sum + Buffer.byteLength(JSON.stringify(value)), 0);
    return { count: found.length, bytes };
  }

  transact<T>(body: (tx: Transaction) => Promise<T>, { signal }: CallOptions = {}): Promise<T> {
    if (this.#isClosed) return Promise.reject(closedError());
    const running = this.#run(body, signal);
    this.#running.add(running);
    const done = (): boolean => this.#running.delete(running);
    running.then(done, done);
    return running;
  }

  async create(
    collection: string,
    id: string,
    value: JsonObject,
    { signal, ...options }: PutOptions & CallOptions = {},
  ): Promise<boolean> {
    return this.transact(
      async (tx) => {
        if ((await tx.get(collection, id)) !== undefined) return false;
        tx.put(collection, id, value, options);
        return true;
      },
      signal === undefined ? {} : { signal },
    );
  }

  watch(scope: WatchScope, listener: (changes: readonly Change[]) => void): Watch {
    const watch = { scope, listener };
    this.#watches.add(watch);
    return { ready: Promise.resolve(), end: () => void this.#watches.delete(watch) };
  }

  async sweep(limit: number): Promise<number> {
    let removed = 0;
    for (const documents of this.#data.values()) {
      for (const [id, stored] of documents) {
        if (removed === limit) return removed;
        if (!this.#isExpired(stored)) continue;
        documents.delete(id);
        removed += 1;
      }
    }
    return removed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#running);
  }

  async #run<T>(body: (tx: Transaction) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (;;) {
      assertWanted(signal);
      const attempt = new Attempt(
        (collection, id) => this.#find(collection, id),
        (query) => this.#select(query),
      );
      try {
        const result = await unlessAborted(body(attempt), signal);
        if (!attempt.holds()) continue;
        this.#commit(attempt.writes);
        return result;
      } catch (error) {
        // The error of the body counts only if its reads are consistent.
        if (signal?.aborted === true || attempt.holds()) throw error;
      } finally {
        attempt.end();
      }
    }
  }

  #commit(writes: readonly Write[]): void {
    const changes: Changed[] = [];
    for (const { collection, id, value, options } of writes) {
      const documents = this.#data.get(collection) ?? new Map<string, Stored>();
      this.#data.set(collection, documents);
      const before = this.#find(collection, id);
      if (value !== undefined) {
        const { index = {}, order, expiresAt } = options;
        documents.set(id, {
          id,
          revision: (before?.revision ?? 0) + 1,
          value,
          index,
          ...(order === undefined ? {} : { order }),
          ...(expiresAt === undefined ? {} : { expiresAt }),
        });
      } else documents.delete(id);
      if (value !== undefined || before !== undefined)
        changes.push({
          collection,
          id,
          before: before?.index,
          after: value === undefined ? undefined : (options.index ?? {}),
        });
    }
    for (const watch of [...this.#watches]) this.#tell(watch, changes);
  }

  #tell(watch: Watching, changes: readonly Changed[]): void {
    const { collection, id, prefix = '', newest, where } = watch.scope;
    const isFound = (index: Index | undefined): boolean =>
      index !== undefined && (where === undefined || index[where.field]?.includes(where.value) === true);
    const isNewest = (one: Changed): boolean =>
      one.after !== undefined && this.#select({ collection, by: 'order' }).at(-1)?.id === one.id;
    const wanted = changes
      .filter(
        (one) =>
          one.collection === collection &&
          (id === undefined || id === one.id) &&
          one.id.startsWith(prefix) &&
          (isFound(one.before) || isFound(one.after)) &&
          (newest === undefined || isNewest(one)),
      )
      .map(({ after, ...one }): Change => ({ collection, id: one.id, deleted: !isFound(after) }));
    if (wanted.length === 0) return;
    // After the commit, in a task of its own: an error of one listener must not affect others.
    queueMicrotask(() => {
      if (!this.#watches.has(watch)) return;
      try {
        watch.listener(wanted);
      } catch (error) {
        this.#log.error('a listener of the store failed', { cause: error });
      }
    });
  }

  #find(collection: string, id: string): Stored | undefined {
    const stored = this.#data.get(collection)?.get(id);
    return stored === undefined || this.#isExpired(stored) ? undefined : stored;
  }

  #isExpired({ expiresAt = Infinity }: Doc): boolean {
    return expiresAt <= this.#clock.now();
  }

  #select({ collection, prefix = '', where = [], by = 'id', ...bounds }: Omit<Query, 'limit'>): readonly Stored[] {
    const { upTo, above } = bounds;
    return [...(this.#data.get(collection)?.values() ?? [])]
      .filter((stored) => !this.#isExpired(stored) && stored.id.startsWith(prefix))
      .filter(({ index }) => where.every(({ field, value }) => index[field]?.includes(value) === true))
      .filter(({ order }) => by === 'id' || (order !== undefined && (upTo === undefined || order <= upTo)))
      .filter(({ order = '' }) => above === undefined || order > above)
      .sort((a, b) => (by === 'id' ? 0 : compare(a.order ?? '', b.order ?? '')) || compare(a.id, b.id));
  }

  #assertOpen(signal: AbortSignal | undefined): void {
    if (this.#isClosed) throw closedError();
    assertWanted(signal);
  }
}

/** One run of a transaction's body. */
class Attempt implements Transaction {
  readonly writes: Write[] = [];
  readonly #find: (collection: string, id: string) => Stored | undefined;
  readonly #select: (query: Query) => readonly Stored[];
  /** Each function returns true while its read would return the same. */
  readonly #reads: (() => boolean)[] = [];
  #isOver = false;

  constructor(
    find: (collection: string, id: string) => Stored | undefined,
    select: (query: Query) => readonly Stored[],
  ) {
    this.#find = find;
    this.#select = select;
  }

  async get(collection: string, id: string): Promise<Doc | undefined> {
    this.#assertReading();
    const seen = this.#find(collection, id);
    this.#reads.push(() => this.#find(collection, id) === seen);
    return seen === undefined ? undefined : asDoc(seen);
  }

  async getAll(collection: string, ids: readonly string[]): Promise<readonly (Doc | undefined)[]> {
    return Promise.all(ids.map((id) => this.get(collection, id)));
  }

  async query(query: Query): Promise<Page> {
    this.#assertReading();
    const seen = this.#select(query);
    this.#reads.push(() => {
      const now = this.#select(query);
      return now.length === seen.length && now.every((stored, at) => stored === seen[at]);
    });
    return pageOf(query, seen);
  }

  put(collection: string, id: string, value: JsonObject, options: PutOptions = {}): void {
    this.#write({ collection, id, value: structuredClone(value), options });
  }

  delete(collection: string, id: string): void {
    this.#write({ collection, id, options: {} });
  }

  holds(): boolean {
    return this.#reads.every((isSame) => isSame());
  }

  /** Makes later calls of an abandoned body throw. */
  end(): void {
    this.#isOver = true;
  }

  #assertReading(): void {
    this.#assertGoing();
    if (this.writes.length > 0) throw new Error('A transaction reads before it writes; move this read up.');
  }

  #assertGoing(): void {
    if (this.#isOver) throw new Error('The transaction has ended.');
  }

  #write(write: Write): void {
    this.#assertGoing();
    if (write.id === '') throw badRequest('A document needs an id.');
    this.writes.push(write);
  }
}

function pageOf({ limit, maxChars = Infinity, by = 'id', after }: Query, found: readonly Stored[]): Page {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_DOCS) {
    throw badRequest(`The limit of a query is a whole number from 1 to ${MAX_PAGE_DOCS}.`);
  }
  const start = after === undefined ? 0 : startAfter(found, by, after);
  const docs: Doc[] = [];
  for (let chars = 0; start + docs.length < found.length && docs.length < limit && chars < maxChars;) {
    const stored = found[start + docs.length] as Stored;
    docs.push(asDoc(stored));
    chars += JSON.stringify(stored.value).length;
  }
  const last = docs.at(-1);
  return last === undefined || start + docs.length === found.length
    ? { docs }
    : { docs, next: cursorOf(last, by) };
}

const asDoc = ({ index: _index, ...doc }: Stored): Doc => structuredClone(doc);

const closedError = (): CmbsError => new CmbsError('unavailable', 'The store is closed.');
const abortedError = (): CmbsError => new CmbsError('deadline_exceeded', 'The time for this request is over.');

function assertWanted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedError();
}

function unlessAborted<T>(running: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return running;
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(abortedError());
    signal.addEventListener('abort', () => reject(abortedError()), { once: true });
    running.then(resolve, reject);
  });
}

const cursorOf = ({ id, order = '' }: Doc, by: 'id' | 'order'): string => JSON.stringify([by, order, id]);

/** Index at which the page after a cursor begins; the document of the cursor may have been deleted. */
function startAfter(found: readonly Stored[], by: 'id' | 'order', cursor: string): number {
  const [kind, order = '', id = ''] = parsed(cursor);
  if (kind !== by) throw badRequest('The cursor is not one of this order.');
  const isAfter = (stored: Stored): boolean =>
    by === 'id'
      ? stored.id > id
      : compare(stored.order ?? '', order) > 0 || (stored.order === order && stored.id > id);
  const at = found.findIndex(isAfter);
  return at < 0 ? found.length : at;
}

function parsed(cursor: string): readonly string[] {
  try {
    return JSON.parse(cursor) as readonly string[];
  } catch {
    throw badRequest('The cursor is malformed.');
  }
}
