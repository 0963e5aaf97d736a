/** Dead letters are kept for 30 days, and for good when they are revived. */
import { CMBS, contentOf, Deployment, eventually, skewedClock } from './harness';

const DAY_MS = 24 * 3600 * 1000;

it('a dead letter is readable for 30 days and gone after them', async () => {
  const clock = skewedClock();
  const here = await Deployment.start({ clock });
  try {
    const { id: from } = await here.member();
    await here.member({ id: 'mute', local: false, sockets: { l31: '' } });
    const dead = await here.send('l31', { from, providers: ['mute'] });
    expect([dead.status, (await here.delivery(dead.path)).state]).toEqual([409, 'failed']);
    const kept = await here.message('l31', { providers: ['nobody of that name'] });
    clock.forward(29 * DAY_MS);
    expect((await here.get(dead.path)).delivery.state).toBe('failed');
    expect((await here.get('/cmbs/message/dead_letter/')).text).toContain(
      dead.path.slice('/cmbs/message/'.length),
    );
    clock.forward(2 * DAY_MS);
    expect((await here.get(dead.path)).status).toBe(404);
    expect((await here.get(kept)).status).toBe(200);
  } finally {
    await here.close();
  }
});

it.each([
  ['untagging it', 'DELETE', '/cmbs/message/dead_letter/'],
  ['replacing it', 'PUT', undefined],
])('a dead letter that is revived by %s stays for good', async (_how, method, collection) => {
  const clock = skewedClock();
  const here = await Deployment.start({ clock });
  try {
    const { id: from } = await here.member();
    await here.member({ id: 'mute', local: false, sockets: { l31: '' } });
    const { path } = await here.send('l31', { from, providers: ['mute'] });
    const { mixins, ...shown } = (await here.get(path)).json as { mixins: readonly string[] };
    expect(mixins).toContain(`${CMBS}dead_letter`);
    const others = mixins.filter((id) => id !== `${CMBS}dead_letter`);
    const body = collection === undefined ? { ...shown, mixins: others } : { locations: [here.url + path] };
    await here.must(200, here.request(method, collection ?? path, body));
    clock.forward(365 * DAY_MS);
    expect((await here.get(path)).json).toMatchObject({ mixins: others });
  } finally {
    await here.close();
  }
});

it('a message that is purged while it waits is not delivered', async () => {
  const here = await Deployment.start({});
  try {
    await here.member();
    const late = await here.member({ local: true });
    const waiting = await here.send('l1', { to: late.sockets.l1, from: late.id, content: 'purged' });
    expect(waiting.status).toBe(202);
    // Any client may add the mixin to a message.
    await here.must(
      200,
      here.request('POST', '/cmbs/message/dead_letter/', here.url + waiting.path, {
        'Content-Type': 'text/uri-list',
      }),
    );
    await here.must(200, here.act(waiting.path, 'purge'));
    await eventually(
      () => here.metric('cmbs_messages_queued'),
      (queued) => queued === 0,
      'nothing waits any more',
    );
    await here.must(200, here.act(late.path, 'start_l1'));
    await here.send('l1', { to: late.sockets.l1, from: late.id, content: 'kept' });
    expect((await here.receives(late, 1)).map(contentOf)).toEqual(['kept']);
  } finally {
    await here.close();
  }
});
