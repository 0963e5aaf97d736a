/** An attribute that an update drops is removed from entities in steps of limited size, despite interruptions. */
import { allowAll, type Json, newId, SYSTEM, systemClock } from '@cmbs/shared';
import { MAX_BATCH_ENTITIES, STEPS_BUDGET_MS } from '../../shared/occi/limits';
import { Categories, Entities, type Progress } from '@cmbs/shared/occi';
import type { CategoryInput } from '../../shared/occi/payload';
import type { Store, Transaction } from '@cmbs/shared/store';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { notEmpty } from '../not-empty';

const SCHEME = 'http://example.com/dropped#';
const COUNT = 2 * MAX_BATCH_ENTITIES + 7;
const requester = {
  principal: { kind: 'user', name: 'somebody' } as const,
  pathHere: ({ path }: { readonly path: string }) => path,
};
const NO_FILTER = { categories: [], attributes: [], words: [] };

const input = (term: string, more: Partial<CategoryInput>): CategoryInput => ({
  ...{ term, scheme: SCHEME, location: `/${term}/`, dialect: 'strict', given: ['attributes'] },
  ...more,
});
const free = { type: 'string', mutable: true };
const KIND = input('thing', { class: 'kind', attributes: { 'a.stays': free, 'a.goes': free } });
const SMALLER = { ...KIND, attributes: { 'a.stays': free } };

let temporary: TemporaryStore;
let largest: number;
let now: number;
/** Milliseconds by which the clock advances at each reading. */
let tick: number;
const open: Categories[] = [];

beforeEach(async () => {
  temporary = await openTemporaryStore();
  [largest, now, tick] = [0, systemClock.now(), 0];
});
afterEach(async () => {
  for (const one of open.splice(0)) one.close();
  await temporary.close();
});

/** The store, recording the largest number of writes in one transaction. */
function measured(store: Store): Store {
  return new Proxy(store, {
    get: (object, name) => {
      if (name === 'transact') {
        return (body: (tx: Transaction) => Promise<unknown>) =>
          object.transact(async (tx) => {
            let writes = 0;
            const counting = new Proxy(tx, {
              get: (inner, method) => {
                if (method === 'put') largest = Math.max(largest, (writes += 1));
                const value: unknown = Reflect.get(inner, method);
                return typeof value === 'function' ? (value as (...a: unknown[]) => unknown).bind(inner) : value;
              },
            });
            return body(counting);
          });
      }
      const value: unknown = Reflect.get(object, name);
      return typeof value === 'function' ? (value as (...a: unknown[]) => unknown).bind(object) : value;
    },
  });
}

function opened(): { readonly categories: Categories; readonly entities: Entities } {
  const clock = { ...systemClock, now: () => (now += tick) };
  const store = measured(temporary.store);
  const categories = new Categories(store, [], { watch: true, clock, authorize: allowAll });
  open.push(categories);
  return { categories, entities: new Entities({ store, categories, clock, newId, authorize: allowAll }) };
}

async function make(
  entities: Entities,
  count: number,
  kind: string,
  mixins: readonly string[] = [],
): Promise<void> {
  const one = { kind: SCHEME + kind, mixins, values: { 'a.stays': 's', 'a.goes': 'g' }, rawJson: {}, links: [] };
  for (let made = 0; made < count; made += MAX_BATCH_ENTITIES) {
    const some = Array.from({ length: Math.min(MAX_BATCH_ENTITIES, count - made) }, () => one);
    await entities.create(some, `/${kind}/`, requester);
  }
}

async function attributesOf(entities: Entities): Promise<readonly Readonly<Record<string, Json>>[]> {
  const everything = await entities.openCollection('/', SYSTEM);
  const page = await entities.list(everything, { filter: NO_FILTER, number: 10_000 });
  return notEmpty(page.entities).map(({ entity }) => entity.attributes);
}

const update = (categories: Categories, inputs: readonly CategoryInput[]): Promise<Progress> =>
  categories.update({ categories: inputs, providers: [] }, SYSTEM);

async function until(run: () => Promise<Progress>): Promise<readonly Progress[]> {
  const all: Progress[] = [];
  do all.push(await run());
  while (all.at(-1)?.isComplete === false && all.length < 100);
  return all;
}

it('the removal of an attribute completes in one request if there is time, in transactions of limited size', async () => {
  const { categories, entities } = opened();
  await categories.define([KIND], SYSTEM);
  await make(entities, COUNT, 'thing');
  largest = 0;
  expect(await update(categories, [SMALLER])).toEqual({ done: COUNT, isComplete: true });
  expect(largest).toBeLessThanOrEqual(MAX_BATCH_ENTITIES + 2);
  const left = await attributesOf(entities);
  expect(left).toHaveLength(COUNT);
  for (const attributes of left) expect(attributes).toEqual({ 'a.stays': 's' });
});

it('the removal of an attribute continues after an interruption when the request is repeated', async () => {
  const { categories, entities } = opened();
  await categories.define([KIND], SYSTEM);
  await make(entities, COUNT, 'thing');
  tick = STEPS_BUDGET_MS;
  const all = await until(() => update(categories, [SMALLER]));
  expect(all.map(({ done }) => done)).toEqual([MAX_BATCH_ENTITIES, MAX_BATCH_ENTITIES, 7]);
  expect(all.map(({ isComplete }) => isComplete)).toEqual([false, false, true]);
  for (const attributes of await attributesOf(entities)) expect(attributes).toEqual({ 'a.stays': 's' });
});

it('the removal of an attribute continues at the next start, even after another change of the category', async () => {
  const before = opened();
  await before.categories.define([KIND], SYSTEM);
  await make(before.entities, COUNT, 'thing');
  tick = STEPS_BUDGET_MS;
  expect(await update(before.categories, [SMALLER])).toMatchObject({ isComplete: false });
  await before.categories.define([input('go', { class: 'action', attributes: {} })], SYSTEM);
  tick = 0;
  const { categories, entities } = opened();
  await categories.resume();
  for (const attributes of await attributesOf(entities)) expect(attributes).toEqual({ 'a.stays': 's' });
});

it('the removal of an attribute keeps attributes that another category or a new definition declares', async () => {
  const { categories, entities } = opened();
  const mixin = input('also', { class: 'mixin', attributes: { 'a.goes': free } });
  await categories.define([KIND, mixin], SYSTEM);
  await make(entities, 1, 'thing', [`${SCHEME}also`]);
  await make(entities, 1, 'thing');
  expect(await update(categories, [SMALLER])).toEqual({ done: 1, isComplete: true });
  const left = await attributesOf(entities);
  expect(left.filter((attributes) => 'a.goes' in attributes)).toHaveLength(1);
});

it('the removal of an attribute covers entities of derived kinds and of dependent mixins', async () => {
  const { categories, entities } = opened();
  const base = input('base', { class: 'mixin', attributes: { 'a.stays': free, 'a.goes': free } });
  await categories.define(
    [
      base,
      input('middle', { class: 'mixin', depends: [`${SCHEME}base`] }),
      input('top', { class: 'mixin', depends: [`${SCHEME}middle`] }),
      KIND,
      input('child', { class: 'kind', parent: `${SCHEME}thing` }),
      input('bare', { class: 'kind' }),
    ],
    SYSTEM,
  );
  await make(entities, 1, 'child');
  await make(entities, 1, 'bare', [`${SCHEME}top`]);
  expect(await update(categories, [{ ...base, attributes: { 'a.stays': free } }])).toMatchObject({ done: 1 });
  expect(await update(categories, [SMALLER])).toMatchObject({ done: 1 });
  for (const attributes of await attributesOf(entities)) expect(attributes).toEqual({ 'a.stays': 's' });
  // Entities also lose the attributes of a mixin on which their mixin no longer depends.
  const middle = input('middle', { class: 'mixin', depends: [], given: ['depends'] });
  expect(await update(categories, [middle])).toEqual({ done: 1, isComplete: true });
});
