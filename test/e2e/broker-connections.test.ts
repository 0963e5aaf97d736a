/** More peers than connections: present peers get a connection, absent peers take turns. */
import { Deployment, eventually, freeSocket } from './harness';

const delivery = { connections: 1, probes: 1, lingering: 1, idleMs: 50, probeTickMs: 100 };

let here: Deployment;
beforeAll(async () => {
  here = await Deployment.start({ delivery });
});
afterAll(() => here.close());

test('absent peers leave the only connection to a present peer, and get it once they are back', async () => {
  const member = await here.member({ start: ['l1'] });
  const absent = await here.member();
  for (const to of [absent.sockets.l1, await freeSocket(), await freeSocket()]) {
    const waiting = await here.must(202, here.send('l1', { to, from: member.id }));
    expect(waiting.delivery.reason).toBe(`nobody listens at ${to}`);
  }
  for (let n = 1; n <= 3; n += 1) {
    const sent = await here.send('l1', { to: member.sockets.l1, from: member.id });
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
  }
  await here.must(200, here.act(absent.path, 'start_l1'));
  await here.receives(absent, 1);
});

test('broadcasts to absent members do not delay broadcasts to present members', async () => {
  const receiver = await here.member({ start: ['l2'] });
  const away = await here.member({ local: false });
  const sent = await here.send('l2', { from: receiver.id });
  expect(sent.status).toBe(202);
  const other = await here.member();
  const waiting = await here.send('l2', { from: other.id });
  await eventually(
    () => here.delivery(waiting.path),
    ({ receivers }) =>
      receivers.some(({ name, state }) => name === receiver.path && state === 'sent') &&
      receivers.some(({ name, state }) => name === away.path && state === 'waiting'),
    'the present member has the broadcast, and the absent member waits',
  );
  await here.receives(receiver, 1);
});
