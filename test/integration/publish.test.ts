/** Publishing a message on several topics when the bus accepts only some of them. */
import { allowAll, CmbsError, silentCounters, silentLog, systemClock } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus';
import {
  CMBS_EXTENSION,
  layersOf,
  type OutboundMessage,
  publishOutbound,
  putOutbound,
  readOutbound,
} from '@cmbs/shared/broker';
import { Categories } from '@cmbs/shared/occi';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const FRAME = JSON.stringify({
  kind: 'http://houssem.org/cmbs#message',
  mixins: ['http://houssem.org/cmbs#l32'],
  id: 'one',
  attributes: { cmbs: { message: { cmbs_layer: 'l32', executable: 'false', message_content: 'x' } } },
});

let opened: TemporaryStore;
let categories: Categories;
beforeEach(async () => {
  opened = await openTemporaryStore();
  categories = new Categories(opened.store, [CMBS_EXTENSION], { watch: false, maxAgeMs: 0, clock: systemClock });
});
afterEach(async () => {
  categories.close();
  await opened.close();
});

/** Publishes a message on three topics of a bus with this behaviour; returns the topics of the calls to the bus. */
async function publisher(publish: (topic: string) => Promise<string>): Promise<{
  readonly asked: readonly string[];
  readonly again: () => Promise<OutboundMessage | undefined>;
  readonly states: () => Promise<readonly string[]>;
}> {
  const asked: string[] = [];
  const { store } = opened;
  const { registry } = await categories.current();
  const bus = {
    publish: (_layer: string, topic: string) => {
      asked.push(topic);
      return publish(topic);
    },
  } as unknown as Bus;
  const outbound: OutboundMessage = {
    id: 'send',
    wireId: 'send',
    message: '/cmbs/message/one',
    layer: 'l32',
    from: '/cmbs/member/alice',
    createdAt: 1,
    sequence: 0,
    expiresAt: systemClock.now() + 60_000,
    // A receiver that has not answered yet keeps the outbound message in the store.
    receivers: [
      ...['a', 'b', 'c'].map((name) => ({ name, via: 'bus' as const, state: 'queued' as const, attempts: 0 })),
      { name: '/cmbs/member/bob', via: 'request', address: 'tcp://127.0.0.1:1', state: 'queued', attempts: 0 },
    ],
    frame: FRAME,
  };
  await store.transact(async (tx) => {
    putOutbound(tx, outbound);
    return Promise.resolve();
  });
  const context = {
    store,
    bus,
    clock: systemClock,
    registry,
    layers: layersOf(),
    authorize: allowAll,
    log: silentLog,
    counters: silentCounters,
    deployment: 'd',
    uriOf: String,
  };
  return {
    asked,
    again: () => publishOutbound('send', context),
    states: async () =>
      ((await readOutbound(store, 'send'))?.outbound.receivers ?? []).map(({ name, state }) => `${name} ${state}`),
  };
}

it('topics that succeeded are not published again while the others are retried', async () => {
  let isAway = true;
  const { asked, again, states } = await publisher((topic) =>
    topic === 'b' && isAway ? Promise.reject(new CmbsError('unavailable', 'Away.')) : Promise.resolve('id'),
  );
  await expect(again()).rejects.toMatchObject({ code: 'unavailable' });
  await expect(again()).rejects.toMatchObject({ code: 'unavailable' });
  expect(await states()).toEqual(['a delivered', 'b queued', 'c delivered', '/cmbs/member/bob queued']);
  isAway = false;
  await again();
  expect(await states()).toEqual(['a delivered', 'b delivered', 'c delivered', '/cmbs/member/bob queued']);
  expect(asked).toEqual(['a', 'b', 'c', 'b', 'b']);
});

it('a topic that refuses a message permanently does not affect other topics', async () => {
  const { again, states } = await publisher((topic) =>
    topic === 'b' ? Promise.reject(new CmbsError('bad_attribute', 'Never.')) : Promise.resolve('id'),
  );
  expect((await again())?.receivers.find(({ name }) => name === 'b')).toMatchObject({
    state: 'failed',
    reason: 'Never.',
  });
  expect(await states()).toEqual(['a delivered', 'b failed', 'c delivered', '/cmbs/member/bob queued']);
});
