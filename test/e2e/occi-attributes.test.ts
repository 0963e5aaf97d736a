/** The OCCI checklist, attributes (#38 to #46). */
import type { Json } from '@cmbs/shared';
import { category, FLAT, INFRA, NESTED, PLAIN, Product, SIZES } from './occi-support';

const KIND = `${INFRA}compute`;
const COMPUTE = `Category: ${category(KIND, 'kind')}`;
const SCHEME = 'http://example.com/attributes#';

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

async function attributesOf(path: string): Promise<Readonly<Record<string, Json>>> {
  return ((await product.get(path, FLAT)).json() as { attributes: Record<string, Json> }).attributes;
}

/** Status of creating an entity with these attributes. */
async function statusOf(kind: string, attributes: Record<string, Json>): Promise<number> {
  return (await product.json('POST', '/', { kind, attributes })).status;
}

async function defineKind(term: string, more: Record<string, Json>, type = FLAT): Promise<string> {
  const kind = { term, scheme: SCHEME, location: `/${term}/`, ...more };
  const { status, body } = await product.json('POST', '/-/', { kinds: [kind] }, type);
  if (status !== 200) throw new Error(`${term} was not defined: ${status} ${body}`);
  return SCHEME + term;
}

describe('OCCI attributes', () => {
  it('#38 must be given at creation if they are required', async () => {
    expect(await statusOf(`${INFRA}storage`, {})).toBe(400);
    expect(await statusOf(`${INFRA}storage`, { 'occi.storage.size': 3 })).toBe(201);
    const path = await product.create(`${INFRA}storage`, ['X-OCCI-Attribute: occi.storage.size=3']);
    // A replacement without a required attribute removes it; a partial update does not.
    expect((await product.json('PUT', path, { kind: `${INFRA}storage` })).status).toBe(400);
    expect((await product.json('POST', path, { title: 'x' })).status).toBe(200);
  });

  it('#39 cannot be set by a client if they are immutable', async () => {
    const state = 'X-OCCI-Attribute: occi.compute.state="active"';
    expect((await product.plain('POST', '/compute/', [COMPUTE, state])).status).toBe(400);
    const path = await product.compute();
    expect((await product.plain('POST', path, [state])).status).toBe(400);
    expect((await product.plain('PUT', path, [COMPUTE, state])).status).toBe(400);
    expect((await attributesOf(path))['occi.compute.state']).toBe('inactive');
  });

  it('#39 accept the value that they have even if they are immutable', async () => {
    const state = 'X-OCCI-Attribute: occi.compute.state="inactive"';
    const made = await product.plain('POST', '/compute/', [COMPUTE, state]);
    expect(made.status).toBe(201);
    const path = product.pathOf(made.location ?? '');
    for (const method of ['POST', 'PUT']) {
      expect((await product.plain(method, path, [COMPUTE, state])).status).toBe(200);
    }
  });

  it("#40 have their default when absent, a mixin's before the kind's", async () => {
    const path = await product.compute(`Category: ${category(`${SIZES}medium`)}`);
    expect(await attributesOf(path)).toMatchObject({
      'occi.compute.cores': 2,
      'occi.compute.memory': 2,
      'occi.compute.state': 'inactive',
    });
    const kind = await defineKind('defaulted', {
      attributes: { 'com.example.n': { type: 'number', mutable: true, default: 1 } },
    });
    const mixin = 'http://example.com/attributes#overriding';
    await product.json('POST', '/-/', {
      mixins: [
        {
          term: 'overriding',
          scheme: SCHEME,
          location: '/overriding/',
          attributes: { 'com.example.n': { type: 'number', mutable: true, default: 5 } },
        },
      ],
    });
    expect(await attributesOf(await product.create(kind))).toEqual({ 'com.example.n': 1 });
    expect(await attributesOf(await product.create(kind, [`Category: ${category(mixin)}`]))).toEqual({
      'com.example.n': 5,
    });
    expect(
      await attributesOf(
        await product.create(kind, [`Category: ${category(mixin)}`, 'X-OCCI-Attribute: com.example.n=9']),
      ),
    ).toEqual({ 'com.example.n': 9 });
  });

  it('#41 must have the type of their definition', async () => {
    const attributes = Object.fromEntries(
      ['string', 'number', 'boolean', 'array', 'object'].map((type) => [
        `com.example.${type}`,
        { type, mutable: true },
      ]),
    );
    const kind = await defineKind('typed', { attributes });
    const values: Record<string, Json> = {
      string: 'x',
      number: 1.5,
      boolean: true,
      array: [1, 'a'],
      object: { a: 1 },
    };
    for (const type of Object.keys(values)) {
      for (const [of, value] of Object.entries(values)) {
        const status = await statusOf(kind, { [`com.example.${type}`]: value });
        expect([type, of, status]).toEqual([type, of, type === of ? 201 : 400]);
      }
    }
    for (const line of ['occi.compute.cores="two"', 'occi.compute.cores=two', 'occi.compute.hostname=3']) {
      expect((await product.plain('POST', '/compute/', [COMPUTE, `X-OCCI-Attribute: ${line}`])).status).toBe(400);
    }
  });

  it('#42 must match their pattern, a JSON Schema or a regular expression', async () => {
    expect(await statusOf(KIND, { 'occi.compute.architecture': 'z80' })).toBe(400);
    expect(await statusOf(KIND, { 'occi.compute.architecture': 'x64' })).toBe(201);
    const kind = await defineKind('patterned', {
      attributes: {
        'com.example.regex': { type: 'string', mutable: true, pattern: '[a-c]+' },
        'com.example.schema': { type: 'number', mutable: true, pattern: { minimum: 2, maximum: 4 } },
      },
    });
    for (const [name, value, status] of [
      ['regex', 'abc', 201],
      ['regex', 'abcd', 400],
      ['schema', 3, 201],
      ['schema', 5, 400],
    ] as const) {
      expect([value, await statusOf(kind, { [`com.example.${name}`]: value })]).toEqual([value, status]);
    }
  });

  it("#42 match the beginning of their pattern in the original's dialect, booleans in any case", async () => {
    const attributes = {
      com: { example: { word: { type: 'String', pattern: 'ab' }, flag: { pattern: 'true|false' } } },
    };
    const kind = await defineKind('lenient', { attributes }, NESTED);
    for (const [name, value, status] of [
      ['word', 'abc', 201],
      ['word', 'cab', 400],
      ['flag', 'True', 201],
      ['flag', 'FALSE', 201],
      ['flag', true, 201],
      ['flag', 'yes', 400],
    ] as const) {
      expect([value, await statusOf(kind, { [`com.example.${name}`]: value })]).toEqual([value, status]);
    }
  });

  it.each([
    ['a pattern that is no RE2', { type: 'string', pattern: '(?=x)' }],
    ['a pattern of more than 1 KiB', { type: 'string', pattern: 'x'.repeat(1025) }],
    ['a keyword that is not known', { type: 'string', pattern: { $ref: 'http://example.com/' } }],
  ])('#42 cannot be defined with %s', async (_what, spec) => {
    const kind = { term: 'hostile', scheme: SCHEME, location: '/hostile/', attributes: { 'com.example.x': spec } };
    expect((await product.json('POST', '/-/', { kinds: [kind] })).status).toBe(400);
    expect((await product.get('/hostile/')).status).toBe(404);
  });

  it("#42 are checked in linear time, whatever the client's pattern", async () => {
    const kind = await defineKind('slow', {
      attributes: { 'com.example.x': { type: 'string', mutable: true, pattern: '(a+)+b' } },
    });
    const before = performance.now();
    expect(await statusOf(kind, { 'com.example.x': 'a'.repeat(5000) })).toBe(400);
    // A backtracking engine would not finish.
    expect(performance.now() - before).toBeLessThan(30_000);
  });

  it('#43 are refused if no category declares them', async () => {
    const path = await product.compute();
    for (const method of ['POST', 'PUT']) {
      const answer = await product.plain(method, path, [COMPUTE, 'X-OCCI-Attribute: example.test="foo"']);
      expect([method, answer.status]).toEqual([method, 400]);
    }
  });

  it('#44 are immutable, optional strings unless a strict definition says otherwise', async () => {
    const kind = await defineKind('sparse', {
      attributes: { 'com.example.bare': {}, 'com.example.number': { type: 'number', default: 2.8 } },
    });
    const { kinds } = (await product.get('/-/?category=sparse', FLAT)).json() as { kinds: { attributes: Json }[] };
    expect(kinds[0]?.attributes).toEqual({
      'com.example.bare': { type: 'string', mutable: false, required: false },
      'com.example.number': { type: 'number', mutable: false, required: false, default: 2.8 },
    });
    expect(await statusOf(kind, { 'com.example.number': 3 })).toBe(400);
    expect(await statusOf(kind, { 'com.example.bare': 'x' })).toBe(400);
    expect(await attributesOf(await product.create(kind))).toEqual({ 'com.example.number': 2.8 });
  });

  it("#44 are mutable when a definition in the original's dialect does not say otherwise", async () => {
    const attributes = { com: { example: { loose: { type: 'number', default: 2.8 } } } };
    const kind = await defineKind('nested', { attributes }, NESTED);
    const path = await product.create(kind, ['X-OCCI-Attribute: com.example.loose=3']);
    expect(await attributesOf(path)).toEqual({ 'com.example.loose': 3 });
  });

  it("#45 and actions are inherited from the kind's parent", async () => {
    const kind = await defineKind('machine', {
      parent: KIND,
      attributes: { 'com.example.rack': { mutable: true } },
    });
    const path = await product.create(kind, [
      'X-OCCI-Attribute: com.example.rack="r1", occi.compute.cores=2, occi.core.title="t"',
    ]);
    const plain = await product.get(path, PLAIN);
    expect(plain.attributes()).toMatchObject({ 'com.example.rack': '"r1"', 'occi.compute.cores': '2' });
    expect(plain.body).toContain(`<${path}?action=start>`);
    expect((await product.json('POST', `${path}?action=start`, {})).status).toBe(200);
    expect((await attributesOf(path))['occi.compute.state']).toBe('active');
    // An entity of a kind is also an entity of the parent.
    expect((await product.get(`/compute/?category=machine`, PLAIN)).body).toContain(path);
  });

  it('#45 and actions are inherited from the dependencies of a mixin', async () => {
    const mixin = (term: string, more: Record<string, Json>): Json => ({
      term,
      scheme: SCHEME,
      location: `/${term}/`,
      ...more,
    });
    const defined = await product.json('POST', '/-/', {
      actions: [{ term: 'ring', scheme: SCHEME, title: 'Ring' }],
      mixins: [
        mixin('base', { actions: [`${SCHEME}ring`], attributes: { 'com.example.base': { mutable: true } } }),
        mixin('middle', { depends: [`${SCHEME}base`] }),
        mixin('top', { depends: [`${SCHEME}middle`] }),
      ],
    });
    expect(defined.status).toBe(200);
    const path = await product.compute(
      `Category: ${category(`${SCHEME}top`)}`,
      'X-OCCI-Attribute: com.example.base="from below"',
    );
    const plain = await product.get(path, PLAIN);
    expect(plain.attributes()['com.example.base']).toBe('"from below"');
    expect(plain.body).toContain(`<${path}?action=ring>; rel="${SCHEME}ring"`);
  });

  it('#46 of a mixin are refused on kinds to which the mixin does not apply', async () => {
    const ipNetwork = `Category: ${category('http://schemas.ogf.org/occi/infrastructure/network#ipnetwork')}`;
    expect((await product.plain('POST', '/compute/', [COMPUTE, ipNetwork])).status).toBe(400);
    const path = await product.compute();
    expect((await product.plain('POST', path, [ipNetwork])).status).toBe(400);
    expect(
      (await product.plain('POST', '/network/ipnetwork/', [`X-OCCI-Location: ${product.url}${path}`])).status,
    ).toBe(400);
    expect((await product.get('/network/ipnetwork/', PLAIN)).body).toBe('');
    await product.network(ipNetwork);
    expect((await product.get('/network/ipnetwork/', PLAIN)).lines('X-OCCI-Location')).toHaveLength(1);
  });
});
