/** L2: broadcasts to every known member (docs/layers.md, "The five layers"). */
import { Publisher, Subscriber } from 'zeromq';
import { frameOf } from './broker-peers';
import { contentOf, eventually, Fleet, unique, type Deployment, type Member } from './harness';
import { PATIENCE_MS } from '../patience';

const fleet = new Fleet();
afterAll(() => fleet.close());

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, number) => number);

describe('a broadcast to members that listen', () => {
  let here: Deployment;
  let there: Deployment;
  let sender: Member;
  let remote: Member;
  let local: Member;
  beforeAll(async () => {
    [here, there] = await Promise.all([fleet.start(), fleet.start()]);
    sender = await here.member({ start: ['l2'] });
    local = await here.member({ start: ['l2'] });
    remote = await there.member({ start: ['l2'] });
    await here.introduce(remote);
  });

  test('arrives at each member in order, 50 of 50, and not at the sender', async () => {
    for (const number of upTo(50)) {
      const sent = await here.send('l2', { from: sender.id, content: number });
      expect(sent.status).toBe(200);
      expect(sent.result).toEqual({ [local.path]: 'sent', [remote.path]: 'sent' });
    }
    expect((await there.receives(remote, 50)).map(contentOf)).toEqual(upTo(50));
    expect((await here.receives(local, 50)).map(contentOf)).toEqual(upTo(50));
    expect(await here.inbox(sender)).toEqual([]);
  });

  test('keeps its content byte for byte', async () => {
    const faithful = '{"b":12345678901234567890,"2":1,"1":[[],{}]}';
    const path = `/cmbs/message/${unique('faithful')}`;
    const body = `{"kind":"http://houssem.org/cmbs#message","mixins":["http://houssem.org/cmbs#l2"],"attributes":{"cmbs.message.message_content":${faithful}}}`;
    await here.must(201, here.request('PUT', path, body));
    await here.must(200, here.act(path, 'send_l2', { from: sender.id }));
    await there.receives(remote, 51);
    expect((await there.get(path)).text).toContain(faithful);
  });

  test('an empty content stays empty: only L1 discovers', async () => {
    await here.must(200, here.send('l2', { from: sender.id, content: '' }));
    expect((await there.receives(remote, 52)).map(contentOf).at(-1)).toBe('');
  });

  test('messages of a plain publisher of the original program arrive, and invalid frames change nothing', async () => {
    const publisher = new Publisher({ linger: 0 });
    try {
      publisher.connect(remote.sockets.l2);
      await eventually(
        async () => {
          await publisher.send('not a message');
          await publisher.send(frameOf('original', { transfer: { v: 1, send_id: 's' } }, 'l2'));
          return (await there.get('/cmbs/message/original')).status;
        },
        (status) => status === 200,
        'the broadcast is stored',
      );
      expect(await there.metric('cmbs_dropped', { layer: 'l2' })).toBeGreaterThan(0);
      expect((await there.inbox(remote)).filter(({ message_id }) => message_id === 'original')).toHaveLength(1);
    } finally {
      publisher.close();
    }
  });
});

describe('a broadcast to an absent member', () => {
  test('is answered 202 with the reason, waits, and arrives in order once the member is there', async () => {
    const [here, there] = await Promise.all([fleet.start(), fleet.start()]);
    await here.member();
    const away = await there.member();
    const present = await there.member({ start: ['l2'] });
    await here.introduce(away);
    const alone = await here.send('l2', { content: 0 });
    expect(alone.status).toBe(202);
    expect(alone.delivery).toMatchObject({
      state: 'queued',
      reason: expect.stringContaining('nobody listens') as string,
    });
    expect(alone.result).toEqual({ [away.path]: 'waiting' });

    await here.introduce(present);
    const both = await here.send('l2', { content: 1 });
    // One member has the message and the other waits, so the broadcast is still open.
    expect([both.status, both.delivery.state]).toEqual([202, 'partial']);
    expect(both.headers.get('x-occi-reason')).toContain('nobody listens');
    expect(both.result).toEqual({ [away.path]: 'waiting', [present.path]: 'sent' });
    const paths = [alone.path, both.path];
    for (const number of upTo(38)) paths.push((await here.send('l2', { content: number + 2 })).path);

    await there.must(200, there.act(away.path, 'start_l2'));
    expect((await there.receives(away, 40)).map(contentOf)).toEqual(upTo(40));
    for (const path of paths) await here.reaches(path, 'delivered');
    expect((await here.get(both.path)).result).toEqual({ [away.path]: 'sent', [present.path]: 'sent' });

    // The member leaves and comes back once more.
    await there.must(200, there.act(away.path, 'stop_l2'));
    await eventually(
      async () => (await here.send('l2', { content: 'probe' })).result[away.path],
      (state) => state === 'waiting',
      'the sender notices that the subscription is gone',
    );
    const late = await here.send('l2', { content: 'late' });
    expect(late.result[away.path]).toBe('waiting');
    await there.must(200, there.act(away.path, 'start_l2'));
    await here.reaches(late.path, 'delivered');
    expect((await there.receives(away, 42)).map(contentOf).at(-1)).toBe('late');
  });

  test('waits through a restart of the sender', async () => {
    const [here, there] = await Promise.all([fleet.start(), fleet.start()]);
    await here.member();
    const away = await there.member();
    await here.introduce(away);
    for (const number of upTo(5)) await here.must(202, here.send('l2', { content: number }));
    await here.down();
    await there.must(200, there.act(away.path, 'start_l2'));
    await here.up();
    expect((await there.receives(away, 5)).map(contentOf)).toEqual(upTo(5));
  });
});

test('a member without an l2 socket is reported as unreachable and not waited for', async () => {
  const here = await fleet.start();
  await here.member();
  const receiver = await here.member({ start: ['l2'] });
  await here.must(
    201,
    here.request('PUT', '/cmbs/member/deaf', {
      kind: 'http://houssem.org/cmbs#member',
      attributes: { 'cmbs.member.local': 'false' },
    }),
  );
  const sent = await here.send('l2', { from: (await here.member()).id, content: 'x', prefer: 'wait=20' });
  expect(sent.result).toMatchObject({ [receiver.path]: 'sent', '/cmbs/member/deaf': 'failed' });
});

test('a plain subscriber of the original program receives broadcasts', async () => {
  const here = await fleet.start();
  await here.member();
  const peer = await here.member({ local: false });
  const subscriber = new Subscriber({ linger: 0, receiveTimeout: PATIENCE_MS });
  try {
    await subscriber.bind(peer.sockets.l2);
    subscriber.subscribe();
    const receiving = subscriber.receive();
    const sent = await here.send('l2', { content: 'to all' });
    expect(sent.result).toEqual({ [peer.path]: 'sent' });
    const [frame] = await receiving;
    expect(JSON.parse(String(frame))).toMatchObject({
      attributes: { cmbs: { message: { message_content: 'to all' } } },
    });
  } finally {
    subscriber.close();
  }
});
