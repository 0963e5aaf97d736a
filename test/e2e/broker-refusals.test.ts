/** Refusals say what to do next. */
import { CMBS, Deployment, MESSAGE, unique } from './harness';

let here: Deployment;
beforeAll(async () => {
  here = await Deployment.start();
});
afterAll(() => here.close());

test('a DELETE of a collection without its slash is pointed at the collection, and deletes nothing', async () => {
  const path = await here.message('l2');
  const missing = await here.request('DELETE', '/cmbs/message');
  expect([missing.status, missing.error]).toEqual([
    404,
    expect.stringContaining('/cmbs/message/, with a slash') as string,
  ]);
  expect((await here.get(path)).status).toBe(200);
});

test('a query that is not understood deletes nothing, leniently neither', async () => {
  const path = await here.message('l2');
  const lenient = { Prefer: 'handling=lenient' };
  expect((await here.request('DELETE', '/cmbs/message/?titel=x', undefined, lenient)).status).toBe(400);
  expect((await here.get(path)).status).toBe(200);
});

test('an action that a mixin would add is named with the mixin', async () => {
  const path = `/cmbs/message/${unique('bare')}`;
  await here.must(201, here.request('PUT', path, { kind: MESSAGE, attributes: {} }));
  const refused = await here.act(path, 'send_l1');
  expect([refused.status, refused.error]).toEqual([
    400,
    expect.stringContaining(`The mixin ${CMBS}l1 adds it.`) as string,
  ]);
});

test('bad JSON is refused with the place', async () => {
  const refused = await here.request('POST', '/cmbs/message/', '{\n  "kind": "x",\n  "id": }');
  expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('line 3, column 9') as string]);
  const cut = await here.request('POST', '/cmbs/message/', '{"kind": [');
  expect([cut.status, cut.error]).toEqual([400, expect.stringContaining('line 1, column 11') as string]);
});

test('a body that is too large is refused with the setting', async () => {
  const refused = await here.request('POST', '/cmbs/message/', 'x'.repeat(1_100_000));
  expect([refused.status, refused.error]).toEqual([413, expect.stringContaining('CMBS_MAX_BODY_BYTES') as string]);
});

test('a name with letters that are not meant says which are', async () => {
  const refused = await here.request('PUT', '/cmbs/message/%C3%A9t%C3%A9', { kind: MESSAGE, attributes: {} });
  expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('a–z') as string]);
});

test('everything is deleted only when that is said', async () => {
  const path = await here.message('l2');
  const refused = await here.request('DELETE', '/');
  expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('?confirm=all') as string]);
  expect((await here.get(path)).status).toBe(200);
  await here.must(200, here.request('DELETE', '/?confirm=all'));
  expect((await here.get(path)).status).toBe(404);
});
