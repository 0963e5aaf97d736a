/** The OCCI checklist, protocol basics (#1 to #16). */
import { connect } from 'node:net';
import { once } from 'node:events';
import { category, CORE, FLAT, INFRA, NESTED, OCCI, OCCI_JSON, PLAIN, Product, URI_LIST } from './occi-support';
import { PATIENCE_MS } from '../patience';

const SERVER = /^cmbs\/\d+\.\d+\.\d+ OCCI\/1\.2 OCCI\/1\.1$/;
const COMPUTE = `Category: ${category(`${INFRA}compute`, 'kind')}`;

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

describe('OCCI protocol', () => {
  it('#1 answers the query interface at /-/', async () => {
    const answer = await product.get('/-/', PLAIN);
    expect([answer.status, answer.type]).toEqual([200, PLAIN]);
    expect(answer.body).toMatch(/^(?:Category: .+\n)+$/);
  });

  it('#2 mirrors the query interface at /.well-known/org/ogf/occi/-/', async () => {
    for (const type of [PLAIN, NESTED, FLAT, URI_LIST]) {
      const [one, other] = [
        await product.get('/-/', type),
        await product.get('/.well-known/org/ogf/occi/-/', type),
      ];
      expect([one.status, other.status]).toEqual([200, 200]);
      expect(other.body).toBe(one.body);
    }
    const [one, other] = [await product.get('/-/', OCCI), await product.get('/.well-known/org/ogf/occi/-/', OCCI)];
    expect([one.status, other.status]).toEqual([200, 200]);
    expect(one.header('category')).toMatch(/^entity; /);
    expect(other.header('category')).toBe(one.header('category'));
  });

  it('#3 names itself and the versions of OCCI in Server on every answer', async () => {
    const answers = [
      await product.get('/-/'),
      await product.get('/nope'),
      await product.get('/nope/'),
      await product.get('/-/', 'image/png'),
      await product.plain('POST', '/compute/', ['nonsense']),
      await product.send('PUT', '/compute/', { headers: { 'Content-Type': PLAIN }, body: COMPUTE }),
      await product.send('POST', '/compute/', { headers: { 'Content-Type': 'foo/bar' }, body: 'x' }),
      await product.send('PATCH', '/compute/1'),
      await product.get('/-/', PLAIN, { 'User-Agent': 'x OCCI/2.1' }),
      await product.send('OPTIONS', '/compute/'),
      await product.send('HEAD', '/-/'),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 404, 404, 406, 400, 405, 415, 405, 501, 204, 200]);
    for (const answer of answers) {
      expect(answer.header('server')).toMatch(SERVER);
      // The cloud's front end replaces Server, so X-OCCI-Server repeats it.
      expect(answer.header('x-occi-server')).toBe(answer.header('server'));
    }
  });

  it('#3 names them even if the request is not HTTP', async () => {
    const { hostname, port } = new URL(product.url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect', { signal: AbortSignal.timeout(PATIENCE_MS) });
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.write('NONSENSE\r\n\r\n');
    await once(socket, 'close', { signal: AbortSignal.timeout(PATIENCE_MS) });
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toMatch(/\r\nServer: cmbs\/[\d.]+ OCCI\/1\.2 OCCI\/1\.1\r\n/);
  });

  it.each([
    ['x OCCI/2.1', 501],
    ['x OCCI/1.3', 501],
    ['x OCCI/1.10', 501],
    ['pOCCI/1.0 OCCI/1.2 (linux)', 200],
    ['rOCCI OCCI/1.1', 200],
    ['OCCI/1.0', 200],
    ['curl/8.0', 200],
    [undefined, 200],
  ])('#4 compares the version of the client %j: %i', async (agent, status) => {
    const answer = await product.get('/-/', PLAIN, agent === undefined ? {} : { 'User-Agent': agent });
    expect(answer.status).toBe(status);
  });

  it.each([PLAIN, OCCI, URI_LIST, NESTED, FLAT])(
    '#5 answers with the Content-Type %s that was asked for',
    async (type) => {
      const path = await product.compute();
      for (const target of ['/-/?category=compute', '/networkinterface/', ...(type === URI_LIST ? [] : [path])]) {
        const answer = await product.get(target, type);
        expect([target, answer.status, answer.type]).toEqual([target, 200, type]);
      }
    },
  );

  it('#6 lists the types it accepts', async () => {
    for (const answer of [await product.get('/-/'), await product.get('/nope')]) {
      const accepted = answer.header('accept')?.split(', ');
      expect(accepted).toEqual(expect.arrayContaining([OCCI_JSON, FLAT, PLAIN, OCCI, URI_LIST]));
    }
  });

  it.each([undefined, '*/*', 'text/*'])('#7 answers text/plain when Accept is %j', async (accept) => {
    const answer = await product.get('/-/', accept);
    expect([answer.status, answer.type]).toEqual([200, PLAIN]);
  });

  it.each([undefined, '*/*'])('#7 answers a body in its own type when Accept is %j', async (accept) => {
    const made = await product.send('POST', '/compute/', {
      headers: { 'Content-Type': NESTED, ...(accept === undefined ? {} : { Accept: accept }) },
      body: JSON.stringify({ resources: [{ kind: `${INFRA}compute` }] }),
    });
    expect([made.status, made.type]).toEqual([201, NESTED]);
    expect(made.json()).toEqual({ Location: [made.location] });
  });

  it.each([
    ['image/png', 406],
    ['application/xml, image/*', 406],
    ['text/plain;q=0', 406],
    ['text/plain,text/occi', PLAIN],
    ['text/plain;q=0.5, text/occi', OCCI],
    ['image/png, application/json;q=0.1', FLAT],
    ['application/occi+json;profile=nested, */*;q=0.1', NESTED],
    ['TEXT/PLAIN; charset=utf-8', PLAIN],
    ['text/occi+plain', PLAIN],
  ])('#8 honours Accept: %s with %s', async (accept, expected) => {
    const answer = await product.get('/-/?category=compute', accept);
    expect(answer.status === 200 ? answer.type : answer.status).toBe(expected);
  });

  it('#9 refuses a body of an unknown type or without a type', async () => {
    for (const headers of [{ 'Content-Type': 'foo/bar' }, { 'Content-Type': 'nonsense' }, {}]) {
      const answer = await product.send('POST', '/compute/', { headers, body: COMPUTE });
      expect([answer.status, answer.header('x-occi-error')]).toEqual([415, expect.any(String)]);
    }
  });

  it.each([
    [NESTED, '{bad'],
    [FLAT, '{bad'],
    [FLAT, '"text"'],
    [PLAIN, 'Category compute'],
    [PLAIN, 'Category: compute'],
    [PLAIN, `${COMPUTE}\nX-OCCI-Attribute: =1`],
    [PLAIN, 'Nonsense: x'],
  ])('#10 refuses the unparsable %s body %j', async (type, body) => {
    const answer = await product.send('POST', '/compute/', { headers: { 'Content-Type': type }, body });
    expect([answer.status, answer.type]).toEqual([400, type]);
  });

  it('#11 answers 404 for an unknown path', async () => {
    for (const target of ['/nope', '/nope/', '/compute/nope', '/a/b/c/d', '/-x', '/-/x']) {
      expect([target, (await product.get(target)).status]).toEqual([target, 404]);
    }
    expect((await product.send('DELETE', '/nope')).status).toBe(404);
    expect((await product.plain('POST', '/nope/', [COMPUTE])).status).toBe(404);
  });

  it('#11 answers 405 with Allow for a method that a path does not have', async () => {
    const path = await product.compute();
    for (const [method, target] of [
      ['PUT', '/compute/'],
      ['PATCH', '/compute/'],
      ['PATCH', path],
      ['PATCH', '/-/'],
      ['TRACE', '/-/'],
    ] as const) {
      const answer = await product.send(method, target);
      expect([method, target, answer.status]).toEqual([method, target, 405]);
      expect(answer.header('allow')).toMatch(/GET/);
      expect(answer.header('allow')?.split(', ')).not.toContain(method);
    }
  });

  it('#11 answers PUT /-/ with 405 unless the body has categories or providers', async () => {
    const empty = await product.json('PUT', '/-/', {}, NESTED);
    expect([empty.status, empty.header('allow')]).toEqual([405, expect.stringContaining('GET')]);
    const bound = await product.json(
      'PUT',
      '/-/',
      { providers: [{ Provider: { local: ['dummy infrastructure'], remote: [] }, OCCI_ID: `${INFRA}compute` }] },
      NESTED,
    );
    expect(bound.status).toBe(200);
  });

  it('#13 refuses a body above the limit with 413', async () => {
    const answer = await product.send('POST', '/compute/', {
      headers: { 'Content-Type': PLAIN },
      body: 'x'.repeat(2 * 1024 * 1024),
    });
    expect(answer.status).toBe(413);
    expect(answer.header('server')).toMatch(SERVER);
  });

  it('#13 explains an error in one sentence, in the requested rendering', async () => {
    for (const type of [NESTED, FLAT]) {
      const answer = await product.get('/compute/nope', type);
      expect([answer.status, answer.type]).toEqual([404, type]);
      expect(answer.json()).toEqual({ error: { code: 'not_found', message: answer.header('x-occi-error') } });
    }
    const plain = await product.get('/compute/nope', PLAIN);
    expect(plain.body).toBe(`${plain.header('x-occi-error')}\n`);
    expect(plain.body).not.toMatch(/<|\n\s+at |\.ts:/);
  });

  it('#14 answers HEAD like GET without the body', async () => {
    const path = await product.compute();
    for (const target of [path, '/compute/', '/-/']) {
      const [head, get] = [await product.send('HEAD', target), await product.get(target)];
      expect([head.status, head.body, head.type]).toEqual([200, '', get.type]);
      expect(head.header('etag')).toBe(get.header('etag'));
    }
    expect((await product.send('HEAD', '/compute/nope')).status).toBe(404);
  });

  it('#14 answers OPTIONS with the methods of the path', async () => {
    const path = await product.compute();
    for (const [target, methods] of [
      [path, ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']],
      ['/compute/', ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS']],
      ['/os_tpl/', ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']],
      ['/-/', ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']],
    ] as const) {
      const answer = await product.send('OPTIONS', target);
      expect([answer.status, answer.header('allow')?.split(', ').sort()]).toEqual([204, [...methods].sort()]);
    }
  });

  it('#14 refuses a change that would overwrite another, by ETag and If-Match', async () => {
    const path = await product.compute();
    const etag = (await product.get(path)).header('etag');
    expect(etag).toMatch(/^"[^"]+"$/);
    const title = (text: string, tag: string | undefined) =>
      product.plain('POST', path, [`X-OCCI-Attribute: occi.core.title="${text}"`], { 'If-Match': tag ?? '' });
    const first = await title('first', etag);
    expect(first.status).toBe(200);
    expect(first.header('etag')).not.toBe(etag);
    expect((await title('second', etag)).status).toBe(412);
    expect((await title('second', '*')).status).toBe(200);
    expect((await product.send('DELETE', path, { headers: { 'If-Match': etag ?? '' } })).status).toBe(412);
    expect((await product.get(path)).attributes()['occi.core.title']).toBe('"second"');
  });

  it('#14 answers If-None-Match with 304 on reading and 412 on writing', async () => {
    const path = await product.compute();
    const etag = (await product.get(path)).header('etag') ?? '';
    const same = await product.get(path, PLAIN, { 'If-None-Match': etag });
    expect([same.status, same.body, same.header('etag')]).toEqual([304, '', etag]);
    expect((await product.get(path, PLAIN, { 'If-None-Match': '"other"' })).status).toBe(200);
    const put = await product.plain('PUT', path, [COMPUTE], { 'If-None-Match': '*' });
    expect(put.status).toBe(412);
    expect(
      (await product.plain('PUT', '/compute/if-none-match', [COMPUTE], { 'If-None-Match': '*' })).status,
    ).toBe(201);
  });

  it('#14 loses none of many simultaneous changes', async () => {
    const path = await product.compute();
    const changes = [
      'occi.compute.hostname="h"',
      'occi.compute.cores=2',
      'occi.compute.memory=3',
      'occi.core.title="t"',
    ];
    const answers = await Promise.all(
      changes.map((change) => product.plain('POST', path, [`X-OCCI-Attribute: ${change}`])),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await product.get(path)).lines('X-OCCI-Attribute')).toEqual(expect.arrayContaining(changes));
    const puts = await Promise.all(
      Array.from({ length: 5 }, () => product.plain('PUT', '/compute/raced', [COMPUTE], { 'If-None-Match': '*' })),
    );
    expect(puts.map(({ status }) => status).sort()).toEqual([201, 412, 412, 412, 412]);
  });

  it('#16 creates all entities of a request or none', async () => {
    const answer = await product.json('POST', '/compute/', {
      resources: [
        { kind: `${INFRA}compute`, id: 'batch-good' },
        { kind: `${INFRA}compute`, id: 'batch-bad', attributes: { 'occi.compute.cores': 'two' } },
      ],
    });
    expect(answer.status).toBe(400);
    expect((await product.get('/compute/batch-good')).status).toBe(404);
  });

  it('#16 defines all categories of a request or none', async () => {
    const answer = await product.plain('POST', '/-/', [
      'Category: batch_good; scheme="http://example.com/batch#"; class="mixin"; location="/batch_good/"',
      'Category: entity; scheme="http://schemas.ogf.org/occi/core#"; class="mixin"; location="/batch_bad/"',
    ]);
    expect(answer.status).toBe(409);
    expect((await product.get('/batch_good/')).status).toBe(404);
    expect((await product.get(`/-/?category=${encodeURIComponent(`${CORE}entity`)}`)).body).toContain(
      'class="kind"',
    );
  });
});
