/** A deletion with a filter that the index does not answer ends after some requests, however many entities do not match. */
import { allowAll, newId, systemClock, type Principal } from '@cmbs/shared';
import { Categories, type Category, Entities, type Filter, RESOURCE_KIND } from '@cmbs/shared/occi';
import { DELETION_POSITION_MS } from '../../shared/occi/entities/deletion-progress';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { countedStore, type CountedStore } from './counted-store';

const KIND = 'http://example.com/looked#item';
const COUNT = 40;
/** Entities that one request looks at. */
const SCAN = 10;
const requester = {
  principal: { kind: 'user', name: 'somebody' } as const,
  pathHere: ({ path }: { readonly path: string }) => path,
};
const ITEM: Category = {
  class: 'kind',
  term: 'item',
  scheme: 'http://example.com/looked#',
  parent: RESOURCE_KIND,
  location: '/item/',
  actions: [],
  attributes: { 'looked.tags': { type: 'object', required: false, mutable: true, lenient: false } },
  origin: 'extension',
};

let temporary: TemporaryStore;
let categories: Categories;
let entities: Entities;
let counted: CountedStore;

beforeEach(async () => {
  temporary = await openTemporaryStore();
  counted = countedStore(temporary.store);
  categories = new Categories(temporary.store, [
    { name: 'looked', categories: [ITEM], providers: [], bindings: {} },
  ]);
  // Each look at the time is a minute later, so that the time of a request is over after its first step.
  let looks = 0;
  const impatient = { ...systemClock, now: () => temporary.now() + 60_000 * looks++ };
  const parts = { categories, newId, authorize: allowAll };
  const patient = new Entities({ ...parts, store: temporary.store, clock: temporary.clock });
  entities = new Entities({ ...parts, store: counted.store, clock: impatient, filterScan: SCAN });
  const ids = Array.from({ length: COUNT }, (_, at) => `i${String(at).padStart(2, '0')}`);
  const drafts = ids.map((id) => ({
    id,
    kind: KIND,
    mixins: [],
    values: { 'looked.tags': { tenant: ['i25', 'i37'].includes(id) ? 'leaving' : 'staying' } },
    rawJson: {},
    links: [],
  }));
  await patient.create(drafts, '/item/', requester);
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

const filterBy = (tenant: string): Filter => ({
  categories: [],
  attributes: [{ name: 'looked.tags.tenant', value: tenant }],
  words: [],
});

async function remove(tenant: string, principal: Principal = requester.principal): Promise<string> {
  const { signal } = new AbortController();
  const request = { collection: '/item/', filter: filterBy(tenant) };
  const { done, isComplete } = await entities.deleteAll(request, { principal, signal });
  return `${done}${isComplete ? '' : ' and more'}`;
}

test('the same request again continues where the last one ended', async () => {
  const answers: string[] = [];
  for (let requests = 0; requests < 10 && answers.at(-1)?.endsWith('more') !== false; requests += 1) {
    answers.push(await remove('leaving'));
  }
  expect(answers).toEqual(['0 and more', '0 and more', '1 and more', '1']);
  expect(await entities.find('/item/i25')).toBeUndefined();
  expect(await entities.find('/item/i37')).toBeUndefined();
  expect(await entities.find('/item/i36')).toBeDefined();
  expect(await counted.readsOf(() => remove('leaving'))).toBeLessThan(2 * SCAN);
  // A request after the last one begins again.
  expect(await remove('leaving')).toBe('0 and more');
});

test('requests of others, and with other filters, do not continue it', async () => {
  expect([await remove('leaving'), await remove('leaving')]).toEqual(['0 and more', '0 and more']);
  expect(await remove('nobody')).toBe('0 and more');
  for (const answer of ['0 and more', '0 and more', '1 and more', '1']) {
    expect(await remove('leaving', { kind: 'user', name: 'another' })).toBe(answer);
  }
  expect(await remove('leaving')).toBe('0 and more');
  expect(await remove('leaving')).toBe('0');
});

test('a request that comes too late begins again', async () => {
  expect([await remove('leaving'), await remove('leaving')]).toEqual(['0 and more', '0 and more']);
  temporary.advance(DELETION_POSITION_MS + 60_000 * 100);
  expect([await remove('leaving'), await remove('leaving'), await remove('leaving')]).toEqual([
    '0 and more',
    '0 and more',
    '1 and more',
  ]);
});
