/** The pages of a listing of some parts of the entities have the same entities as a search through all of them. */
import { Categories } from '@cmbs/shared/occi';
import { indexText, OWNER_FIELD, CATEGORY_FIELD } from '../../shared/occi/entity-index';
import { ENTITIES } from '../../shared/occi/entity-store';
import { pageOfParts, type Part } from '../../shared/occi/entities/visibility';
import type { CategoryRegistry } from '../../shared/occi/category-registry';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { extent } from '../extent';
import fc from '../property';

const OWNERS = ['alice', 'bob', 'carol'];
const KINDS = ['http://example.com/x#one', 'http://example.com/x#two'];
const PLACES = ['/a/', '/a/b/', '/b/'];
const NAMES = ['1', '2', '3', '10', 'z', 'é'];

interface Item {
  readonly path: string;
  readonly owner: string;
  readonly kind: string;
}

const place = fc.constantFrom(...PLACES);
const path = fc.tuple(place, fc.constantFrom(...NAMES)).map(([at, name]) => at + name);
const items = fc.uniqueArray(
  fc.record({ path, owner: fc.constantFrom(...OWNERS), kind: fc.constantFrom(...KINDS) }),
  { selector: (item) => item.path, maxLength: 18 },
);
const part: fc.Arbitrary<Part> = fc.oneof(
  fc.record({ owner: fc.constantFrom(...OWNERS) }),
  fc.record({ category: fc.constantFrom(...KINDS) }),
  fc.record({ below: fc.constantFrom('/', ...PLACES) }),
  fc.record({ paths: fc.array(path, { minLength: 1, maxLength: 6 }) }),
);
const scenario = fc.record({
  items,
  parts: fc.array(part, { maxLength: 4 }),
  limit: fc.integer({ min: 1, max: 5 }),
  maxChars: fc.constantFrom(1, 40, 100_000),
  prefix: fc.constantFrom('', ...PLACES),
  kind: fc.option(fc.constantFrom(...KINDS), { nil: undefined }),
});

const isIn = (item: Item, one: Part): boolean => {
  if ('owner' in one) return item.owner === one.owner;
  if ('category' in one) return item.kind === one.category;
  if ('below' in one) return item.path.startsWith(one.below);
  return 'paths' in one && one.paths.includes(item.path);
};

let temporary: TemporaryStore;
let registry: CategoryRegistry;
beforeAll(async () => {
  temporary = await openTemporaryStore();
  const categories = new Categories(temporary.store, []);
  ({ registry } = await categories.current());
  categories.close();
});
afterAll(() => temporary.close());

async function replaceAll(all: readonly Item[]): Promise<void> {
  const { store } = temporary;
  const { docs } = await store.query({ collection: ENTITIES, limit: 1000 });
  await store.transact(async (tx) => {
    for (const { id } of docs) tx.delete(ENTITIES, id);
    for (const { path: id, owner, kind } of all) {
      const index = { [OWNER_FIELD]: [indexText(owner)], [CATEGORY_FIELD]: [kind] };
      tx.put(ENTITIES, id, { owner, kind }, { index });
    }
    await Promise.resolve();
  });
}

test('each entity of some part is on one page, in order, and no other', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async ({ items: all, parts, limit, maxChars, prefix, kind }) => {
      await replaceAll(all);
      const isSelected = (item: Item): boolean =>
        item.path.startsWith(prefix) && (kind === undefined || item.kind === kind);
      const byPath = new Map(all.map((item) => [item.path, item]));
      const base = { prefix, where: kind === undefined ? [] : [{ field: CATEGORY_FIELD, value: kind }] };
      const found: string[] = [];
      let after: string | undefined;
      do {
        const page = await pageOfParts(
          temporary.store,
          { base, parts, registry },
          { limit, maxChars, ...(after === undefined ? {} : { after }) },
          ({ id }) => isSelected(byPath.get(id) as Item),
        );
        expect(page.docs.length).toBeLessThanOrEqual(limit);
        // A page that has a next one makes progress.
        if (page.next !== undefined) expect(page.next).not.toBe(after);
        found.push(...page.docs.map(({ id }) => id));
        after = page.next;
      } while (after !== undefined);
      const expected = all.filter((item) => isSelected(item) && parts.some((one) => isIn(item, one)));
      expect(found).toEqual(expected.map((item) => item.path).sort());
    }),
    { numRuns: extent(150, 3000) },
  );
});
