/** Actions and deletions that name their entities read these entities only, however large the collection is. */
import { allowAll, newId, systemClock } from '@cmbs/shared';
import { Categories, type Category, Entities, type Entity, type Filter, RESOURCE_KIND } from '@cmbs/shared/occi';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { countedStore, type CountedStore } from './counted-store';

const SCHEME = 'http://example.com/named#';
const NO_FILTER: Filter = { categories: [], attributes: [], words: [] };
const user = { kind: 'user', name: 'somebody' } as const;
const requester = { principal: user, pathHere: ({ path }: { readonly path: string }) => path };
const { signal } = new AbortController();

const kind = (term: string, parent = RESOURCE_KIND): Category => ({
  class: 'kind',
  term,
  scheme: SCHEME,
  parent,
  location: `/${term}/`,
  actions: [],
  attributes: { 'named.colour': { type: 'string', required: false, mutable: true, lenient: false } },
  origin: 'extension',
});

const CATEGORIES = [kind('job'), kind('task', `${SCHEME}job`), kind('other')];

let temporary: TemporaryStore;
let categories: Categories;
let entities: Entities;
let counted: CountedStore;

beforeEach(async () => {
  temporary = await openTemporaryStore();
  const { store } = temporary;
  counted = countedStore(store);
  categories = new Categories(store, [{ name: 'named', categories: CATEGORIES, providers: [], bindings: {} }]);
  entities = new Entities({ store: counted.store, categories, clock: systemClock, newId, authorize: allowAll });
  await create('job', ['a', 'b', 'c'], 'red');
  await create('task', ['t'], 'red');
  await create('other', ['o'], 'red');
  await create('job', ['d'], 'blue');
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

async function create(term: string, ids: readonly string[], colour: string): Promise<void> {
  const drafts = ids.map((id) => ({
    id,
    kind: SCHEME + term,
    mixins: [],
    values: { 'named.colour': colour },
    rawJson: {},
    links: [],
  }));
  await entities.create(drafts, `/${term}/`, requester);
}

async function named(
  paths: readonly string[],
  filter = NO_FILTER,
  collection = '/job/',
): Promise<readonly string[]> {
  const opened = await entities.openCollection(collection, user);
  const found = await entities.named(opened, { paths, filter });
  return found.map(({ entity }: { readonly entity: Entity }) => entity.path);
}

const RED: Filter = { ...NO_FILTER, attributes: [{ name: 'named.colour', value: 'red' }] };

test('the named entities of a collection that match the filter are found once each, in the order of paths', async () => {
  expect(await named(['/job/b', '/job/a', '/job/b', '/job/missing', '/other/o'])).toEqual(['/job/a', '/job/b']);
  // A kind's collection has the entities of derived kinds.
  expect(await named(['/task/t', '/job/d'])).toEqual(['/job/d', '/task/t']);
  expect(await named(['/task/t', '/job/a', '/job/d'], RED)).toEqual(['/job/a', '/task/t']);
  expect(await named(['/job/a', '/job/d'], { ...NO_FILTER, words: ['blue'] })).toEqual(['/job/d']);
  expect(await named(['/job/a', '/other/o'], NO_FILTER, '/')).toEqual(['/job/a', '/other/o']);
  expect(await named([])).toEqual([]);
});

test('naming entities reads as much in a large collection as in a small one', async () => {
  const cost = (): Promise<number> => counted.readsOf(() => named(['/job/a', '/job/b']));
  const small = await cost();
  expect(small).toBe(2);
  await create(
    'job',
    Array.from({ length: 400 }, (_, at) => `more-${at}`),
    'red',
  );
  expect(await cost()).toBe(small);
});

test('a deletion of named entities deletes these only, in steps', async () => {
  const stepping = new Entities({
    store: temporary.store,
    categories,
    clock: systemClock,
    newId,
    authorize: allowAll,
    deletionStep: 2,
  });
  const only = ['/job/c', '/job/a', '/job/d', '/task/t', '/other/o', '/job/missing', '/job/a'];
  const progress = await stepping.deleteAll(
    { collection: '/job/', filter: RED, only },
    { principal: user, signal },
  );
  expect(progress).toEqual({ done: 3, isComplete: true });
  const opened = await entities.openCollection('/', user);
  const left = await entities.list(opened, { filter: NO_FILTER, number: 100 });
  expect(left.entities.map(({ entity }) => entity.path)).toEqual(['/job/b', '/job/d', '/other/o']);
});
