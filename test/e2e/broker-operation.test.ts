/** Health, metrics, and stopping. */
import { readdir } from 'node:fs/promises';
import { isLocal } from './engine';
import { HangingPeer, ScriptedPeer } from './broker-peers';
import { Deployment, eventually, Fleet, freeSocket } from './harness';
import { extent } from '../extent';

/** Milliseconds that a stop may take on a busy machine: less than the half minute or more that callers wait here. */
const STOPPED_MS = 20_000;
/** Each round takes two seconds on the emulators. */
const ROUNDS = isLocal() ? extent(8, 20) : 8;

const fleet = new Fleet();
afterAll(() => fleet.close());

test('/healthz and /readyz answer 200', async () => {
  const here = await fleet.start();
  for (const path of ['/healthz', '/readyz']) {
    const answer = await here.get(path);
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ status: 'ok' });
  }
});

test('/metrics counts deliveries, retries and drops, and shows waiting messages', async () => {
  const here = await fleet.start();
  const member = await here.member({ start: ['l1'] });
  expect((await here.get('/metrics')).headers.get('content-type')).toContain('text/plain; version=0.0.4');

  await here.must(200, here.send('l1', { to: member.sockets.l1 }));
  expect(await here.metric('cmbs_deliveries', { layer: 'l1', outcome: 'delivered' })).toBe(1);
  expect(await here.metric('cmbs_received', { layer: 'l1', outcome: 'accepted' })).toBe(1);

  const socket = await freeSocket();
  await here.must(
    202,
    here.send('l1', { to: socket, expiresAt: new Date(Date.now() + (isLocal() ? 1500 : 5000)) }),
  );
  expect(await here.metric('cmbs_messages_queued')).toBe(1);
  await eventually(
    () => here.metric('cmbs_dropped', { reason: 'expired', layer: 'l1' }),
    (dropped) => dropped === 1,
    'the expired message is counted',
  );
  await eventually(
    () => here.metric('cmbs_messages_queued'),
    (queued) => queued === 0,
    'nothing is queued any more',
  );

  // A peer that refuses twice is tried two more times.
  const refusal = '{"error":{"code":"unavailable","message":"Later."}}';
  const peer = await ScriptedPeer.bind(socket, (_body, number) =>
    number > 2 ? '{"member_description":{},"sockets_l1":[]}' : refusal,
  );
  try {
    const sent = await here.send('l1', { to: socket });
    await here.reaches(sent.path, 'delivered');
    expect(await here.metric('cmbs_retries', { layer: 'l1' })).toBe(2);
  } finally {
    peer.close();
  }

  const broken = await here.member({ sockets: { l1: 'tcp://192.0.2.1:5010' } });
  await here.act(broken.path, 'start_l1');
  expect(await here.metric('cmbs_layers_failing')).toBe(1);
  expect(await here.metric('cmbs_layers_failed', { layer: 'l1' })).toBeGreaterThan(0);
  await here.must(200, here.request('DELETE', broken.path));
  expect(await here.metric('cmbs_layers_failing')).toBe(0);
});

test('a stack with hanging peers stops in time, answers waiting callers, and continues after a restart', async () => {
  const here = await Deployment.start();
  const there = await fleet.start();
  const hangingAt = await freeSocket();
  const silentAt = await freeSocket();
  const peer = fleet.using(await HangingPeer.bind(hangingAt), (hanging) => hanging.close());
  try {
    const member = await here.member({ start: ['l1', 'l2', 'l31', 'l32', 'l4'] });
    const remote = await there.member();
    await here.introduce(remote, { topics: ['a'] });
    const waiting = [
      here.send('l1', { to: hangingAt, prefer: 'wait=30' }),
      here.send('l1', { to: hangingAt, prefer: 'respond-async' }),
      here.send('l1', { to: silentAt, prefer: 'respond-async' }),
      here.send('l2', { content: 'waits' }),
      here.send('l31', { providers: [remote.id], content: 'waits' }),
      here.send('l32', { topics: ['a'], content: 'waits for the remote one' }),
    ];
    await eventually(
      () => peer.received,
      (received) => received >= 2,
      'the hanging peer has both requests',
    );
    await Promise.all(waiting.slice(1));
    const polling = here.inbox(member, 'wait=60&lease=0');
    const headers = { Accept: 'text/event-stream', ...here.headers };
    const stream = await fetch(`${here.url}${member.path}/inbox/`, { headers });
    const streaming = stream.text();
    const took = await here.down();
    expect(took).toBeLessThan(STOPPED_MS);
    expect((await waiting[0])?.status).toBe(202);
    await expect(streaming).resolves.toContain('inbox');
    await expect(polling).resolves.toEqual([]);

    await here.up();
    peer.close();
    await there.must(200, there.act(remote.path, 'start_l31'));
    await there.must(200, there.act(remote.path, 'start_l32'));
    await there.must(200, there.act(remote.path, 'start_l2'));
    const revived = await ScriptedPeer.bind(hangingAt, () => '{"member_description":{},"sockets_l1":[]}');
    try {
      for (const sent of await Promise.all(waiting)) {
        if (sent.attributes['cmbs.message.l1_socket_receiver_member'] === silentAt) continue;
        await here.reaches(sent.path, 'delivered');
      }
      expect(await here.metric('cmbs_messages_queued')).toBe(1);
    } finally {
      revived.close();
    }
  } finally {
    await here.close();
  }
});

test('an idle stack stops at once, and a second stop has no effect', async () => {
  const here = await Deployment.start();
  await here.member({ start: ['l1', 'l2', 'l31', 'l32', 'l4'] });
  expect(await here.down()).toBeLessThan(STOPPED_MS);
  await here.close();
});

test('a start that fails leaves nothing behind', async () => {
  const here = await fleet.start();
  const port = new URL(here.url).port;
  await expect(Deployment.start({ env: { PORT: port } })).rejects.toThrow(/listens on 127\.0\.0\.1:\d+ already/);
});

test('repeated starts of layers, discoveries and sends leave no descriptor open', async () => {
  const [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  const good = await there.member({ start: ['l1'] });
  const dead = await freeSocket();
  const member = await here.member({ neighbors: [good.sockets.l1, dead] });
  const round = async (): Promise<void> => {
    for (const layer of ['l1', 'l2', 'l31', 'l32', 'l4'])
      await here.must(200, here.act(member.path, `start_${layer}`));
    await here.must(200, here.act(member.path, 'check_neighbors'));
    await here.must(200, here.send('l1', { to: good.sockets.l1 }));
    const queued = await here.send('l1', { to: dead });
    expect(queued.status).toBe(202);
    await here.must(200, here.request('DELETE', queued.path));
    await here.inbox(member, 'wait=0');
    for (const layer of ['l1', 'l2', 'l31', 'l32', 'l4'])
      await here.must(200, here.act(member.path, `stop_${layer}`));
  };
  const descriptors = async (): Promise<number> => (await readdir('/dev/fd')).length;
  for (let number = 0; number < 3; number += 1) await round();
  const before = await descriptors();
  for (let number = 0; number < ROUNDS; number += 1) await round();
  // libzmq closes sockets in its own thread. A leak in each round would add more descriptors.
  await eventually(descriptors, (now) => now <= before + 5, `not more than ${before} descriptors are open`);
}, 180_000);
