/** The OCCI checklist, collections, filters, pages and actions (#53 to #65). */
import {
  category,
  COMPUTE_ACTION,
  FLAT,
  INFRA,
  NESTED,
  OCCI,
  PLAIN,
  Product,
  SIZES,
  URI_LIST,
  type Answer,
} from './occi-support';

const KIND = `${INFRA}compute`;
const COMPUTE = `Category: ${category(KIND, 'kind')}`;

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

/** Paths of a listing in text/plain. */
function paths(answer: Answer): readonly string[] {
  if (answer.status !== 200) throw new Error(`The listing failed: ${answer.status} ${answer.body}`);
  return answer.lines('X-OCCI-Location').map((location) => product.pathOf(location));
}

const list = async (target: string, headers: Record<string, string | string[]> = {}): Promise<readonly string[]> =>
  paths(await product.get(target, PLAIN, headers));

/** A kind for one test, so that the collection has only the test's entities. */
async function ownKind(term: string, more: Record<string, string | readonly string[]> = {}): Promise<string> {
  const scheme = 'http://example.com/collections#';
  const kind = { term, scheme, location: `/${term}/`, parent: KIND, ...more };
  const { status, body } = await product.json('POST', '/-/', { kinds: [kind] });
  if (status !== 200) throw new Error(`${term} was not defined: ${status} ${body}`);
  return scheme + term;
}

async function some(kind: string, count: number): Promise<readonly string[]> {
  const resources = Array.from({ length: count }, (_, at) => ({ kind, id: `n${String(at).padStart(4, '0')}` }));
  const made = await product.json('POST', '/', { resources });
  if (made.status !== 201) throw new Error(made.body);
  return (JSON.parse(made.body) as string[]).map((location) => product.pathOf(location));
}

const locations = (...given: readonly string[]): string[] =>
  given.map((path) => `X-OCCI-Location: ${product.url}${path}`);

describe('OCCI collections', () => {
  it('#53 show locations in text and entities in JSON', async () => {
    const kind = await ownKind('listed');
    const made = await some(kind, 2);
    const urls = made.map((path) => product.url + path);
    expect((await product.get('/listed/', PLAIN)).body).toBe(
      urls.map((url) => `X-OCCI-Location: ${url}\n`).join(''),
    );
    expect((await product.get('/listed/', OCCI)).header('x-occi-location')).toBe(urls.join(', '));
    expect((await product.get('/listed/', URI_LIST)).body).toBe(urls.map((url) => `${url}\n`).join(''));
    expect((await product.get('/listed/', NESTED)).json()).toEqual({ 'X-OCCI-Location': urls });
    const { resources } = (await product.get('/listed/', FLAT)).json() as {
      resources: { kind: string; id: string }[];
    };
    expect(resources.map(({ kind: of, id }) => [of, id])).toEqual(
      made.map((path) => [kind, path.slice('/listed/'.length)]),
    );
  });

  it('#53 answer 200 if they are empty', async () => {
    await ownKind('empty');
    for (const target of ['/empty/', '/os_tpl/', '/storagelink/']) {
      const plain = await product.get(target, PLAIN);
      expect([target, plain.status, plain.body]).toEqual([target, 200, '']);
    }
    expect((await product.get('/empty/', OCCI)).body).toBe('OK');
    expect((await product.get('/empty/', URI_LIST)).body).toBe('');
    expect((await product.get('/empty/', FLAT)).json()).toEqual({ resources: [] });
    expect((await product.get('/empty/', NESTED)).json()).toEqual({ 'X-OCCI-Location': [] });
  });

  it('#54 are filtered by the Category header', async () => {
    const mixin = await product.defineMixin('filtering');
    const tagged = await product.compute(`Category: ${category(mixin)}`);
    const small = await product.compute(`Category: ${category(mixin)}`, `Category: ${category(`${SIZES}small`)}`);
    await product.compute();
    const only = (...ids: readonly string[]) =>
      list('/compute/', { 'Content-Type': OCCI, Category: ids.map((id) => category(id)) });
    expect(await only(mixin)).toEqual([tagged, small].sort());
    expect(await only(mixin, `${SIZES}small`)).toEqual([small]);
    const unknown = await product.send('GET', '/compute/', {
      headers: { 'Content-Type': OCCI, Category: category('http://example.com/none#such') },
    });
    expect([unknown.status, unknown.body]).toEqual([400, expect.stringContaining('http://example.com/none#such')]);
  });

  it('#55 are filtered by X-OCCI-Attribute headers, all of which must hold', async () => {
    const one = await product.compute('X-OCCI-Attribute: occi.compute.hostname="x y", occi.compute.cores=2');
    const other = await product.compute('X-OCCI-Attribute: occi.compute.hostname="x y", occi.compute.cores=4');
    const only = (...items: string[]) => list('/compute/', { 'Content-Type': OCCI, 'X-OCCI-Attribute': items });
    expect(await only('occi.compute.hostname="x y"')).toEqual([one, other].sort());
    expect(await only('occi.compute.hostname="x y"', 'occi.compute.cores=2')).toEqual([one]);
    expect(await only('occi.compute.hostname="x y", occi.compute.cores=4')).toEqual([other]);
    expect(await only('occi.compute.hostname="x"')).toEqual([]);
    expect(await only(`occi.core.id="${one.slice('/compute/'.length)}"`)).toEqual([one]);
  });

  it('#56 are filtered by the query string', async () => {
    const one = await product.compute(
      `Category: ${category(`${SIZES}large`)}`,
      'X-OCCI-Attribute: occi.compute.hostname="query me", occi.core.title="needle"',
    );
    const large = encodeURIComponent(`${SIZES}large`);
    for (const query of [
      `category=${large}`,
      'category=large',
      'attribute=occi.compute.hostname&value=query%20me',
      'attribute=occi.compute.hostname;value=query+me',
      'q=occi.core.title%3Dneedle',
      'q=occi.core.title%3Dneedle+occi.compute.cores%3D4',
      'q=needle',
      `category=${large}&attribute=occi.compute.cores&value=4&q=needle`,
    ]) {
      expect([query, await list(`/compute/?${query}`)]).toEqual([query, [one]]);
    }
    for (const query of ['category=large&q=straw', 'attribute=occi.compute.cores&value=99']) {
      expect([query, await list(`/compute/?${query}`)]).toEqual([query, []]);
    }
    // A typo must list neither everything nor nothing.
    for (const [query, named] of [
      ['category=nothing', 'nothing'],
      ['attribute=occi.compute.corse&value=4', 'occi.compute.corse'],
      ['q=titel%3Dneedle', 'titel'],
      ['titel=needle', 'titel'],
      ['numbr=1', 'numbr'],
    ] as const) {
      const refused = await product.get(`/compute/?${query}`);
      expect([query, refused.status, refused.body]).toEqual([query, 400, expect.stringContaining(named)]);
      const lenient = await product.send('GET', `/compute/?${query}`, { headers: { Prefer: 'handling=lenient' } });
      expect([query, lenient.status]).toEqual([query, 200]);
    }
    expect((await product.get('/compute/?attribute=occi.core.title')).status).toBe(400);
  });

  it('#56 are filtered by members of an object, whatever names a client gives them', async () => {
    const kind = 'http://houssem.org/cmbs#message';
    const one = '/cmbs/message/with-headers';
    const headers = { tenant: 'a', 'dotted.name': true, deep: { level: { number: 7 } }, list: ['x', 'y'] };
    const others = [{ tenant: 'b' }, { deep: { level: 7 } }, { list: 'a' }];
    await product.json('PUT', one, { kind, attributes: { 'cmbs.message.headers': headers } });
    for (const other of others) {
      await product.json('POST', '/cmbs/message/', { kind, attributes: { 'cmbs.message.headers': other } });
    }
    for (const [name, value, found] of [
      ['tenant', 'a', true],
      ['tenant', 'c', false],
      ['dotted.name', 'true', true],
      ['deep.level.number', '7.0', true],
      ['deep.level', '8', false],
      ['list', 'y', true],
      ['absent', 'a', false],
    ] as const) {
      const query = `attribute=cmbs.message.headers.${name}&value=${value}`;
      expect([query, await list(`/cmbs/message/?${query}`)]).toEqual([query, found ? [one] : []]);
    }
    const query = 'attribute=cmbs.message.headers.tenant&value=a&category=message';
    expect(await list(`/cmbs/message/?${query}`)).toEqual([one]);
    const all = (await list('/cmbs/message/')).length;
    expect((await product.send('DELETE', `/cmbs/message/?${query}`)).status).toBe(200);
    expect([(await product.get(one, PLAIN)).status, (await list('/cmbs/message/')).length]).toEqual([
      404,
      all - 1,
    ]);
  });

  it('#56 are filtered by a POST with X-HTTP-Method-Override: GET', async () => {
    const one = await product.compute('X-OCCI-Attribute: occi.compute.hostname="overridden"');
    const answer = await product.plain(
      'POST',
      '/compute/',
      ['X-OCCI-Attribute: occi.compute.hostname="overridden"'],
      {
        'X-HTTP-Method-Override': 'GET',
      },
    );
    expect(paths(answer)).toEqual([one]);
    const other = await product.plain('POST', '/compute/', [], { 'X-HTTP-Method-Override': 'PUT' });
    expect(other.status).toBe(400);
  });

  it('#57 come in pages by number', async () => {
    const all = await some(await ownKind('paged'), 5);
    expect(await list('/paged/?page=1&number=2')).toEqual(all.slice(0, 2));
    expect(await list('/paged/?page=2;number=2')).toEqual(all.slice(2, 4));
    expect(await list('/paged/?page=3&number=2')).toEqual(all.slice(4));
    const past = await product.get('/paged/?page=4&number=2', PLAIN);
    expect([past.status, past.body]).toEqual([200, '']);
    expect((await product.get('/paged/?page=9&number=2', FLAT)).json()).toEqual({ resources: [] });
    for (const query of ['page=1&number=10001', 'page=5001&number=2']) {
      expect([query, (await product.get(`/paged/?${query}`)).status]).toEqual([query, 413]);
    }
    for (const query of ['page=0', 'number=0', 'page=x', 'number=-1']) {
      expect([query, (await product.get(`/paged/?${query}`)).status]).toEqual([query, 400]);
    }
  });

  it.each([PLAIN, FLAT, NESTED])('#57 come in pages by Link rel="next" in %s, filters kept', async (type) => {
    const term = `next_${type.replace(/\W/g, '_')}`;
    const all = await some(await ownKind(term), 5);
    const seen: string[] = [];
    let target: string | undefined = `/${term}/?number=2&q=inactive`;
    for (let pages = 0; target !== undefined && pages < 4; pages++) {
      const answer: Answer = await product.get(target, type);
      expect(answer.status).toBe(200);
      seen.push(...(answer.body.match(/n00\d\d/g) ?? []));
      target = /<([^>]+)>; rel="next"/.exec(answer.header('link') ?? '')?.[1];
    }
    expect(target).toBeUndefined();
    expect(seen).toEqual(all.map((path) => path.slice(-5)));
    expect((await product.get(`/${term}/?cursor=nonsense`, type)).status).toBe(400);
  });

  it('#58 of a mixin gain entities by POST, are replaced by PUT, and lose entities by DELETE', async () => {
    const mixin = await product.defineMixin('tags');
    const [a, b, c] = [await product.compute(), await product.compute(), await product.network()];
    const post = await product.plain('POST', '/tags/', locations(a, b));
    expect([post.status, post.body]).toEqual([200, '']);
    expect(await list('/tags/')).toEqual([a, b].sort());
    expect((await product.get(a, PLAIN)).body).toContain(category(mixin, 'mixin'));
    expect((await product.plain('POST', '/tags/', locations(a))).status).toBe(200);
    expect((await product.plain('PUT', '/tags/', locations(b, c))).status).toBe(200);
    expect(await list('/tags/')).toEqual([b, c].sort());
    expect((await product.get(a, PLAIN)).body).not.toContain('tags');
    expect((await product.plain('DELETE', '/tags/', locations(b))).status).toBe(200);
    expect(await list('/tags/')).toEqual([c]);
    expect((await product.send('DELETE', '/tags/')).status).toBe(200);
    expect(await list('/tags/')).toEqual([]);
    for (const path of [a, b, c]) expect((await product.get(path)).status).toBe(200);
  });

  it('#58 of a mixin are changed by text/occi, text/uri-list and JSON lists as well', async () => {
    await product.defineMixin('tags_too');
    const [a, b] = [await product.compute(), await product.compute()];
    for (const [type, body] of [
      [URI_LIST, `${product.url}${a}\r\n${b}\r\n`],
      [NESTED, JSON.stringify({ 'X-OCCI-Location': [product.url + a, b] })],
      [FLAT, JSON.stringify([product.url + a, product.url + b])],
      [FLAT, JSON.stringify({ locations: [a, b] })],
      [PLAIN, `X-OCCI-Location: ${a}, ${product.url}${b}`],
    ] as const) {
      const put = await product.send('PUT', '/tags_too/', { headers: { 'Content-Type': type }, body });
      expect([type, put.status]).toEqual([type, 200]);
      expect(await list('/tags_too/')).toEqual([a, b].sort());
      await product.send('DELETE', '/tags_too/');
    }
    await product.occi('POST', '/tags_too/', { 'X-OCCI-Location': [product.url + a, product.url + b] });
    expect(await list('/tags_too/')).toEqual([a, b].sort());
  });

  it('#58 of a mixin are changed for all locations or none', async () => {
    await product.defineMixin('tags_atomic');
    const a = await product.compute();
    expect((await product.plain('POST', '/tags_atomic/', locations(a, '/compute/none'))).status).toBe(404);
    expect((await product.plain('POST', '/tags_atomic/', ['X-OCCI-Location: http://example.com/x'])).status).toBe(
      400,
    );
    expect(await list('/tags_atomic/')).toEqual([]);
  });

  it('#59 of a kind are not replaced', async () => {
    const put = await product.plain('PUT', '/compute/', locations('/compute/1'));
    expect([put.status, put.header('allow')]).toEqual([405, expect.not.stringContaining('PUT')]);
  });

  it('#60 of a kind are deleted with all their entities', async () => {
    const kind = await ownKind('doomed');
    const made = await some(kind, 3);
    const bystander = await product.compute();
    expect((await product.send('DELETE', '/doomed/')).status).toBe(200);
    expect(await list('/doomed/')).toEqual([]);
    for (const path of made) expect((await product.get(path)).status).toBe(404);
    expect((await product.get(bystander)).status).toBe(200);
    expect((await product.send('DELETE', '/doomed/')).status).toBe(200);
  });

  it('#60 are deleted in part by a filter', async () => {
    const kind = await ownKind('half_doomed');
    const going = await product.create(kind, ['X-OCCI-Attribute: occi.core.title="going"']);
    const staying = await product.create(kind, ['X-OCCI-Attribute: occi.core.title="staying"']);
    expect((await product.send('DELETE', '/half_doomed/?attribute=occi.core.title&value=going')).status).toBe(200);
    expect((await product.get(going)).status).toBe(404);
    expect((await product.get(staying)).status).toBe(200);
  });

  it('#60 below an unbound path are deleted, and paths with the same beginning stay', async () => {
    for (const path of ['/tree/a/1', '/tree/a/b/2', '/tree/ab/3', '/x/tree/a/4']) {
      expect((await product.plain('PUT', path, [COMPUTE])).status).toBe(201);
    }
    expect((await product.send('DELETE', '/tree/a/')).status).toBe(200);
    expect((await product.get('/tree/a/1')).status).toBe(404);
    expect((await product.get('/tree/a/b/2')).status).toBe(404);
    expect((await product.get('/tree/ab/3')).status).toBe(200);
    expect((await product.get('/x/tree/a/4')).status).toBe(200);
    expect((await product.send('DELETE', '/tree/none/')).status).toBe(404);
  });

  it('#61 of an unbound path are the union of the collections below it', async () => {
    for (const path of ['/union/1', '/union/deep/2']) await product.plain('PUT', path, [COMPUTE]);
    expect(await list('/union/')).toEqual(['/union/1', '/union/deep/2']);
    expect((await product.get('/union/', OCCI)).header('x-occi-location')).toBe(
      `${product.url}/union/1, ${product.url}/union/deep/2`,
    );
    const root = await product.get('/?number=3', OCCI);
    expect([root.status, root.header('x-occi-location')?.split(', ')]).toEqual([200, expect.any(Array)]);
    expect(await list('/')).toEqual(expect.arrayContaining(['/union/1', '/union/deep/2']));
    expect((await product.get('/union/nothing/')).status).toBe(404);
  });
});

describe('OCCI actions', () => {
  const stateOf = async (path: string): Promise<string | undefined> =>
    (await product.get(path)).attributes()['occi.compute.state'];

  it('#62 are requested by POST with their term and their category', async () => {
    const path = await product.compute();
    const answer = await product.plain('POST', `${path}?action=start`, [
      `Category: ${category(`${COMPUTE_ACTION}start`, 'action')}`,
    ]);
    expect(answer.status).toBe(200);
    expect(await stateOf(path)).toBe('"active"');
    expect(answer.body).toBe((await product.get(path, PLAIN)).body);
    const stopped = await product.occi('POST', `${path}?action=stop`, {
      Category: category(`${COMPUTE_ACTION}stop`),
      'X-OCCI-Attribute': 'method="graceful"',
    });
    expect([stopped.status, await stateOf(path)]).toEqual([200, '"inactive"']);
  });

  it.each([FLAT, NESTED])('#62 are requested in %s in all its forms', async (type) => {
    const start = `${COMPUTE_ACTION}start`;
    for (const body of [
      { action: start, attributes: {} },
      { actions: [{ term: 'start', scheme: COMPUTE_ACTION }], attributes: {} },
      {},
    ]) {
      const path = await product.compute();
      const answer = await product.json('POST', `${path}?action=start`, body, type);
      expect([JSON.stringify(body), answer.status, answer.type]).toEqual([JSON.stringify(body), 200, type]);
      expect(await stateOf(path)).toBe('"active"');
    }
  });

  it('#63 are refused if URL and body differ, or if they are unknown', async () => {
    const path = await product.compute();
    for (const [term, lines] of [
      ['start', [`Category: ${category(`${COMPUTE_ACTION}stop`, 'action')}`]],
      ['start', ['Category: fly; scheme="http://example.com/action#"; class="action"']],
      ['fly', []],
      ['up', []],
      ['', []],
    ] as const) {
      expect([term, (await product.plain('POST', `${path}?action=${term}`, lines)).status]).toEqual([term, 400]);
    }
    expect((await product.plain('POST', `${path}?action=start`, ['X-OCCI-Attribute: speed=3'])).status).toBe(400);
    expect(await stateOf(path)).toBe('"inactive"');
    expect((await product.plain('POST', '/compute/none?action=start', [])).status).toBe(404);
  });

  it('#63 are refused with 409 in a state that does not allow them', async () => {
    const path = await product.compute();
    const answer = await product.plain('POST', `${path}?action=stop`, []);
    expect([answer.status, await stateOf(path)]).toEqual([409, '"inactive"']);
  });

  it('#64 run on every entity of a collection to which they apply', async () => {
    const all = await some(await ownKind('fleet'), 3);
    await product.json('POST', `${all[0]}?action=start`, {});
    const answer = await product.plain('POST', '/fleet/?action=start', [
      `Category: ${category(`${COMPUTE_ACTION}start`, 'action')}`,
    ]);
    expect(answer.status).toBe(200);
    for (const path of all) expect(await stateOf(path)).toBe('"active"');
  });

  it('#64 are refused on a collection whose category does not define them', async () => {
    expect((await product.plain('POST', '/compute/?action=up', [])).status).toBe(400);
    expect((await product.plain('POST', '/os_tpl/?action=start', [])).status).toBe(400);
    expect((await product.plain('POST', '/nothing/?action=start', [])).status).toBe(404);
  });

  it('#65 are shown when they apply, with a relative address', async () => {
    const path = await product.compute();
    const offered = async (): Promise<readonly string[]> =>
      (await product.get(path, PLAIN)).lines('Link').map((line) => line.split('; ')[0] ?? '');
    expect(await offered()).toEqual([`<${path}?action=start>`, `<${path}?action=save>`]);
    await product.json('POST', `${path}?action=start`, {});
    expect(await offered()).toEqual(
      ['stop', 'restart', 'suspend', 'save'].map((term) => `<${path}?action=${term}>`),
    );
    expect((await product.get(path, FLAT)).json()).toMatchObject({
      actions: ['stop', 'restart', 'suspend', 'save'].map((term) => COMPUTE_ACTION + term),
    });
    const { actions } = (await product.get(path, NESTED)).json() as { actions: unknown[] };
    expect(actions).toHaveLength(4);
    expect(actions[0]).toMatchObject({ href: `${path}?action=stop`, category: `${COMPUTE_ACTION}stop` });
  });
});
