/** A URI names a member only if the authority matches. */
import type { Json } from '@cmbs/shared';
import { ask, frameOf } from './broker-peers';
import { Fleet, MEMBER, unique, type Deployment, type Member } from './harness';

const fleet = new Fleet();
let here: Deployment;
let bob: Member;
beforeAll(async () => {
  here = await fleet.start();
  bob = await here.member({ id: unique('bob'), topics: ['weather'], start: ['l31', 'l4'] });
});
afterAll(() => fleet.close());

const elsewhere = (): string => `https://elsewhere.example${bob.path}`;

test('a provider at another authority is not the local member of that path', async () => {
  const sent = await here.send('l31', { providers: [elsewhere()] });
  expect(sent.status).toBe(400);
  expect(sent.error).toContain('no such member is known');
  expect(await here.inbox(bob)).toEqual([]);
});

test('on l4, a provider at another authority is not the local member of that path either', async () => {
  const sent = await here.send('l4', { providers: [elsewhere()], topics: ['weather'] });
  expect(sent.status).toBe(400);
});

test('a member at another authority cannot act', async () => {
  const sent = await here.send('l31', { providers: [bob.id], from: elsewhere() });
  expect(sent.status).toBe(400);
  expect(sent.error).toContain('no local member');
});

test('every name of the loopback host is an authority of this deployment', async () => {
  for (const uri of [bob.uri, bob.uri.replace('127.0.0.1', 'localhost')]) {
    expect((await here.send('l31', { providers: [uri], from: uri })).status).toBe(200);
  }
});

test('a remote member is named by its own URI only', async () => {
  const there = await fleet.start();
  const carol = await there.member({ start: ['l1', 'l31'] });
  expect((await here.send('l1', { to: carol.sockets.l1, content: '' })).status).toBe(200);
  await here.must(200, here.get(carol.path));
  expect((await here.send('l31', { providers: [carol.uri] })).delivery.state).toBe('delivered');
  const other = await here.send('l31', { providers: [`https://elsewhere.example${carol.path}`] });
  expect(other.status).toBe(400);
});

test('a frame cannot claim the URI of another member', async () => {
  const there = await fleet.start();
  const mallory = await there.member({ id: unique('mallory'), start: ['l1', 'l31'] });
  const victim = 'https://carol.example/cmbs/member/carol';
  const description = {
    kind: MEMBER,
    mixins: [],
    id: mallory.id,
    attributes: {
      cmbs: { member: { local: 'false', l1_socket: mallory.sockets.l1, l31_socket: mallory.sockets.l31 } },
    },
    actions: [],
    title: '',
    summary: '',
    links: [],
  };
  const started = await here.member({ start: ['l1'] });
  for (const path_history of [[victim], [`https://carol.example${mallory.path}`]]) {
    const frame = frameOf(unique('claim'), {
      message_content: description as unknown as Json,
      path_history,
      transfer: { v: 1, origin: { deployment: 'strange', revision: 1, uri: victim } },
    });
    await ask(started.sockets.l1, frame);
  }
  await here.must(200, here.get(mallory.path));
  const sent = await here.send('l31', { providers: [victim], from: bob.id });
  expect([sent.status, sent.error]).toEqual([400, expect.stringContaining('no such member') as string]);
});
