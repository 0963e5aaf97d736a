/** Refusals say what to do next. */
import { openTest } from './engine';
import { CMBS, Deployment, MESSAGE, unique } from './harness';

let here: Deployment;
beforeAll(async () => {
  here = await Deployment.start();
});
afterAll(() => here.close());

test('a DELETE of a collection without its slash deletes nothing and names the collection', async () => {
  const path = await here.message('l2');
  const missing = await here.request('DELETE', '/cmbs/message');
  expect([missing.status, missing.error]).toEqual([
    404,
    expect.stringContaining('/cmbs/message/, with a slash') as string,
  ]);
  expect((await here.get(path)).status).toBe(200);
});

test('a DELETE with an unknown query parameter deletes nothing, even with lenient handling', async () => {
  const path = await here.message('l2');
  const lenient = { Prefer: 'handling=lenient' };
  expect((await here.request('DELETE', '/cmbs/message/?titel=x', undefined, lenient)).status).toBe(400);
  expect((await here.get(path)).status).toBe(200);
});

test('a refusal of an action names the mixin that would add it', async () => {
  const path = `/cmbs/message/${unique('bare')}`;
  await here.must(201, here.request('PUT', path, { kind: MESSAGE, attributes: {} }));
  const refused = await here.act(path, 'send_l1');
  expect([refused.status, refused.error]).toEqual([
    400,
    expect.stringContaining(`The mixin ${CMBS}l1 adds it.`) as string,
  ]);
});

test('the refusal of invalid JSON names the position', async () => {
  const refused = await here.request('POST', '/cmbs/message/', '{\n  "kind": "x",\n  "id": }');
  expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('line 3, column 9') as string]);
  const cut = await here.request('POST', '/cmbs/message/', '{"kind": [');
  expect([cut.status, cut.error]).toEqual([400, expect.stringContaining('line 1, column 11') as string]);
});

test('the refusal of a body that is too large names the setting', async () => {
  const refused = await here.request('POST', '/cmbs/message/', 'x'.repeat(1_100_000));
  expect([refused.status, refused.error]).toEqual([413, expect.stringContaining('CMBS_MAX_BODY_BYTES') as string]);
});

test('the refusal of a name says which characters are allowed', async () => {
  const refused = await here.request('PUT', '/cmbs/message/%C3%A9t%C3%A9', { kind: MESSAGE, attributes: {} });
  expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('a–z') as string]);
});

openTest('own user', 'everything is deleted only with a confirmation', async () => {
  const path = await here.message('l2');
  const refused = await here.request('DELETE', '/');
  expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('?confirm=all') as string]);
  expect((await here.get(path)).status).toBe(200);
  await here.must(200, here.request('DELETE', '/?confirm=all'));
  expect((await here.get(path)).status).toBe(404);
});
