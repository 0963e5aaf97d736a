/** The sockets of members follow the desired state, also while a member is deleted and created again. */
import { newId, silentCounters, silentLog } from '@cmbs/shared';
import { CMBS_EXTENSION, DESIRED, layersOf, MEMBER, MEMBER_KIND } from '@cmbs/shared/broker';
import { Categories, ENTITIES, writeEntity } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import { LayerReconciler } from '../../companion/layer-reconciler';
import { wholeDeployment } from '../../companion/shard-lease';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const BOB = '/cmbs/member/bob';
const SOCKET = 'tcp://127.0.0.1:5010';

let temporary: TemporaryStore;
let categories: Categories;
let reconciler: LayerReconciler;
/** Addresses that were opened. */
let opened: string[];
/** Subscriptions that were removed. */
let removed: string[];
/** Whether this companion serves Bob. */
let isServed: boolean;
/** Called after each read of Bob, which waits for the result. */
let afterRead: () => Promise<void>;
beforeEach(async () => {
  temporary = await openTemporaryStore();
  const { store, clock } = temporary;
  categories = new Categories(store, [CMBS_EXTENSION]);
  opened = [];
  removed = [];
  isServed = true;
  afterRead = () => Promise.resolve();
  const open = (address: string): Promise<{ close: () => Promise<void> }> => {
    opened.push(address);
    return Promise.resolve({ close: () => Promise.resolve() });
  };
  reconciler = new LayerReconciler(
    {
      store: slow(store),
      categories,
      layers: layersOf(),
      exchanges: {
        serveRequests: ({ address }) => open(address),
        serveBroadcasts: ({ address }) => open(address),
      },
      bus: {
        setSubscription: () => Promise.reject(new Error('no layer of the bus is started')),
        removeSubscription: (name) => {
          removed.push(name);
          return Promise.resolve();
        },
        consume: () => {
          throw new Error('no layer of the bus is started');
        },
      },
      members: {
        get: () => undefined,
        onChange: () => () => undefined,
        refresh: () => Promise.resolve(undefined),
      },
      shard: { ...wholeDeployment(newId), serves: () => isServed },
      clock,
      log: silentLog,
      counters: silentCounters,
      backOff: () => 1000,
      lookAgainMs: undefined,
    },
    {
      reply: () => Promise.resolve('{}'),
      replyFederated: () => Promise.resolve('{}'),
      handleBroadcast: () => Promise.resolve(),
      handleBusDelivery: () => Promise.resolve(),
    },
  );
  await reconciler.open();
});
afterEach(async () => {
  await reconciler.close();
  categories.close();
  await temporary.close();
});

/** The store, with reads of Bob that the test delays. */
function slow(store: Store): Store {
  return new Proxy(store, {
    get: (target, name: keyof Store) => {
      if (name !== 'get') return target[name].bind(target);
      return async (...args: Parameters<Store['get']>) => {
        const doc = await target.get(...args);
        if (args[0] === ENTITIES && args[1] === BOB) await afterRead();
        return doc;
      };
    },
  });
}

/** Creates Bob with L1 started, in one write. */
async function create(): Promise<void> {
  const { registry } = await categories.current();
  const now = temporary.now();
  await temporary.store.transact((tx) => {
    const attributes = { [MEMBER.local]: 'true', [MEMBER.state]: 'active', [MEMBER.socket('l1')]: SOCKET };
    const bob = { path: BOB, id: 'bob', kind: MEMBER_KIND, mixins: [], attributes, rawJson: {} };
    writeEntity(tx, { ...bob, owner: newId(), createdAt: now, updatedAt: now }, undefined, registry);
    tx.put(DESIRED, BOB, { l1: 'started' });
    return Promise.resolve();
  });
}

test('a layer opens when it is started during the deletion of an earlier member', async () => {
  let started: ReturnType<LayerReconciler['reconcile']> | undefined;
  // The first step finds no member. While it is under way, the member is created and its layer started.
  afterRead = async () => {
    afterRead = () => Promise.resolve();
    await create();
    started = reconciler.reconcile(BOB, 'l1');
  };
  await reconciler.reconcile(BOB, 'l1');
  expect(await started).toEqual({ state: 'started' });
  expect(opened).toEqual([SOCKET]);
});

test('a layer opens when it is started during the release of an earlier member', async () => {
  await create();
  expect(await reconciler.reconcile(BOB, 'l1')).toEqual({ state: 'started' });
  const [, started] = await Promise.all([reconciler.release(BOB), reconciler.reconcile(BOB, 'l1')]);
  expect(started).toEqual({ state: 'started' });
  expect(opened).toEqual([SOCKET, SOCKET]);
});

test('the subscriptions of a member that returned from another companion are removed when its layers stop', async () => {
  await create();
  await reconciler.reconcile(BOB, 'l1');
  const before = [...removed];
  expect(before.length).toBeGreaterThan(0);
  // The first step finds the member elsewhere; the next one waits for it and finds the member here again.
  isServed = false;
  let back: ReturnType<LayerReconciler['reconcile']> | undefined;
  afterRead = () => {
    afterRead = () => {
      isServed = true;
      return Promise.resolve();
    };
    back = reconciler.reconcile(BOB, 'l1');
    return Promise.resolve();
  };
  await reconciler.reconcile(BOB, 'l1');
  expect(await back).toEqual({ state: 'started' });
  expect(removed).toEqual([...before, ...before]);
});
