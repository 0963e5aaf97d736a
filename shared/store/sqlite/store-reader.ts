/** Reads documents for callers and for transactions, through the cache, and prepares writes. Synchronous. */
import type { Clock } from '../../clock';
import type { JsonObject } from '../../json';
import { checkKey, indexable } from '../keys';
import type { Doc, Page, PutOptions, Query, Size } from '../store';
import { cursorAt, type IndexEntry, type Position, type Selection, toSelection } from '../store-query';
import type { Collections } from './collections';
import { DocumentCache } from './document-cache';
import { toStoreError } from './errors';
import type { StoreHealth } from './health';
import type { History } from './history';
import { TOGETHER_FROM } from './ids';
import { MAX_KEPT_DOCUMENTS, QueryCache } from './query-cache';
import type { NewRow, Row } from './rows';
import type { Tables } from './tables';
import type { TransactionSource } from './transaction';

export interface StoreReaderParts {
  readonly tables: Tables;
  readonly collections: Collections;
  readonly health: StoreHealth;
  readonly clock: Clock;
  /** Number of the last commit. */
  readonly seq: () => number;
}

export class StoreReader implements TransactionSource {
  readonly #tables: Tables;
  readonly #collections: Collections;
  readonly #health: StoreHealth;
  readonly #clock: Clock;
  readonly #seq: () => number;
  readonly #cache = new DocumentCache();
  readonly #queries = new QueryCache();

  constructor({ tables, collections, health, clock, seq }: StoreReaderParts) {
    this.#tables = tables;
    this.#collections = collections;
    this.#health = health;
    this.#clock = clock;
    this.#seq = seq;
  }

  get seq(): number {
    return this.#seq();
  }

  /** A document changed: its copy in memory, and the results of queries that found it or would find it, are out of date. */
  forget(collection: number, id: string, before: IndexEntry | undefined, after: IndexEntry | undefined): void {
    this.#cache.remove(cacheKey(collection, id));
    this.#queries.changed(before);
    this.#queries.changed(after);
  }

  read(collection: string, id: string): Doc | undefined {
    this.#health.assertUsable(undefined);
    const n = this.#tables.names.number(collection);
    if (n === undefined) return undefined;
    const now = this.#clock.now();
    const key = cacheKey(n, id);
    const cached = this.#cache.get(key);
    if (cached !== undefined) return isExpired(cached.expiresAt, now) ? undefined : cached;
    const row = this.#reading(() => this.#tables.reader.find(n, id));
    if (row === undefined || isExpired(row.expires ?? undefined, now)) return undefined;
    const doc = toDoc(row);
    this.#cache.add(key, doc, row.value.length);
    return doc;
  }

  /** In the order of the ids. */
  readAll(collection: string, ids: readonly string[]): readonly (Doc | undefined)[] {
    if (ids.length < TOGETHER_FROM) return ids.map((id) => this.read(collection, id));
    this.#health.assertUsable(undefined);
    const n = this.#tables.names.number(collection);
    if (n === undefined) return ids.map(() => undefined);
    const docs = new Map<string, Doc>();
    for (const id of ids) {
      const cached = this.#cache.get(cacheKey(n, id));
      if (cached !== undefined) docs.set(id, cached);
    }
    const missing = docs.size === 0 ? ids : ids.filter((id) => !docs.has(id));
    for (const row of this.#reading(() => this.#tables.reader.findMany(n, missing))) {
      const doc = toDoc(row);
      this.#cache.add(cacheKey(n, row.id), doc, row.value.length);
      docs.set(row.id, doc);
    }
    const now = this.#clock.now();
    return ids.map((id) => {
      const doc = docs.get(id);
      return doc === undefined || isExpired(doc.expiresAt, now) ? undefined : doc;
    });
  }

  select(query: Query): {
    readonly page: Page;
    readonly selection: Selection;
    readonly last: Position | undefined;
  } {
    this.#health.assertUsable(undefined);
    const selection = toSelection(query);
    const { docs, isMore } = this.#known(selection) ?? this.#find(selection);
    const final = docs.at(-1);
    if (!isMore || final === undefined) return { page: { docs }, selection, last: undefined };
    const last = { sort: selection.byOrder ? (final.order ?? '') : '', id: final.id };
    return { page: { docs, next: cursorAt(last, selection.byOrder) }, selection, last };
  }

  /** The result of a query that was asked before, if its documents are unchanged. */
  #known(selection: Selection): Found | undefined {
    const key = QueryCache.key(selection);
    const known = key === undefined ? undefined : this.#queries.get(key);
    if (known === undefined) return undefined;
    const docs: Doc[] = [];
    for (const id of known.ids) {
      const doc = this.read(selection.collection, id);
      if (doc === undefined) return undefined;
      docs.push(doc);
    }
    return { docs, isMore: known.isMore };
  }

  #find(selection: Selection): Found {
    const { rows, isMore } = this.#reading(() => this.#tables.reader.select(selection, this.#clock.now()));
    const n = this.#tables.names.number(selection.collection);
    // A long page would replace all other documents in memory.
    if (n === undefined || rows.length > MAX_KEPT_DOCUMENTS) return { docs: rows.map(toDoc), isMore };
    this.#keep(selection, rows, isMore);
    return { docs: rows.map((row) => this.#cached(n, row)), isMore };
  }

  #keep(selection: Selection, rows: readonly Row[], isMore: boolean): void {
    const key = QueryCache.key(selection);
    // Callers name the category first, which is written most often.
    const term = selection.terms.at(-1);
    if (key === undefined || term === undefined) return;
    const field = this.fieldNumber(selection.collection, term.field);
    // A document that expires leaves the result without a write.
    if (field === undefined || rows.some(({ expires }) => expires !== null)) return;
    this.#queries.add(key, { ids: rows.map(({ id }) => id), isMore, field, value: term.value });
  }

  /** The document of a row, the same object as long as the document is in the cache. */
  #cached(collection: number, row: Row): Doc {
    const key = cacheKey(collection, row.id);
    const known = this.#cache.get(key);
    if (known?.revision === row.revision) return known;
    const doc = toDoc(row);
    this.#cache.add(key, doc, row.value.length);
    return doc;
  }

  history(collection: string): History {
    return this.#collections.get(collection).history;
  }

  fieldNumber(collection: string, field: string): number | undefined {
    return this.#tables.names.number(collection, field);
  }

  /** Checks and serialises a write. Numbers its names, which stay even when the write is not committed. */
  prepare(collection: string, id: string, value: JsonObject, options: PutOptions = {}): NewRow {
    checkKey('collection', collection);
    checkKey('id', id);
    if (options.order !== undefined) checkKey('order', options.order);
    return this.#reading(() => {
      this.#tables.names.intern(collection);
      const entries = Object.entries(options.index ?? {}).flatMap(([field, values]) => {
        if (values.length === 0) return [];
        const n = this.#tables.names.intern(collection, field);
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
      throw this.#health.logged(toStoreError(error));
    }
  }

  count(query: Omit<Query, 'limit' | 'after'>, atMost: number): number {
    const selection = toSelection({ ...query, limit: 1 });
    return this.#reading(() => this.#tables.reader.count(selection, Math.trunc(atMost), this.#clock.now()));
  }

  measure(collection: string, atMost: number): Size {
    return this.#reading(() => this.#tables.reader.measure(collection, Math.trunc(atMost), this.#clock.now()));
  }
}

interface Found {
  readonly docs: readonly Doc[];
  readonly isMore: boolean;
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
