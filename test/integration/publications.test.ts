/** Messages that the companion publishes for functions and former companions, and their order. */
import { Publications } from '../../companion/delivery/publications';
import { InFlightMessage } from '../../companion/delivery/in-flight-message';
import { allowAll, CmbsError, silentCounters, silentLog, systemClock, type Clock } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus';
import { CMBS_EXTENSION, layersOf, type OutboundMessage, putOutbound, readOutbound } from '@cmbs/shared/broker';
import { deleteOutbound } from '../../shared/broker/outbound-message';
import { Categories } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import { ManualClock } from '../contract/manual-clock';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { becomes } from './sockets-support';

const NEVER_MS = 3_600_000;

let opened: TemporaryStore;
let categories: Categories;
let publications: Publications;
/** Ids of the published messages, in the order of the bus. */
let published: string[];
/** The ordering keys of the published messages. */
let keys: Map<string, string | undefined>;
/** Runs before the bus accepts a message. */
let busy: (id: string, topic: string) => Promise<void>;
/** Topics of the calls to the bus, and the highest number of messages in flight at a call. */
let asked: string[];
let mostInFlight: number;
let backOffMs: number;
let sequence: number;

beforeEach(async () => {
  opened = await openTemporaryStore();
  categories = new Categories(opened.store, [CMBS_EXTENSION], { watch: false, maxAgeMs: 0, clock: systemClock });
  published = [];
  asked = [];
  mostInFlight = 0;
  keys = new Map();
  busy = () => Promise.resolve();
  backOffMs = 5;
  sequence = 0;
  publications = on(opened.store);
});
afterEach(async () => {
  await publications.drain();
  categories.close();
  await opened.close();
});

function on(store: Store, { most, clock = systemClock }: { most?: number; clock?: Clock } = {}): Publications {
  const bus: Pick<Bus, 'publish'> = {
    publish: async (_layer, topic, { attributes, orderingKey }) => {
      const id = attributes.send_id ?? '';
      asked.push(topic);
      mostInFlight = Math.max(mostInFlight, publications.size);
      keys.set(id, orderingKey);
      await busy(id, topic);
      published.push(id);
      return id;
    },
  };
  const made: Publications = new Publications(
    {
      store,
      bus: bus as Bus,
      categories,
      layers: layersOf(),
      authorize: allowAll,
      clock,
      log: silentLog,
      counters: silentCounters,
      deployment: 'd',
      uriOf: String,
      backOff: () => backOffMs,
    },
    {
      published: (message) => made.remove(message),
      settle: ({ message }) => made.remove(message),
      backOff: () => undefined,
      hold: (outbound) => new InFlightMessage(outbound),
      removed: () => undefined,
      serves: () => Promise.resolve(true),
    },
    most,
  );
  return made;
}

async function queued(id: string, more: Partial<OutboundMessage> = {}): Promise<InFlightMessage> {
  sequence += 1;
  const frame = JSON.stringify({
    kind: 'http://houssem.org/cmbs#message',
    mixins: ['http://houssem.org/cmbs#l32'],
    id,
    attributes: { cmbs: { message: { cmbs_layer: 'l32', message_content: 'x', ordering_key: 'changed since' } } },
  });
  const outbound: OutboundMessage = {
    id,
    wireId: id,
    message: `/cmbs/message/${id}`,
    layer: 'l32',
    from: '/cmbs/member/alice',
    createdAt: 1,
    sequence,
    expiresAt: systemClock.now() + 60_000,
    receivers: [{ name: 'news', via: 'bus', state: 'queued', attempts: 0 }],
    frame,
    orderingKey: 'k',
    ...more,
  };
  await opened.store.transact((tx) => {
    putOutbound(tx, outbound);
    return Promise.resolve();
  });
  return new InFlightMessage(outbound);
}

const cancel = (message: InFlightMessage): Promise<void> =>
  opened.store.transact((tx) => {
    deleteOutbound(tx, message.outbound);
    return Promise.resolve();
  });

const arePublished = (...ids: readonly string[]): Promise<void> =>
  becomes(() => ids.every((id) => published.includes(id)), `published: ${ids.join(', ')}`, 20_000);

test('messages with one ordering key are published in order, even after failures, and delay no other message', async () => {
  let failures = 3;
  busy = (id) =>
    id === 'one' && failures-- > 0 ? Promise.reject(new CmbsError('unavailable', 'Away.')) : Promise.resolve();
  const group = [await queued('one'), await queued('two'), await queued('three')];
  const others = [
    await queued('other-key', { orderingKey: 'l' }),
    await queued('other-member', { from: '/cmbs/member/bob' }),
    await queued('no-key', { orderingKey: '' }),
  ];
  // The order in which the companion learns of the messages must not matter.
  for (const message of [...group.reverse(), ...others]) publications.add(message, 10);
  await arePublished('one', 'two', 'three', ...others.map(({ outbound }) => outbound.id));
  expect(published.filter((id) => ['one', 'two', 'three'].includes(id))).toEqual(['one', 'two', 'three']);
  expect(published.indexOf('no-key')).toBeLessThan(published.indexOf('one'));
});

test('forwarded messages keep the order of their sender, regardless of the forwarding members', async () => {
  let failures = 3;
  busy = (id) =>
    id === 'one' && failures-- > 0 ? Promise.reject(new CmbsError('unavailable', 'Away.')) : Promise.resolve();
  const sender = 'another/alice';
  const one = await queued('one', { from: '/cmbs/member/bob', sender });
  const two = await queued('two', { from: '/cmbs/member/carol', sender });
  for (const message of [two, one]) publications.add(message, 0);
  await arePublished('one', 'two');
  expect(published).toEqual(['one', 'two']);
});

test('a message is published under the ordering key that it was queued with', async () => {
  publications.add(await queued('one'), 0);
  await arePublished('one');
  expect(keys.get('one')).toBe('k');
});

test('after a message fails, the next one of its ordering group is published', async () => {
  busy = (id) =>
    id === 'one' ? Promise.reject(new CmbsError('bad_request', 'No such topic.')) : Promise.resolve();
  for (const message of [await queued('one'), await queued('two')]) publications.add(message, 0);
  // The outbox stores the outcome of the first message.
  await cancel(new InFlightMessage((await readOutbound(opened.store, 'one'))?.outbound as OutboundMessage));
  await arePublished('two');
});

test('a message that another process publishes holds back its ordering group until it is published', async () => {
  const theirs = await queued('theirs');
  publications.add(await queued('ours'), 0);
  // Polls the message of the other process a few times.
  await publications.follow(theirs);
  expect(published).toEqual([]);
  await cancel(theirs);
  await arePublished('ours');
});

test('a message that is notified during an early attempt is tried again at once', async () => {
  backOffMs = NEVER_MS;
  let arrived: () => void = () => undefined;
  let open: () => void = () => undefined;
  const isAsked = new Promise<void>((resolve) => (arrived = resolve));
  const gate = new Promise<void>((resolve) => (open = resolve));
  const slow = new Proxy(opened.store, {
    get: (target, name: keyof Store) => {
      if (name !== 'query') return target[name].bind(target);
      return async (...args: Parameters<Store['query']>) => {
        const page = await target.query(...args);
        arrived();
        await gate;
        return page;
      };
    },
  });
  publications = on(slow);
  const theirs = await queued('theirs');
  const ours = await queued('ours');
  publications.add(ours, 0);
  await isAsked;
  await cancel(theirs);
  publications.notify(ours);
  open();
  await arePublished('ours');
});

test('a deleted message is dropped, and the next one of its ordering group is published', async () => {
  const orphan = (await queued('orphan')).outbound;
  await opened.store.transact((tx) => {
    putOutbound(tx, orphan);
    return Promise.resolve();
  });
  const next = await queued('next');
  publications.add(new InFlightMessage(orphan), 0);
  publications.add(next, 0);
  await arePublished('next');
  expect(await readOutbound(opened.store, 'orphan')).toBeUndefined();
});

test('a message that its function may still publish is left to the function for a while', async () => {
  const { outbound } = await queued('theirs');
  publications.add(new InFlightMessage(outbound), NEVER_MS);
  publications.add(await queued('ours'), 0);
  await publications.drain();
  expect(published).toEqual([]);
});

describe('a topic that refuses its messages', () => {
  const full = (_id: string, topic: string): Promise<void> =>
    topic === 'full' ? Promise.reject(new CmbsError('queue_full', 'The topic is full.')) : Promise.resolve();
  const to = (name: string): Pick<OutboundMessage, 'receivers'> => ({
    receivers: [{ name, via: 'bus', state: 'queued', attempts: 0 }],
  });
  /** Stores messages, and adds them as the outbox does when it reads the store. */
  async function wait(
    names: readonly string[],
    topic: string,
    more: Partial<OutboundMessage> = {},
  ): Promise<void> {
    for (const id of names) {
      const { outbound } = await queued(id, { orderingKey: '', ...to(topic), ...more });
      publications.found(outbound, 0);
    }
  }
  const names = (count: number, name: string): string[] => Array.from({ length: count }, (_, n) => `${name}-${n}`);

  test('delays no other topic, and gets all its waiting messages when it accepts messages again', async () => {
    publications = on(opened.store, { most: 4 });
    busy = full;
    const refused = names(20, 'refused');
    await wait(refused, 'full');
    await wait(['news-1', 'news-2'], 'news');
    await arePublished('news-1', 'news-2');
    await wait(['news-3'], 'news');
    await arePublished('news-3');
    expect(mostInFlight).toBeLessThanOrEqual(4);
    busy = () => Promise.resolve();
    await arePublished(...refused);
    expect(published).toHaveLength(23);
    expect(mostInFlight).toBeLessThanOrEqual(4);
  });

  test('gets the messages of an ordering key in order, including those evicted to the store', async () => {
    publications = on(opened.store, { most: 4 });
    busy = full;
    const keyed = names(12, 'keyed');
    await wait(keyed, 'full', { orderingKey: 'k' });
    await wait(names(12, 'other'), 'full');
    await wait(['news'], 'news');
    await arePublished('news');
    // Every few calls are refused, as by a topic that empties slowly.
    let turn = 0;
    busy = () => {
      turn += 1;
      return turn % 3 === 0 ? Promise.reject(new CmbsError('queue_full', 'Full again.')) : Promise.resolve();
    };
    await arePublished(...keyed, ...names(12, 'other'));
    expect(published.filter((id) => id.startsWith('keyed'))).toEqual(keyed);
  });

  test('is tried with one message after each back-off, not with all waiting messages', async () => {
    const clock = new ManualClock();
    publications = on(opened.store, { clock });
    busy = full;
    backOffMs = 1000;
    await wait(['first'], 'full');
    await becomes(() => asked.length === 1, 'the first was tried');
    await new Promise(setImmediate);
    await wait(names(9, 'later'), 'full');
    for (const attempts of [2, 3, 4]) {
      // The back-offs of all messages end.
      for (let n = 0; n < 10; n += 1) clock.runNext();
      await becomes(() => asked.length === attempts, 'one asks');
      await new Promise(setImmediate);
    }
    busy = () => Promise.resolve();
    for (let n = 0; n < 10; n += 1) clock.runNext();
    await arePublished('first', ...names(9, 'later'));
  });

  test('does not delay a message on its other topics', async () => {
    publications = on(opened.store, { most: 2 });
    busy = full;
    await wait(names(6, 'refused'), 'full');
    // Each message has a topic that refuses it and a topic that accepts it.
    const both = names(6, 'both');
    for (const id of both) {
      const receivers = [...to('full').receivers, ...to('news').receivers];
      publications.found((await queued(id, { orderingKey: '', receivers })).outbound, 0);
    }
    await arePublished(...both);
  });
});
