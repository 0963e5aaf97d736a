/** What clients define and instantiate beyond the checklist: the kinds of the core, definitions of all sorts, their end. */
import type { JsonObject } from '@cmbs/shared';
import { category, CORE, FLAT, PLAIN, Product } from './occi-support';

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

  it('list what descends from them, and are not emptied by mistake', async () => {
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
  it('may list what its kind inherits from the core', async () => {
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
