/** A request uses the categories of its start, which may be deleted before the request writes. */
import { allowAll, newId, SYSTEM, systemClock } from '@cmbs/shared';
import { Categories, Entities } from '@cmbs/shared/occi';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const SCHEME = 'http://example.com/stale#';
const CORE = 'http://schemas.ogf.org/occi/core#';
const requester = {
  principal: { kind: 'user', name: 'somebody' } as const,
  pathHere: ({ path }: { readonly path: string }) => path,
};
const plain = { dialect: 'strict', attributes: {}, given: [] } as const;
const kind = {
  ...plain,
  class: 'kind',
  term: 'k',
  scheme: SCHEME,
  parent: `${CORE}resource`,
  location: '/k/',
} as const;
const mixin = { ...plain, class: 'mixin', term: 'm', scheme: SCHEME, location: '/m/' } as const;

let temporary: TemporaryStore;
let categories: Categories;
/** Entities whose requests all began before the deletion. */
let entities: Entities;

beforeEach(async () => {
  temporary = await openTemporaryStore();
  categories = new Categories(temporary.store, [], {
    watch: true,
    clock: systemClock,
    authorize: allowAll,
  });
  await categories.define([kind, mixin], SYSTEM);
  const before = await categories.current();
  const stale = Object.assign(Object.create(categories) as Categories, { current: () => Promise.resolve(before) });
  entities = new Entities({
    store: temporary.store,
    categories: stale,
    clock: systemClock,
    newId,
    authorize: allowAll,
  });
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

const make = async (mixins: readonly string[]): Promise<readonly string[]> =>
  (await entities.create([{ kind: `${SCHEME}k`, mixins, values: {}, rawJson: {}, links: [] }], '/k/', requester))
    .paths;

test('an entity of a deleted kind is not created', async () => {
  await categories.remove({ categories: [kind], providers: [] }, SYSTEM);
  await expect(make([])).rejects.toMatchObject({ code: 'unknown_category' });
});

test('an entity with a deleted mixin is not created', async () => {
  await categories.remove({ categories: [mixin], providers: [] }, SYSTEM);
  await expect(make([`${SCHEME}m`])).rejects.toMatchObject({ code: 'unknown_category' });
});

test('a deleted mixin is not added to an entity', async () => {
  const [path = ''] = await make([]);
  const gone = (await categories.current()).registry.requireMixin(`${SCHEME}m`);
  await categories.remove({ categories: [mixin], providers: [] }, SYSTEM);
  await expect(entities.tag(gone, [path], 'add', requester)).rejects.toMatchObject({ code: 'unknown_category' });
  await expect(entities.read(path, SYSTEM)).resolves.toMatchObject({ entity: { mixins: [] } });
});

test('entities get kinds and mixins that still exist', async () => {
  const [path = ''] = await make([`${SCHEME}m`]);
  await expect(entities.read(path, SYSTEM)).resolves.toMatchObject({ entity: { mixins: [`${SCHEME}m`] } });
});
