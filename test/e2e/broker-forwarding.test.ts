/** What is passed on for others is bounded like what is sent here (layers.md, Federation of topics). */
import { eventually, Fleet } from './harness';

const fleet = new Fleet();
afterEach(() => fleet.close());

test('a deployment whose queue is full takes nothing more to pass on, and the sender keeps it', async () => {
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
