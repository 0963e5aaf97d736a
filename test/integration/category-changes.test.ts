/** The cost of a change of categories depends only on the change, and the categories of a deployment are limited. */
import { allowAll, type JsonObject, SYSTEM, systemClock } from '@cmbs/shared';
import { MAX_CATEGORIES, MAX_DEFINITIONS_CHARS } from '../../shared/occi/limits';
import {
  MAX_CATEGORY_ATTRIBUTES,
  MAX_CATEGORY_REFERENCES,
  MAX_DEFINITION_CHARS,
} from '../../shared/occi/categories/definition-size';
import { MAX_KIND_DEPTH } from '../../shared/occi/categories/changes';
import { MAX_REMEMBERED_CHANGE_CHARS } from '../../shared/occi/categories/snapshot';
import { Categories, type Freshness } from '@cmbs/shared/occi';
import type { CategoryInput } from '../../shared/occi/payload';
import type { Store, Transaction } from '@cmbs/shared/store';
import { extent } from '../extent';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const SCHEME = 'http://example.com/bomb#';
/** More changes than the state lists, since each change has at least one name. */
const REMEMBERED = Math.ceil(MAX_REMEMBERED_CHANGE_CHARS / SCHEME.length);
const MANY = extent(500, 2000);
const RESOURCE = 'http://schemas.ogf.org/occi/core#resource';

const mixin = (term: string, more: Partial<CategoryInput> = {}): CategoryInput => ({
  class: 'mixin',
  term,
  scheme: SCHEME,
  location: `/bomb/${term}/`,
  dialect: 'nested',
  given: ['attributes', 'title'],
  ...more,
});

const numbered = (from: number, to: number): readonly CategoryInput[] =>
  Array.from({ length: to - from }, (_, at) => mixin(`m${from + at}`));

/** Documents read and written, and characters written. */
interface Work {
  documents: number;
  chars: number;
}

/** A store that counts its work. */
function counted(store: Store, work: Work): Store {
  const page = async <P extends { readonly docs: readonly unknown[] }>(asked: Promise<P>): Promise<P> => {
    const found = await asked;
    work.documents += found.docs.length;
    return found;
  };
  const all = async <D>(ids: readonly string[], asked: Promise<D>): Promise<D> => {
    work.documents += ids.length;
    return asked;
  };
  const counting = (tx: Transaction): Transaction =>
    instead(tx, {
      get: (collection, id) => all([id], tx.get(collection, id)),
      getAll: (collection, ids) => all(ids, tx.getAll(collection, ids)),
      query: (query) => page(tx.query(query)),
      put: (collection, id, value, options) => {
        work.documents += 1;
        work.chars += JSON.stringify(value).length;
        tx.put(collection, id, value, options);
      },
    });
  return instead(store, {
    get: (collection, id, options) => all([id], store.get(collection, id, options)),
    getAll: (collection, ids, options) => all(ids, store.getAll(collection, ids, options)),
    query: (query, options) => page(store.query(query, options)),
    transact: (body, options) => store.transact((tx) => body(counting(tx)), options),
  });
}

/** The target with some methods replaced. */
function instead<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get: (object, name) => {
      const value: unknown = Reflect.get(Object.hasOwn(methods, name) ? methods : object, name);
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(object) : value;
    },
  });
}

let temporary: TemporaryStore;
let work: Work;
let store: Store;
const open: Categories[] = [];

beforeEach(async () => {
  temporary = await openTemporaryStore();
  work = { documents: 0, chars: 0 };
  store = counted(temporary.store, work);
});
afterEach(async () => {
  for (const one of open.splice(0)) one.close();
  await temporary.close();
});

function opened(freshness: Freshness = { watch: true, clock: systemClock }): Categories {
  const categories = new Categories(store, [], { ...freshness, authorize: allowAll });
  open.push(categories);
  return categories;
}

async function costOf(run: () => Promise<unknown>): Promise<Work> {
  const before = { ...work };
  await run();
  return { documents: work.documents - before.documents, chars: work.chars - before.chars };
}

describe('a change', () => {
  it('costs the same among many categories as among 50, also for other processes', async () => {
    const here = opened();
    const elsewhere = opened({ watch: false, maxAgeMs: 0, clock: systemClock });
    await here.define(numbered(0, 50), SYSTEM);
    /** Defines, changes and deletes a mixin; both processes read the categories after each step. */
    const changes = async (term: string): Promise<void> => {
      const steps = [
        () => here.define([mixin(term)], SYSTEM),
        () => here.update({ categories: [mixin(term, { title: 'changed' })], providers: [] }, SYSTEM),
        () =>
          here.update(
            { categories: [], providers: [{ category: RESOURCE, local: ['dummy'], remote: [] }] },
            SYSTEM,
          ),
        () => here.remove({ categories: [mixin(term)], providers: [] }, SYSTEM),
      ];
      for (const step of steps) {
        await step();
        const ids = [here, elsewhere].map(
          async (one) => (await one.current()).registry.find(SCHEME + term)?.title,
        );
        expect(new Set(await Promise.all(ids)).size).toBe(1);
      }
    };
    // Fills the state, since the cost of a write must not depend on the number of changes in the state.
    for (let at = 0; at < REMEMBERED / 4; at += 1) await changes('warm');
    const few = await costOf(() => changes('few'));
    for (let from = 50; from < MANY; from += 390) {
      await here.define(numbered(from, Math.min(from + 390, MANY)), SYSTEM);
    }
    await Promise.all([here.current(), elsewhere.current()]);
    for (let at = 0; at < REMEMBERED / 4; at += 1) await changes('warm');
    const many = await costOf(() => changes('few'));
    expect((await elsewhere.current()).registry.all.length).toBeGreaterThan(MANY);
    expect(many.documents).toBe(few.documents);
    expect(many.chars).toBeLessThan(few.chars * 1.2);
    expect(few.documents).toBeLessThan(100);
  });

  it('reaches a process that missed more changes than the state names', async () => {
    const here = opened();
    const elsewhere = opened({ watch: false, maxAgeMs: 0, clock: systemClock });
    await elsewhere.current();
    for (let at = 0; at <= REMEMBERED; at += 1) await here.define([mixin(`m${at}`)], SYSTEM);
    await here.remove({ categories: [mixin('m7')], providers: [] }, SYSTEM);
    const { registry } = await elsewhere.current();
    const terms = registry.all.filter(({ scheme }) => scheme === SCHEME).map(({ term }) => term);
    expect(terms.sort()).toEqual(
      numbered(0, REMEMBERED + 1)
        .map(({ term }) => term)
        .filter((term) => term !== 'm7')
        .sort(),
    );
    expect(registry.at('/bomb/m7/')).toBeUndefined();
  });
});

describe('a definition', () => {
  const attributes = (number: number, spec: JsonObject = {}): JsonObject =>
    Object.fromEntries(Array.from({ length: number }, (_, at) => [`a${at}`, { ...spec }]));
  const names = (number: number): readonly string[] =>
    Array.from({ length: number }, (_, at) => `${SCHEME}n${at}`);

  it.each<[string, readonly CategoryInput[]]>([
    ['many attributes', [mixin('m', { attributes: attributes(MAX_CATEGORY_ATTRIBUTES + 1) })]],
    ['many references', [mixin('m', { applies: names(MAX_CATEGORY_REFERENCES + 1) })]],
    [
      'long texts',
      [mixin('m', { attributes: attributes(100, { description: 'x'.repeat(MAX_DEFINITION_CHARS / 100) }) })],
    ],
    [
      'a long chain of parents',
      Array.from({ length: MAX_KIND_DEPTH }, (_, at): CategoryInput => ({
        ...mixin(`k${at}`),
        class: 'kind',
        parent: at === 0 ? RESOURCE : `${SCHEME}k${at - 1}`,
      })),
    ],
  ])('is refused with %s, both as a new category and as a change', async (_, inputs) => {
    const categories = opened();
    await expect(categories.define(inputs, SYSTEM)).rejects.toMatchObject({ status: 413 });
    await categories.define([mixin('m')], SYSTEM);
    const [input] = inputs;
    if (inputs.length > 1 || input === undefined) return;
    const change = { ...input, given: ['attributes', 'applies'] };
    await expect(categories.update({ categories: [change], providers: [] }, SYSTEM)).rejects.toMatchObject({
      status: 413,
    });
  });

  it('is accepted up to the total size of all definitions, and again after others are deleted', async () => {
    const categories = opened();
    const large = (term: string): CategoryInput =>
      mixin(term, { attributes: attributes(100, { description: 'x'.repeat(1000) }) });
    let made = 0;
    const fill = async (): Promise<void> => {
      for (; ; made += 1) await categories.define([large(`m${made}`)], SYSTEM);
    };
    await expect(fill()).rejects.toMatchObject({
      status: 409,
      message: expect.stringMatching(/together.*delete/) as string,
    });
    expect(made).toBeGreaterThan(MAX_DEFINITIONS_CHARS / 2 / 100_000);
    expect(made).toBeLessThanOrEqual(MAX_DEFINITIONS_CHARS / 100_000);
    await categories.remove({ categories: [large('m0')], providers: [] }, SYSTEM);
    await categories.define([large('again')], SYSTEM);
    await expect(categories.define([large('more')], SYSTEM)).rejects.toMatchObject({ status: 409 });
  });

  it('is accepted up to the number of categories of a deployment', async () => {
    const categories = opened();
    for (let from = 0; from < MAX_CATEGORIES; from += 500)
      await categories.define(numbered(from, from + 500), SYSTEM);
    await expect(categories.define([mixin('more')], SYSTEM)).rejects.toMatchObject({ status: 409 });
    await categories.remove({ categories: [mixin('m0')], providers: [] }, SYSTEM);
    await categories.define([mixin('more')], SYSTEM);
  });
});
