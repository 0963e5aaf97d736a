/** Categories and providers that change while their entities are created. */
import { Deployment, MEMBER, MESSAGE, unique } from './harness';

let here: Deployment;
beforeAll(async () => {
  here = await Deployment.start();
});
afterAll(() => here.close());

const EXAMPLE = 'http://example.com/at-work#';
const attribute = { mutable: true, required: true, type: 'string' };
const define = (...definitions: readonly object[]) =>
  here.request('POST', '/-/', JSON.stringify({ kinds: definitions }));
const built = (name: string): object => ({
  term: 'message',
  scheme: 'http://houssem.org/cmbs#',
  parent: 'http://schemas.ogf.org/occi/core#resource',
  location: '/cmbs/message/',
  attributes: { [name]: attribute },
  actions: [],
});

test('a kind that is merged twice in one request gets both additions, all of them optional', async () => {
  await here.must(200, define(built('example.one'), built('example.two')));
  await here.must(
    201,
    here.request('PUT', '/cmbs/message/with-both', {
      kind: MESSAGE,
      attributes: { 'example.one': '1', 'example.two': '2' },
    }),
  );
  await here.must(201, here.request('PUT', '/cmbs/message/with-none', { kind: MESSAGE }));
});

test('a kind that is deleted while its entities are created leaves no entity', async () => {
  for (let round = 0; round < 20; round += 1) {
    const term = unique('kind').toLowerCase();
    const kind = EXAMPLE + term;
    const location = `/${term}/`;
    const parent = 'http://schemas.ogf.org/occi/core#resource';
    await here.must(200, define({ term, scheme: EXAMPLE, parent, location, attributes: {}, actions: [] }));
    const create = () => here.request('PUT', `${location}one`, { kind });
    const remove = () => here.request('DELETE', '/-/', { kinds: [{ term, scheme: EXAMPLE }] });
    const answers = await Promise.all(round % 2 === 0 ? [create(), remove()] : [remove(), create()]);
    const [made, deleted] = round % 2 === 0 ? answers : answers.reverse();
    expect(['201 409', '400 200', '404 200']).toContain(`${made?.status} ${deleted?.status}`);
    expect((await here.get(`${location}one`)).status).toBe(made?.status === 201 ? 200 : 404);
  }
});

test('topics that were stored while no provider checked them do not block other requests', async () => {
  const bind = (local: readonly string[]) =>
    here.must(
      200,
      here.request('PUT', '/-/', { providers: [{ Provider: { local, remote: [] }, OCCI_ID: MEMBER }] }),
    );
  await bind(['dummy']);
  await here.must(
    201,
    here.request('PUT', '/cmbs/member/unchecked', {
      kind: MEMBER,
      attributes: { 'cmbs.member.local': 'false', 'cmbs.member.topics': ['bad..topic', 'news'] },
    }),
  );
  await bind(['cmbs_member']);
  const member = await here.member({ topics: ['news'], start: ['l32'] });
  expect((await here.send('l32', { topics: ['news'], prefer: 'wait=1' })).status).toBeLessThan(300);
  await here.receives(member, 1);
});
