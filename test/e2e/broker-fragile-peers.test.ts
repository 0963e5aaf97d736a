/** Peers that a message can stop: the original program ends at a content without an `id`. */
import { ScriptedPeer } from './broker-peers';
import { eventually, Fleet, freeSocket, MEMBER, type Deployment } from './harness';
import { PATIENCE_MS } from '../patience';

let fleet: Fleet;
let here: Deployment;
let socket: string;
beforeEach(async () => {
  fleet = new Fleet();
  here = await fleet.start();
  socket = await freeSocket();
  await here.member();
});
afterEach(() => fleet.close());

/** A reply of the original, which has no `transfer`. */
const DESCRIBED = JSON.stringify({
  member_description: { kind: MEMBER, id: 'original', attributes: { cmbs: { member: { local: 'false' } } } },
  sockets_l1: [],
});

/** A peer that restarts whenever it ends; it ends at a content without an `id`. */
async function fragile(): Promise<{ readonly seen: string[]; deaths: number }> {
  const life = { seen: [] as string[], deaths: 0, isOver: false };
  let peer: ScriptedPeer;
  const begin = async (): Promise<void> => {
    peer = await ScriptedPeer.bind(socket, (body) => {
      life.seen.push(body);
      if (body.includes('"id":"taken"')) return DESCRIBED;
      life.deaths += 1;
      peer.close();
      if (!life.isOver) begin().catch(() => undefined);
      return undefined;
    });
  };
  await begin();
  fleet.using(life, () => {
    life.isOver = true;
    peer.close();
  });
  return life;
}

test('a message that stops its receiver is sent five times in all, across restarts, and delays no other message', async () => {
  const life = await fragile();
  const poison = await here.send('l1', { to: socket, content: 'poison', prefer: 'respond-async' });
  const behind = await here.send('l1', { to: socket, content: { id: 'taken' }, prefer: 'respond-async' });
  await eventually(
    () => life.deaths,
    (deaths) => deaths >= 2,
    'it ends twice',
  );
  await here.down();
  await here.up();
  const delivery = await here.reaches(poison.path, 'failed', 3 * PATIENCE_MS);
  expect(delivery.reason).toContain('does not survive it');
  expect(delivery.reason).toContain('"id"');
  await here.reaches(behind.path, 'delivered', 3 * PATIENCE_MS);
  // One attempt more for each time that both messages were in flight, or that the restart came before the count
  // was stored.
  expect(life.deaths).toBeGreaterThanOrEqual(5);
  expect(life.deaths).toBeLessThanOrEqual(7);
});

test('a peer that is known to run the original program gets only messages that it can take', async () => {
  const peer = fleet.using(await ScriptedPeer.bind(socket, () => DESCRIBED), (one) => one.close());
  expect((await here.send('l1', { to: socket, content: '' })).delivery.state).toBe('delivered');
  const refused = await here.send('l1', { to: socket, content: { no: 'such member' } });
  expect(refused.status).toBe(409);
  expect((await here.delivery(refused.path)).reason).toContain('runs the original program');
  expect((await here.send('l1', { to: socket, content: { id: 'it can take this' } })).delivery.state).toBe(
    'delivered',
  );
  expect(peer.bodies).toHaveLength(2);
});

test('a peer that has accepted content of any form continues to get it', async () => {
  fleet.using(await ScriptedPeer.bind(socket, () => DESCRIBED), (one) => one.close());
  for (const content of ['first', '', 'second']) {
    expect((await here.send('l1', { to: socket, content })).delivery.state).toBe('delivered');
  }
});

test('a peer that one message has stopped gets no other message of the same form', async () => {
  const life = await fragile();
  const first = await here.send('l1', { to: socket, content: 'poison', prefer: 'respond-async' });
  await here.reaches(first.path, 'failed', 3 * PATIENCE_MS);
  const deaths = life.deaths;
  const second = await here.send('l1', { to: socket, content: 'poison too', prefer: 'respond-async' });
  const delivery = await here.reaches(second.path, 'failed', 3 * PATIENCE_MS);
  expect(delivery.reason).toContain('"id"');
  expect(life.deaths).toBe(deaths);
  const harmless = await here.send('l1', { to: socket, content: { id: 'taken' } });
  expect(harmless.status).toBe(200);
});
