/** A pushed topic message is acknowledged only after it is stored, whatever its flags say. */
import {
  allowAll,
  ANONYMOUS,
  CmbsError,
  newId,
  silentCounters,
  silentLog,
  systemClock,
  TOPIC_BUS,
  type Counters,
  type JsonObject,
} from '@cmbs/shared';
import { CMBS_EXTENSION, DESIRED, Inbox, layersOf, MEMBER, MEMBER_KIND, OrderClock } from '@cmbs/shared/broker';
import { Categories, readEntity, writeEntity } from '@cmbs/shared/occi';
import { codecsOf, standardServices } from '@cmbs/shared/services';
import type { Store } from '@cmbs/shared/store';
import { pushHandler } from '@cmbs/functions/push-handler';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const ALICE = '/cmbs/member/alice';

let temporary: TemporaryStore;
let categories: Categories;
let counters: Counters;

async function change(attributes: JsonObject): Promise<void> {
  const { registry } = await categories.current();
  await temporary.store.transact(async (tx) => {
    const before = (await readEntity(tx, ALICE))?.entity;
    if (before === undefined) throw new Error('alice is gone');
    writeEntity(tx, { ...before, attributes: { ...before.attributes, ...attributes } }, before, registry);
  });
}

beforeEach(async () => {
  temporary = await openTemporaryStore();
  counters = silentCounters;
  const { store } = temporary;
  categories = new Categories(store, [CMBS_EXTENSION]);
  const { registry } = await categories.current();
  const now = systemClock.now();
  await store.transact((tx) => {
    const alice = {
      path: ALICE,
      id: 'alice',
      kind: MEMBER_KIND,
      mixins: [],
      attributes: { [MEMBER.local]: 'true', [MEMBER.state]: 'active', [MEMBER.topics]: ['news'] },
      rawJson: {},
      owner: 'anybody',
      createdAt: now,
      updatedAt: now,
    };
    writeEntity(tx, alice, undefined, registry);
    tx.put(DESIRED, ALICE, { l32: 'started' });
    return Promise.resolve();
  });
});
afterEach(async () => {
  categories.close();
  await temporary.close();
});

function pushed(store: Store, storable: boolean): Promise<void> {
  const context = {
    store,
    categories,
    layers: layersOf(),
    authorize: allowAll,
    clock: systemClock,
    order: OrderClock.ofProcess(systemClock),
    newId,
    log: silentLog,
    counters,
    deployment: 'here',
    inboxLimit: 10,
    inboxBytes: 1_000_000,
    uriOf: (path: string) => `http://here.example${path}`,
    codecs: codecsOf(),
    discovery: 'closed',
  } as const;
  const services = standardServices({ clock: systemClock, newId });
  const data = JSON.stringify({
    kind: 'http://houssem.org/cmbs#message',
    mixins: ['http://houssem.org/cmbs#l32'],
    id: 'note',
    attributes: {
      cmbs: { message: { cmbs_layer: 'l32', topics: ['news'], storable: String(storable), message_content: 'x' } },
    },
  });
  return pushHandler(context, { services, signed: undefined }).take(
    'any',
    { member: ALICE, layer: 'l32' },
    { id: '1', topic: 'news', message: { data, attributes: {} }, attempt: 1 },
    TOPIC_BUS,
  );
}

const inbox = async (): Promise<number> =>
  (
    await new Inbox(temporary.store, systemClock, newId).read(
      ANONYMOUS,
      { id: 'alice', path: ALICE, createdAt: 1, kind: MEMBER_KIND, mixins: [], owner: 'x' },
      { limit: 10, leaseMs: 0 },
    )
  ).entries.length;

/** A store that accepts no writes. */
function readOnly(store: Store): Store {
  const away = (): Promise<never> => Promise.reject(new CmbsError('unavailable', 'The store is away.'));
  return new Proxy(store, {
    get: (target, name: keyof Store) =>
      name === 'create' || name === 'transact' ? away : target[name].bind(target),
  });
}

test('a push for a topic that the member has left is dropped and counted', async () => {
  const counted: string[] = [];
  counters = {
    add: (name, labels?: Readonly<Record<string, string>>) => void counted.push(`${name} ${labels?.reason ?? ''}`),
  };
  await change({ [MEMBER.topics]: ['other'] });
  await pushed(temporary.store, true);
  expect([await inbox(), counted]).toEqual([0, ['cmbs_dropped not wanted any more']]);
});

test('a push to a suspended member is refused, so that the bus delivers the message again', async () => {
  await change({ [MEMBER.state]: 'suspended' });
  await expect(pushed(temporary.store, true)).rejects.toHaveProperty('code', 'unavailable');
  expect(await inbox()).toBe(0);
  await change({ [MEMBER.state]: 'active' });
  await pushed(temporary.store, true);
  expect(await inbox()).toBe(1);
});

test.each([true, false])(
  'a pushed message is stored before the push is acknowledged (storable %s)',
  async (storable) => {
    await pushed(temporary.store, storable);
    expect(await inbox()).toBe(1);
  },
);

test.each([true, false])(
  'a push is refused while the store is unavailable, so that Pub/Sub pushes again (storable %s)',
  async (storable) => {
    await expect(pushed(readOnly(temporary.store), storable)).rejects.toMatchObject({ code: 'unavailable' });
    await pushed(temporary.store, storable);
    expect(await inbox()).toBe(1);
  },
);
