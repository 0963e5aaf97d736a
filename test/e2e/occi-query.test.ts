/** The OCCI checklist, query interface (#17 to #24). */
import { category, CMBS, CORE, FLAT, INFRA, NESTED, OCCI, PLAIN, Product, URI_LIST } from './occi-support';

const STUFF = 'http://example.com/occi/my_stuff#';
/** The working group's own definition, whose `rel` names an unknown category. */
const MY_STUFF =
  `Category: my_stuff; scheme="${STUFF}"; class="mixin"; ` +
  'rel="http://example.com/occi/something_else#mixin"; location="/my_stuff/"';

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

const byId = (id: string): string => `/-/?category=${encodeURIComponent(id)}`;

interface Model {
  readonly kinds?: readonly { readonly term: string; readonly scheme: string; readonly location?: string }[];
  readonly mixins?: readonly { readonly term: string }[];
  readonly actions?: readonly { readonly term: string }[];
}

describe('OCCI query interface', () => {
  it('#17 shows every kind, mixin and action, including those of the core', async () => {
    const plain = await product.get('/-/', PLAIN);
    for (const term of ['entity', 'resource', 'link']) {
      expect(plain.body).toContain(`Category: ${term}; scheme="${CORE}"; class="kind"`);
    }
    for (const named of [
      category(`${INFRA}compute`, 'kind'),
      category(`${INFRA}os_tpl`, 'mixin'),
      category('http://schemas.ogf.org/occi/infrastructure/compute/action#start', 'action'),
      category(`${CMBS}member`, 'kind'),
      category(`${CMBS}l1`, 'mixin'),
      category('http://houssem.org/cmbs/message/action#send_l1', 'action'),
    ]) {
      expect(plain.body).toContain(`Category: ${named}`);
    }
    const { kinds = [], mixins = [], actions = [] } = (await product.get('/-/', FLAT)).json() as Model;
    expect(kinds.length + mixins.length + actions.length).toBe(plain.lines('Category').length);
  });

  it('#18 shows only the categories that a Category header names', async () => {
    const answer = await product.send('GET', '/-/', {
      headers: { 'Content-Type': OCCI, Accept: OCCI, Category: category(`${INFRA}compute`) },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.category).toHaveLength(1);
    expect(answer.header('category')).toMatch(/^compute; scheme="[^"]+"; class="kind"/);
    expect(answer.header('category')).not.toContain(',');
    const two = await product.send('GET', '/-/', {
      headers: {
        'Content-Type': OCCI,
        Accept: PLAIN,
        Category: [category(`${INFRA}compute`, 'kind'), category(`${INFRA}os_tpl`)],
      },
    });
    expect(two.lines('Category').map((line) => line.split(';')[0])).toEqual(['compute', 'os_tpl']);
  });

  it('#18 shows nothing for an unknown category', async () => {
    const answer = await product.occi('GET', '/-/', { Category: category(`${INFRA}nothing`) });
    expect([answer.status, answer.body]).toEqual([200, '']);
  });

  it('#19 filters by ?category= with an identifier or a term', async () => {
    for (const target of [byId(`${INFRA}compute`), '/-/?category=compute']) {
      const plain = await product.get(target, PLAIN);
      expect(plain.lines('Category')).toEqual([expect.stringMatching(/^compute; /)]);
      expect(((await product.get(target, FLAT)).json() as Model).kinds?.map(({ term }) => term)).toEqual([
        'compute',
      ]);
    }
    expect((await product.get('/-/?category=nothing', PLAIN)).body).toBe('');
  });

  it("#20 accepts a client's mixin with an unknown rel, and #21 refuses it a second time", async () => {
    const defined = await product.plain('POST', '/-/', [MY_STUFF]);
    expect(defined.status).toBe(200);
    expect((await product.get(byId(`${STUFF}my_stuff`), PLAIN)).lines('Category')).toEqual([
      expect.stringMatching(/^my_stuff; scheme="[^"]+"; class="mixin"; .*location="\/my_stuff\/"$/),
    ]);
    expect((await product.get('/my_stuff/', PLAIN)).status).toBe(200);
    expect((await product.plain('POST', '/-/', [MY_STUFF])).status).toBe(409);
  });

  it("#20 accepts a client's mixin in text/occi", async () => {
    const answer = await product.send('POST', '/-/', {
      headers: {
        'Content-Type': OCCI,
        Accept: OCCI,
        Category: `in_headers; scheme="${STUFF}"; class="mixin"; location="/in_headers/"`,
      },
    });
    expect([answer.status, answer.type]).toEqual([200, OCCI]);
    expect((await product.get('/in_headers/')).status).toBe(200);
  });

  it.each([
    ['location', `Category: lost; scheme="${STUFF}"; class="mixin"`],
    ['scheme', 'Category: lost; class="mixin"; location="/lost/"'],
    ['class', `Category: lost; scheme="${STUFF}"; location="/lost/"`],
  ])('#20 refuses a mixin without a %s', async (_what, line) => {
    expect((await product.plain('POST', '/-/', [line])).status).toBe(400);
    expect((await product.get('/lost/')).status).toBe(404);
  });

  it.each([
    ['the location of a kind', 'location="/compute/"', 'stolen_kind'],
    ['the location of a mixin', 'location="/os_tpl/"', 'stolen_mixin'],
    ['the query interface', 'location="/-/"', 'stolen_query'],
  ])('#21 refuses a mixin at %s', async (_what, location, term) => {
    const line = `Category: ${term}; scheme="${STUFF}"; class="mixin"; ${location}`;
    expect((await product.plain('POST', '/-/', [line])).status).toBe(409);
  });

  it("#22 deletes a client's mixin and removes it from every entity", async () => {
    const mixin = await product.defineMixin('passing', '; attributes="com.example.passing"');
    const other = await product.defineMixin('staying', '; attributes="com.example.staying"');
    const paths = [await product.compute(), await product.compute()];
    for (const path of paths) {
      const tagged = await product.plain('POST', path, [
        `Category: ${category(mixin)}`,
        `Category: ${category(other)}`,
        'X-OCCI-Attribute: com.example.passing="1"',
        'X-OCCI-Attribute: com.example.staying="2"',
      ]);
      expect(tagged.status).toBe(200);
    }
    // The class may be absent.
    const deleted = await product.plain('DELETE', '/-/', [`Category: ${category(mixin)}`]);
    expect(deleted.status).toBe(200);
    expect((await product.get('/passing/')).status).toBe(404);
    expect((await product.get(byId(mixin), PLAIN)).body).toBe('');
    for (const path of paths) {
      const { body } = await product.get(path, PLAIN);
      expect(body).not.toContain('passing');
      expect(body).toContain(category(other, 'mixin'));
      expect(body).toContain('com.example.staying="2"');
    }
    expect((await product.plain('DELETE', '/-/', [`Category: ${category(mixin)}`])).status).toBe(404);
    // The name and the location can be used again.
    await product.defineMixin('passing');
    expect((await product.get('/passing/', PLAIN)).body).toBe('');
  });

  it.each([`${INFRA}os_tpl`, `${INFRA}compute`, `${CORE}resource`, `${CMBS}l1`, `${CMBS}member`])(
    '#23 does not delete %s, which comes with the program',
    async (id) => {
      expect((await product.plain('DELETE', '/-/', [`Category: ${category(id)}`])).status).toBe(403);
      expect((await product.get(byId(id), PLAIN)).lines('Category')).toHaveLength(1);
    },
  );

  it('#24 gives kinds without a collection no location in any rendering', async () => {
    const target = byId(`${CORE}entity`);
    expect((await product.get(target, PLAIN)).body).not.toContain('location=');
    expect((await product.get(target, OCCI)).header('category')).not.toContain('location=');
    expect((await product.get(target, URI_LIST)).body).toBe('');
    for (const type of [FLAT, NESTED]) {
      expect(((await product.get(target, type)).json() as Model).kinds?.[0]).not.toHaveProperty('location');
    }
    expect((await product.get('/entity/')).status).toBe(404);
  });

  it('#24 creates no entity of a kind without a collection', async () => {
    const refused = await product.plain('POST', '/', [`Category: ${category(`${CORE}entity`, 'kind')}`]);
    expect(refused.status).toBe(400);
  });
});
