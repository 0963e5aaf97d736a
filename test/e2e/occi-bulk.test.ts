/** Requests that concern many entities: keys, deletions, and entities beyond the first page. */
import { CMBS, Deployment, MESSAGE } from './harness';

let here: Deployment;
beforeAll(async () => {
  here = await Deployment.start();
});
afterAll(() => here.close());

async function messages(count: number, content: string): Promise<readonly string[]> {
  const resources = Array.from({ length: count }, () => ({
    kind: MESSAGE,
    mixins: [`${CMBS}l1`],
    attributes: { 'cmbs.message.message_content': content },
  }));
  const made = await here.must(201, here.request('POST', '/cmbs/message/', { resources }));
  return (made.json as unknown as readonly string[]).map((url) => new URL(url).pathname);
}

test('a deletion of named entities finds the entities on every page', async () => {
  await messages(500, 'stays');
  const last = (await messages(1, 'goes'))[0] ?? '';
  await here.must(200, here.request('DELETE', '/cmbs/message/', [here.url + last] as never));
  expect((await here.get(last)).status).toBe(404);
  await here.must(200, here.request('DELETE', '/cmbs/message/'));
  expect((await here.get('/cmbs/message/')).json).toEqual({ resources: [] });
});

describe('an Idempotency-Key', () => {
  test('on a collection counts for each of its entities', async () => {
    const member = await here.member({ start: ['l1'] });
    const paths = [
      await here.message('l1', { to: member.sockets.l1 }),
      await here.message('l1', { to: member.sockets.l1 }),
    ];
    for (let time = 0; time < 2; time += 1) {
      const sent = await here.act('/cmbs/message/l1/', 'send_l1', {}, { 'Idempotency-Key': 'everybody' });
      expect(sent.status).toBe(200);
    }
    for (const path of paths) await here.reaches(path, 'delivered');
    expect(await here.receives(member, 2)).toHaveLength(2);
  });

  test('of one execution is refused for another message, and on a collection makes each message run once', async () => {
    const calls = await Promise.all(
      ['first', 'second'].map((word) =>
        here.message('l2', { executable: true, content: { method: 'echo.echo', params: [word], id: 1 } }),
      ),
    );
    await here.must(200, here.act(calls[0] ?? '', 'execute', {}, { 'Idempotency-Key': 'mine' }));
    await here.must(422, here.act(calls[1] ?? '', 'execute', {}, { 'Idempotency-Key': 'mine' }));
    await here.must(
      200,
      here.request(
        'POST',
        `/cmbs/message/?action=execute&category=${encodeURIComponent(`${CMBS}l2`)}`,
        {},
        { 'Idempotency-Key': 'all' },
      ),
    );
    expect((await here.get(calls[0] ?? '')).result).toEqual({ id: 1, result: ['first'] });
    expect((await here.get(calls[1] ?? '')).result).toEqual({ id: 1, result: ['second'] });
  });
});

describe('an action on named entities', () => {
  const execute = (paths: readonly string[], from = 'nobody'): ReturnType<Deployment['request']> =>
    here.request('POST', '/cmbs/message/?action=execute', {
      action: `${CMBS.replace('#', '/message/action#')}execute`,
      attributes: { from },
      'X-OCCI-Location': paths.map((path) => here.url + path),
    });

  test('runs on those entities of the collection only', async () => {
    const { id } = await here.member();
    const call = (word: string): Promise<string> =>
      here.message('l2', { executable: true, content: { method: 'echo.echo', params: [word], id: 1 } });
    const [named, other] = [await call('named'), await call('other')];
    await here.must(200, execute([named, '/cmbs/message/missing', '/cmbs/member/nobody'], id));
    expect((await here.get(named)).result).toEqual({ id: 1, result: ['named'] });
    expect((await here.get(other)).result).toBeUndefined();
    for (const path of [named, other]) await here.must(200, here.request('DELETE', path));
  });

  test('is refused for more than 10,000 of them', async () => {
    const paths = Array.from({ length: 10_001 }, (_, n) => `/cmbs/message/m${n}`);
    const refused = await execute(paths);
    expect([refused.status, refused.error]).toEqual([413, expect.stringContaining('name fewer') as string]);
  });
});
