/** L3.1: a message to the members that it names (docs/layers.md, "The five layers"). */
import { HangingPeer, ScriptedPeer } from './broker-peers';
import { contentOf, Fleet, freeSocket, type Deployment, type Member } from './harness';

const fleet = new Fleet();
let here: Deployment;
let there: Deployment;
let sender: Member;
let one: Member;
let two: Member;
beforeAll(async () => {
  [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  sender = await here.member({ title: 'sender' });
  one = await there.member({ title: 'one', start: ['l31'] });
  two = await there.member({ title: 'two', start: ['l31'] });
  await here.introduce(one, { title: 'one' });
  await here.introduce(two, { title: 'two' });
});
afterAll(() => fleet.close());

test.each([
  ['id', (): string => one.id],
  ['path', (): string => one.path],
  ['URI', (): string => one.uri],
  ['title', (): string => 'one'],
])('a provider is named by its %s, and its reply is in the result', async (_how, name) => {
  const before = (await there.inbox(one)).length;
  const others = (await there.inbox(two)).length;
  const sent = await here.send('l31', { providers: [name()] });
  expect(sent.status).toBe(200);
  expect(sent.delivery.state).toBe('delivered');
  expect(sent.result).toMatchObject({ [name()]: { member_description: { id: one.id } } });
  expect(await there.inbox(one)).toHaveLength(before + 1);
  expect(await there.inbox(two)).toHaveLength(others);
});

test('several providers are reached concurrently, and a provider that is named twice gets the message once', async () => {
  const before = (await there.inbox(one)).length;
  const sent = await here.send('l31', { providers: [one.id, 'two', 'one', one.id], content: 'both' });
  expect(sent.status).toBe(200);
  expect(Object.keys(sent.result)).toEqual([one.id, 'two', 'one']);
  expect(await there.inbox(one)).toHaveLength(before + 1);
  expect((await there.inbox(two)).map(contentOf).at(-1)).toBe('both');
});

test('a name that means no member or several is reported, and the other providers get the message', async () => {
  for (let time = 0; time < 2; time += 1) await here.introduce(await there.member(), { title: 'twin' });
  const sent = await here.send('l31', { providers: ['nobody', 'twin', 'one'] });
  expect(sent.status).toBe(200);
  expect(sent.delivery.state).toBe('partial');
  expect(sent.result).toMatchObject({
    nobody: { error: { code: 'failed', message: 'no such member is known' } },
    twin: { error: { code: 'failed', message: 'several members have this title; name one by its id or path' } },
    one: { member_description: { id: one.id } },
  });
});

test('a message that lists only unknown providers is refused, and nothing is queued', async () => {
  const sent = await here.send('l31', { providers: ['nobody'] });
  expect([sent.status, sent.error]).toEqual([400, expect.stringContaining('nobody') as string]);
  expect((await here.delivery(sent.path)).state).toBe('created');
});

test('an absent and a hanging provider delay no other: the message is partial first, and delivered once they answer', async () => {
  const late = await there.member({ title: 'late' });
  await here.introduce(late, { title: 'late' });
  const hangingAt = await freeSocket();
  const hanging = await here.member({ local: false, sockets: { l31: hangingAt } });
  let peer: HangingPeer | ScriptedPeer = await HangingPeer.bind(hangingAt);
  try {
    const started = performance.now();
    const sent = await here.send('l31', { providers: ['late', hanging.id, one.id, 'two'], prefer: 'wait=8' });
    expect(performance.now() - started).toBeLessThan(40_000);
    expect(sent.status).toBe(202);
    expect(sent.delivery.state).toBe('partial');
    const states = Object.fromEntries(sent.delivery.receivers.map(({ name, state }) => [name, state]));
    expect(states).toEqual({ late: 'queued', [hanging.id]: 'queued', [one.id]: 'delivered', two: 'delivered' });
    expect(sent.result).toMatchObject({ [one.id]: { member_description: { id: one.id } } });

    await there.must(200, there.act(late.path, 'start_l31'));
    peer.close();
    peer = await ScriptedPeer.bind(hangingAt, () => '{"member_description":{},"sockets_l1":[]}');
    await here.reaches(sent.path, 'delivered');
    expect(await there.inbox(late)).toHaveLength(1);
    expect(Object.keys((await here.get(sent.path)).result)).toEqual(['late', hanging.id, one.id, 'two']);
  } finally {
    peer.close();
  }
});

test('a member that listens only on another layer is not reached', async () => {
  const other = await there.member({ start: ['l1'] });
  await here.introduce(other);
  const sent = await here.send('l31', { providers: [other.id] });
  expect(sent.status).toBe(202);
  expect(sent.delivery).toMatchObject({ state: 'queued', reason: `nobody listens at ${other.sockets.l31}` });
});

test('a member of the same deployment is reached over its socket', async () => {
  const local = await here.member({ title: 'local', start: ['l31'] });
  const sent = await here.send('l31', { providers: ['local'], from: sender.id, content: 'near' });
  expect(sent.status).toBe(200);
  expect((await here.inbox(local)).map(contentOf)).toEqual(['near']);
});

test('a message without providers is refused', async () => {
  const sent = await here.send('l31', { providers: [], from: sender.id });
  expect(sent.status).toBe(400);
});
