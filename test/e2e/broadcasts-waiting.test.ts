/** More broadcasts than may wait for an absent member: a small limit in `npm test`, the product's own at night. */
import { DELIVERY_LIMITS } from '@cmbs/companion';
import { eventually, Fleet } from './harness';
import { isNightly } from '../extent';

const waitingBroadcasts = isNightly ? DELIVERY_LIMITS.waitingBroadcasts : 20;

const HALF = waitingBroadcasts / 2;
const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

const fleet = new Fleet();
afterEach(() => fleet.close());

test('broadcasts beyond the limit for one waiting member are dropped, counted and reported', async () => {
  const [here, there] = await Promise.all([fleet.start({ delivery: { waitingBroadcasts } }), fleet.start()]);
  await here.member();
  const away = await there.member();
  await here.introduce(away);
  await here.message('l2', { content: 'one more than there is room for' });
  // Two requests create the messages; one action on the collection sends them.
  const body = (from: number): string =>
    JSON.stringify({
      resources: upTo(HALF).map((number) => ({
        kind: 'http://houssem.org/cmbs#message',
        mixins: ['http://houssem.org/cmbs#l2'],
        attributes: { 'cmbs.message.message_content': from + number },
      })),
    });
  await here.must(201, here.request('POST', '/cmbs/message/', body(0)));
  await here.must(201, here.request('POST', '/cmbs/message/', body(HALF)));
  const sent = await here.request('POST', '/cmbs/message/l2/?action=send_l2', {}, { Prefer: 'respond-async' });
  expect(sent.status).toBe(200);
  await eventually(
    () => here.metric('cmbs_dropped', { layer: 'l2' }),
    (dropped) => dropped === 1,
    'one broadcast is dropped',
  );
  // The counter increases when a broadcast is dropped; the broadcast leaves the queue once that is stored.
  await eventually(
    () => here.metric('cmbs_messages_queued'),
    (queued) => queued === 2 * HALF,
    'the others wait',
  );
  const dead = await here.get('/cmbs/message/dead_letter/');
  const [dropped] = dead.json.resources as unknown as readonly { attributes: Record<string, unknown> }[];
  expect(dead.json.resources).toHaveLength(1);
  expect(dropped?.attributes['cmbs.message.delivery']).toMatchObject({
    state: 'failed',
    receivers: [{ state: 'dropped', reason: `${2 * HALF} broadcasts wait for ${away.sockets.l2} already` }],
  });
  await there.must(200, there.act(away.path, 'start_l2'));
  await eventually(
    () => here.metric('cmbs_messages_queued'),
    (queued) => queued === 0,
    'all that waited is sent',
  );
  expect(await there.receives(away, 2 * HALF)).toHaveLength(2 * HALF);
});
