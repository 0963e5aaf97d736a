/** Categories beyond the checklist: kinds of the core, and definitions, changes and deletions by clients. */
import type { JsonObject } from '@cmbs/shared';
import { openTest } from './engine';
import { category, CORE, FLAT, INFRA, NESTED, OCCI, PLAIN, Product, type Answer } from './occi-support';

const SCHEME = 'http://example.com/model#';

let product: Product;
beforeEach(async () => {
  product = await Product.start();
});
afterEach(() => product.close());

async function define(body: JsonObject): Promise<void> {
  const defined = await product.json('POST', '/-/', body);
  if (defined.status !== 200) throw new Error(`Not defined: ${defined.status} ${defined.body}`);
}

describe('the kinds of the core', () => {
  it('resource and link can be instantiated, and have a location', async () => {
    for (const term of ['resource', 'link']) {
      const [line] = (await product.get(`/-/?category=${encodeURIComponent(CORE + term)}`, PLAIN)).lines(
        'Category',
      );
      expect(line).toContain(`location="/${term}/"`);
    }
    const one = await product.create(`${CORE}resource`, [
      'X-OCCI-Attribute: occi.core.title="one", occi.core.summary="s"',
    ]);
    const two = await product.create(`${CORE}resource`);
    expect(one).toMatch(/^\/resource\/[^/]+$/);
    const ends = `X-OCCI-Attribute: occi.core.source="${one}", occi.core.target="${two}"`;
    const made = await product.plain('POST', '/link/', [`Category: ${category(`${CORE}link`)}`, ends]);
    expect([made.status, made.location]).toEqual([201, expect.stringContaining('/link/')]);
    expect((await product.get(one, FLAT)).json()).toMatchObject({
      title: 'one',
      summary: 's',
      links: [{ kind: `${CORE}link`, target: { location: product.url + two } }],
    });
  });

  openTest('own user', 'list entities of all descendants, and are not emptied by mistake', async () => {
    const compute = await product.compute();
    expect((await product.get('/resource/', PLAIN)).lines('X-OCCI-Location')).toEqual([product.url + compute]);
    for (const path of ['/resource/', '/link/']) {
      const refused = await product.send('DELETE', path);
      expect([refused.status, refused.body]).toEqual([400, expect.stringContaining('?confirm=all')]);
    }
    expect((await product.get(compute)).status).toBe(200);
    expect((await product.send('DELETE', '/resource/?confirm=all')).status).toBe(200);
    expect((await product.get(compute)).status).toBe(404);
  });
});

describe('a definition', () => {
  it('may list the attributes that its kind inherits from the core', async () => {
    const inherited = {
      'occi.core.id': { type: 'string', required: true },
      'occi.core.title': { type: 'string', mutable: true },
      'occi.core.summary': { type: 'string', mutable: true },
      'a.b': { type: 'number', mutable: true },
    };
    await define({ kinds: [{ term: 'thing', scheme: SCHEME, location: '/thing/', attributes: inherited }] });
    const path = await product.create(`${SCHEME}thing`, ['X-OCCI-Attribute: occi.core.title="t", a.b=1']);
    expect((await product.get(path, FLAT)).json()).toMatchObject({ title: 't', attributes: { 'a.b': 1 } });
    const text = `Category: other; scheme="${SCHEME}"; class="kind"; location="/other/"; attributes="occi.core.id{immutable} occi.core.title c.d"`;
    expect((await product.plain('POST', '/-/', [text])).status).toBe(200);
    await product.create(`${SCHEME}other`, ['X-OCCI-Attribute: occi.core.title="t", c.d="x"']);
  });
});

describe('an attribute that was defined in text', () => {
  const line = (attributes: string): string =>
    `Category: noted; scheme="${SCHEME}"; class="mixin"; location="/noted/"; attributes="${attributes}"`;
  const noted = `Category: ${category(`${SCHEME}noted`)}`;

  beforeEach(async () => {
    expect((await product.plain('POST', '/-/', [line('a.b c.d{required}')])).status).toBe(200);
  });

  it('has no type and takes strings, numbers and booleans', async () => {
    const path = await product.compute(noted, 'X-OCCI-Attribute: a.b="x", c.d=3.6');
    const shown = async (): Promise<unknown> => (await product.get(path, FLAT)).json().attributes;
    expect(await shown()).toMatchObject({ 'a.b': 'x', 'c.d': 3.6 });
    expect((await product.get(path, PLAIN)).attributes()).toMatchObject({ 'a.b': '"x"', 'c.d': '3.6' });
    expect((await product.plain('POST', path, ['X-OCCI-Attribute: a.b=true, c.d="{}"'])).status).toBe(200);
    expect(await shown()).toMatchObject({ 'a.b': true, 'c.d': '{}' });
    expect((await product.json('POST', path, { attributes: { 'a.b': { x: 1 } } })).status).toBe(400);
    for (const [type, attributes] of [
      [FLAT, { 'a.b': { mutable: true, required: false }, 'c.d': { mutable: true, required: true } }],
      [NESTED, { a: { b: { mutable: true, required: false } }, c: { d: { mutable: true, required: true } } }],
    ] as const) {
      const { mixins } = (await product.get('/-/?category=noted', type)).json() as { mixins: JsonObject[] };
      expect(mixins[0]?.attributes).toEqual(attributes);
    }
  });

  it('is found by its number in any spelling, and by its string', async () => {
    const [number, string] = [
      await product.compute(noted, 'X-OCCI-Attribute: c.d=4'),
      await product.compute(noted, 'X-OCCI-Attribute: c.d="x y"'),
    ];
    const found = async (value: string): Promise<readonly string[]> =>
      (await product.get(`/compute/?attribute=c.d&value=${encodeURIComponent(value)}`, PLAIN)).lines(
        'X-OCCI-Location',
      );
    for (const value of ['4', '4.0', '4e0']) expect(await found(value)).toEqual([product.url + number]);
    expect(await found('x y')).toEqual([product.url + string]);
  });

  it('keeps its type, pattern and default when text changes its flags', async () => {
    const attributes = { 'e.f': { type: 'number', mutable: true, default: 2, pattern: { minimum: 1 } } };
    await define({ mixins: [{ term: 'typed', scheme: SCHEME, location: '/typed/', attributes }] });
    const changed = `Category: typed; scheme="${SCHEME}"; class="mixin"; attributes="e.f{required} g.h"`;
    expect((await product.plain('PUT', '/-/', [changed])).status).toBe(200);
    const { mixins } = (await product.get('/-/?category=typed', FLAT)).json() as { mixins: JsonObject[] };
    expect(mixins[0]?.attributes).toEqual({
      'e.f': { type: 'number', mutable: true, required: true, default: 2, pattern: { minimum: 1 } },
      'g.h': { mutable: true, required: false },
    });
  });
});

describe('a nested definition', () => {
  it('refuses values that cannot have its type, and accepts what the original writes', async () => {
    const attributes = {
      com: {
        example: { size: { type: 'Number' }, on: { type: 'Boolean' }, list: { type: 'Array', default: '' } },
      },
    };
    const kind = { term: 'lax', scheme: SCHEME, related: [`${CORE}resource`], location: '/lax/', attributes };
    expect((await product.json('POST', '/-/', { kinds: [kind] }, NESTED)).status).toBe(200);
    const make = async (example: JsonObject): Promise<number> =>
      (await product.json('POST', '/lax/', { kind: `${SCHEME}lax`, attributes: { com: { example } } }, NESTED))
        .status;
    for (const taken of [
      { size: 3 },
      { size: '3.0' },
      { on: 'True' },
      { on: false },
      { list: '' },
      { list: ['a'] },
    ]) {
      expect([taken, await make(taken)]).toEqual([taken, 201]);
    }
    for (const refused of [{ size: 'three' }, { size: [3] }, { on: 'yes' }, { list: 'a' }, { list: { a: 1 } }]) {
      expect([refused, await make(refused)]).toEqual([refused, 400]);
    }
    for (const value of ['3', '3.00']) {
      const found = await product.get(`/lax/?attribute=com.example.size&value=${value}`, PLAIN);
      expect([value, found.lines('X-OCCI-Location').length]).toEqual([value, 2]);
    }
  });
});

describe('a filter', () => {
  it('compares numbers as numbers, in the query, in headers and in bodies', async () => {
    const [small, large] = [
      await product.compute('X-OCCI-Attribute: occi.compute.memory=4, occi.compute.hostname="4.0"'),
      await product.compute('X-OCCI-Attribute: occi.compute.memory=4.25'),
    ];
    const item = (value: string): Promise<Answer> =>
      product.get('/compute/', PLAIN, {
        'Content-Type': OCCI,
        'X-OCCI-Attribute': `occi.compute.memory=${value}`,
      });
    const query = (value: string): Promise<Answer> =>
      product.get(`/compute/?attribute=occi.compute.memory&value=${value}`, PLAIN);
    for (const [value, path] of [
      ['4', small],
      ['4.0', small],
      ['40e-1', small],
      ['4.25', large],
      ['4.250', large],
    ] as const) {
      for (const asked of [
        query(value),
        item(value),
        item(`"${value}"`),
        product.get(`/compute/?q=${value}`, PLAIN),
      ]) {
        expect([value, (await asked).lines('X-OCCI-Location')]).toEqual([value, [product.url + path]]);
      }
    }
    // Numbers beyond 2^53 differ from their neighbours.
    const huge = await product.compute('X-OCCI-Attribute: occi.compute.memory=1e22');
    await product.compute('X-OCCI-Attribute: occi.compute.memory=9007199254740992');
    for (const value of ['1e22', '1E22', '10000000000000000000000']) {
      expect([value, (await query(value)).lines('X-OCCI-Location')]).toEqual([value, [product.url + huge]]);
    }
    expect((await query('9007199254740993')).body).toBe('');
    // Strings are compared character by character.
    expect((await product.get('/compute/?attribute=occi.compute.hostname&value=4', PLAIN)).body).toBe('');
  });
});

describe('a filter by a member of an object', () => {
  it.each(['attempts', 'queued_at'])('is refused for delivery.%s, which is not indexed', async (member) => {
    const answer = await product.get(`/cmbs/message/?attribute=cmbs.message.delivery.${member}&value=1`, PLAIN);
    expect(answer.status).toBe(400);
    expect(answer.body).toContain('cmbs.message.delivery.state');
  });

  it('is answered for a member that is indexed', async () => {
    const answer = await product.get('/cmbs/message/?attribute=cmbs.message.delivery.state&value=failed', PLAIN);
    expect([answer.status, answer.body]).toEqual([200, '']);
  });
});

describe('an action on the collection of a mixin that has no actions', () => {
  it('works if all entities of the collection have the action', async () => {
    const mixin = await product.defineMixin('group');
    const act = (): Promise<Answer> => product.json('POST', '/group/?action=start', {});
    expect((await act()).status).toBe(400);
    const paths = [
      await product.compute(`Category: ${category(mixin)}`),
      await product.compute(`Category: ${category(mixin)}`),
    ];
    expect((await act()).status).toBe(200);
    for (const path of paths) {
      expect((await product.get(path, FLAT)).json()).toMatchObject({
        attributes: { 'occi.compute.state': 'active' },
      });
    }
    expect((await product.json('POST', '/group/?action=fly', {})).status).toBe(400);
    await product.network(`Category: ${category(mixin)}`);
    const refused = await product.json('POST', '/group/?action=stop', {});
    expect([refused.status, refused.body]).toEqual([400, expect.stringContaining('stop')]);
    expect((await product.get(paths[0] ?? '', FLAT)).json()).toMatchObject({
      attributes: { 'occi.compute.state': 'active' },
    });
    const some = await product.json(
      'POST',
      `/group/?action=stop&category=${encodeURIComponent(`${INFRA}compute`)}`,
      {},
    );
    expect(some.status).toBe(200);
  });
});

describe('a mixin on which others depend', () => {
  it('is not deleted before them, and the refusal names them', async () => {
    const base = await product.defineMixin('base');
    const [one, two] = [
      await product.defineMixin('one', `; rel="${base}"`),
      await product.defineMixin('two', `; rel="${base}"`),
    ];
    const remove = (...ids: readonly string[]): Promise<Answer> =>
      product.json('DELETE', '/-/', { mixins: [...ids] });
    const refused = await remove(base);
    expect(refused.status).toBe(409);
    for (const id of [one, two]) expect(refused.body).toContain(id);
    const path = await product.compute(`Category: ${category(base)}`);
    expect((await product.get(path, FLAT)).json()).toMatchObject({ mixins: [base] });
    expect((await remove(base, one)).status).toBe(409);
    expect((await remove(base, one, two)).status).toBe(200);
    expect((await product.get(path, FLAT)).json()).not.toHaveProperty('mixins');
  });
});

describe('an attribute that PUT drops', () => {
  it('leaves the entities, which can be PUT again', async () => {
    const line = (attributes: string): string =>
      `Category: tagged; scheme="${SCHEME}"; class="mixin"; location="/tagged/"; attributes="${attributes}"`;
    expect((await product.plain('POST', '/-/', [line('a.b a.c')])).status).toBe(200);
    const path = await product.compute(
      `Category: ${category(`${SCHEME}tagged`)}`,
      'X-OCCI-Attribute: a.b="x", a.c="y"',
    );
    expect((await product.plain('PUT', '/-/', [line('a.b')])).status).toBe(200);
    const shown = (await product.get(path, FLAT)).json();
    expect(shown).toMatchObject({ attributes: { 'a.b': 'x' } });
    expect(JSON.stringify(shown)).not.toContain('a.c');
    expect((await product.json('PUT', path, shown)).status).toBe(200);
  });
});

describe('OCCI Infrastructure', () => {
  it('knows occi.compute.speed, which clients of OCCI 1.1 send', async () => {
    const path = await product.compute('X-OCCI-Attribute: occi.compute.speed=2.33');
    expect((await product.get(path, PLAIN)).attributes()['occi.compute.speed']).toBe('2.33');
  });
});
