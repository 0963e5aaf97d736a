/** A receiver that fails on a message does not delay later messages; a receiver without room is waited for. */
import { ScriptedPeer } from './broker-peers';
import { contentOf, eventually, Fleet, freeSocket, type Deployment } from './harness';
import { PATIENCE_MS } from '../patience';

let fleet: Fleet;
let here: Deployment;

beforeEach(async () => {
  fleet = new Fleet();
  here = await fleet.start();
});

afterEach(() => fleet.close());

it('a message at which its receiver fails each time is given up, and later messages are delivered', async () => {
  await here.member();
  const socket = await freeSocket();
  const broken = JSON.stringify({ error: { code: 'internal', message: 'The server failed.' } });
  fleet.using(
    await ScriptedPeer.bind(socket, (body) => (body.includes('poison') ? broken : '{"member_description":{}}')),
    (peer) => peer.close(),
  );
  const poison = await here.send('l1', { to: socket, content: 'poison', prefer: 'respond-async' });
  const behind = await here.send('l1', { to: socket, content: 'behind it', prefer: 'respond-async' });
  await here.reaches(behind.path, 'delivered', 3 * PATIENCE_MS);
  const delivery = await here.reaches(poison.path, 'failed', 3 * PATIENCE_MS);
  expect(delivery.attempts).toBe(5);
  expect(delivery.reason).toContain('internal');
});

describe('a member whose inbox is full', () => {
  let full: Deployment;

  beforeEach(async () => {
    full = await fleet.start({ env: { CMBS_INBOX_LIMIT: '1' } });
  });

  it('leaves a message with its sender, and gets it once there is room', async () => {
    const member = await full.member({ start: ['l1'] });
    expect((await full.send('l1', { to: member.sockets.l1, content: 'first' })).status).toBe(200);
    const second = await full.send('l1', { to: member.sockets.l1, content: 'second' });
    expect(second.status).toBe(202);
    expect(second.delivery.reason).toContain('full');
    const [first] = await full.inbox(member);
    expect(contentOf(first!)).toBe('first');
    await full.must(200, full.request('DELETE', first!.href));
    await full.reaches(second.path, 'delivered', 3 * PATIENCE_MS);
    expect((await full.inbox(member)).map(contentOf)).toEqual(['second']);
  });

  it('gets a topic message later, since the bus delivers it again and does not give it up', async () => {
    const member = await full.member({ topics: ['weather.>'], start: ['l32'] });
    await full.send('l32', { topics: ['weather.berlin'], content: 'rain' });
    const [rain] = await full.receives(member, 1);
    await full.send('l32', { topics: ['weather.berlin'], content: 'sun' });
    await eventually(
      () => full.metric('cmbs_retries', { layer: 'l32' }),
      (count) => count >= 2,
      'it is tried again',
    );
    expect((await full.inbox(member)).map(contentOf)).toEqual(['rain']);
    await full.must(200, full.request('DELETE', rain!.href));
    await eventually(
      async () => (await full.inbox(member)).map(contentOf),
      (contents) => contents[0] === 'sun',
      'the sun comes out',
      3 * PATIENCE_MS,
    );
    expect(await full.metric('cmbs_dead_letters')).toBe(0);
  });
});
