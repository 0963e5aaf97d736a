/** The entities of a collection that an action runs on, where pages end early. */
import type { Entities, Entity, OpenCollection } from '@cmbs/shared/occi';
import { allEntities } from '../../functions/handlers/action';

const FILTER = { categories: [], attributes: [], words: ['rare'] };
/** The listing of this test does not look at it. */
const COLLECTION = undefined as unknown as OpenCollection;

/** Pages with so many entities each; then pages without any, if there is no end. */
function listing(found: readonly number[], hasEnd: boolean) {
  let asked = 0;
  const list: Entities['list'] = (_collection, { cursor }) => {
    expect(cursor).toBe(asked === 0 ? undefined : String(asked));
    const entities = Array.from({ length: found[asked] ?? 0 }, () => ({ entity: {} as Entity, revision: 1 }));
    asked += 1;
    const isLast = hasEnd && asked >= found.length;
    return Promise.resolve({ entities, ...(isLast ? {} : { next: String(asked) }) });
  };
  return { entities: { list }, asked: () => asked };
}

it('are those of all pages', async () => {
  const pages = listing([0, 2, 0, 1], true);
  expect(await allEntities(pages, COLLECTION, { filter: FILTER })).toHaveLength(3);
  expect(pages.asked()).toBe(4);
});

it('are not looked for without end', async () => {
  const pages = listing([1], false);
  await expect(allEntities(pages, COLLECTION, { filter: FILTER })).rejects.toMatchObject({ code: 'too_large' });
  expect(pages.asked()).toBe(10);
});
