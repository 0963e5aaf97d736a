/** Absent peers cost almost nothing and do not block others. */
import { readdirSync } from 'node:fs';
import { localTest } from './engine';
import { CMBS, eventually, Fleet, freeSocket, MESSAGE, contentOf, type Deployment, type Member } from './harness';
import { ScriptedPeer } from './broker-peers';
import { extent } from '../extent';

/** Every absent peer is tried within the time of a test. */
const delivery = { probesPerTick: 64, probeTickMs: 250 };

/** Unused ports: between those that tests take (`free-port.ts`) and those that the system gives out. */
const DEAD_PORT = 32_000;
const ABSENT = extent(250, 400);
/**
 * An attempt in progress or a lingering socket takes three or four descriptors; a connection per peer would take
 * more.
 */
const MOST_DESCRIPTORS = 640;

const fleet = new Fleet();
afterEach(() => fleet.close());

/** Creates messages in batches. */
async function create(here: Deployment, layer: 'l1' | 'l2', all: readonly object[]): Promise<void> {
  for (let at = 0; at < all.length; at += 250) {
    const resources = all.slice(at, at + 250).map((attributes) => ({
      kind: MESSAGE,
      mixins: [CMBS + layer],
      attributes,
    }));
    await here.must(201, here.request('POST', '/cmbs/message/', JSON.stringify({ resources })));
  }
}

async function sendAll(here: Deployment, layer: 'l1' | 'l2', from: Member): Promise<void> {
  await here.must(
    200,
    here.request(
      'POST',
      `/cmbs/message/${layer}/?action=send_${layer}`,
      { attributes: { from: from.id } },
      { Prefer: 'respond-async' },
    ),
  );
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

localTest('hundreds of dead peers do not block a live peer, and release their descriptors', async () => {
  const [here, there] = await Promise.all([fleet.start({ delivery }), fleet.start({ delivery })]);
  const sender = await here.member();
  const receiver = await there.member({ start: ['l1'] });
  const late = await there.member();
  await create(here, 'l1', [
    ...Array.from({ length: ABSENT }, (_, n) => ({
      'cmbs.message.l1_socket_receiver_member': `tcp://127.0.0.1:${DEAD_PORT + n}`,
      'cmbs.message.message_content': 'x',
    })),
    { 'cmbs.message.l1_socket_receiver_member': late.sockets.l1, 'cmbs.message.message_content': 'late' },
  ]);
  const before = descriptors();
  await sendAll(here, 'l1', sender);
  const sent = await here.send('l1', { to: receiver.sockets.l1, from: sender.id });
  expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
  await eventually(
    () => here.metric('cmbs_messages_in_flight'),
    (held) => held === 0,
    'nothing that waits is in memory',
  );
  expect(await here.metric('cmbs_messages_queued')).toBe(ABSENT + 1);
  expect(descriptors() - before).toBeLessThan(MOST_DESCRIPTORS);
  // A peer that comes back is noticed at its next attempt.
  await there.must(200, there.act(late.path, 'start_l1'));
  const entries = await there.receives(late, 1);
  expect(entries.map(contentOf)).toEqual(['late']);
});

localTest('messages for an absent peer stay in the store, and go out in order once the peer is back', async () => {
  const [here, there] = await Promise.all([fleet.start({ delivery }), fleet.start({ delivery })]);
  const sender = await here.member();
  const late = await there.member();
  const numbers = Array.from({ length: extent(120, 300) }, (_, n) => n);
  for (const n of numbers) {
    const path = await here.message('l1', { to: late.sockets.l1, content: n });
    await here.must(202, here.act(path, 'send_l1', { from: sender.id }, { Prefer: 'respond-async' }));
  }
  await eventually(
    () => here.metric('cmbs_messages_in_flight'),
    (held) => held === 0,
    'nothing that waits is in memory',
  );
  await there.must(200, there.act(late.path, 'start_l1'));
  const entries = await there.receives(late, numbers.length);
  expect(entries.map(contentOf)).toEqual(numbers);
});

test('messages with one ordering key do not overtake a message that its receiver refuses temporarily', async () => {
  const here = await fleet.start({ delivery });
  const sender = await here.member();
  const l32 = await freeSocket();
  await here.member({ local: false, sockets: { l32 }, topics: ['news'] });
  const paths: string[] = [];
  for (const content of ['one', 'two', 'three']) {
    const { path } = (await here.must(
      202,
      here.send('l32', { topics: ['news'], content, orderingKey: 'k', from: sender.id, prefer: 'wait=1' }),
    )) as Awaited<ReturnType<Deployment['send']>>;
    paths.push(path);
  }
  const peer = fleet.using(
    await ScriptedPeer.bind(l32, (_body, number) =>
      number === 1 ? '{"error":{"code":"unavailable","message":"Later."}}' : '{}',
    ),
    (one) => one.close(),
  );
  for (const path of paths) await here.reaches(path, 'delivered');
  const contents = peer.bodies.map((body) => /"message_content":"(\w+)"/.exec(body)?.[1]);
  expect(contents).toEqual(['one', 'one', 'two', 'three']);
});

localTest('a large broadcast to many absent members takes few descriptors', async () => {
  const here = await fleet.start({ delivery });
  const sender = await here.member();
  for (let n = 0; n < ABSENT; n += 1) {
    await here.member({ local: false, sockets: { l2: `tcp://127.0.0.1:${DEAD_PORT + n}` } });
  }
  const before = descriptors();
  const sent = await here.must(202, here.send('l2', { content: 'x'.repeat(900_000), from: sender.id }));
  const states = sent.delivery.receivers.map(({ state }) => state);
  expect(states).toHaveLength(ABSENT);
  expect(descriptors() - before).toBeLessThan(MOST_DESCRIPTORS);
  expect(await here.metric('cmbs_messages_queued')).toBe(1);
});

/** Sends a message to each address; resolves when all of them wait in the store only. */
async function leaveWaiting(here: Deployment, sender: Member, addresses: readonly string[]): Promise<string[]> {
  const paths: string[] = [];
  for (const to of addresses) {
    paths.push((await here.send('l1', { to, from: sender.id, prefer: 'respond-async' })).path);
  }
  await eventually(
    () => Promise.all(paths.map((path) => here.delivery(path))),
    (all) => all.every(({ reason = '' }) => reason.startsWith('nobody listens')),
    'no peer listens',
  );
  await eventually(
    () => here.metric('cmbs_messages_in_flight'),
    (held) => held === 0,
    'nothing that waits is in memory',
  );
  return paths;
}

const destinationsAre = (here: Deployment, count: number): Promise<unknown> =>
  eventually(
    () => here.metric('cmbs_destinations'),
    (destinations) => destinations === count,
    `${count} destinations`,
  );

test('a destination is not tried again once every message for it is cancelled', async () => {
  const here = await fleet.start({ delivery });
  const sender = await here.member();
  const addresses = await Promise.all([freeSocket(), freeSocket(), freeSocket()]);
  const paths = await leaveWaiting(here, sender, addresses);
  await destinationsAre(here, 3);
  for (const path of paths) await here.must(200, here.request('DELETE', path));
  await destinationsAre(here, 0);
});

test('a destination is tried while messages wait for it, and gets them once it is back', async () => {
  const [here, there] = await Promise.all([fleet.start({ delivery }), fleet.start({ delivery })]);
  const sender = await here.member();
  const late = await there.member();
  const to = late.sockets.l1;
  const paths = await leaveWaiting(here, sender, [to, to, to, to, to, await freeSocket()]);
  // Once the other destination is gone, all of these deletions have been handled.
  for (const path of [...paths.slice(0, 3), ...paths.slice(4)]) {
    await here.must(200, here.request('DELETE', path));
  }
  await destinationsAre(here, 1);
  await there.must(200, there.act(late.path, 'start_l1'));
  const entries = await there.receives(late, 1, 60_000);
  expect(entries).toHaveLength(1);
  // With an open connection, a new message uses it.
  const sent = await here.send('l1', { to, from: sender.id, content: 'new' });
  expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
});

test('cancelled broadcasts leave nothing waiting', async () => {
  const here = await fleet.start({ delivery });
  const sender = await here.member();
  await here.member({ local: false });
  const sent = await here.send('l2', { from: sender.id });
  expect(sent.status).toBe(202);
  await eventually(
    () => here.metric('cmbs_messages_in_flight'),
    (held) => held === 0,
    'nothing that waits is in memory',
  );
  await destinationsAre(here, 1);
  await here.must(200, here.request('DELETE', sent.path));
  await destinationsAre(here, 0);
});
