/** One key-value database: its entries, their revisions, transactions and increments. */
import { z } from 'zod';
import type { Clock, NewId } from '../../clock';
import { badRequest, CmbsError } from '../../errors';
import type { ExactNumber } from '../../exact-json';
import type { Json } from '../../json';
import { type CallOptions, cursorAfter, type Doc, type Store, type Transaction } from '../../store';
import { decode, encode, type Encoded } from '../stored-value';
import { exactOf, fitsI8, formOf, type Value, wholeOf } from '../value';
import { account, type DatabaseSize, removeDatabase, sizeOf, unitsFor } from './accounts';
import {
  DROP_STEP_ENTRIES,
  INCREMENTS_TOGETHER,
  type KeyValueLimits,
  MAX_PAGE_ENTRIES,
  MAX_TRANSACTION_BYTES,
  MAX_TRANSACTION_KEYS,
  MAX_ENTRY_BYTES,
  MAX_WAITING_INCREMENTS,
  PAGE_CHARS,
  PAGE_ENTRIES,
} from './limits';
import { checkKey, checkPartCursor, databasePrefix, keyIn, partPrefix, type Place, shownOwner } from './places';
import type { Precedence } from './precedence';

/** Collection of the entries. */
const ENTRIES = 'kv-entries';

const entryRecord = z.strictObject({
  /** The encoded value. */
  v: z.custom<Json>(),
  /** Units that the entry is charged. */
  u: z.number().int(),
  /** Id of its creation: an entry that is deleted and made again has other revisions. */
  c: z.string(),
  /** To whom the entry belongs; absent for a common one. */
  of: z.string().exactOptional(),
});
type EntryRecord = z.infer<typeof entryRecord>;

/** Revision of an entry that does not exist. */
export const NO_REVISION = '';

export interface Entry {
  readonly key: string;
  readonly value: Value;
  /** Changes with every write of the entry. Opaque. */
  readonly revision: string;
}

/** An entry, as administrators see it. */
export interface AnyEntry extends Entry {
  /** The caller or session to whom the entry belongs. */
  readonly of?: string;
}

export interface EntryPage<T extends Entry = Entry> {
  readonly entries: readonly T[];
  /** Present when there may be more. */
  readonly next?: string;
}

export interface OperationOptions extends CallOptions {
  /** The caller or session to whom the entries belong; the common ones when absent. */
  readonly of?: string;
}

export interface PutOptions extends OperationOptions {
  /** Only if the entry has this revision; {@link NO_REVISION} for an entry that must not exist. */
  readonly revision?: string;
}

export interface ListOptions extends OperationOptions {
  readonly prefix?: string;
  /** `next` of the page before. */
  readonly after?: string;
  /** 1 to {@link MAX_PAGE_ENTRIES}; {@link PAGE_ENTRIES} when absent. */
  readonly limit?: number;
}

/** What a transaction has read, and what it writes. */
export interface Commit {
  /** Keys and the revisions that they must still have. */
  readonly reads: readonly { readonly key: string; readonly revision: string }[];
  /** Each key once. Without a value, the entry is deleted. */
  readonly writes: readonly { readonly key: string; readonly value?: Value }[];
}

export interface Dropped {
  /** Entries that were deleted. */
  readonly deleted: number;
  /** False when entries are left, because their deletion takes more than one call. */
  readonly done: boolean;
}

/** What all databases of a process share. */
export interface Shared {
  readonly store: Store;
  readonly newId: NewId;
  readonly clock: Clock;
  readonly limits: KeyValueLimits;
  readonly precedence: Precedence;
}

/** An entry in a transaction of the store. */
interface Found {
  readonly record: EntryRecord;
  readonly revision: string;
  /** Revision of its document. */
  readonly count: number;
}

function foundIn(doc: Doc): Found {
  const record = entryRecord.parse(doc.value);
  return { record, revision: `${record.c}.${doc.revision}`, count: doc.revision };
}

/** What a transaction writes, and its result. */
interface Plan<T> {
  /** By the position of the key; undefined deletes the entry. */
  readonly writes: ReadonlyMap<number, Encoded | undefined>;
  /** @param revisions of the written entries, by the position of the key */
  readonly result: (revisions: ReadonlyMap<number, string>) => T;
}

interface Increment {
  readonly by: bigint;
  readonly resolve: (value: number | ExactNumber) => void;
  readonly reject: (error: unknown) => void;
}

/** One database. */
export class Database {
  readonly #place: Place;
  readonly #shared: Shared;
  /** Increments that wait, by the id of the entry. */
  readonly #increments = new Map<string, Increment[]>();
  #waiting = 0;

  constructor(place: Place, shared: Shared) {
    this.#place = place;
    this.#shared = shared;
  }

  #idOf(key: string, of: string | undefined): string {
    checkKey(key);
    return partPrefix(this.#place, of) + key;
  }

  /** @throws CmbsError `bad_request` for a key that is not allowed */
  async get(key: string, { of, signal }: OperationOptions = {}): Promise<Entry | undefined> {
    const doc = await this.#shared.store.get(ENTRIES, this.#idOf(key, of), callOptions(signal));
    if (doc === undefined) return undefined;
    const { record, revision } = foundIn(doc);
    return { key, value: decode(record.v), revision };
  }

  /**
   * Writes an entry; returns its revision.
   * @throws CmbsError `precondition_failed` when the entry has another revision; `bad_request`, `too_large` for a key or a
   *   value that is not allowed; `storage_full` beyond the bound of the scope
   */
  async put(key: string, value: unknown, { revision, ...options }: PutOptions = {}): Promise<string> {
    const encoded = encode(value, MAX_ENTRY_BYTES);
    if (revision === undefined) await this.#shared.precedence.wait(this.#idOf(key, options.of));
    return this.#transact([key], options, ([found]) => {
      requireRevision(revision, found);
      return { writes: new Map([[0, encoded]]), result: (revisions) => revisions.get(0) ?? NO_REVISION };
    });
  }

  /**
   * Deletes an entry; whether there was one.
   * @throws CmbsError `precondition_failed` when the entry has another revision
   */
  async delete(key: string, { revision, ...options }: PutOptions = {}): Promise<boolean> {
    if (revision === undefined) await this.#shared.precedence.wait(this.#idOf(key, options.of));
    return this.#transact([key], options, ([found]) => {
      requireRevision(revision, found);
      return { writes: new Map([[0, undefined]]), result: () => found !== undefined };
    });
  }

  /**
   * Entries in the order of their keys, by code point.
   * @throws CmbsError `bad_request` for a prefix, a cursor or a limit that is not allowed
   */
  async list({ prefix = '', after, limit, of, signal }: ListOptions = {}): Promise<EntryPage> {
    checkKey(prefix, 'prefix');
    if (after !== undefined) {
      checkKey(after, 'cursor');
      if (!after.startsWith(prefix))
        throw badRequest('The cursor belongs to another prefix; start without a cursor.');
    }
    const base = partPrefix(this.#place, of);
    const page = await this.#page(base + prefix, after === undefined ? undefined : base + after, limit, signal);
    const entries = page.docs.map((doc) => this.#entryOf(doc));
    return { entries, ...(page.hasMore ? { next: entries.at(-1)?.key ?? '' } : {}) };
  }

  /** Entries of all callers and sessions, and the common ones; a cursor is no key here. */
  async listAll({ after, limit, signal }: ListOptions = {}): Promise<EntryPage<AnyEntry>> {
    const base = databasePrefix(this.#place);
    if (after !== undefined) checkPartCursor(after);
    const page = await this.#page(base, after === undefined ? undefined : base + after, limit, signal);
    const entries = page.docs.map((doc) => {
      const { of } = entryRecord.parse(doc.value);
      return { ...this.#entryOf(doc), ...(of === undefined ? {} : { of }) };
    });
    const last = page.docs.at(-1)?.id.slice(base.length) ?? '';
    return { entries, ...(page.hasMore ? { next: last } : {}) };
  }

  #entryOf(doc: Doc): Entry {
    const { record, revision } = foundIn(doc);
    return { key: keyIn(this.#place, doc.id), value: decode(record.v), revision };
  }

  async #page(
    prefix: string,
    afterId: string | undefined,
    limit: number = PAGE_ENTRIES,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly docs: readonly Doc[]; readonly hasMore: boolean }> {
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_ENTRIES) {
      throw badRequest(`A page has 1 to ${MAX_PAGE_ENTRIES} entries.`);
    }
    const after = afterId === undefined ? {} : { after: cursorAfter(afterId) };
    const { docs, next } = await this.#shared.store.query(
      { collection: ENTRIES, prefix, limit, maxChars: PAGE_CHARS, ...after },
      callOptions(signal),
    );
    return { docs, hasMore: next !== undefined && docs.length > 0 };
  }

  /**
   * Adds a whole number to an entry, which counts as 0 when it does not exist; returns the sum. The increments of one
   * entry that this process has to make at the same time are made together.
   * @throws CmbsError `conflict` when the value is no whole number, or the sum has more than 64 bits; `queue_full` for too
   *   many increments at the same time
   */
  increment(key: string, by: bigint, { of }: OperationOptions = {}): Promise<number | ExactNumber> {
    const id = this.#idOf(key, of);
    if (this.#waiting >= MAX_WAITING_INCREMENTS) {
      throw new CmbsError('queue_full', 'Too many increments wait; try again later.', {
        headers: { 'Retry-After': '1' },
      });
    }
    return new Promise((resolve, reject) => {
      const increment: Increment = { by, resolve, reject };
      this.#waiting += 1;
      const waiting = this.#increments.get(id);
      if (waiting !== undefined) {
        waiting.push(increment);
        return;
      }
      this.#increments.set(id, [increment]);
      void this.#makeIncrements(id, key, of);
    });
  }

  /** Makes the increments of an entry until none waits. Never rejects. */
  async #makeIncrements(id: string, key: string, of: string | undefined): Promise<void> {
    const waiting = this.#increments.get(id) ?? [];
    for (;;) {
      await this.#shared.precedence.wait(id);
      const together = waiting.splice(0, INCREMENTS_TOGETHER);
      if (together.length === 0) break;
      this.#waiting -= together.length;
      try {
        const settle = await this.#transact([key], of === undefined ? {} : { of }, ([found]) =>
          added(together, found?.record),
        );
        settle();
      } catch (error) {
        for (const { reject } of together) reject(error);
      }
    }
    this.#increments.delete(id);
  }

  /**
   * Writes if everything that was read still has its revision; undefined if not. Returns the revisions of the written
   * entries, in the order of `writes`, empty for a deleted one.
   * @throws CmbsError `bad_request` for more than {@link MAX_TRANSACTION_KEYS} keys or a key that is written twice
   */
  async commit({ reads, writes }: Commit, options: OperationOptions = {}): Promise<readonly string[] | undefined> {
    const keys = [...new Set([...reads, ...writes].map(({ key }) => key))];
    if (keys.length > MAX_TRANSACTION_KEYS) {
      throw badRequest(`A transaction has ${MAX_TRANSACTION_KEYS} keys at most.`);
    }
    const position = new Map(keys.map((key, at) => [key, at]));
    const encoded = new Map<number, Encoded | undefined>();
    let bytes = 0;
    for (const { key, value } of writes) {
      const at = position.get(key) ?? 0;
      if (encoded.has(at)) throw badRequest('A transaction writes each key once.');
      const to = value === undefined ? undefined : encode(value, MAX_ENTRY_BYTES);
      bytes += to?.bytes ?? 0;
      encoded.set(at, to);
    }
    if (bytes > MAX_TRANSACTION_BYTES) {
      throw new CmbsError('too_large', `A transaction writes ${MAX_TRANSACTION_BYTES} bytes of values at most.`);
    }
    if (keys.length === 0) return [];
    const readIds = reads.map(({ key }) => this.#idOf(key, options.of));
    const revisions = await this.#transact<readonly string[] | undefined>(keys, options, (found) => {
      const isSame = reads.every(
        ({ key, revision }) => (found[position.get(key) ?? 0]?.revision ?? NO_REVISION) === revision,
      );
      if (!isSame) return { writes: new Map(), result: () => undefined };
      return {
        writes: encoded,
        result: (written) => writes.map(({ key }) => written.get(position.get(key) ?? 0) ?? NO_REVISION),
      };
    });
    if (revisions === undefined) this.#shared.precedence.give(readIds);
    else this.#shared.precedence.end(readIds);
    return revisions;
  }

  /** Reads entries and writes them in one transaction of the store, with their accounts. */
  #transact<T>(
    keys: readonly string[],
    { of, signal }: OperationOptions,
    planned: (found: readonly (Found | undefined)[]) => Plan<T>,
  ): Promise<T> {
    const { store, newId, limits } = this.#shared;
    const ids = keys.map((key) => this.#idOf(key, of));
    return store.transact(async (tx) => {
      const found = (await tx.getAll(ENTRIES, ids)).map((doc) => doc && foundIn(doc));
      const { writes, result } = planned(found);
      const changes = [...writes].flatMap(([at, to]) => {
        const [key = '', id = '', before] = [keys[at], ids[at], found[at]];
        if (before === undefined && to === undefined) return [];
        const units = to && unitsFor(Buffer.byteLength(key), to.bytes);
        return [{ at, id, before, to, units }];
      });
      const charges = changes.map(({ id, before, units }) => ({
        entryId: id,
        before: before?.record.u,
        after: units,
      }));
      const writeAccounts = await account(tx, this.#place, charges, limits);
      const revisions = new Map<number, string>();
      for (const { at, id, before, to, units = 0 } of changes) {
        if (to === undefined) {
          tx.delete(ENTRIES, id);
          continue;
        }
        const c = before?.record.c ?? newId();
        const record: EntryRecord = {
          v: to.json,
          u: units,
          c,
          ...(of === undefined ? {} : { of: shownOwner(of) }),
        };
        tx.put(ENTRIES, id, record);
        revisions.set(at, `${c}.${(before?.count ?? 0) + 1}`);
      }
      writeAccounts();
      return result(revisions);
    }, callOptions(signal));
  }

  /** Entries of the database, and the bytes that they are charged for. */
  size(): Promise<DatabaseSize> {
    return sizeOf(this.#shared.store, this.#place);
  }

  /**
   * Deletes the entries, those of callers and sessions too, and then the database. A large one takes several calls, of
   * {@link KeyValueLimits.dropMs} each.
   */
  async drop({ signal }: CallOptions = {}): Promise<Dropped> {
    const { store, clock, limits } = this.#shared;
    const began = clock.elapsed();
    let deleted = 0;
    do {
      const step = await store.transact((tx) => this.#dropStep(tx), callOptions(signal));
      if (step === 0) return { deleted, done: true };
      deleted += step;
    } while (clock.elapsed() - began < limits.dropMs && signal?.aborted !== true);
    return { deleted, done: false };
  }

  /** Deletes some entries; the database when there are none. Returns their number. */
  async #dropStep(tx: Transaction): Promise<number> {
    const { docs } = await tx.query({
      collection: ENTRIES,
      prefix: databasePrefix(this.#place),
      limit: DROP_STEP_ENTRIES,
      maxChars: MAX_TRANSACTION_BYTES,
    });
    if (docs.length === 0) {
      (await removeDatabase(tx, this.#place))();
      return 0;
    }
    const charges = docs.map((doc) => ({ entryId: doc.id, before: foundIn(doc).record.u, after: undefined }));
    const writeAccounts = await account(tx, this.#place, charges, this.#shared.limits);
    for (const { id } of docs) tx.delete(ENTRIES, id);
    writeAccounts();
    return docs.length;
  }
}

const callOptions = (signal: AbortSignal | undefined): CallOptions => (signal === undefined ? {} : { signal });

function requireRevision(revision: string | undefined, found: Found | undefined): void {
  if (revision === undefined || revision === (found?.revision ?? NO_REVISION)) return;
  throw new CmbsError(
    'precondition_failed',
    'The entry has another revision; read the entry again, and decide again.',
  );
}

/** Adds increments one after the other; one that cannot be added fails alone. The result settles all of them. */
function added(increments: readonly Increment[], record: EntryRecord | undefined): Plan<() => void> {
  const before = record === undefined ? 0n : wholeIn(decode(record.v));
  if (before === undefined) {
    throw new CmbsError('conflict', 'The value of the entry is no whole number, and cannot be incremented.');
  }
  const settled: (() => void)[] = [];
  let sum = before;
  let isChanged = false;
  for (const { by, resolve, reject } of increments) {
    const next = sum + by;
    if (!fitsI8(next)) {
      const error = new CmbsError('conflict', 'The sum would have more than 64 bits.');
      settled.push(() => reject(error));
      continue;
    }
    sum = next;
    isChanged = true;
    settled.push(() => resolve(exactOf(next)));
  }
  return {
    writes: new Map(isChanged ? [[0, encode(sum, MAX_ENTRY_BYTES)]] : []),
    result: () => () => {
      for (const settle of settled) settle();
    },
  };
}

/** The whole number that a value is; undefined for any other value. */
export function wholeIn(value: Value): bigint | undefined {
  const form = formOf(value);
  return form.is === 'number' ? wholeOf(form.value) : undefined;
}
