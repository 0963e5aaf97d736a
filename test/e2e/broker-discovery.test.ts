/** Discovery: check_neighbors, and what members learn from replies (docs/layers.md, "Discovery and federation"). */
import { systemClock, type Clock, type Json, type JsonObject } from '@cmbs/shared';
import { DISCOVERY_BUDGET_MS, DISCOVERY_CONCURRENCY } from '../../companion/discovery';
import { HangingPeer, ScriptedPeer } from './broker-peers';
import { eventually, Fleet, freeSocket, MEMBER, type Deployment, type Member } from './harness';

const fleet = new Fleet();
afterAll(() => fleet.close());

interface Report {
  readonly found: readonly { readonly socket: string; readonly member: string }[];
  readonly known: readonly { readonly socket: string; readonly member: string }[];
  readonly failed: readonly { readonly socket: string; readonly reason: string }[];
}

async function check(deployment: Deployment, member: Member): Promise<Report> {
  const answer = await deployment.must(200, deployment.act(member.path, 'check_neighbors'));
  return (answer.json.attributes ?? answer.json) as unknown as Report;
}

const pathsOf = (found: Report['found']): readonly string[] => found.map(({ member }) => member).sort();

async function links(deployment: Deployment): Promise<readonly { source: string; target: string }[]> {
  const { json } = await deployment.must(200, deployment.get('/cmbs/neighbor/'));
  const end = (value: Json | undefined): string =>
    (value as { readonly location: string }).location.slice(deployment.url.length);
  // A collection without links has no member `links`.
  return ((json.links ?? []) as readonly JsonObject[]).map(({ source, target }) => ({
    source: end(source),
    target: end(target),
  }));
}

describe('two deployments', () => {
  let here: Deployment;
  let there: Deployment;
  let asking: Member;
  let asked: Member;
  beforeAll(async () => {
    [here, there] = await Promise.all([fleet.start(), fleet.start()]);
    asked = await there.member({ title: 'the other', topics: ['a.*'], start: ['l1'] });
    asking = await here.member({ neighbors: [asked.sockets.l1], start: ['l1'] });
  });

  test('find each other: both list both members, and the asking member has a link', async () => {
    const report = await check(here, asking);
    expect(report).toEqual({ found: [{ socket: asked.sockets.l1, member: asked.path }], known: [], failed: [] });
    expect((await here.get(asked.path)).attributes).toMatchObject({
      'cmbs.member.local': 'false',
      'cmbs.member.l1_socket': asked.sockets.l1,
      'cmbs.member.topics': ['a.*'],
    });
    expect((await there.get(asking.path)).attributes).toMatchObject({
      'cmbs.member.local': 'false',
      'cmbs.member.l1_socket': asking.sockets.l1,
    });
    expect(await links(here)).toEqual([{ source: asking.path, target: asked.path }]);
    expect((await here.get(asking.path)).text).toContain('http://houssem.org/cmbs#neighbor');
  });

  test('know each other the second time, and create no second link', async () => {
    const before = await links(here);
    const report = await check(here, asking);
    expect(report).toEqual({ found: [], known: [{ socket: asked.sockets.l1, member: asked.path }], failed: [] });
    expect(await links(here)).toEqual(before);
    expect(before).toHaveLength(1);
  });

  test('leave neighbors_socket, the inbox and the messages as they are', async () => {
    expect((await here.get(asking.path)).attributes['cmbs.member.neighbors_socket']).toEqual([asked.sockets.l1]);
    expect(await there.inbox(asked)).toEqual([]);
    expect((await there.get('/cmbs/message/')).json.resources).toEqual([]);
  });

  test('take over a changed description at the next exchange', async () => {
    await there.change(asked.path, { 'cmbs.member.topics': ['b.>'], 'cmbs.member.state': 'active' });
    await check(here, asking);
    expect((await here.get(asked.path)).attributes['cmbs.member.topics']).toEqual(['b.>']);
    await there.change(asked.path, { 'cmbs.member.topics': ['c'] });
    await here.send('l1', { to: asked.sockets.l1, from: asking.id });
    await eventually(
      async () => (await here.get(asked.path)).attributes['cmbs.member.topics'],
      (topics) => JSON.stringify(topics) === '["c"]',
      'the reply of a message teaches the new topics',
    );
  });

  test('with long names that begin alike have a link each', async () => {
    const long = 'n'.repeat(240);
    const [first, second] = await Promise.all([
      there.member({ id: `${long}-1`, start: ['l1'] }),
      there.member({ id: `${long}-2`, start: ['l1'] }),
    ]);
    const neighbors = [first.sockets.l1, second.sockets.l1];
    const curious = await here.member({ id: 'c'.repeat(100), neighbors, start: ['l1'] });
    expect((await check(here, curious)).failed).toEqual([]);
    const targets = (await links(here))
      .filter(({ source }) => source === curious.path)
      .map(({ target }) => target);
    expect(targets).toEqual(expect.arrayContaining([first.path, second.path]));
  });

  test('a remote member cannot be asked to check its neighbours here', async () => {
    expect((await here.act(asked.path, 'check_neighbors')).status).toBe(409);
  });
});

test('three in a chain: the first finds the second and, through it, the third', async () => {
  const [a, b, c] = await Promise.all([fleet.start(), fleet.start(), fleet.start()]);
  const last = await c.member({ start: ['l1'] });
  const middle = await b.member({ neighbors: [last.sockets.l1], start: ['l1'] });
  const first = await a.member({ neighbors: [middle.sockets.l1], start: ['l1'] });
  expect(pathsOf((await check(b, middle)).found)).toEqual([last.path]);
  const report = await check(a, first);
  expect(pathsOf(report.found)).toEqual([middle.path, last.path].sort());
  expect(report.failed).toEqual([]);
  expect(await links(a)).toHaveLength(2);
  // A peer that was asked has learnt which member asked.
  expect((await c.get(first.path)).status).toBe(200);
  expect((await b.get(first.path)).status).toBe(200);
});

test('neighbours that are absent, hang or answer nonsense are reported, and the others are found concurrently', async () => {
  let stoppedAt: number | undefined;
  const clock: Clock = { ...systemClock, now: () => stoppedAt ?? systemClock.now() };
  const [here, there] = await Promise.all([fleet.start({ clock }), fleet.start()]);
  const good = await there.member({ start: ['l1'] });
  const [dead, hanging, nonsense, refusing] = await Promise.all([
    freeSocket(),
    freeSocket(),
    freeSocket(),
    freeSocket(),
  ]);
  const peers = [
    await HangingPeer.bind(hanging),
    await ScriptedPeer.bind(nonsense, () => 'nonsense'),
    await ScriptedPeer.bind(refusing, () => '{"error":{"code":"unavailable","message":"Not now."}}'),
  ];
  try {
    const asking = await here.member({
      neighbors: [dead, hanging, nonsense, refusing, 'tcp://169.254.169.254:80', good.sockets.l1],
    });
    // The clock stands still, so the deadline of the hanging peer does not pass.
    stoppedAt = clock.now();
    const checking = check(here, asking);
    checking.catch(() => undefined); // looked at below
    await eventually(
      async () => (await here.get(good.path)).status,
      (status) => status === 200,
      'the neighbour that answers is found',
    );
    stoppedAt = undefined;
    const report = await checking;
    expect(pathsOf(report.found)).toEqual([good.path]);
    const reasons = Object.fromEntries(report.failed.map(({ socket, reason }) => [socket, reason]));
    expect(reasons).toEqual({
      [dead]: 'nobody listens there',
      [hanging]: 'no reply in time',
      [nonsense]: 'The peer answered with something that is not JSON.',
      [refusing]: 'unavailable: Not now.',
      'tcp://169.254.169.254:80': expect.stringContaining('link-local') as string,
    });
    expect((await here.get(asking.path)).attributes['cmbs.member.neighbors_socket']).toHaveLength(6);
  } finally {
    for (const peer of peers) peer.close();
  }
});

test('other local members of the deployment are reported as known, and linked', async () => {
  const own = await fleet.start();
  const other = await own.member({ start: ['l1'] });
  const asking = await own.member({ neighbors: [other.sockets.l1] });
  expect(await check(own, asking)).toEqual({
    found: [],
    known: [{ socket: other.sockets.l1, member: other.path }],
    failed: [],
  });
  expect(await links(own)).toHaveLength(1);
  expect((await own.get(other.path)).attributes['cmbs.member.local']).toBe('true');
});

describe('a deployment whose discovery is closed', () => {
  let closed: Deployment;
  let open: Deployment;
  beforeAll(async () => {
    [closed, open] = await Promise.all([fleet.start({ env: { CMBS_DISCOVERY: 'closed' } }), fleet.start()]);
  });

  test('answers a member that asks, and does not store it', async () => {
    const asked = await closed.member({ start: ['l1'] });
    const asking = await open.member({ neighbors: [asked.sockets.l1], start: ['l1'] });
    expect(pathsOf((await check(open, asking)).found)).toEqual([asked.path]);
    expect((await closed.get(asking.path)).status).toBe(404);
  });

  test('does not store a member that it asks, and says so', async () => {
    const stranger = await open.member({ start: ['l1'] });
    const asking = await closed.member({ neighbors: [stranger.sockets.l1] });
    const report = await check(closed, asking);
    expect(report.found).toEqual([]);
    expect(report.failed.map(({ socket, reason }) => ({ socket, reason }))).toEqual(
      expect.arrayContaining([
        { socket: stranger.sockets.l1, reason: 'the member was not accepted' },
      ]) as unknown[],
    );
    expect((await closed.get(stranger.path)).status).toBe(404);
  });

  test('knows a member that was created here by hand, and leaves its description alone', async () => {
    const invited = await open.member({ title: 'their title', start: ['l1'] });
    await closed.introduce(invited, { title: 'our title' });
    const asking = await closed.member({ neighbors: [invited.sockets.l1] });
    expect((await check(closed, asking)).known).toContainEqual({
      socket: invited.sockets.l1,
      member: invited.path,
    });
    expect((await closed.get(invited.path)).json.title).toBe('our title');
  });
});

test('deleting a member deletes its links', async () => {
  const [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  const asked = await there.member({ start: ['l1'] });
  const asking = await here.member({ neighbors: [asked.sockets.l1], start: ['l1'] });
  await check(here, asking);
  await here.must(200, here.request('DELETE', asked.path));
  expect(await links(here)).toEqual([]);
  expect((await here.get(asking.path)).status).toBe(200);
  expect(pathsOf((await check(here, asking)).found)).toEqual([asked.path]);
  expect(await links(here)).toHaveLength(1);
});

test('a description keeps to the form of the original', async () => {
  const [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  const asked = await there.member({ title: 'title', start: ['l1'] });
  await here.member();
  const sent = await here.send('l1', { to: asked.sockets.l1, content: '' });
  expect(sent.result.member_description).toEqual({
    kind: MEMBER,
    mixins: [],
    attributes: {
      cmbs: {
        member: {
          state: 'active',
          local: 'false',
          l1_socket: asked.sockets.l1,
          l2_socket: asked.sockets.l2,
          l31_socket: asked.sockets.l31,
          l32_socket: asked.sockets.l32,
          l4_socket: asked.sockets.l4,
          neighbors_socket: [],
          topics: [],
        },
      },
    },
    actions: [],
    id: asked.id,
    title: 'title',
    summary: '',
    links: [],
  });
});

test('at its deadline, discovery reports the members that it found and the sockets that it did not ask', async () => {
  let endTheTime: (() => void) | undefined;
  const clock: Clock = {
    ...systemClock,
    after: (delayMs, task) => {
      if (delayMs !== DISCOVERY_BUDGET_MS) return systemClock.after(delayMs, task);
      endTheTime = task;
      return () => undefined;
    },
  };
  const [here, there] = await Promise.all([fleet.start({ clock }), fleet.start()]);
  const good = await there.member({ start: ['l1'] });
  const sockets = await Promise.all(Array.from({ length: 40 }, freeSocket));
  const peers = await Promise.all(sockets.map((socket) => HangingPeer.bind(socket)));
  try {
    const asking = await here.member({ neighbors: [good.sockets.l1, ...sockets] });
    const checking = check(here, asking);
    checking.catch(() => undefined); // looked at below
    await eventually(
      async () => (await here.get(good.path)).status,
      (status) => status === 200,
      'the neighbour that answers is found',
    );
    endTheTime?.();
    const report = await checking;
    expect(pathsOf(report.found)).toEqual([good.path]);
    expect(report.failed.map(({ socket }) => socket).toSorted()).toEqual(sockets.toSorted());
    const over = report.failed.filter(({ reason }) => reason === 'the time for discovery is over');
    // Peers that were still being asked at the deadline may not have had time to reply.
    expect(over.length).toBeGreaterThanOrEqual(sockets.length - DISCOVERY_CONCURRENCY);
    for (const { reason } of report.failed) {
      expect(['the time for discovery is over', 'no reply in time']).toContain(reason);
    }
  } finally {
    for (const peer of peers) peer.close();
  }
});
