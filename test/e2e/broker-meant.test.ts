/** A delivery counts only if the member that answers is the intended receiver. */
import { ScriptedPeer } from './broker-peers';
import { PATIENCE_MS } from '../patience';
import { contentOf, eventually, Fleet, freeSocket, MEMBER, unique, type Deployment, type Member } from './harness';

const fleet = new Fleet();
let here: Deployment;
let alice: Member;
beforeAll(async () => {
  here = await fleet.start();
  alice = await here.member({ id: unique('alice'), start: ['l2', 'l31', 'l32', 'l4'] });
});
afterAll(() => fleet.close());

const reasonOf = async (path: string): Promise<string> => (await here.delivery(path)).reason ?? '';

/** A peer's reply that accepts every message. */
const replyOf = (id: string, deployment?: string): string =>
  JSON.stringify({
    member_description: { kind: MEMBER, id, attributes: { cmbs: { member: { local: 'false' } } } },
    sockets_l1: [],
    ...(deployment === undefined ? {} : { transfer: { v: 1, origin: { deployment, revision: 1 } } }),
  });

async function peer(reply: string): Promise<string> {
  const socket = await freeSocket();
  fleet.using(await ScriptedPeer.bind(socket, () => reply), (one) => one.close());
  return socket;
}

/** The member that refuses a message for another one. A closed deployment does not name it to a sender that proves nothing. */
const nameOf = ({ id }: Pick<Member, 'id'>): string =>
  Object.keys(here.headers).length > 0 ? 'Another member' : id;

test('on l2, a subscription by another local member at the address does not count as sent', async () => {
  const bob = await here.member({ id: unique('bob'), sockets: { l2: alice.sockets.l2 } });
  const sent = await here.send('l2', { from: (await here.member()).id, content: 'to all' });
  const receivers = Object.fromEntries(
    (await here.delivery(sent.path)).receivers.map(({ name, ...rest }) => [name, rest]),
  );
  expect(receivers[alice.path]).toMatchObject({ state: 'sent' });
  expect(receivers[bob.path]).toMatchObject({
    state: 'failed',
    reason: expect.stringContaining(alice.path) as string,
  });
  expect((await here.receives(alice, 1)).map(contentOf)).toEqual(['to all']);
  await here.must(200, here.request('DELETE', bob.path));
  for (const { href } of await here.inbox(alice)) await here.must(200, here.request('DELETE', href));
});

describe.each(['l31', 'l4'] as const)('on %s', (layer) => {
  test('a member whose address another member holds is not reached, and the other member does not take the message', async () => {
    const bob = await here.member({ id: unique('bob'), sockets: { [layer]: alice.sockets[layer] } });
    const sent = await here.send(layer, { providers: [bob.id], from: alice.id });
    expect(sent.status).toBe(409);
    expect(await here.delivery(sent.path)).toMatchObject({ state: 'failed', receivers: [{ state: 'failed' }] });
    const reason = await reasonOf(sent.path);
    for (const part of [nameOf(alice), alice.sockets[layer], bob.id]) expect(reason).toContain(part);
    expect(await here.inbox(alice)).toEqual([]);
    // The intended member still gets the message.
    expect((await here.send(layer, { providers: [alice.id], from: bob.id })).delivery.state).toBe('delivered');
    const [entry] = await here.inbox(alice);
    await here.must(200, here.request('DELETE', entry!.href));
  });

  test('a peer that ignores the intended receiver does not count as delivered', async () => {
    const bob = await here.member({
      id: unique('bob'),
      local: false,
      sockets: { [layer]: await peer(replyOf('mallory')) },
    });
    const sent = await here.send(layer, { providers: [bob.id], from: alice.id });
    expect(sent.status).toBe(409);
    const reason = await reasonOf(sent.path);
    for (const part of ['mallory answered at', bob.sockets[layer], bob.id]) expect(reason).toContain(part);
  });

  test('a peer that does not describe itself counts as delivered', async () => {
    const bob = await here.member({
      id: unique('bob'),
      local: false,
      sockets: { [layer]: await peer('{"sockets_l1":[]}') },
    });
    const sent = await here.send(layer, { providers: [bob.id], from: alice.id });
    expect(sent.delivery.state).toBe('delivered');
  });

  test('a member with the same id in another deployment is another member', async () => {
    const [one, other] = [await fleet.start(), await fleet.start()];
    const id = unique('carol');
    const carol = await one.member({ id, start: ['l1', layer] });
    await here.must(200, here.send('l1', { to: carol.sockets.l1, content: '', from: alice.id }));
    expect((await here.send(layer, { providers: [id], from: alice.id })).delivery.state).toBe('delivered');
    await one.must(200, one.act(carol.path, `stop_${layer}`));
    const impostor = await other.member({ id, sockets: { [layer]: carol.sockets[layer] }, start: [layer] });
    const sent = await here.send(layer, { providers: [id], from: alice.id });
    expect(sent.status).toBe(409);
    expect(await reasonOf(sent.path)).toContain('of the deployment');
    expect(impostor.id).toBe(id);
  });
});

describe.each(['l31', 'l4'] as const)(
  'on %s, for a member that is known by the address of another member',
  (layer) => {
    /** Two members of another deployment; the second is known here by the address of the first. */
    async function known(): Promise<{ there: Deployment; holder: Member; bob: Member }> {
      const there = await fleet.start();
      const holder = await there.member({ start: [layer] });
      const bob = await there.member();
      await here.introduce(holder);
      await here.introduce({ ...bob, sockets: { ...bob.sockets, [layer]: holder.sockets[layer] } });
      return { there, holder, bob };
    }

    async function sendThree(bob: Member, holder: Member): Promise<readonly string[]> {
      const paths: string[] = [];
      for (const content of ['one', 'two', 'three']) {
        const sent = await here.send(layer, { providers: [bob.id], from: alice.id, content });
        expect([sent.status, sent.delivery.state]).toEqual([202, 'queued']);
        expect(sent.headers.get('x-occi-reason')).toContain(`${nameOf(holder)} answers at`);
        paths.push(sent.path);
      }
      return paths;
    }

    test('messages wait across a restart, delay no other messages, and follow the member to its address', async () => {
      const { there, holder, bob } = await known();
      const paths = await sendThree(bob, holder);
      const other = await here.send(layer, { providers: [holder.id], from: alice.id, content: 'for the holder' });
      expect([other.status, other.delivery.state]).toEqual([200, 'delivered']);
      await here.down();
      await here.up();
      await there.must(200, there.act(bob.path, `start_${layer}`));
      await here.change(bob.path, { [`cmbs.member.${layer}_socket`]: bob.sockets[layer] });
      for (const path of paths) await here.reaches(path, 'delivered', PATIENCE_MS);
      expect((await there.receives(bob, 3)).map(contentOf)).toEqual(['one', 'two', 'three']);
      expect((await there.inbox(holder)).map(contentOf)).toEqual(['for the holder']);
    });

    test('messages go out once the member itself answers at that address', async () => {
      const { there, holder, bob } = await known();
      const paths = await sendThree(bob, holder);
      await there.must(200, there.act(holder.path, `stop_${layer}`));
      await there.change(bob.path, { [`cmbs.member.${layer}_socket`]: holder.sockets[layer] });
      await there.must(200, there.act(bob.path, `start_${layer}`));
      for (const path of paths) await here.reaches(path, 'delivered', PATIENCE_MS);
      expect((await there.receives(bob, 3)).map(contentOf)).toEqual(['one', 'two', 'three']);
      expect(await there.inbox(holder)).toEqual([]);
    });

    test('messages beyond the limit of a queue do not wait', async () => {
      const small = await fleet.start({ env: { CMBS_QUEUE_LIMIT: '2' } });
      const sender = await small.member();
      const there = await fleet.start();
      const holder = await there.member({ start: [layer] });
      const bob = await there.member();
      await small.introduce({ ...bob, sockets: { ...bob.sockets, [layer]: holder.sockets[layer] } });
      const answers: number[] = [];
      for (const content of ['one', 'two', 'three']) {
        answers.push((await small.send(layer, { providers: [bob.id], from: sender.id, content })).status);
      }
      expect(answers).toEqual([202, 202, 409]);
      expect(await there.inbox(holder)).toEqual([]);
    });

    test('messages fail when the member is deleted', async () => {
      const { holder, bob } = await known();
      const paths = await sendThree(bob, holder);
      await here.must(200, here.request('DELETE', bob.path));
      for (const path of paths) await here.reaches(path, 'failed', PATIENCE_MS);
    });
  },
);

test('a topic message is forwarded to the intended member', async () => {
  const there = await fleet.start();
  const holder = await there.member({ topics: ['weather'], start: ['l32'] });
  await here.member({
    id: unique('bob'),
    local: false,
    topics: ['weather'],
    sockets: { l32: holder.sockets.l32 },
  });
  const sent = await here.send('l32', { topics: ['weather'], from: alice.id });
  // The message is on the bus here, and waits for the only member that wants it.
  expect([sent.status, sent.headers.get('x-occi-reason')]).toEqual([
    202,
    expect.stringContaining(nameOf(holder)) as string,
  ]);
  expect(await there.inbox(holder)).toEqual([]);
});

test('a broadcast to a member whose address another member holds is not in the inbox of the other member', async () => {
  // A frame names its intended members when they are few.
  const [few, there] = [await fleet.start(), await fleet.start()];
  const sender = await few.member();
  const holder = await there.member({ start: ['l2'] });
  await few.member({ id: unique('bob'), local: false, sockets: { l2: holder.sockets.l2 } });
  const content = unique('broadcast');
  await few.send('l2', { from: sender.id, content, prefer: 'wait=1' });
  await eventually(
    () => there.metric('cmbs_dropped', { layer: 'l2', reason: 'misdirected' }),
    (count) => count === 1,
    'it is dropped there',
  );
  expect((await there.inbox(holder)).map(contentOf)).toEqual([]);
});
