/** A companion's members in memory follow the store, however long a single read takes. */
import { newId, silentLog, systemClock } from '@cmbs/shared';
import { CMBS_EXTENSION, layersOf, MEMBER, MEMBER_KIND } from '@cmbs/shared/broker';
import { Categories, deleteEntity, ENTITIES, type Entity, readEntity, writeEntity } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import { Members } from '../../companion/members';
import { wholeDeployment } from '../../companion/shard-lease';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const BOB = '/cmbs/member/bob';

let temporary: TemporaryStore;
let categories: Categories;
beforeEach(async () => {
  temporary = await openTemporaryStore();
  categories = new Categories(temporary.store, [CMBS_EXTENSION]);
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

async function write(title: string | undefined): Promise<void> {
  const { registry } = await categories.current();
  await temporary.store.transact(async (tx) => {
    const before = (await readEntity(tx, BOB))?.entity;
    const after: Entity = {
      path: BOB,
      id: 'bob',
      kind: MEMBER_KIND,
      mixins: [],
      attributes: { [MEMBER.local]: 'true', 'occi.core.title': title ?? '' },
      rawJson: {},
      owner: 'anybody',
      createdAt: 1,
      updatedAt: 1,
    };
    if (title !== undefined) writeEntity(tx, after, before, registry);
    else if (before !== undefined) deleteEntity(tx, before);
  });
}

/** A store in which a test can hold back the result of one read. */
class SlowStore {
  readonly store: Store;
  /** Consumed by the next read of entities, which waits for it before it returns. */
  #hold: (() => Promise<void>) | undefined;

  constructor(store: Store) {
    const get: Store['get'] = async (...given) => {
      const until = given[0] === ENTITIES ? this.#held() : undefined;
      const doc = await store.get(...given);
      await until;
      return doc;
    };
    const query: Store['query'] = async (...given) => {
      const until = given[0].collection === ENTITIES ? this.#held() : undefined;
      const page = await store.query(...given);
      await until;
      return page;
    };
    const own: Partial<Store> = { get, query };
    this.store = new Proxy(store, { get: (target, name: keyof Store) => own[name] ?? target[name].bind(target) });
  }

  #held(): Promise<void> | undefined {
    const hold = this.#hold;
    this.#hold = undefined;
    return hold?.();
  }

  /** Resolves when the first read that `begin` leads to has begun; it ends when `release` is called. */
  async holding<T>(begin: () => Promise<T>): Promise<{ readonly held: Promise<T>; readonly release: () => void }> {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const begun = new Promise<void>((resolve) => {
      this.#hold = () => {
        resolve();
        return released;
      };
    });
    const held = begin();
    await begun;
    return { held, release };
  }
}

let members: Members | undefined;
afterEach(() => members?.close());

const load = (store: Store): Promise<Members> =>
  Members.load({
    store,
    categories,
    layers: layersOf(),
    clock: systemClock,
    newId,
    log: silentLog,
    shard: wholeDeployment(newId),
  });

test('a member that was deleted during an older read stays deleted', async () => {
  await write('bob');
  const slow = new SlowStore(temporary.store);
  const known = (members = await load(slow.store));
  const older = await slow.holding(() => known.refresh(BOB));
  await write(undefined);
  await known.refresh(BOB);
  expect(known.get(BOB)).toBeUndefined();
  older.release();
  await older.held;
  expect(known.get(BOB)).toBeUndefined();
  // A member that is created again is known again.
  await write('another bob');
  expect((await known.refresh(BOB))?.attributes['occi.core.title']).toBe('another bob');
});

test.each([
  ['is deleted', undefined],
  ['is changed', 'new'],
])(
  'a member that %s while all members are read at the start has its latest state in memory',
  async (_what, title) => {
    await write('old');
    const slow = new SlowStore(temporary.store);
    let told: () => void = () => undefined;
    const changed = new Promise<void>((resolve) => (told = resolve));
    const watch: Store['watch'] = (scope, listener) =>
      slow.store.watch(scope, (changes) => {
        listener(changes);
        told();
      });
    const watched = new Proxy(slow.store, {
      get: (target, name: keyof Store) => (name === 'watch' ? watch : Reflect.get(target, name)) as unknown,
    });
    const loading = await slow.holding(() => load(watched));
    await write(title);
    await changed;
    loading.release();
    members = await loading.held;
    const { path = '', attributes } = members.get(BOB) ?? {};
    expect(path === '' ? undefined : attributes?.['occi.core.title']).toBe(title);
  },
);
