/** The order of messages survives a wall clock that is set back. */
import { contentOf, Fleet, freeSocket, skewedClock, type Deployment } from './harness';

const HOUR_MS = 3_600_000;

let fleet: Fleet;
let clock: ReturnType<typeof skewedClock>;
let here: Deployment;
beforeEach(async () => {
  fleet = new Fleet();
  clock = skewedClock();
  here = await fleet.start({ clock });
});
afterEach(() => fleet.close());

test('messages for an absent peer keep their order, also across a restart', async () => {
  const address = await freeSocket();
  await here.member();
  const sent = async (content: string): Promise<void> => {
    const { status } = await here.send('l1', { to: address, content, prefer: 'respond-async' });
    expect(status).toBe(202);
  };
  await sent('first');
  clock.setWall(-HOUR_MS);
  await sent('second');
  await here.down();
  clock.setWall(-HOUR_MS);
  await here.up();
  await sent('third');
  const there = await fleet.start();
  const late = await there.member({ sockets: { l1: address }, start: ['l1'] });
  expect((await there.receives(late, 3)).map(contentOf)).toEqual(['first', 'second', 'third']);
});

test('an inbox keeps its order, also across a restart', async () => {
  const bob = await here.member({ start: ['l1'] });
  const received = async (content: string): Promise<void> => {
    expect((await here.send('l1', { to: bob.sockets.l1, content })).status).toBe(200);
  };
  await received('first');
  clock.setWall(-HOUR_MS);
  await received('second');
  await here.down();
  clock.setWall(-HOUR_MS);
  await here.up();
  await received('third');
  expect((await here.receives(bob, 3)).map(contentOf)).toEqual(['first', 'second', 'third']);
});

test('topic messages with one ordering key keep their order, also across a restart', async () => {
  const alice = await here.member();
  const bob = await here.member({ topics: ['a.b'], start: ['l32'] });
  const published = async (content: string): Promise<void> => {
    const options = { topics: ['a.b'], orderingKey: 'one', from: alice.id, content };
    expect((await here.send('l32', options)).status).toBe(200);
  };
  await published('first');
  clock.setWall(-HOUR_MS);
  await published('second');
  await here.down();
  clock.setWall(-HOUR_MS);
  await here.up();
  await published('third');
  expect((await here.receives(bob, 3)).map(contentOf)).toEqual(['first', 'second', 'third']);
});
