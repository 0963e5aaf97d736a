/** What the companion publishes in the place of others, and in which order. */
import { Publications } from '@cmbs/companion/publications';
import { HeldSend } from '@cmbs/companion/held-send';
import { CmbsError, silentCounters, silentLog, systemClock } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus/bus';
import { CMBS_EXTENSION } from '@cmbs/shared/broker/providers';
import { deleteSend, putSend, readSend, type Send } from '@cmbs/shared/broker/send';
import { Categories } from '@cmbs/shared/occi/categories';
import type { Store } from '@cmbs/shared/store/store';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { becomes } from './sockets-support';

const NEVER_MS = 3_600_000;

let opened: TemporaryStore;
let categories: Categories;
let publications: Publications;
/** Ids of the sends that the bus has, in its order. */
let published: string[];
/** The ordering keys under which it got them. */
let keys: Map<string, string | undefined>;
/** What the bus does before it takes the send. */
let busy: (id: string) => Promise<void>;
let backOffMs: number;
let sequence: number;

beforeEach(async () => {
  opened = await openTemporaryStore();
  categories = new Categories(opened.store, [CMBS_EXTENSION], { watch: false, maxAgeMs: 0, clock: systemClock });
  published = [];
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

function on(store: Store): Publications {
  const bus: Pick<Bus, 'publish'> = {
    publish: async (_layer, _topic, { attributes, orderingKey }) => {
      const id = attributes.send_id ?? '';
      keys.set(id, orderingKey);
      await busy(id);
      published.push(id);
      return id;
    },
  };
  const made: Publications = new Publications(
    {
      store,
      bus: bus as Bus,
      categories,
      clock: systemClock,
      log: silentLog,
      counters: silentCounters,
      deployment: 'd',
      uriOf: String,
      backOff: () => backOffMs,
    },
    {
      published: (held) => made.remove(held),
      settle: ({ held }) => made.remove(held),
      park: () => undefined,
      hold: (send) => new HeldSend(send),
      removed: () => undefined,
      serves: () => Promise.resolve(true),
    },
  );
  return made;
}

async function queued(id: string, more: Partial<Send> = {}): Promise<HeldSend> {
  sequence += 1;
  const frame = JSON.stringify({
    kind: 'http://houssem.org/cmbs#message',
    mixins: ['http://houssem.org/cmbs#l32'],
    id,
    attributes: { cmbs: { message: { cmbs_layer: 'l32', message_content: 'x', ordering_key: 'changed since' } } },
  });
  const send: Send = {
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
    putSend(tx, send);
    return Promise.resolve();
  });
  return new HeldSend(send);
}

const cancel = (held: HeldSend): Promise<void> =>
  opened.store.transact((tx) => {
    deleteSend(tx, held.send);
    return Promise.resolve();
  });

const areOut = (...ids: readonly string[]): Promise<void> =>
  becomes(() => ids.every((id) => published.includes(id)), `published: ${ids.join(', ')}`);

test('what has one ordering key goes out in its order whatever fails, and holds nothing else up', async () => {
  let failures = 3;
  busy = (id) =>
    id === 'one' && failures-- > 0 ? Promise.reject(new CmbsError('unavailable', 'Away.')) : Promise.resolve();
  const line = [await queued('one'), await queued('two'), await queued('three')];
  const others = [
    await queued('other-key', { orderingKey: 'l' }),
    await queued('other-member', { from: '/cmbs/member/bob' }),
    await queued('no-key', { orderingKey: '' }),
  ];
  // In whatever order they become known.
  for (const held of [...line.reverse(), ...others]) publications.add(held, 10);
  await areOut('one', 'two', 'three', ...others.map(({ send }) => send.id));
  expect(published.filter((id) => ['one', 'two', 'three'].includes(id))).toEqual(['one', 'two', 'three']);
  expect(published.indexOf('no-key')).toBeLessThan(published.indexOf('one'));
});

test('what is passed on keeps the order of its sender, whichever members it came through', async () => {
  let failures = 3;
  busy = (id) =>
    id === 'one' && failures-- > 0 ? Promise.reject(new CmbsError('unavailable', 'Away.')) : Promise.resolve();
  const sender = 'another/alice';
  const one = await queued('one', { from: '/cmbs/member/bob', sender });
  const two = await queued('two', { from: '/cmbs/member/carol', sender });
  for (const held of [two, one]) publications.add(held, 0);
  await areOut('one', 'two');
  expect(published).toEqual(['one', 'two']);
});

test('one goes out under the key in whose line it stood', async () => {
  publications.add(await queued('one'), 0);
  await areOut('one');
  expect(keys.get('one')).toBe('k');
});

test('one that is given up lets the next one go', async () => {
  busy = (id) =>
    id === 'one' ? Promise.reject(new CmbsError('bad_request', 'No such topic.')) : Promise.resolve();
  for (const held of [await queued('one'), await queued('two')]) publications.add(held, 0);
  // The outbox writes down what became of the first one.
  await cancel(new HeldSend((await readSend(opened.store, 'one'))?.send as Send));
  await areOut('two');
});

test('one that others have in hand holds the line until it is gone', async () => {
  const theirs = await queued('theirs');
  publications.add(await queued('ours'), 0);
  // Polled a few times meanwhile.
  await publications.follow(theirs);
  expect(published).toEqual([]);
  await cancel(theirs);
  await areOut('ours');
});

test('one that is told to hurry while it finds that it is not its turn looks again at once', async () => {
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
  publications.hurry(ours);
  open();
  await areOut('ours');
});

test('one whose message is gone ends, and the next one goes', async () => {
  const orphan = (await queued('orphan')).send;
  await opened.store.transact((tx) => {
    putSend(tx, orphan);
    return Promise.resolve();
  });
  const next = await queued('next');
  publications.add(new HeldSend(orphan), 0);
  publications.add(next, 0);
  await areOut('next');
  expect(await readSend(opened.store, 'orphan')).toBeUndefined();
});

test('one that its function may still publish is left to it for a while', async () => {
  const { send } = await queued('theirs');
  publications.add(new HeldSend(send), NEVER_MS);
  publications.add(await queued('ours'), 0);
  await publications.drain();
  expect(published).toEqual([]);
});
