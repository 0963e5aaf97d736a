/** More peers than there may be connections: those that find none wait, and get the next that is free. */
import { Deployment, eventually, freeSocket } from './harness';

jest.mock('@cmbs/shared/limits', () => ({
  ...jest.requireActual<object>('@cmbs/shared/limits'),
  MAX_LANES: 1,
  LANE_IDLE_MS: 50,
}));

let here: Deployment;
beforeAll(async () => {
  here = await Deployment.start();
});
afterAll(() => here.close());

test('a send that finds every connection taken goes out when one is free', async () => {
  const member = await here.member({ start: ['l1'] });
  const blocking = await here.send('l1', { to: await freeSocket() });
  expect(blocking.status).toBe(202);
  const waiting = await here.send('l1', { to: member.sockets.l1 });
  expect(waiting.status).toBe(202);
  expect(waiting.delivery.reason).toBe('too many peers at once');
  await here.must(200, here.request('DELETE', blocking.path));
  await here.reaches(waiting.path, 'delivered');
  await here.receives(member, 1);
});

test('broadcasts that are cancelled give their connection back', async () => {
  const away = await here.member({ local: false });
  const blocking = await here.send('l2');
  expect(blocking.status).toBe(202);
  await here.must(200, here.request('DELETE', away.path));
  const other = await here.member({ local: false });
  const waiting = await here.send('l2');
  expect(waiting.delivery.receivers.find(({ name }) => name === other.path)?.reason).toBe(
    'too many peers at once',
  );
  await here.must(200, here.request('DELETE', blocking.path));
  await eventually(
    () => here.delivery(waiting.path),
    ({ receivers }) => receivers.some(({ reason }) => reason === `nobody listens at ${other.sockets.l2}`),
    'the other peer is tried',
  );
});
