/** L3.2 and L4 on one deployment (docs/layers.md, "Topics"). */
import { contents, settle } from './broker-topics-support';
import { eventually, Fleet, freeSocket, unique, type Deployment, type LayerName, type Member } from './harness';

const fleet = new Fleet();
afterAll(() => fleet.close());

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

  /** The names of the members that receive a message. */
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
    'a message on %j reaches each member with a matching pattern once, and no other member',
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

  test('L4 reaches listed providers that want the topic; without a list all that want it; without a topic all that are listed', async () => {
    const ids = (...names: readonly string[]): readonly string[] => names.map((name) => members[name]?.id ?? '');
    expect(await receivers('l4', ['weather'], ids('several', 'exact', 'none'))).toEqual(['several']);
    expect(await receivers('l4', ['weather'], ['other', 'all'])).toEqual(['all', 'other']);
    expect(await receivers('l4', ['weather'])).toEqual(['all', 'several', 'other']);
    expect(await receivers('l4', [], ids('exact', 'none'))).toEqual(['exact', 'none']);
  });

  test('an unknown provider is reported', async () => {
    const sent = await here.send('l4', { from: sender.id, topics: ['weather'], providers: ['other', 'nobody'] });
    expect(sent.status).toBe(200);
    expect(sent.delivery.state).toBe('partial');
    expect(sent.result).toMatchObject({
      members: { nobody: { error: { message: 'no such member is known' } } },
    });
  });

  test('members get only messages of the layer that they have started', async () => {
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

  test('a member that changes its topics gets the new topics without a restart', async () => {
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

  test('messages that are published while the layer is stopped are not kept, since stopping removes the subscription', async () => {
    const topic = unique('stopped');
    const member = await here.member({ topics: [topic], start: ['l32'] });
    await here.must(200, here.act(member.path, 'stop_l32'));
    await here.send('l32', { from: sender.id, topics: [topic], content: 'missed' });
    await here.must(200, here.act(member.path, 'start_l32'));
    await here.send('l32', { from: sender.id, topics: [topic], content: 'seen' });
    expect(contents(await here.receives(member, 1))).toEqual(['seen']);
    await here.must(200, here.act(member.path, 'stop_l32'));
  });

  test('a suspended member gets the waiting messages in the order of their key once it is active again', async () => {
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
    // A message that reached a reader just before it closed comes again when its lease there ends.
    // The inbox also has the messages on L1 that waited.
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
    'a message in flight on %s when its member is suspended waits too, and is not given up',
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

  test('messages that were published before a restart arrive after it', async () => {
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

  test.each(['a..b', '*', 'a.>', ''])('a message on %j is refused, since that is not a topic', async (topic) => {
    await expect(here.message('l32', { topics: [topic] })).rejects.toThrow(/^400/);
  });

  test.each(['a..b', '>.a', 'a*'])(
    'a member that wants %j is refused, since that is not a pattern',
    async (topic) => {
      await expect(here.member({ topics: [topic] })).rejects.toThrow(/^400/);
    },
  );

  test('each message is published once', async () => {
    const count = 40;
    const topic = unique('once');
    const member = await here.member({ topics: [topic], start: ['l32'] });
    const before = await here.metric('cmbs_received', { layer: 'l32' });
    for (let number = 0; number < count; number += 1) {
      await here.send('l32', { from: sender.id, topics: [topic], content: number });
    }
    expect(await here.receives(member, count)).toHaveLength(count);
    // Counts every delivery of the bus to the two subscribers (this member and ">"), duplicates included.
    await settle(here, 'l32', sender, witnesses());
    const marks = Object.keys(members).length - 1;
    expect((await here.metric('cmbs_received', { layer: 'l32' })) - before).toBe(2 * count + marks);
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
