/** Work on many entities stops when its client leaves. */
import { allowAll, newId, SYSTEM, systemClock } from '@cmbs/shared';
import { COLLECTION_ACTION_CONCURRENCY } from '../../shared/occi/actions';
import {
  Actions,
  Categories,
  type Category,
  Entities,
  type Entity,
  type Extension,
  type Provider,
  RESOURCE_KIND,
} from '@cmbs/shared/occi';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const SCHEME = 'http://example.com/bulk#';
const KIND = `${SCHEME}job`;
const COUNT = 100;
const NO_FILTER = { categories: [], attributes: [], words: [] };
const requester = {
  principal: { kind: 'user', name: 'somebody' } as const,
  pathHere: ({ path }: { readonly path: string }) => path,
};

const CATEGORIES: readonly Category[] = [
  {
    class: 'kind',
    term: 'job',
    scheme: SCHEME,
    parent: RESOURCE_KIND,
    location: '/job/',
    actions: [`${SCHEME}run`],
    attributes: {},
    origin: 'extension',
  },
  { class: 'action', term: 'run', scheme: SCHEME, attributes: {}, origin: 'extension' },
];

let temporary: TemporaryStore;
let categories: Categories;
let entities: Entities;
let client: AbortController;
let done: number;

beforeEach(async () => {
  temporary = await openTemporaryStore();
  client = new AbortController();
  done = 0;
  /** The client leaves during the work on the first entity. */
  const work = async (): Promise<void> => {
    done += 1;
    client.abort();
  };
  const provider: Provider = {
    name: 'jobs',
    act: async () => {
      await work();
      return { answer: 'entity', status: 200 };
    },
    releasing: work,
  };
  const extension: Extension = {
    name: 'jobs',
    categories: CATEGORIES,
    providers: [provider],
    bindings: { [KIND]: 'jobs' },
  };
  categories = new Categories(temporary.store, [extension], {
    watch: true,
    clock: systemClock,
    authorize: allowAll,
  });
  entities = new Entities({ store: temporary.store, categories, clock: systemClock, newId, authorize: allowAll });
  const draft = { kind: KIND, mixins: [], values: {}, rawJson: {}, links: [] };
  await entities.create(
    Array.from({ length: COUNT }, () => draft),
    '/job/',
    requester,
  );
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

async function all(): Promise<readonly Entity[]> {
  const collection = await entities.openCollection('/job/', SYSTEM);
  const page = await entities.list(collection, { filter: NO_FILTER, number: COUNT });
  return page.entities.map(({ entity }) => entity);
}

test('an action on a collection stops when its client leaves', async () => {
  const acting = new Actions(categories, entities, allowAll).actOnAll(await all(), {
    term: 'run',
    input: { values: {} },
    caller: { principal: requester.principal, waitMs: 0, signal: client.signal },
  });
  await expect(acting).rejects.toMatchObject({ code: 'request_timeout' });
  expect(done).toBeGreaterThan(0);
  expect(done).toBeLessThanOrEqual(COLLECTION_ACTION_CONCURRENCY);
});

test('the deletion of a collection stops when its client leaves', async () => {
  const deleting = entities.deleteAll(
    { collection: '/job/', filter: NO_FILTER },
    { principal: SYSTEM, signal: client.signal },
  );
  await expect(deleting).rejects.toMatchObject({ code: 'request_timeout' });
  expect(done).toBe(1);
  expect(await all()).toHaveLength(COUNT);
});

test('the removal of a mixin from all entities stops when its client leaves', async () => {
  client.abort();
  const mixin = {
    class: 'mixin',
    term: 'm',
    scheme: SCHEME,
    location: '/m/',
    dialect: 'nested',
    given: [],
  } as const;
  await categories.define([mixin], SYSTEM);
  const found = (await categories.current()).registry.requireMixin(`${SCHEME}m`);
  await expect(entities.untagAll(found, { principal: SYSTEM, signal: client.signal })).rejects.toMatchObject({
    code: 'request_timeout',
  });
  await categories.remove({ categories: [mixin], providers: [] }, SYSTEM);
  expect(await all()).toHaveLength(COUNT);
});
