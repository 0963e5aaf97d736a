/** Claims of third parties do not turn a known member into another (docs/layers.md, "Discovery and federation"). */
import type { JsonObject } from '@cmbs/shared';
import { INQUIRY_ATTEMPTS } from '../../companion/peer-inquiry';
import { ask, frameOf, HangingPeer, ScriptedPeer } from './broker-peers';
import { eventually, Fleet, freeSocket, MEMBER, unique, type Deployment, type Member } from './harness';

const HOUR_MS = 3600 * 1000;

const fleet = new Fleet();
let here: Deployment;
let there: Deployment;
/** The member that receives the claims. */
let alice: Member;
beforeAll(async () => {
  [here, there] = await Promise.all([fleet.start(), fleet.start()]);
  alice = await here.member({ start: ['l1'] });
});
afterAll(() => fleet.close());

const descriptionOf = (id: string, fields: JsonObject): JsonObject => ({
  kind: MEMBER,
  id,
  attributes: { cmbs: { member: fields } },
});

/** Sends alice a description of a member. The origin is readable in frames, so anyone could know it. */
function tell(
  id: string,
  fields: JsonObject,
  deployment = 'elsewhere',
  revision = Date.now(),
): Promise<JsonObject> {
  return ask(
    alice.sockets.l1,
    frameOf(unique('told'), {
      message_content: descriptionOf(id, fields),
      transfer: { v: 1, origin: { deployment, revision }, hops: [`${deployment}/${id}`] },
    }),
  );
}

const known = async (id: string): Promise<JsonObject> => (await here.get(`/cmbs/member/${id}`)).attributes;
const l1 = async (id: string): Promise<unknown> => (await known(id))['cmbs.member.l1_socket'];

interface Report {
  readonly found: readonly { readonly socket: string; readonly member: string }[];
  readonly known: readonly { readonly socket: string; readonly member: string; readonly conflict?: string }[];
  readonly failed: readonly unknown[];
}

/** Lets a local member ask these sockets. */
async function check(...neighbors: readonly string[]): Promise<Report> {
  const asking = await here.member({ neighbors });
  const answer = await here.must(200, here.act(asking.path, 'check_neighbors'));
  return (answer.json.attributes ?? answer.json) as unknown as Report;
}

const claims = (outcome: string): Promise<number> => here.metric('cmbs_member_claims', { outcome });

/** A peer that answers as the member. */
async function impostor(socket: string, id: string, deployment: string): Promise<ScriptedPeer> {
  const reply = JSON.stringify({
    member_description: descriptionOf(id, { l1_socket: socket, topics: ['stolen'] }),
    sockets_l1: [],
    transfer: { v: 1, origin: { deployment, revision: Date.now() + 23 * HOUR_MS } },
  });
  return fleet.using(await ScriptedPeer.bind(socket, () => reply), (peer) => peer.close());
}

describe('a member that was found at its own address', () => {
  let bob: Member;
  /** The id of bob's deployment, which each of its replies shows. */
  let deployment: string;
  beforeEach(async () => {
    bob = await there.member({ topics: ['a'], start: ['l1'] });
    await check(bob.sockets.l1);
    const reply = await ask(bob.sockets.l1, frameOf(unique('message')));
    deployment = (reply.transfer as { readonly origin: { readonly deployment: string } }).origin.deployment;
  });

  test.each([0, 23 * HOUR_MS, 1e300])('is not moved by a frame whose revision is %d ms ahead', async (ahead) => {
    const before = await claims('answered');
    const elsewhere = await freeSocket();
    await tell(bob.id, { l1_socket: elsewhere, topics: ['stolen'] }, deployment, Date.now() + ahead);
    await eventually(
      () => claims('answered'),
      (count) => count > before,
      'bob was asked',
    );
    expect(await l1(bob.id)).toBe(bob.sockets.l1);
    expect((await known(bob.id))['cmbs.member.topics']).toEqual(['a']);
    // Bob's own changes are still accepted.
    await there.change(bob.path, { 'cmbs.member.topics': ['b'] });
    await check(bob.sockets.l1);
    expect((await known(bob.id))['cmbs.member.topics']).toEqual(['b']);
  });

  test('is not moved by a peer that answers elsewhere as bob, and the report says so', async () => {
    const before = await claims('conflict');
    const elsewhere = await freeSocket();
    await impostor(elsewhere, bob.id, deployment);
    const report = await check(elsewhere);
    expect(report.known).toEqual([
      { socket: elsewhere, member: bob.path, conflict: expect.stringContaining(bob.sockets.l1) as string },
    ]);
    expect(await l1(bob.id)).toBe(bob.sockets.l1);
    expect(await claims('conflict')).toBe(before + 1);
  });

  test('is not moved by another deployment that took over the address', async () => {
    await there.must(200, there.act(bob.path, 'stop_l1'));
    await impostor(bob.sockets.l1, bob.id, 'another');
    expect((await check(bob.sockets.l1)).known).toContainEqual({
      socket: bob.sockets.l1,
      member: bob.path,
      conflict: expect.any(String) as string,
    });
    expect((await known(bob.id))['cmbs.member.topics']).toEqual(['a']);
  });

  test('is kept when its address does not answer', async () => {
    const before = await claims('unanswered');
    await there.must(200, there.act(bob.path, 'stop_l1'));
    await tell(bob.id, { l1_socket: await freeSocket() }, deployment);
    await eventually(
      () => claims('unanswered'),
      (count) => count > before,
      'bob was looked for',
    );
    expect(await l1(bob.id)).toBe(bob.sockets.l1);
  });

  test("is updated after bob's own message, since bob confirms it at the known address", async () => {
    await there.change(bob.path, {
      'cmbs.member.topics': ['news'],
      'cmbs.member.neighbors_socket': [alice.sockets.l1],
    });
    await there.must(200, there.act(bob.path, 'check_neighbors'));
    await eventually(
      async () => (await known(bob.id))['cmbs.member.topics'],
      (topics) => JSON.stringify(topics) === '["news"]',
      'the new topics are known',
    );
  });

  test('keeps a change that a client makes here', async () => {
    await here.change(bob.path, { 'cmbs.member.topics': ['ours'] });
    await there.change(bob.path, { 'cmbs.member.topics': ['theirs'] });
    await check(bob.sockets.l1);
    await here.must(200, here.send('l1', { to: bob.sockets.l1, from: alice.id }));
    expect((await known(bob.id))['cmbs.member.topics']).toEqual(['ours']);
  });
});

describe('a member that a client created', () => {
  test('changes neither by frames nor by answers', async () => {
    const bob = await there.member({ topics: ['theirs'], start: ['l1'] });
    await here.introduce(bob, { topics: ['ours'], title: 'our bob' });
    const before = await claims('conflict');
    await tell(bob.id, { l1_socket: await freeSocket() });
    expect(await claims('conflict')).toBe(before + 1);
    await check(bob.sockets.l1);
    const { json, attributes } = await here.get(bob.path);
    expect(json.title).toBe('our bob');
    expect(attributes).toMatchObject({
      'cmbs.member.l1_socket': bob.sockets.l1,
      'cmbs.member.topics': ['ours'],
    });
  });
});

describe('a member that a third party described first', () => {
  test('is corrected when discovery reaches the true member and the claimed address does not answer', async () => {
    const bob = await there.member({ start: ['l1'] });
    await tell(bob.id, { l1_socket: await freeSocket() }, 'forged', Date.now() + 23 * HOUR_MS);
    await check(bob.sockets.l1);
    expect(await l1(bob.id)).toBe(bob.sockets.l1);
  });

  test("is corrected by the true member's first answer if only other attributes were false", async () => {
    const bob = await there.member({ topics: ['true'], start: ['l1'] });
    await tell(bob.id, { l1_socket: bob.sockets.l1, topics: ['false'] }, 'forged', Date.now() + 23 * HOUR_MS);
    await here.must(200, here.send('l1', { to: bob.sockets.l1, from: alice.id }));
    await eventually(
      async () => (await known(bob.id))['cmbs.member.topics'],
      (topics) => JSON.stringify(topics) === '["true"]',
      'the true topics are known',
    );
  });

  test('is kept if a peer at the claimed address answers as that member, and the report says so', async () => {
    const bob = await there.member({ start: ['l1'] });
    const elsewhere = await freeSocket();
    await impostor(elsewhere, bob.id, 'forged');
    await tell(bob.id, { l1_socket: elsewhere }, 'forged');
    expect((await check(bob.sockets.l1)).known).toContainEqual({
      socket: bob.sockets.l1,
      member: bob.path,
      conflict: expect.stringContaining(elsewhere) as string,
    });
    expect(await l1(bob.id)).toBe(elsewhere);
    // After the operator deletes the entity, bob is registered as he is.
    await here.must(200, here.request('DELETE', bob.path));
    expect((await check(bob.sockets.l1)).found).toContainEqual({ socket: bob.sockets.l1, member: bob.path });
    expect(await l1(bob.id)).toBe(bob.sockets.l1);
  });
});

test('many claims about one member cause one inquiry at a time', async () => {
  const socket = await freeSocket();
  const id = unique('hanging');
  await tell(id, { l1_socket: socket, topics: ['a'] });
  const peer = fleet.using(await HangingPeer.bind(socket), (one) => one.close());
  const before = await claims('unanswered');
  for (let time = 0; time < 50; time += 1) await tell(id, { l1_socket: socket, topics: [`b${time}`] });
  await eventually(
    () => claims('unanswered'),
    (count) => count > before,
    'the member was asked',
  );
  const { received } = peer;
  const questions = (await claims('unanswered')) - before + 1; // the last inquiry may still be running
  expect(received).toBeLessThanOrEqual(questions * INQUIRY_ATTEMPTS);
});

test("a stranger's title does not name a known member", async () => {
  const carol = await here.member({ start: ['l31'] });
  const description = { ...descriptionOf(unique('evil'), { l31_socket: await freeSocket() }), title: carol.id };
  const transfer = { v: 1, origin: { deployment: 'elsewhere', revision: Date.now() }, hops: ['elsewhere/evil'] };
  await ask(alice.sockets.l1, frameOf(unique('told'), { message_content: description, transfer }));
  const sent = await here.send('l31', { providers: [carol.id], from: alice.id });
  expect(sent.delivery.receivers).toMatchObject([{ name: carol.id, state: 'delivered' }]);
});
