/** L3.2 and L4 between deployments (docs/layers.md, "Discovery and federation"). */
import { ask, frameOf, ScriptedPeer } from './broker-peers';
import { contents, settle } from './broker-topics-support';
import {
  contentOf,
  eventually,
  Fleet,
  freeSocket,
  unique,
  type Deployment,
  type Entry,
  type Member,
} from './harness';

const fleet = new Fleet();
afterAll(() => fleet.close());

const withoutMarks = (entries: readonly Entry[]): readonly unknown[] =>
  contents(entries).filter((content) => typeof content !== 'string' || !content.startsWith('mark-'));

describe.each(['l32', 'l4'] as const)('%s between deployments', (layer) => {
  let a: Deployment;
  let b: Deployment;
  let c: Deployment;
  let sender: Member;
  let atA: Member;
  let atB: Member;
  let alsoAtB: Member;
  let atC: Member;
  const topics = ['news.>', 'settle.mark'];
  beforeAll(async () => {
    [a, b, c] = await Promise.all([fleet.start(), fleet.start(), fleet.start()]);
    sender = await a.member({ title: 'sender', start: [layer] });
    atA = await a.member({ title: 'at a', topics, start: [layer] });
    atB = await b.member({ title: 'at b', topics, start: [layer] });
    alsoAtB = await b.member({ title: 'also at b', topics, start: [layer] });
    atC = await c.member({ title: 'at c', topics, start: [layer] });
  });

  const everybody = (): readonly (readonly [Deployment, Member])[] => [
    [a, atA],
    [b, atB],
    [b, alsoAtB],
    [c, atC],
  ];

  async function eachReceived(content: string): Promise<readonly number[]> {
    await settle(a, layer, sender, everybody());
    return Promise.all(
      everybody().map(
        async ([where, member]) => contents(await where.inbox(member)).filter((one) => one === content).length,
      ),
    );
  }

  test('a message reaches the end of a chain, and each member once', async () => {
    await a.introduce(atB, { topics });
    await b.introduce(atC, { topics });
    const content = unique('chain');
    const sent = await a.send(layer, { from: sender.id, topics: ['news.x'], content });
    expect(sent.status).toBe(200);
    expect(sent.delivery.state).toBe('delivered');
    expect(sent.result).toMatchObject({
      published: { 'news.x': expect.any(String) as string },
      members: { [atB.path]: { member_description: { id: atB.id } } },
    });
    expect(await eachReceived(content)).toEqual([1, 1, 1, 1]);
    const [entry] = (await c.inbox(atC)).filter((one) => contentOf(one) === content);
    expect(entry?.message).toMatchObject({
      attributes: { cmbs: { message: { path_history: [sender.uri, atB.uri, expect.any(String) as string] } } },
    });
    expect(entry?.message_id).toBe(sent.path.slice('/cmbs/message/'.length));
  });

  test('there are no duplicates and no loops when all deployments know each other', async () => {
    await a.introduce(atC, { topics });
    await a.introduce(alsoAtB, { topics });
    await b.introduce(atA, { topics });
    await c.introduce(atA, { topics });
    await c.introduce(atB, { topics });
    await c.introduce(sender, { topics });
    const content = unique('mesh');
    const sent = await a.send(layer, { from: sender.id, topics: ['news.x', 'news.y'], content });
    expect(sent.status).toBe(200);
    expect(await eachReceived(content)).toEqual([1, 1, 1, 1]);
    for (const deployment of [a, b, c]) {
      await eventually(
        () => deployment.metric('cmbs_messages_queued'),
        (queued) => queued === 0,
        'nothing goes round any more',
      );
    }
    expect(await eachReceived(content)).toEqual([1, 1, 1, 1]);
  });

  test('a message that returns to its deployment is not published again', async () => {
    const content = unique('again');
    const before = await a.metric('cmbs_received', { layer, outcome: 'forwarded' });
    await a.must(200, a.send(layer, { from: sender.id, topics: ['news.x'], content }));
    await eachReceived(content);
    expect(await a.metric('cmbs_received', { layer, outcome: 'forwarded' })).toBe(before);
  });

  test('a message is not forwarded to a remote member that wants another topic', async () => {
    const sent = await a.send(layer, { from: sender.id, topics: ['sport'] });
    expect(sent.result).toMatchObject({ members: {} });
  });

  test('an absent remote member gets the message once it is back', async () => {
    const late = await c.member({ title: 'late', topics: ['late'] });
    await a.introduce(late, { topics: ['late'] });
    const sent = await a.send(layer, { from: sender.id, topics: ['late'], content: 'late' });
    expect(sent.status).toBe(202);
    expect(sent.delivery.state).toBe('partial');
    await c.must(200, c.act(late.path, `start_${layer}`));
    await a.reaches(sent.path, 'delivered');
    expect(contents(await c.receives(late, 1))).toEqual(['late']);
  });

  if (layer === 'l4') {
    test('only listed providers get the message, whichever deployment they belong to', async () => {
      const content = unique('listed');
      await a.must(
        200,
        a.send('l4', { from: sender.id, topics: ['news.x'], providers: [alsoAtB.id, atC.id], content }),
      );
      expect(await eachReceived(content)).toEqual([0, 0, 1, 1]);
    });

    test('listed providers of a message without a topic are addressed over their own sockets', async () => {
      const sent = await a.send('l4', { from: sender.id, topics: [], providers: [atC.id], content: 'direct' });
      expect(sent.status).toBe(200);
      expect(sent.result).toMatchObject({ published: {}, members: { [atC.path]: { member_description: {} } } });
      expect(contents(await c.inbox(atC))).toContain('direct');
      expect(withoutMarks(await b.inbox(atB))).not.toContain('direct');
    });
  }
});

describe('a message that arrives on a topic socket', () => {
  let here: Deployment;
  let member: Member;
  beforeAll(async () => {
    here = await fleet.start();
    member = await here.member({ topics: ['t.>'], start: ['l32'] });
  });

  const arriving = (fields: object, id = unique('arriving')): string =>
    frameOf(id, { topics: ['t.x'], ...fields }, 'l32');

  test('is published once, however often the same send arrives', async () => {
    const frame = arriving({ message_content: 'once', transfer: { v: 1, send_id: 's', hops: ['d/m'] } });
    for (let time = 0; time < 3; time += 1) await ask(member.sockets.l32, frame);
    await ask(member.sockets.l32, arriving({ message_content: 'after' }));
    await here.receives(member, 2);
    expect(contents(await here.inbox(member)).toSorted()).toEqual(['after', 'once']);
  });

  test('is not suppressed by an earlier message of another sender with the same identifiers', async () => {
    const id = unique('claimed');
    const sent = (by: string): string =>
      arriving({ message_content: id, transfer: { v: 1, send_id: 's', hops: [by] } }, id);
    for (const by of ['stranger/x', 'd/m', 'd/m']) await ask(member.sockets.l32, sent(by));
    await eventually(
      async () => contents(await here.inbox(member)).filter((one) => one === id).length,
      (count) => count === 2,
      'both have arrived',
    );
  });

  test('is accepted after seven hops and refused after eight', async () => {
    const hops = (count: number): readonly string[] =>
      Array.from({ length: count }, (_, hop) => `d${hop}/m${hop}`);
    expect(
      await ask(member.sockets.l32, arriving({ transfer: { v: 1, send_id: 's', hops: hops(7) } })),
    ).toHaveProperty('member_description');
    const refused = await ask(member.sockets.l32, arriving({ transfer: { v: 1, send_id: 's', hops: hops(8) } }));
    expect(refused).toHaveProperty('error.code', 'conflict');
    expect(await here.metric('cmbs_dropped', { reason: 'too many hops' })).toBe(1);
  });

  test('is not forwarded again if it has passed this member already', async () => {
    const before = await here.metric('cmbs_received', { outcome: 'duplicate' });
    await ask(member.sockets.l32, arriving({ path_history: [member.uri], message_content: 'loop' }));
    expect(await here.metric('cmbs_received', { outcome: 'duplicate' })).toBe(before + 1);
    await ask(member.sockets.l32, arriving({ message_content: 'no loop' }));
    await eventually(
      () => here.inbox(member),
      (entries) => contents(entries).includes('no loop'),
      'the later message has arrived',
    );
    expect(contents(await here.inbox(member))).not.toContain('loop');
  });

  test.each([
    ['a topic that is a pattern', { topics: ['t.*'] }],
    ['a topic with an empty word', { topics: ['t..x'] }],
    ['more topics than a message may have', { topics: Array.from({ length: 101 }, (_, number) => `t.${number}`) }],
  ])('is refused with %s', async (_what, fields) => {
    const before = (await here.inbox(member)).length;
    expect(await ask(member.sockets.l32, arriving(fields))).toHaveProperty('error');
    expect(await here.metric('cmbs_messages_queued')).toBe(0);
    expect((await here.inbox(member)).length).toBe(before);
  });

  test('goes to the member itself when it has no topic', async () => {
    await ask(member.sockets.l32, arriving({ topics: [], message_content: 'direct' }));
    expect(contents(await here.inbox(member))).toContain('direct');
  });

  test('does not count as delivered to a member whose path equals the name of its topic', async () => {
    const id = unique('rem');
    const topic = `/cmbs/member/${id}`;
    const socket = await freeSocket();
    await here.member({ id, local: false, topics: [topic], sockets: { l32: socket } });
    const sent = await here.send('l32', { topics: [topic], from: member.id, content: 'for both' });
    expect(sent.status).toBe(202);
    expect(sent.delivery.receivers.map(({ name, state }) => [name, state])).toEqual([
      [topic, 'delivered'],
      [topic, 'queued'],
    ]);
    const peer = await ScriptedPeer.bind(socket, () => '{"member_description":{},"sockets_l1":[]}');
    try {
      await here.reaches(sent.path, 'delivered');
      expect(peer.bodies).toHaveLength(1);
    } finally {
      peer.close();
    }
  });

  test('keeps its content byte for byte on the way through the bus and on to others', async () => {
    const socket = await freeSocket();
    const peer = await ScriptedPeer.bind(socket, () => '{"member_description":{},"sockets_l1":[]}');
    try {
      const next = await here.member({ local: false, topics: ['t.>'], sockets: { l32: socket } });
      const faithful = '{"b":12345678901234567890,"2":1,"1":[[],{}], "t":"\\u00eb"}';
      const frame = arriving({ message_content: 'PLACE' }).replace('"PLACE"', faithful);
      await ask(member.sockets.l32, frame);
      await eventually(
        () => peer.bodies.length,
        (count) => count === 1,
        'it is passed on',
      );
      expect(peer.bodies[0]).toContain(faithful);
      await eventually(
        async () => (await here.get(`${member.path}/inbox/?lease=0&number=1000`)).text,
        (text) => text.includes(faithful),
        'it is in the inbox',
      );
      await here.must(200, here.request('DELETE', next.path));
    } finally {
      peer.close();
    }
  });
});
