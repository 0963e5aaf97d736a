/** L3.2 and L4: topics, on the bus and between deployments (layers.md, the table; Federation of topics). */
import { ask, frameOf, ScriptedPeer } from './broker-peers';
import {
  contentOf,
  eventually,
  Fleet,
  freeSocket,
  unique,
  type Deployment,
  type Entry,
  type LayerName,
  type Member,
} from './harness';

const fleet = new Fleet();
afterAll(() => fleet.close());

const contents = (entries: readonly Entry[]): readonly unknown[] => entries.map(contentOf);

/**
 * Sends a message that only `witness` members want on a topic of its own, so that what was sent before it has
 * arrived, or never will: the bus and each lane keep the order.
 */
async function settle(
  deployment: Deployment,
  layer: 'l32' | 'l4',
  from: Member,
  witnesses: readonly (readonly [Deployment, Member])[],
): Promise<void> {
  const mark = unique('mark');
  await deployment.must(200, deployment.send(layer, { from: from.id, topics: ['settle.mark'], content: mark }));
  for (const [where, member] of witnesses) {
    await eventually(
      () => where.inbox(member),
      (entries) => entries.some((entry) => contentOf(entry) === mark),
      `${member.path} receives the mark`,
    );
  }
}

const withoutMarks = (entries: readonly Entry[]): readonly unknown[] =>
  contents(entries).filter((content) => typeof content !== 'string' || !content.startsWith('mark-'));

describe('on one deployment', () => {
  let here: Deployment;
  let sender: Member;
  const members: Record<string, Member> = {};
  const patterns: Readonly<Record<string, readonly string[]>> = {
    exact: ['news.sport.tennis'],
    star: ['news.*.tennis'],
    rest: ['news.>'],
    all: ['>'],
    several: ['news.sport.*', 'news.>', 'weather'],
    other: ['weather'],
    none: [],
  };
  beforeAll(async () => {
    here = await fleet.start();
    sender = await here.member();
    for (const [name, topics] of Object.entries(patterns)) {
      const own = name === 'all' || name === 'none' ? topics : [...topics, 'settle.mark'];
      members[name] = await here.member({ title: name, topics: own, start: ['l32', 'l4'] });
    }
  });

  const witnesses = (): readonly (readonly [Deployment, Member])[] =>
    Object.entries(members)
      .filter(([name]) => name !== 'none')
      .map(([, member]) => [here, member] as const);

  /** Who receives a message, by name. */
  async function receivers(layer: 'l32' | 'l4', topics: readonly string[], providers?: readonly string[]) {
    const content = unique('content');
    const sent = await here.send(layer, {
      from: sender.id,
      topics,
      content,
      ...(providers === undefined ? {} : { providers }),
    });
    expect(sent.status).toBe(200);
    await settle(here, layer, sender, witnesses());
    const names: string[] = [];
    for (const [name, member] of Object.entries(members)) {
      const times = contents(await here.inbox(member)).filter((one) => one === content).length;
      expect(times).toBeLessThanOrEqual(1);
      if (times === 1) names.push(name);
    }
    return names;
  }

  test.each([
    [['news.sport.tennis'], ['exact', 'star', 'rest', 'all', 'several']],
    [['news.arts.tennis'], ['star', 'rest', 'all', 'several']],
    [['news.sport'], ['rest', 'all', 'several']],
    [['news'], ['all']],
    [['weather'], ['all', 'several', 'other']],
    [
      ['weather', 'news.sport.tennis'],
      ['exact', 'star', 'rest', 'all', 'several', 'other'],
    ],
  ])(
    'a message on %j reaches each member with a matching pattern once, and nobody else',
    async (topics, names) => {
      expect(await receivers('l32', topics)).toEqual(names);
    },
  );

  test('the result has the publish id of each topic', async () => {
    const sent = await here.send('l32', { from: sender.id, topics: ['weather', 'news.x'] });
    expect(sent.result).toEqual({
      published: { weather: expect.any(String) as string, 'news.x': expect.any(String) as string },
      members: {},
    });
  });

  test('L4 reaches the listed that also have a topic, all with the topic when nobody is listed, all listed when there is no topic', async () => {
    const ids = (...names: readonly string[]): readonly string[] => names.map((name) => members[name]?.id ?? '');
    expect(await receivers('l4', ['weather'], ids('several', 'exact', 'none'))).toEqual(['several']);
    expect(await receivers('l4', ['weather'], ['other', 'all'])).toEqual(['all', 'other']);
    expect(await receivers('l4', ['weather'])).toEqual(['all', 'several', 'other']);
    expect(await receivers('l4', [], ids('exact', 'none'))).toEqual(['exact', 'none']);
    expect(await receivers('l4', [], [])).toEqual([]);
  });

  test('a listed provider that nobody knows is reported', async () => {
    const sent = await here.send('l4', { from: sender.id, topics: ['weather'], providers: ['other', 'nobody'] });
    expect(sent.status).toBe(200);
    expect(sent.delivery.state).toBe('partial');
    expect(sent.result).toMatchObject({
      members: { nobody: { error: { message: 'no such member is known' } } },
    });
  });

  test('members that have only one of the two layers started do not see the other', async () => {
    const topic = unique('layer');
    const l32 = await here.member({ topics: [topic], start: ['l32'] });
    const l4 = await here.member({ topics: [topic], start: ['l4'] });
    await here.send('l32', { from: sender.id, topics: [topic], content: 'on l32' });
    await here.send('l4', { from: sender.id, topics: [topic], content: 'on l4' });
    expect(contents(await here.receives(l32, 1))).toEqual(['on l32']);
    expect(contents(await here.receives(l4, 1))).toEqual(['on l4']);
    await settle(here, 'l32', sender, witnesses());
    await settle(here, 'l4', sender, witnesses());
    expect(contents(await here.inbox(l32))).toEqual(['on l32']);
    expect(contents(await here.inbox(l4))).toEqual(['on l4']);
  });

  test('changed topics are followed without a restart', async () => {
    const [before, after] = [unique('before'), unique('after')];
    const member = await here.member({ topics: [before], start: ['l32'] });
    await here.send('l32', { from: sender.id, topics: [before], content: 1 });
    await here.receives(member, 1);
    await here.change(member.path, { 'cmbs.member.topics': [after] });
    await eventually(
      async () => {
        await here.send('l32', { from: sender.id, topics: [after], content: 'new' });
        return contents(await here.inbox(member));
      },
      (received) => received.includes('new'),
      'the new topic arrives',
    );
    await here.send('l32', { from: sender.id, topics: [before], content: 2 });
    await settle(here, 'l32', sender, witnesses());
    expect(contents(await here.inbox(member))).not.toContain(2);
  });

  test('what is published while the layer is stopped is not kept: stop removes the subscription', async () => {
    const topic = unique('stopped');
    const member = await here.member({ topics: [topic], start: ['l32'] });
    await here.must(200, here.act(member.path, 'stop_l32'));
    await here.send('l32', { from: sender.id, topics: [topic], content: 'missed' });
    await here.must(200, here.act(member.path, 'start_l32'));
    await here.send('l32', { from: sender.id, topics: [topic], content: 'seen' });
    expect(contents(await here.receives(member, 1))).toEqual(['seen']);
    await here.must(200, here.act(member.path, 'stop_l32'));
  });

  test('a suspended member gets what waited, in order of its key, once it is active again', async () => {
    const topic = unique('paused');
    const member = await here.member({ topics: [topic], start: ['l1', 'l32', 'l4'] });
    await here.change(member.path, { 'cmbs.member.state': 'suspended' });
    await eventually(
      async () => (await here.send('l1', { to: member.sockets.l1, from: sender.id })).text,
      (description) => description.includes('suspended'),
      'the companion has heard of it',
    );
    for (let number = 0; number < 10; number += 1) {
      for (const layer of ['l32', 'l4'] as const) {
        await here.send(layer, { from: sender.id, topics: [topic], content: [layer, number], orderingKey: 'k' });
      }
    }
    await settle(here, 'l32', sender, witnesses());
    expect(await here.inbox(member)).toEqual([]);
    await here.change(member.path, { 'cmbs.member.state': 'active' });
    // What came to a reader that was just closing comes again when its lease there has run out.
    // Besides, messages on L1 are there that waited as well.
    const published = async (): Promise<readonly (readonly [string, number])[]> =>
      contents(await here.inbox(member)).filter((content) => Array.isArray(content)) as [string, number][];
    const received = await eventually(published, ({ length }) => length >= 20, 'all that waited arrives', 100_000);
    for (const layer of ['l32', 'l4']) {
      expect(received.filter(([of]) => of === layer).map(([, number]) => number)).toEqual([
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
      ]);
    }
  }, 180_000);

  test.each(['l32', 'l4'] as const)(
    'what is on its way on %s when its member is suspended waits as well, and is not given up',
    async (layer) => {
      const topic = unique('midway');
      const member = await here.member({ topics: [topic], start: ['l1', layer] });
      const before = await here.metric('cmbs_dead_letters');
      const publish = async (from: number, to: number): Promise<void> => {
        for (let number = from; number < to; number += 1) {
          await here.send(layer, { from: sender.id, topics: [topic], content: number, orderingKey: 'k' });
        }
      };
      const publishing = publish(0, 30);
      await here.receives(member, 3);
      await here.change(member.path, { 'cmbs.member.state': 'suspended' });
      await eventually(
        async () => (await here.send('l1', { to: member.sockets.l1, from: sender.id })).text,
        (description) => description.includes('suspended'),
        'the companion has heard of it',
      );
      await publishing;
      await settle(here, layer, sender, witnesses());
      const taken = (await here.inbox(member)).length;
      await publish(30, 40);
      await settle(here, layer, sender, witnesses());
      expect(await here.inbox(member)).toHaveLength(taken);
      await here.change(member.path, { 'cmbs.member.state': 'active' });
      const own = async (): Promise<readonly unknown[]> =>
        contents(await here.inbox(member)).filter((one) => typeof one === 'number');
      await eventually(own, (numbers) => numbers.length >= 40, 'all have arrived', 100_000);
      expect(await own()).toEqual(Array.from({ length: 40 }, (_, number) => number));
      expect(await here.metric('cmbs_dead_letters')).toBe(before);
    },
    180_000,
  );

  test('what was published before a restart arrives after it', async () => {
    const own = await fleet.start();
    const from = await own.member();
    const member = await own.member({ topics: ['a'], state: 'suspended', start: ['l32'] });
    await own.must(200, own.send('l32', { from: from.id, topics: ['a'], content: 'kept' }));
    await own.down();
    await own.up();
    await own.change(member.path, { 'cmbs.member.state': 'active' });
    expect(contents(await own.receives(member, 1))).toEqual(['kept']);
  });

  test('a deleted member leaves no subscription behind', async () => {
    const topic = unique('deleted');
    const member = await here.member({ topics: [topic], start: ['l32'] });
    await here.must(200, here.request('DELETE', member.path));
    await here.send('l32', { from: sender.id, topics: [topic], content: 'for nobody' });
    await here.must(
      201,
      here.request('PUT', member.path, {
        kind: 'http://houssem.org/cmbs#member',
        attributes: { 'cmbs.member.topics': [topic], 'cmbs.member.l32_socket': await freeSocket() },
      }),
    );
    await here.must(200, here.act(member.path, 'start_l32'));
    await here.send('l32', { from: sender.id, topics: [topic], content: 'for the new one' });
    expect(contents(await here.receives(member, 1))).toEqual(['for the new one']);
  });

  test.each(['a..b', '*', 'a.>', ''])('a message on %j is refused: it is no topic', async (topic) => {
    await expect(here.message('l32', { topics: [topic] })).rejects.toThrow(/^400/);
  });

  test.each(['a..b', '>.a', 'a*'])('a member that wants %j is refused: it is no pattern', async (topic) => {
    await expect(here.member({ topics: [topic] })).rejects.toThrow(/^400/);
  });

  test('each message is published once', async () => {
    const count = 40;
    const topic = unique('once');
    const member = await here.member({ topics: [topic], start: ['l32'] });
    const before = await here.metric('cmbs_received', { layer: 'l32' });
    for (let number = 0; number < count; number += 1) {
      await here.send('l32', { from: sender.id, topics: [topic], content: number });
    }
    expect(await here.receives(member, count)).toHaveLength(count);
    // Every delivery of the bus to the two subscribers (this member and ">"), duplicates included, is counted.
    await settle(here, 'l32', sender, witnesses());
    const marks = Object.keys(members).length - 1;
    expect((await here.metric('cmbs_received', { layer: 'l32' })) - before).toBe(2 * count + marks);
  });
});

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

  test('in a chain the message reaches the last, each member once', async () => {
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

  test('when everybody knows everybody there are no duplicates and no loops', async () => {
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
        () => deployment.metric('cmbs_sends_queued'),
        (queued) => queued === 0,
        'nothing goes round any more',
      );
    }
    expect(await eachReceived(content)).toEqual([1, 1, 1, 1]);
  });

  test('a message that comes back to its deployment is not published again', async () => {
    const content = unique('again');
    const before = await a.metric('cmbs_received', { layer, outcome: 'forwarded' });
    await a.must(200, a.send(layer, { from: sender.id, topics: ['news.x'], content }));
    await eachReceived(content);
    expect(await a.metric('cmbs_received', { layer, outcome: 'forwarded' })).toBe(before);
  });

  test('a remote member that wants another topic is not sent to', async () => {
    const sent = await a.send(layer, { from: sender.id, topics: ['sport'] });
    expect(sent.result).toMatchObject({ members: {} });
  });

  test('a remote member that is away gets it when it comes back', async () => {
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
    test('only the listed get it, wherever they are', async () => {
      const content = unique('listed');
      await a.must(
        200,
        a.send('l4', { from: sender.id, topics: ['news.x'], providers: [alsoAtB.id, atC.id], content }),
      );
      expect(await eachReceived(content)).toEqual([0, 0, 1, 1]);
    });

    test('listed without a topic are addressed over their own sockets', async () => {
      const sent = await a.send('l4', { from: sender.id, topics: [], providers: [atC.id], content: 'direct' });
      expect(sent.status).toBe(200);
      expect(sent.result).toMatchObject({ published: {}, members: { [atC.path]: { member_description: {} } } });
      expect(contents(await c.inbox(atC))).toContain('direct');
      expect(withoutMarks(await b.inbox(atB))).not.toContain('direct');
    });
  }
});

describe('what arrives on a topic socket', () => {
  let here: Deployment;
  let member: Member;
  beforeAll(async () => {
    here = await fleet.start();
    member = await here.member({ topics: ['t.>'], start: ['l32'] });
  });

  const arriving = (fields: object, id = unique('arriving')): string =>
    frameOf(id, { topics: ['t.x'], ...fields }, 'l32');

  test('is published once, however often one send arrives', async () => {
    const frame = arriving({ message_content: 'once', transfer: { v: 1, send_id: 's', hops: ['d/m'] } });
    for (let time = 0; time < 3; time += 1) await ask(member.sockets.l32, frame);
    await ask(member.sockets.l32, arriving({ message_content: 'after' }));
    await here.receives(member, 2);
    expect(contents(await here.inbox(member)).toSorted()).toEqual(['after', 'once']);
  });

  test('is another send than one of a stranger that came first with its identifiers', async () => {
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

  test('is taken after seven hops and refused after eight', async () => {
    const hops = (count: number): readonly string[] =>
      Array.from({ length: count }, (_, hop) => `d${hop}/m${hop}`);
    expect(
      await ask(member.sockets.l32, arriving({ transfer: { v: 1, send_id: 's', hops: hops(7) } })),
    ).toHaveProperty('member_description');
    const refused = await ask(member.sockets.l32, arriving({ transfer: { v: 1, send_id: 's', hops: hops(8) } }));
    expect(refused).toHaveProperty('error.code', 'conflict');
    expect(await here.metric('cmbs_dropped', { reason: 'too many hops' })).toBe(1);
  });

  test('is not passed on when it passed this member already', async () => {
    const before = await here.metric('cmbs_received', { outcome: 'duplicate' });
    await ask(member.sockets.l32, arriving({ path_history: [member.uri], message_content: 'loop' }));
    expect(await here.metric('cmbs_received', { outcome: 'duplicate' })).toBe(before + 1);
    await ask(member.sockets.l32, arriving({ message_content: 'no loop' }));
    await eventually(
      () => here.inbox(member),
      (entries) => contents(entries).includes('no loop'),
      'what came later has arrived',
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
    expect(await here.metric('cmbs_sends_queued')).toBe(0);
    expect((await here.inbox(member)).length).toBe(before);
  });

  test('goes to the member itself when it has no topic', async () => {
    await ask(member.sockets.l32, arriving({ topics: [], message_content: 'direct' }));
    expect(contents(await here.inbox(member))).toContain('direct');
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

test.each(['l32', 'l4'] as readonly LayerName[])(
  'a topic message on %s that is executable is executed once at each',
  async (layer) => {
    const here = await fleet.start();
    const sender = await here.member();
    const members = [
      await here.member({ topics: ['calls'], start: [layer] }),
      await here.member({ topics: ['calls'], start: [layer] }),
    ];
    await here.send(layer, {
      from: sender.id,
      topics: ['calls'],
      executable: true,
      content: { method: 'echo.echo', params: [1] },
    });
    for (const member of members) {
      const [entry] = await eventually(
        () => here.inbox(member),
        (entries) => entries[0]?.state === 'executed',
        'it is executed',
      );
      expect(entry?.answer).toEqual({ result: [1] });
    }
    expect(await here.metric('cmbs_calls')).toBe(2);
  },
);
