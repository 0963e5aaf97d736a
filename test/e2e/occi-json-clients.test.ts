/** JSON that OCCI clients send beyond the checklist, and answers that clients of each type can parse. */
import type { Json, JsonObject } from '@cmbs/shared';
import {
  category,
  COMPUTE_ACTION,
  CORE,
  FLAT,
  INFRA,
  NESTED,
  OCCI,
  OCCI_JSON,
  PLAIN,
  Product,
  URI_LIST,
  type Answer,
} from './occi-support';

const SCHEME = 'http://example.com/json-clients#';
const NIC = `${INFRA}networkinterface`;
const GFD226 = `${OCCI_JSON};profile=gfd226`;
const JSON_TYPES = [FLAT, OCCI_JSON, NESTED, GFD226] as const;

let product: Product;
beforeEach(async () => {
  product = await Product.start();
});
afterEach(() => product.close());

const mixin = (term: string, more: JsonObject = {}): JsonObject => ({
  ...{ term, scheme: SCHEME, depends: [], attributes: {}, location: `/${term}/` },
  ...more,
});

async function define(...mixins: readonly JsonObject[]): Promise<void> {
  const defined = await product.json('POST', '/-/', { mixins });
  if (defined.status !== 200) throw new Error(`Not defined: ${defined.status} ${defined.body}`);
}

const terms = (answer: Answer): readonly unknown[] =>
  ((answer.json() as { mixins?: JsonObject[] }).mixins ?? []).map(({ term }) => term);

describe('a link inside its source, in JSON', () => {
  const inline = (attributes: JsonObject, target: Json): JsonObject => ({
    kind: `${INFRA}compute`,
    links: [{ kind: { term: 'networkinterface', scheme: INFRA }, title: 'Eth', target, attributes }],
  });

  it.each(JSON_TYPES)('may have nested or flat attributes in %s', async (type) => {
    const network = await product.network();
    const nested = { occi: { networkinterface: { interface: 'eth0', mac: '02:00:00:00:00:01' } } };
    const flat = { 'occi.networkinterface.interface': 'eth0', 'occi.networkinterface.mac': '02:00:00:00:00:01' };
    for (const [attributes, target] of [
      [nested, network],
      [flat, { location: product.url + network, kind: `${INFRA}network` }],
    ] as const) {
      const made = await product.json('POST', '/compute/', inline(attributes, target), type);
      expect([made.status, made.location]).toEqual([201, expect.stringContaining('/compute/')]);
      const path = product.pathOf(made.location ?? '');
      expect((await product.get(path, FLAT)).json()).toMatchObject({
        links: [{ kind: NIC, title: 'Eth', attributes: flat }],
      });
    }
  });

  it('is created once by a partial update, under the id that it names', async () => {
    const network = await product.network();
    const path = await product.compute();
    const links = async (): Promise<readonly unknown[]> =>
      ((await product.get(path, FLAT)).json() as { links?: JsonObject[] }).links?.map(({ id }) => id) ?? [];
    const body = { links: [{ kind: NIC, id: 'eth', target: { location: network } }] };
    for (let time = 0; time < 2; time += 1) {
      const updated = await product.json('POST', path, { kind: `${INFRA}compute`, ...body });
      expect([updated.status, await links()]).toEqual([200, ['eth']]);
    }
    for (const type of [...JSON_TYPES, PLAIN]) {
      const { body: shown, type: shownAs = type } = await product.get(path, type);
      const again = await product.send('POST', path, { headers: { 'Content-Type': shownAs }, body: shown });
      expect([type, again.status, await links()]).toEqual([type, 200, ['eth']]);
    }
    const other = await product.compute();
    expect((await product.json('POST', other, { kind: `${INFRA}compute`, ...body })).status).toBe(409);
  });

  it('without a kind is a link of the core', async () => {
    const network = await product.network();
    const body = { kind: `${INFRA}compute`, links: [{ target: network }] };
    const made = await product.json('POST', '/compute/', body);
    expect((await product.get(product.pathOf(made.location ?? ''), FLAT)).json()).toMatchObject({
      links: [{ kind: `${CORE}link`, target: { location: product.url + network } }],
    });
  });
});

describe('mixins as objects', () => {
  it.each(JSON_TYPES)('are accepted in %s, by creation, replacement and partial update', async (type) => {
    await define(mixin('red'), mixin('blue'));
    const mixins = (term: string): JsonObject[] => [{ term, scheme: SCHEME, title: 'ignored', location: '/x/' }];
    const shown = async (): Promise<unknown> => (await product.get('/compute/1', FLAT)).json().mixins;
    const made = await product.json('PUT', '/compute/1', { kind: `${INFRA}compute`, mixins: mixins('red') }, type);
    expect([made.status, await shown()]).toEqual([201, [`${SCHEME}red`]]);
    const updated = await product.json('POST', '/compute/1', { mixins: mixins('blue') }, type);
    expect([updated.status, await shown()]).toEqual([200, [`${SCHEME}red`, `${SCHEME}blue`]]);
    const replaced = await product.json('PUT', '/compute/1', { mixins: mixins('blue'), attributes: {} }, type);
    expect([replaced.status, await shown()]).toEqual([200, [`${SCHEME}blue`]]);
  });
});

describe('a category that is the whole body', () => {
  it.each(JSON_TYPES)('is defined and removed in %s', async (type) => {
    const { mixins } = await definedBy(type);
    expect(mixins).toMatchObject([{ term: 'alone', location: '/alone/' }]);
    expect((await product.json('DELETE', '/-/', { term: 'alone', scheme: SCHEME }, type)).status).toBe(200);
    expect((await product.get('/alone/')).status).toBe(404);
  });

  async function definedBy(type: string): Promise<{ mixins?: JsonObject[] }> {
    const defined = await product.json('POST', '/-/', mixin('alone', { title: 'Alone' }), type);
    expect([type, defined.status]).toEqual([type, 200]);
    return (await product.get('/-/?category=alone', FLAT)).json();
  }

  it('may be a kind or an action, by its members or its class', async () => {
    const sent: readonly JsonObject[] = [
      { term: 'go', scheme: SCHEME, class: 'action', attributes: {} },
      { term: 'thing', scheme: SCHEME, parent: `${CORE}resource`, actions: [`${SCHEME}go`], location: '/thing/' },
      { term: 'other', scheme: SCHEME, related: [`${CORE}resource`], location: '/other/' },
    ];
    for (const body of sent) expect((await product.json('POST', '/-/', body)).status).toBe(200);
    expect((await product.get('/-/?category=go', FLAT)).json()).toMatchObject({ actions: [{ term: 'go' }] });
    expect((await product.get('/-/?category=thing', FLAT)).json()).toMatchObject({
      kinds: [{ term: 'thing', parent: `${CORE}resource`, actions: [`${SCHEME}go`] }],
    });
    expect((await product.get('/-/?category=other', FLAT)).json()).toMatchObject({ kinds: [{ term: 'other' }] });
    const unclear = await product.json('POST', '/-/', { term: 'what', scheme: SCHEME });
    expect([unclear.status, unclear.body]).toEqual([400, expect.stringContaining('class')]);
  });

  it('is accepted as each dialect shows it', async () => {
    await define(mixin('base'), mixin('shown', { depends: [`${SCHEME}base`], title: 'Shown' }));
    for (const type of [FLAT, NESTED]) {
      const before = (await product.get('/-/?category=shown', FLAT)).body;
      const [one] = ((await product.get('/-/?category=shown', type)).json() as { mixins: JsonObject[] }).mixins;
      expect((await product.json('DELETE', '/-/', one ?? {}, type)).status).toBe(200);
      expect((await product.json('POST', '/-/', one ?? {}, type)).status).toBe(200);
      expect((await product.get('/-/?category=shown', FLAT)).body).toBe(before);
    }
  });

  it('requests an action, with its attributes', async () => {
    const path = await product.compute();
    await product.json('POST', `${path}?action=start`, {});
    const stop = { term: 'stop', scheme: COMPUTE_ACTION, attributes: { method: 'graceful' } };
    expect((await product.json('POST', `${path}?action=stop`, stop)).status).toBe(200);
    const wrong = { ...stop, term: 'start', attributes: { method: 'unheard of' } };
    expect((await product.json('POST', `${path}?action=start`, wrong)).status).toBe(400);
    expect((await product.get(path, FLAT)).json()).toMatchObject({
      attributes: { 'occi.compute.state': 'inactive' },
    });
  });

  it('is 409 if it exists, and is changed by PUT', async () => {
    await define(mixin('alone'));
    expect((await product.json('POST', '/-/', mixin('alone'))).status).toBe(409);
    const changed = await product.json('PUT', '/-/', { term: 'alone', scheme: SCHEME, title: 'New' });
    expect(changed.status).toBe(200);
    expect((await product.get('/-/?category=alone', FLAT)).json()).toMatchObject({ mixins: [{ title: 'New' }] });
  });
});

describe('{"mixins":["scheme#term"]}', () => {
  it.each(JSON_TYPES)('filters the query interface and collections, and deletes, in %s', async (type) => {
    await define(mixin('red'), mixin('blue'));
    const body = { mixins: [`${SCHEME}red`] };
    const filtered = await product.json('GET', '/-/', body, type);
    expect([filtered.status, terms(filtered)]).toEqual([200, ['red']]);
    await product.json('PUT', '/compute/1', { kind: `${INFRA}compute`, ...body });
    await product.compute();
    const listed = await product.send('GET', '/compute/', {
      headers: { 'Content-Type': type, Accept: PLAIN },
      body: JSON.stringify(body),
    });
    expect(listed.lines('X-OCCI-Location')).toEqual([`${product.url}/compute/1`]);
    expect((await product.json('DELETE', '/-/', body, type)).status).toBe(200);
    expect((await product.get('/red/')).status).toBe(404);
    expect((await product.get('/blue/')).status).toBe(200);
  });
});

describe('an answer without content', () => {
  const TYPES: readonly (readonly [string, string])[] = [
    ...JSON_TYPES.map((type) => [type, '{}'] as const),
    [OCCI, 'OK'],
    [PLAIN, ''],
    [URI_LIST, ''],
  ];

  it.each(TYPES)('in %s has the body %j', async (type, body) => {
    await define(mixin('tag'));
    const path = await product.compute();
    const headers = { 'Content-Type': PLAIN, Accept: type };
    const location = `X-OCCI-Location: ${path}`;
    const line = `Category: other; scheme="${SCHEME}"; class="mixin"; location="/other/"`;
    for (const [method, target, lines] of [
      ['POST', '/tag/', location],
      ['PUT', '/tag/', location],
      ['DELETE', '/tag/', location],
      ['DELETE', '/tag/', ''],
      ['POST', '/-/', line],
      ['PUT', '/-/', `${line}; title="Other"`],
      ['DELETE', '/-/', `Category: ${category(`${SCHEME}other`)}`],
      ['DELETE', path, ''],
      ['DELETE', '/compute/', ''],
    ] as const) {
      const answer = await product.send(method, target, { headers, ...(lines === '' ? {} : { body: lines }) });
      expect([method, target, answer.status, answer.body]).toEqual([method, target, 200, body]);
      expect(answer.type?.split(';')[0]).toBe(type.split(';')[0]);
    }
  });
});
