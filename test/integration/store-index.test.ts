/** Queries of the embedded store compared with a model, while index entries are written to the tables now and then. */
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import type { Doc, PutOptions, Query, Store } from '@cmbs/shared/store';
import { readNumber } from '../../shared/store/sqlite/read-once';
import { MAX_RECENT_ENTRIES } from '../../shared/store/sqlite/recent-documents';
import { DATABASE_FILE } from '../../shared/store/sqlite/schema';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { extent } from '../extent';
import fc from '../property';

const COLLECTIONS = ['first', 'second'] as const;
const IDS = Array.from({ length: 12 }, (_, i) => `id-${String(i).padStart(2, '0')}`);
const VALUES = ['a', 'b', 'c'] as const;
const FIELDS = ['colour', 'shape'] as const;
const ORDERS = ['1', '2', '3', undefined] as const;
/** Milliseconds until a document expires; each step `later` lets 10 go by. */
const LIFETIMES = [15, undefined, undefined] as const;
/** Pages of the database file, and characters that do not fit into it. */
const MAX_PAGES = 200;
const TOO_MANY_CHARS = 4 * 4096 * MAX_PAGES;

interface Written {
  readonly index: Readonly<Record<string, readonly string[]>>;
  readonly order: string | undefined;
  readonly lifetime: number | undefined;
}

interface Write {
  readonly do: 'put' | 'create' | 'put without room';
  readonly collection: string;
  readonly id: string;
  readonly written: Written;
}

type Step =
  | Write
  /** Written at the same time, each id once, so that they share a commit. */
  | { readonly do: 'together'; readonly writes: readonly Write[] }
  | { readonly do: 'delete'; readonly collection: string; readonly id: string }
  | { readonly do: 'query'; readonly query: Query }
  | { readonly do: 'reopen' }
  | { readonly do: 'later' }
  | { readonly do: 'sweep' };

const collection = fc.constantFrom(...COLLECTIONS);
const id = fc.constantFrom(...IDS);
const values = fc.uniqueArray(fc.constantFrom(...VALUES), { maxLength: 2 });
const written = fc.record({
  index: fc.record({ colour: values, shape: values }),
  order: fc.constantFrom(...ORDERS),
  lifetime: fc.constantFrom(...LIFETIMES),
});
const term = fc.record({ field: fc.constantFrom(...FIELDS), value: fc.constantFrom(...VALUES) });
const query: fc.Arbitrary<Query> = fc
  .record({
    collection,
    where: fc.array(term, { maxLength: 2 }),
    by: fc.constantFrom('id' as const, 'order' as const),
    prefix: fc.constantFrom('', 'id-0', 'id-1'),
    limit: fc.integer({ min: 1, max: 5 }),
    maxChars: fc.constantFrom(undefined, 1, 20, 1000),
  })
  .map(({ maxChars, ...rest }) => ({ ...rest, ...(maxChars === undefined ? {} : { maxChars }) }));
const write = (kind: Write['do']): fc.Arbitrary<Write> =>
  fc.record({ do: fc.constant(kind), collection, id, written });
const together = fc
  .uniqueArray(fc.oneof(write('put'), write('create'), write('put without room')), {
    selector: (one) => `${one.collection}/${one.id}`,
    minLength: 2,
    maxLength: 8,
  })
  .map((writes) => ({ do: 'together' as const, writes }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: write('put') },
  { weight: 4, arbitrary: write('create') },
  { weight: 1, arbitrary: write('put without room') },
  { weight: 3, arbitrary: together },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), collection, id }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('query' as const), query }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'reopen' }, { do: 'later' }, { do: 'sweep' }) },
);

interface Expected extends Written {
  readonly id: string;
  readonly expiresAt: number | undefined;
}

/** A store, and what it should contain. */
class Compared {
  #store: Store;
  readonly #opened: TemporaryStore;
  readonly #documents = new Map<string, Expected>();

  constructor(opened: TemporaryStore) {
    this.#opened = opened;
    this.#store = opened.store;
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'put':
      case 'create':
      case 'put without room':
        return this.#write(step);
      case 'together':
        await Promise.all(step.writes.map((one) => this.#write(one)));
        return;
      case 'delete':
        await this.#store.transact(async (tx) => tx.delete(step.collection, step.id));
        this.#documents.delete(`${step.collection}/${step.id}`);
        return;
      case 'query':
        return this.#compare(step.query);
      case 'reopen':
        this.#store = await this.#opened.reopen();
        return;
      case 'later':
        this.#opened.advance(10);
        return;
      case 'sweep':
        await this.#store.sweep(100);
    }
  }

  #isThere(one: Expected | undefined): one is Expected {
    return one !== undefined && (one.expiresAt === undefined || one.expiresAt > this.#opened.now());
  }

  async #write({ do: kind, collection, id, written }: Write): Promise<void> {
    const { index, order, lifetime } = written;
    const expiresAt = lifetime === undefined ? undefined : this.#opened.now() + lifetime;
    const options: PutOptions = {
      index,
      ...(order === undefined ? {} : { order }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    };
    const key = `${collection}/${id}`;
    const isThere = this.#isThere(this.#documents.get(key));
    if (kind === 'create') {
      expect(await this.#store.create(collection, id, {}, options)).toBe(!isThere);
      if (isThere) return;
    } else {
      const done = this.#store.transact(async (tx) => {
        tx.put(collection, id, {}, options);
        if (kind === 'put without room') tx.put(collection, `large ${id}`, { text: 'x'.repeat(TOO_MANY_CHARS) });
      });
      if (kind === 'put without room') {
        await expect(done).rejects.toMatchObject({ code: 'storage_full' });
        return;
      }
      await done;
    }
    this.#documents.set(key, { ...written, id, expiresAt });
  }

  async #compare(query: Query): Promise<void> {
    const expected = this.#expectedIds(query);
    expect((await this.#allPages(query)).map((doc) => doc.id)).toEqual(expected);
    expect(await this.#store.count(query, 100)).toBe(expected.length);
    expect(await this.#store.count(query, 2)).toBe(Math.min(2, expected.length));
  }

  #expectedIds({ collection, where = [], by, prefix = '' }: Query): readonly string[] {
    const place = (one: Expected): string => (by === 'order' ? `${one.order ?? ''} ` : '') + one.id;
    return [...this.#documents]
      .filter(([key, one]) => key.startsWith(`${collection}/`) && this.#isThere(one))
      .map(([, one]) => one)
      .filter((one) => one.id.startsWith(prefix) && (by !== 'order' || one.order !== undefined))
      .filter((one) => where.every(({ field, value }) => one.index[field]?.includes(value) === true))
      .sort((a, b) => (place(a) < place(b) ? -1 : 1))
      .map((one) => one.id);
  }

  async #allPages(query: Query): Promise<readonly Doc[]> {
    const docs: Doc[] = [];
    for (let after: string | undefined; ;) {
      const page = await this.#store.query({ ...query, ...(after === undefined ? {} : { after }) });
      expect(page.docs.length).toBeLessThanOrEqual(query.limit);
      docs.push(...page.docs);
      if (page.next === undefined) return docs;
      after = page.next;
    }
  }
}

it('a query finds each document that matches once, whether or not its index entries are in the tables', async () => {
  const steps = fc.array(step, { minLength: 20, maxLength: 80 });
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 9 }), async (taken, indexedTogether) => {
      const opened = await openTemporaryStore({ indexedTogether, maxPages: MAX_PAGES });
      try {
        const compared = new Compared(opened);
        for (const one of taken) await compared.take(one);
      } finally {
        await opened.close();
      }
    }),
    { numRuns: extent(25, 400) },
  );
});

it('a document is found no more when it is deleted after a restart that followed the deletion of the newest', async () => {
  const opened = await openTemporaryStore({ indexedTogether: 2 });
  try {
    const { store } = opened;
    for (const id of ['new', 'newest']) await store.create('things', id, {}, { index: { colour: ['red'] } });
    for (const id of ['new', 'newest']) await store.transact(async (tx) => tx.delete('things', id));
    const again = await opened.reopen();
    await again.create('things', 'next', {}, { index: { colour: ['red'] } });
    await again.transact(async (tx) => tx.delete('things', 'next'));
    const red = { collection: 'things', where: [{ field: 'colour', value: 'red' }] };
    expect(await again.count(red, 10)).toBe(0);
    expect((await again.query({ ...red, limit: 10 })).docs).toEqual([]);
  } finally {
    await opened.close();
  }
});

/** The number of the last document whose index entries are in the tables, and of the last document. */
function indexedOf(directory: string): readonly [number, number] {
  const db = new DatabaseSync(join(directory, DATABASE_FILE), { readOnly: true });
  try {
    return [readNumber(db, 'SELECT indexed FROM state'), readNumber(db, 'SELECT max(doc) FROM document')];
  } finally {
    db.close();
  }
}

it('documents with many index entries do not stay in memory until there are many documents', async () => {
  const opened = await openTemporaryStore();
  try {
    const { store, directory } = opened;
    const values = Array.from({ length: MAX_RECENT_ENTRIES / 2 }, (_, n) => `${n} ${'x'.repeat(200)}`);
    await store.create('things', 'small', {}, { index: { colour: ['red'] } });
    await store.create('things', 'large', {}, { index: { list: values } });
    const [before, newest] = indexedOf(directory);
    expect(before).toBeLessThan(newest);
    await store.create('things', 'larger', {}, { index: { list: values } });
    const [indexed, last] = indexedOf(directory);
    expect(indexed).toBe(last);
    expect(await store.count({ collection: 'things', where: [{ field: 'list', value: values[7]! }] }, 10)).toBe(2);
  } finally {
    await opened.close();
  }
});
