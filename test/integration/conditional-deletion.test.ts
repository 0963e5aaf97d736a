/** The condition of a deletion is checked once, before the provider releases the entity. */
import { allowAll, CmbsError, newId, SYSTEM, systemClock } from '@cmbs/shared';
import {
  Categories,
  type Category,
  Entities,
  type Extension,
  type Precondition,
  RESOURCE_KIND,
  stateOf,
} from '@cmbs/shared/occi';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const SCHEME = 'http://example.com/holding#';
const KIND = `${SCHEME}holder`;
const PATH = '/holder/one';
const requester = {
  principal: { kind: 'user', name: 'somebody' } as const,
  pathHere: ({ path }: { readonly path: string }) => path,
};
const deleter = { principal: SYSTEM, signal: new AbortController().signal };

const CATEGORIES: readonly Category[] = [
  {
    class: 'kind',
    term: 'holder',
    scheme: SCHEME,
    parent: RESOURCE_KIND,
    location: '/holder/',
    actions: [],
    attributes: {},
    origin: 'extension',
  },
];

let temporary: TemporaryStore;
let categories: Categories;
let entities: Entities;
/** Runs while the provider releases the entity. */
let release: () => Promise<void>;

beforeEach(async () => {
  temporary = await openTemporaryStore();
  release = () => Promise.resolve();
  const extension: Extension = {
    name: 'holding',
    categories: CATEGORIES,
    providers: [{ name: 'holding', releasing: () => release() }],
    bindings: { [KIND]: 'holding' },
  };
  categories = new Categories(temporary.store, [extension], {
    watch: true,
    clock: systemClock,
    authorize: allowAll,
  });
  entities = new Entities({ store: temporary.store, categories, clock: systemClock, newId, authorize: allowAll });
  await put();
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

const put = () =>
  entities.put(PATH, () => ({ kind: KIND, mixins: [], values: {}, rawJson: {}, links: [] }), requester);

/** A condition that the current entity meets. */
async function unchanged(): Promise<Precondition> {
  const state = stateOf(await entities.read(PATH, SYSTEM));
  return (current) => {
    if (current === undefined || stateOf(current) !== state)
      throw new CmbsError('precondition_failed', 'It changed.');
  };
}

test('a deletion whose condition is not met releases nothing', async () => {
  const condition = await unchanged();
  await put();
  release = () => Promise.reject(new Error('let go'));
  await expect(entities.delete(PATH, deleter, { expect: condition })).rejects.toMatchObject({
    code: 'precondition_failed',
  });
});

test('an entity that is being released refuses changes', async () => {
  const refusals: unknown[] = [];
  release = () =>
    put().then(
      () => undefined,
      (error: unknown) => void refusals.push(error),
    );
  await entities.delete(PATH, deleter, { expect: await unchanged() });
  expect(refusals).toEqual([expect.objectContaining({ code: 'conflict' })]);
  expect(await entities.find(PATH)).toBeUndefined();
});

test('an interrupted deletion is completed by the same request', async () => {
  const condition = await unchanged();
  release = () => Promise.reject(new CmbsError('deadline_exceeded', 'Too late.'));
  await expect(entities.delete(PATH, deleter, { expect: condition })).rejects.toMatchObject({
    code: 'deadline_exceeded',
  });
  await expect(put()).rejects.toMatchObject({ code: 'conflict' });
  release = () => Promise.resolve();
  await entities.delete(PATH, deleter, { expect: condition });
  expect(await entities.find(PATH)).toBeUndefined();
});
