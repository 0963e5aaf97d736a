/**
 * `application/occi+json` has two dialects: the original's, with nested attributes, and GFD.226's. The dialect of a kind's
 * definition decides, and a profile forces one of the two (docs/occi.md, "Renderings").
 */
import type { Json, JsonObject } from '@cmbs/shared';
import { CMBS, CORE, FLAT, INFRA, NESTED, OCCI_JSON, PLAIN, Product, type Answer } from './occi-support';

const SCHEME = 'http://example.com/dialects#';
const GFD226 = `${OCCI_JSON};profile=gfd226`;

let product: Product;
beforeEach(async () => {
  product = await Product.start();
});
afterEach(() => product.close());

const typed = (method: string, target: string, type: string, body: Json, accept = type): Promise<Answer> =>
  product.send(method, target, { headers: { 'Content-Type': type, Accept: accept }, body: JSON.stringify(body) });

const MEMBER = { kind: `${CMBS}member`, id: 'm', attributes: { 'cmbs.member.local': 'false' } };

describe('application/occi+json', () => {
  it('shows entities of CMBS in the nested form and those of OCCI Infrastructure as GFD.226 has it', async () => {
    await product.json('POST', '/cmbs/member/', MEMBER);
    const member = await product.get('/cmbs/member/m', OCCI_JSON);
    expect([member.status, member.type]).toEqual([200, NESTED]);
    expect(member.json()).toMatchObject({
      id: 'm',
      attributes: { cmbs: { member: { local: 'false' } } },
      links: [],
    });
    const path = await product.compute('X-OCCI-Attribute: occi.compute.memory=3.6');
    const compute = await product.get(path, OCCI_JSON);
    expect([compute.status, compute.type]).toEqual([200, GFD226]);
    expect(compute.json()).toMatchObject({
      attributes: { 'occi.compute.memory': 3.6 },
    });
    expect(compute.json()).not.toHaveProperty('links');
    expect(compute.body).toBe((await product.get(path, FLAT)).body);
  });

  it('lists each collection in the dialect of its category, and several kinds together as GFD.226 has it', async () => {
    await product.json('POST', '/cmbs/member/', MEMBER);
    const path = await product.compute();
    const url = (at: string): string => product.url + at;
    const members = await product.get('/cmbs/member/', OCCI_JSON);
    expect([members.type, members.json()]).toEqual([NESTED, { 'X-OCCI-Location': [url('/cmbs/member/m')] }]);
    const computes = await product.get('/compute/', OCCI_JSON);
    expect([computes.type, computes.json()]).toMatchObject([GFD226, { resources: [{ id: path.slice(9) }] }]);
    for (const unbound of ['/', '/cmbs/']) {
      const all = await product.get(unbound, OCCI_JSON);
      expect([all.type, Object.keys(all.json())]).toEqual([GFD226, ['resources']]);
    }
    expect((await product.get('/cmbs/message/l1/', OCCI_JSON)).json()).toEqual({ 'X-OCCI-Location': [] });
    expect((await product.get('/resource_tpl/small/', OCCI_JSON)).json()).toEqual({ resources: [] });
  });

  it('answers a creation in the dialect of the new entity', async () => {
    const member = await typed('POST', '/', OCCI_JSON, MEMBER);
    expect([member.status, member.type, member.json()]).toEqual([
      201,
      NESTED,
      { Location: [`${product.url}/cmbs/member/m`] },
    ]);
    const compute = await typed('POST', '/', OCCI_JSON, { kind: `${INFRA}compute`, id: 'c' });
    expect([compute.status, compute.type, compute.json()]).toEqual([201, GFD226, [`${product.url}/compute/c`]]);
    const both = await typed('POST', '/', OCCI_JSON, {
      resources: [
        { ...MEMBER, id: 'm2' },
        { kind: `${INFRA}compute`, id: 'c2' },
      ],
    });
    expect([both.status, both.type, both.json()]).toEqual([
      201,
      GFD226,
      [`${product.url}/cmbs/member/m2`, `${product.url}/compute/c2`],
    ]);
  });

  it('shows the query interface and errors as GFD.226 has them', async () => {
    const model = await product.get('/-/', OCCI_JSON);
    expect(model.type).toBe(GFD226);
    const { kinds } = model.json() as { kinds: JsonObject[] };
    expect(kinds.find(({ term }) => term === 'member')).toMatchObject({
      parent: `${CORE}resource`,
      attributes: { 'cmbs.member.state': { type: 'string' } },
    });
    const error = await product.get('/cmbs/member/none', OCCI_JSON);
    expect([error.status, error.type]).toEqual([404, GFD226]);
  });

  it.each([
    [
      'in nested JSON',
      OCCI_JSON,
      { related: [`${CORE}resource`], attributes: { a: { b: { type: 'String' } } } },
      'nested',
    ],
    ['without a sign, in the type of the original', OCCI_JSON, { attributes: {} }, 'nested'],
    ['without a sign, in the profile of GFD.226', GFD226, { attributes: {} }, 'gfd226'],
    [
      'in the form of GFD.226, in the type of the original',
      OCCI_JSON,
      { attributes: { 'a.b': { type: 'string', mutable: true } } },
      'gfd226',
    ],
    ['without a sign, in application/json', FLAT, { attributes: {} }, 'gfd226'],
  ])('shows entities of a kind that was defined %s in the same form', async (_how, type, more, profile) => {
    const kind = { term: 'thing', scheme: SCHEME, location: '/thing/', ...more };
    expect((await typed('POST', '/-/', type, { kinds: [kind] })).status).toBe(200);
    expect((await typed('PUT', '/thing/1', FLAT, { kind: `${SCHEME}thing` })).status).toBe(201);
    expect((await product.get('/thing/1', OCCI_JSON)).type).toBe(`${OCCI_JSON};profile=${profile}`);
    expect((await product.get('/thing/', OCCI_JSON)).type).toBe(`${OCCI_JSON};profile=${profile}`);
  });

  it('shows a kind that was defined in text as GFD.226 has it, also after an update in the other dialect', async () => {
    await product.plain('POST', '/-/', [`Category: thing; scheme="${SCHEME}"; class="kind"; location="/thing/"`]);
    await typed('PUT', '/thing/1', FLAT, { kind: `${SCHEME}thing` });
    expect((await product.get('/thing/1', OCCI_JSON)).type).toBe(GFD226);
    const changed = await typed('PUT', '/-/', OCCI_JSON, {
      kinds: [{ term: 'thing', scheme: SCHEME, title: 'Thing' }],
    });
    expect(changed.status).toBe(200);
    expect((await product.get('/thing/1', OCCI_JSON)).type).toBe(GFD226);
  });

  it('answers with the values of an action in the dialect of the kind', async () => {
    await product.json('POST', '/cmbs/member/', { ...MEMBER, attributes: { 'cmbs.member.local': 'true' } });
    const asked = await typed('POST', '/cmbs/member/m?action=check_neighbors', OCCI_JSON, {});
    expect([asked.status, asked.type]).toEqual([200, NESTED]);
  });
});

describe('a profile', () => {
  it('forces a dialect, and the answer names it', async () => {
    await product.json('POST', '/cmbs/member/', MEMBER);
    const path = await product.compute('X-OCCI-Attribute: occi.compute.memory=3.6');
    const flat = await product.get('/cmbs/member/m', GFD226);
    expect([flat.type, flat.json()]).toMatchObject([GFD226, { attributes: { 'cmbs.member.local': 'false' } }]);
    const nested = await product.get(path, NESTED);
    expect([nested.type, nested.json()]).toMatchObject([
      NESTED,
      { attributes: { occi: { compute: { memory: 3.6 } } } },
    ]);
    expect((await product.get('/compute/', NESTED)).json()).toEqual({
      'X-OCCI-Location': [product.url + path],
    });
    expect((await product.get('/cmbs/member/', GFD226)).json()).toMatchObject({ resources: [{ id: 'm' }] });
    const model = (await product.get('/-/', NESTED)).json() as { kinds: JsonObject[] };
    expect(model.kinds.find(({ term }) => term === 'compute')).toMatchObject({ related: [`${CORE}resource`] });
    expect((await product.get('/none', NESTED)).type).toBe(NESTED);
  });

  it('may be quoted, and is chosen among others by its quality', async () => {
    const path = await product.compute();
    expect((await product.get(path, `${OCCI_JSON}; profile="nested"`)).type).toBe(NESTED);
    expect((await product.get(path, `${NESTED};q=0.5, ${OCCI_JSON};q=0.9`)).type).toBe(GFD226);
    expect((await product.get(path, `${NESTED}, ${OCCI_JSON};q=0.9`)).type).toBe(NESTED);
    expect((await product.get(path, `${FLAT}, ${NESTED}`)).type).toBe(FLAT);
    expect((await product.get(path, `${OCCI_JSON};profile=other, text/plain;q=0.1`)).type).toBe(PLAIN);
  });

  it('is 406 in Accept and 415 in Content-Type if it is unknown', async () => {
    const refused = await product.get('/-/', `${OCCI_JSON};profile=other`);
    expect(refused.status).toBe(406);
    expect(refused.body).toContain('profile=nested');
    expect((await typed('POST', '/', `${OCCI_JSON};profile=other`, MEMBER, OCCI_JSON)).status).toBe(415);
  });

  it('of the body becomes the profile of the answer if the client accepts any type', async () => {
    const made = await typed('POST', '/', GFD226, MEMBER, '*/*');
    expect([made.status, made.type]).toEqual([201, GFD226]);
  });

  it('accepts every form on input', async () => {
    const nested = { kind: `${INFRA}compute`, attributes: { occi: { compute: { memory: 2 } } } };
    const flat = { kind: `${INFRA}compute`, attributes: { 'occi.compute.memory': 2 } };
    for (const type of [OCCI_JSON, NESTED, GFD226, FLAT]) {
      for (const body of [nested, flat, { resources: [nested] }, { resources: [flat] }]) {
        const made = await typed('POST', '/compute/', type, body);
        expect([type, made.status]).toEqual([type, 201]);
      }
    }
    const listed = (await product.get('/compute/', FLAT)).json() as { resources: { attributes: JsonObject }[] };
    expect(new Set(listed.resources.map(({ attributes }) => attributes['occi.compute.memory']))).toEqual(
      new Set([2]),
    );
  });

  it('has no effect on application/json, which is always GFD.226', async () => {
    await product.json('POST', '/cmbs/member/', MEMBER);
    const shown = await product.get('/cmbs/member/m', `${FLAT};profile=nested`);
    expect([shown.type, shown.json()]).toMatchObject([FLAT, { attributes: { 'cmbs.member.local': 'false' } }]);
  });
});
