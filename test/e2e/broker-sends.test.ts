/** The answer to a send: what happened, how much of it, and what to do about a request that can have no effect. */
import type { JsonObject } from '@cmbs/shared';
import { isLocal } from './engine';
import { CMBS, contentOf, Fleet, freeSocket, MESSAGE, unique, type Deployment, type LayerName } from './harness';

let fleet: Fleet;
let here: Deployment;
beforeEach(async () => {
  fleet = new Fleet();
  here = await fleet.start();
});
afterEach(() => fleet.close());

const countsOf = (delivery: object): unknown => (delivery as { readonly counts?: unknown }).counts;
const counts = (receivers: number, delivered: number, waiting = 0, failed = 0): JsonObject => ({
  receivers,
  delivered,
  waiting,
  failed,
});

describe('a message that reaches members', () => {
  test('counts the members that received it', async () => {
    const alice = await here.member({ start: ['l31'] });
    const bob = await here.member({ start: ['l31'] });
    const carol = await here.member({ start: ['l31'] });
    const sent = await here.send('l31', { providers: [bob.id, carol.id], from: alice.id });
    expect([sent.status, sent.delivery.state, countsOf(sent.delivery)]).toEqual([200, 'delivered', counts(2, 2)]);
    expect(sent.headers.get('x-occi-reason')).toBeNull();
  });

  test('is partial if some cannot get it, and says who and why', async () => {
    const alice = await here.member();
    const bob = await here.member({ start: ['l31'] });
    const sent = await here.send('l31', { providers: [bob.id, 'nobody'], from: alice.id });
    expect([sent.status, sent.delivery.state, countsOf(sent.delivery)]).toEqual([
      200,
      'partial',
      counts(2, 1, 0, 1),
    ]);
    expect(sent.headers.get('x-occi-reason')).toContain('no such member is known');
  });

  test('counts the members that take it from the bus, here and elsewhere', async () => {
    const there = await fleet.start();
    const alice = await here.member();
    const bob = await here.member({ topics: ['news.>'], start: ['l32'] });
    const asleep = await here.member({ topics: ['news.>'] });
    const remote = await there.member({ topics: ['news.*'], start: ['l32'] });
    await here.introduce(remote, { topics: ['news.*'] });
    const sent = await here.send('l32', { topics: ['news.today'], from: alice.id });
    expect([sent.status, sent.delivery.state, countsOf(sent.delivery)]).toEqual([200, 'delivered', counts(2, 2)]);
    await here.receives(bob, 1);
    await there.receives(remote, 1);
    expect(await here.inbox(asleep)).toEqual([]);
  });
});

describe('a message that reaches no member', () => {
  test.each<[LayerName, { readonly topics?: readonly string[] }]>([
    ['l2', {}],
    ['l32', { topics: ['nobody.wants.this'] }],
    ['l4', { topics: ['nobody.wants.this'] }],
  ])('on %s is published, not delivered', async (layer, options) => {
    await here.member();
    const sent = await here.send(layer, options);
    expect([sent.status, sent.delivery.state, countsOf(sent.delivery)]).toEqual([200, 'published', counts(0, 0)]);
    expect(sent.headers.get('x-occi-reason')).toMatch(/no member/);
  });

  test('is refused with the reason and becomes a dead letter if it never can reach one', async () => {
    const alice = await here.member();
    const mute = await here.member({ sockets: { l31: '' }, local: false });
    const path = await here.message('l31', { providers: [mute.id] });
    const refused = await here.act(path, 'send_l31', { from: alice.id });
    expect(refused.status).toBe(409);
    expect(refused.error).toMatch(/l31 socket.*dead letter/);
    expect(refused.headers.get('x-occi-reason')).toContain('l31 socket');
    const stored = await here.get(path);
    expect([stored.delivery.state, countsOf(stored.delivery)]).toEqual(['failed', counts(1, 0, 0, 1)]);
    expect(stored.json.mixins).toContain(`${CMBS}dead_letter`);
  });
});

describe('a send that can have no effect', () => {
  test.each<[string, LayerName, { readonly topics?: readonly string[]; readonly providers?: readonly string[] }]>([
    ['L1 without an address', 'l1', {}],
    ['L3.1 without providers', 'l31', {}],
    ['L3.1 to providers that are all unknown', 'l31', { providers: ['nobody', 'no-one'] }],
    ['L3.2 without topics', 'l32', {}],
    ['L4 with neither', 'l4', {}],
    ['L4 to providers that are all unknown', 'l4', { providers: ['nobody'], topics: ['a.b'] }],
  ])('is refused and nothing is queued: %s', async (_what, layer, options) => {
    await here.member();
    const path = await here.message(layer, options);
    const refused = await here.act(path, `send_${layer}`);
    expect(refused.status).toBe(400);
    expect((await here.delivery(path)).state).toBe('created');
    expect(await here.metric('cmbs_messages_queued')).toBe(0);
  });
});

describe('POST /cmbs/message/?send', () => {
  const message = (layer: LayerName, attributes: JsonObject, more: JsonObject = {}): JsonObject => ({
    kind: MESSAGE,
    mixins: [CMBS + layer],
    attributes: { 'cmbs.message.message_content': 'hello', ...attributes },
    ...more,
  });
  const to = (address: string): JsonObject => ({ 'cmbs.message.l1_socket_receiver_member': address });
  const resources = (...attributes: readonly JsonObject[]): JsonObject => ({
    resources: attributes.map((one) => message('l1', one)),
  });

  test('delivers a message, and answers like the send action with the entity', async () => {
    const bob = await here.member({ start: ['l1'] });
    const sent = await here.request('POST', '/cmbs/message/?send', message('l1', to(bob.sockets.l1)));
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    const location = sent.headers.get('location') ?? '';
    expect(location).toBe(`${here.url}/cmbs/message/${sent.json.id as string}`);
    expect((await here.get(location)).delivery.state).toBe('delivered');
    expect((await here.receives(bob, 1)).map(contentOf)).toEqual(['hello']);
  });

  test('takes the sending member from "from"', async () => {
    const alice = await here.member();
    const bob = await here.member({ start: ['l1'] });
    const unnamed = await here.request(
      'POST',
      '/cmbs/message/?send',
      message('l1', to(bob.sockets.l1), { id: 'a' }),
    );
    expect(unnamed.status).toBe(400);
    expect((await here.get('/cmbs/message/a')).status).toBe(404);
    const sent = await here.request(
      'POST',
      `/cmbs/message/?send&from=${alice.id}`,
      message('l1', to(bob.sockets.l1), { id: 'a' }),
    );
    expect([sent.status, (sent.delivery as unknown as JsonObject).from]).toEqual([200, alice.path]);
  });

  test('answers 202 for an absent receiver, which gets the message once it is there', async () => {
    const absent = await freeSocket();
    await here.member();
    const sent = await here.request('POST', '/cmbs/message/?send', message('l1', to(absent)));
    expect([sent.status, sent.delivery.state]).toEqual([202, 'queued']);
    const there = await fleet.start();
    const late = await there.member({ sockets: { l1: absent }, start: ['l1'] });
    await there.receives(late, 1);
  });

  test('answers several messages with a list, and with 202 while one of them is open', async () => {
    const bob = await here.member({ start: ['l1'] });
    const both = await here.request(
      'POST',
      '/cmbs/message/?send',
      resources(to(bob.sockets.l1), to(bob.sockets.l1)),
    );
    expect(both.status).toBe(200);
    await here.receives(bob, 2);
    const mixed = await here.request(
      'POST',
      '/cmbs/message/?send',
      resources(to(bob.sockets.l1), to(await freeSocket())),
    );
    expect(mixed.status).toBe(202);
    await here.receives(bob, 3);
  });

  test('creates nothing if one of the messages cannot be sent', async () => {
    const bob = await here.member({ start: ['l1'] });
    const refused = await here.request('POST', '/cmbs/message/?send', {
      resources: [message('l1', to(bob.sockets.l1), { id: 'good' }), message('l32', {}, { id: 'bad' })],
    });
    expect(refused.status).toBe(400);
    expect((await here.get('/cmbs/message/good')).status).toBe(404);
    expect(await here.inbox(bob)).toEqual([]);
    const two = await here.request('POST', '/cmbs/message/?send', {
      ...message('l1', to(bob.sockets.l1)),
      mixins: [`${CMBS}l1`, `${CMBS}l2`],
    });
    expect(two.status).toBe(400);
  });

  test('creates nothing if the messages together exceed the queue of an address', async () => {
    const small = await fleet.start({ env: { CMBS_QUEUE_LIMIT: '2' } });
    await small.member();
    const address = await freeSocket();
    const of = (count: number): JsonObject => resources(...Array.from({ length: count }, () => to(address)));
    const refused = await small.request('POST', '/cmbs/message/?send', of(3));
    expect([refused.status, refused.error]).toEqual([429, expect.stringContaining(address)]);
    expect((await small.request('POST', '/cmbs/message/?send', of(2), { Prefer: 'respond-async' })).status).toBe(
      202,
    );
  });

  test('refuses a sender that is not a local member, and names it', async () => {
    const refused = await here.request('POST', '/cmbs/message/?send&from=', message('l2', {}));
    expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('no local member: ""')]);
  });

  test('creates and sends one message for repeated requests with an Idempotency-Key', async () => {
    const bob = await here.member({ start: ['l1'] });
    const once = { 'Idempotency-Key': unique('key') };
    const body = message('l1', to(bob.sockets.l1));
    const first = await here.request('POST', '/cmbs/message/?send', body, once);
    const again = await here.request('POST', '/cmbs/message/?send', body, once);
    expect([first.status, again.status]).toEqual([200, 200]);
    expect(again.json.id).toBe(first.json.id);
    expect(again.delivery.send_id).toBe(first.delivery.send_id);
    expect(await here.inbox(bob)).toHaveLength(1);
    const traced = { ...once, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' };
    expect((await here.request('POST', '/cmbs/message/?send', body, traced)).json.id).toBe(first.json.id);
    const other = await here.request('POST', '/cmbs/message/?send', message('l2', {}), once);
    expect(other.status).toBe(422);
  });

  test('answers 409 with its location for a message that no member can ever get', async () => {
    await here.member();
    const mute = await here.member({ sockets: { l31: '' }, local: false });
    const refused = await here.request(
      'POST',
      '/cmbs/message/?send',
      message('l31', { 'cmbs.message.providers': [mute.id] }),
    );
    expect(refused.status).toBe(409);
    expect((await here.get(refused.headers.get('location') ?? '')).delivery.state).toBe('failed');
  });
});

test('a dead letter is sent again by the member that sent it, unless the request names another', async () => {
  const alice = await here.member();
  await here.member();
  const mute = await here.member({ sockets: { l31: '' }, local: false });
  const path = await here.message('l31', { providers: [mute.id] });
  expect((await here.act(path, 'send_l31', { from: alice.id })).status).toBe(409);
  const bob = await here.member({ start: ['l31'] });
  await here.change(path, { 'cmbs.message.providers': [bob.id] });
  const resent = await here.act(path, 'resend');
  expect([resent.status, (resent.delivery as unknown as JsonObject).from]).toEqual([200, alice.path]);
});

test('a dead letter whose sender is deleted is not sent again by another member', async () => {
  const alice = await here.member();
  await here.member();
  const mute = await here.member({ sockets: { l31: '' }, local: false });
  const path = await here.message('l31', { providers: [mute.id] });
  expect((await here.act(path, 'send_l31', { from: alice.id })).status).toBe(409);
  await here.must(200, here.request('DELETE', alice.path));
  const refused = await here.act(path, 'resend');
  expect([refused.status, refused.error]).toEqual([409, expect.stringContaining('"from"') as string]);
});

describe('a title', () => {
  test('yields to an equal id of another member, for senders and for providers on L4', async () => {
    const alice = await here.member();
    const bob = await here.member({ topics: ['a.b'], start: ['l4'] });
    const eve = await here.member({ title: bob.id, topics: ['a.b'], start: ['l4'] });
    await here.member({ title: alice.id });
    const sent = await here.send('l4', { topics: ['a.b'], providers: [bob.id], from: alice.id });
    expect([sent.status, countsOf(sent.delivery)]).toEqual([200, counts(1, 1)]);
    await here.receives(bob, 1);
    // A later message has arrived, so an earlier one would have arrived too.
    const to = { topics: ['a.b'], providers: [eve.path], from: alice.id, content: 'for eve' };
    await here.must(200, here.send('l4', to));
    expect((await here.receives(eve, 1)).map(contentOf)).toEqual(['for eve']);
  });
});

describe('members that cannot take a topic message now', () => {
  test('are not counted as receivers', async () => {
    const alice = await here.member();
    const asleep = await here.member({ topics: ['a.b'], start: ['l32'] });
    await here.change(asleep.path, { 'cmbs.member.state': 'suspended' });
    const sent = await here.send('l32', { topics: ['a.b'], from: alice.id });
    expect([sent.status, sent.delivery.state, countsOf(sent.delivery)]).toEqual([200, 'published', counts(0, 0)]);
  });

  test('leave a message without a receiver if it names only them and unknown providers', async () => {
    const alice = await here.member();
    const carol = await here.member({ topics: ['other'], start: ['l4'] });
    const sent = await here.send('l4', { topics: ['a.b'], providers: [carol.id, 'nobody'], from: alice.id });
    expect(sent.status).toBe(409);
    expect((await here.delivery(sent.path)).state).toBe('failed');
  });
});

test('resolving many provider names does not read every member for each name', async () => {
  const { id: from } = await here.member();
  const members = Array.from({ length: 400 }, (_, n) => ({
    kind: 'http://houssem.org/cmbs#member',
    id: `crowd-${n}`,
    attributes: { 'cmbs.member.local': 'false' },
  }));
  await here.must(201, here.request('POST', '/cmbs/member/', { resources: members }));
  const providers = [
    'crowd-1',
    ...Array.from({ length: 999 }, (_, n) => `https://h${n}.example/cmbs/member/nix${n}`),
  ];
  const message = {
    kind: MESSAGE,
    mixins: [`${CMBS}l4`],
    attributes: { 'cmbs.message.providers': providers, 'cmbs.message.topics': ['a.b'] },
  };
  const before = process.cpuUsage();
  const sent = await here.request('POST', `/cmbs/message/?send&from=${from}`, message);
  const { user } = process.cpuUsage(before);
  expect(sent.status).toBe(409);
  // Reading 400 members for each of 1,000 names took 3 seconds of processor time.
  if (isLocal()) expect(user / 1e6).toBeLessThan(2);
});

test('executing a message that is not a call is refused', async () => {
  await here.member();
  const path = await here.message('l1', { executable: true, content: 'no call' });
  const refused = await here.act(path, 'execute');
  expect([refused.status, refused.error]).toEqual([409, expect.stringContaining('"method"')]);
});
