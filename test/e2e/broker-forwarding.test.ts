/** Forwarded messages have the same limits as messages that are sent here (docs/layers.md, "Discovery and federation"). */
import { eventually, Fleet } from './harness';

const fleet = new Fleet();
afterEach(() => fleet.close());

test('a deployment with a full queue refuses messages to forward, and their sender keeps them', async () => {
  const [far, near] = await Promise.all([fleet.start({ env: { CMBS_QUEUE_LIMIT: '1' } }), fleet.start()]);
  const passing = await far.member({ topics: ['news'], start: ['l32'] });
  const away = await far.member({ topics: ['news'], local: false });
  await near.member();
  await near.introduce(passing, { topics: ['news'] });
  const first = await near.send('l32', { topics: ['news'], content: 'first' });
  expect(first.status).toBe(200);
  const second = await near.send('l32', { topics: ['news'], content: 'second', prefer: 'wait=2' });
  expect(second.status).toBe(202);
  await eventually(
    async () => (await near.delivery(second.path)).receivers.find(({ name }) => name === passing.path)?.reason,
    (reason) => reason?.includes(`1 messages are queued for ${away.sockets.l32}`) === true,
    'the sender knows why',
  );
});
