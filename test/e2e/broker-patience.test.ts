/** A receiver that breaks on one message does not hold up those behind it for ever. */
import { ScriptedPeer } from './broker-peers';
import { DEADLINE_MS, Fleet, freeSocket, type Deployment } from './harness';

let fleet: Fleet;
let here: Deployment;

beforeEach(async () => {
  fleet = new Fleet();
  here = await fleet.start();
});

afterEach(() => fleet.close());

it('a message on which its receiver breaks each time is given up, and those behind it go on', async () => {
  await here.member();
  const socket = await freeSocket();
  const broken = JSON.stringify({ error: { code: 'internal', message: 'The server failed.' } });
  fleet.using(
    await ScriptedPeer.bind(socket, (body) => (body.includes('poison') ? broken : '{"member_description":{}}')),
    (peer) => peer.close(),
  );
  const poison = await here.send('l1', { to: socket, content: 'poison', prefer: 'respond-async' });
  const behind = await here.send('l1', { to: socket, content: 'behind it', prefer: 'respond-async' });
  await here.reaches(behind.path, 'delivered', 3 * DEADLINE_MS);
  const delivery = await here.reaches(poison.path, 'failed', 3 * DEADLINE_MS);
  expect(delivery.attempts).toBe(5);
  expect(delivery.reason).toContain('internal');
}, 60_000);
