/**
 * In every rendering, a PUT of the answer to a GET changes nothing, and creates the same entity again if the entity was
 * deleted. Seed and path of a failure are printed; `CMBS_TEST_SEED` repeats a run.
 */
import type { Json, JsonObject } from '@cmbs/shared';
import { CMBS, CORE, FLAT, INFRA, NESTED, OCCI, OCCI_JSON, PLAIN, Product, type Answer } from './occi-support';
import fc from '../property';
import { extent } from '../extent';

const SCHEME = 'http://example.com/round-trip#';
const GFD226 = `${OCCI_JSON};profile=gfd226`;
const TYPES = [PLAIN, OCCI, FLAT, OCCI_JSON, NESTED, GFD226] as const;
const NIC = `${INFRA}networkinterface`;

let product: Product;
let network: string;
beforeAll(async () => {
  product = await Product.start();
  network = await product.network();
  const attributes = Object.fromEntries(
    ['string', 'number', 'boolean', 'array', 'object'].map((type) => [
      `com.example.${type}`,
      { type, mutable: true },
    ]),
  );
  const nested = Object.fromEntries(
    ['String', 'Number', 'Boolean', 'Array', 'Object'].map((type) => [`${type.toLowerCase()}n`, { type }]),
  );
  const mixed = {
    'org.example.deep.name': { type: 'string', mutable: true },
    'org.example.size': { type: 'number', mutable: true },
  };
  for (const [type, body] of [
    [
      FLAT,
      {
        kinds: [
          { term: 'strict', scheme: SCHEME, parent: `${CORE}resource`, location: '/strict/', attributes },
          { term: 'wire', scheme: SCHEME, parent: `${CORE}link`, location: '/wire/', attributes },
        ],
        mixins: [
          { term: 'one', scheme: SCHEME, depends: [], location: '/one/', attributes: mixed },
          { term: 'two', scheme: SCHEME, depends: [`${SCHEME}one`], location: '/two/', attributes: {} },
        ],
      },
    ],
    [
      NESTED,
      {
        kinds: [
          {
            term: 'lenient',
            scheme: SCHEME,
            related: [`${CORE}resource`],
            location: '/lenient/',
            attributes: { net: { example: nested } },
          },
        ],
      },
    ],
  ] as const) {
    const defined = await product.json('POST', '/-/', body, type);
    if (defined.status !== 200) throw new Error(defined.body);
  }
});
afterAll(() => product.close());

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom(
    '',
    'a, b; c="d"',
    '{"a":1}',
    '[]',
    'null',
    '1',
    'true',
    '"',
    '\\',
    'é\n\u2028',
    "it's\r\n",
    '%2C',
    'http://example.com/?action=x',
  ),
);
const number = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => one + 0),
);
const anyJson = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);
const list = fc.array(fc.oneof(text, number, anyJson), { maxLength: 3 });
const object = fc.dictionary(fc.stringMatching(/^[a-z][a-z.]{0,5}$/), fc.oneof(text, number, anyJson), {
  maxKeys: 3,
  noNullPrototype: true,
});
const values = (name: (type: string) => string): fc.Arbitrary<JsonObject> =>
  fc.record(
    {
      [name('string')]: text,
      [name('number')]: number,
      [name('boolean')]: fc.boolean(),
      [name('array')]: list,
      [name('object')]: object,
    },
    { requiredKeys: [], noNullPrototype: true },
  ) as fc.Arbitrary<JsonObject>;
const strictValues = values((type) => `com.example.${type}`);
const mixins = fc.subarray([`${SCHEME}one`, `${SCHEME}two`]);
const tagged = fc.record(
  { 'org.example.deep.name': text, 'org.example.size': number },
  { requiredKeys: [], noNullPrototype: true },
);
const titles = fc.record({ title: text, summary: text }, { requiredKeys: [] });

const links = fc.array(
  fc.oneof(
    fc
      .record({ title: text, interface: fc.stringMatching(/^[a-z0-9"\\, ;]{0,8}$/) }, { requiredKeys: [] })
      .map(({ interface: name, ...rest }) => ({
        kind: NIC,
        ...rest,
        attributes: name === undefined ? {} : { 'occi.networkinterface.interface': name },
      })),
    fc
      .record({ title: text, given: strictValues, mixins: fc.constantFrom([], [`${SCHEME}one`]), tagged })
      .map(({ title, given, mixins: tags, tagged: more }) => ({
        kind: `${SCHEME}wire`,
        title,
        mixins: tags,
        attributes: { ...given, ...(tags.length === 0 ? {} : more) },
      })),
  ),
  { maxLength: 3 },
);

const entity = fc.oneof(
  fc
    .record({ core: titles, given: strictValues, mixins, tagged, links })
    .map(({ core, given, mixins: tags, tagged: more, links: inline }) => ({
      ...core,
      kind: `${SCHEME}strict`,
      mixins: tags,
      attributes: { ...given, ...(tags.length === 0 ? {} : more) },
      links: inline,
    })),
  fc
    .record({ core: titles, given: values((type) => `net.example.${type}n`), links })
    .map(({ core, given, links: inline }) => ({
      ...core,
      kind: `${SCHEME}lenient`,
      attributes: given,
      links: inline,
    })),
  fc
    .record({ core: titles, content: anyJson, history: fc.array(fc.webUrl(), { maxLength: 2 }), headers: object })
    .map(({ core, content, history }) => ({
      ...core,
      kind: `${CMBS}message`,
      mixins: [`${CMBS}l2`],
      attributes: {
        'cmbs.message.cmbs_layer': 'l2',
        'cmbs.message.message_content': content,
        'cmbs.message.path_history': history,
      },
      links: [],
    })),
);

/** Sends the answer to a GET, in its own type. */
function putBack(target: string, type: string, shown: Answer): Promise<Answer> {
  const items =
    type === OCCI
      ? Object.fromEntries(
          ['category', 'link', 'x-occi-attribute'].flatMap((name) => {
            const value = shown.header(name);
            return value === undefined ? [] : [[name, value]];
          }),
        )
      : {};
  const headers = { 'Content-Type': shown.type ?? type, Accept: type, ...items };
  return product.send('PUT', target, { headers, ...(type === OCCI ? {} : { body: shown.body }) });
}

let runs = 0;
/** An id that no earlier run used, not even a failed one. */
const freshPath = (below: string): string => `${below}n${(runs += 1)}`;

test.each(TYPES)(
  'the answer to a GET of an entity in %s can be PUT back',
  async (type) => {
    await fc.assert(
      fc.asyncProperty(entity, async (given) => {
        const path = freshPath('/round-trip/');
        const body = { ...given, links: given.links.map((link) => ({ ...link, target: { location: network } })) };
        const made = await product.json('PUT', path, body);
        expect([made.status, made.status === 201 ? '' : made.body]).toEqual([201, '']);
        const now = async (): Promise<JsonObject> => (await product.get(path, FLAT)).json();
        const before = await now();
        const shown = await product.get(path, type);
        if (shown.status !== 413) {
          const again = await putBack(path, type, shown);
          expect([again.status, again.status === 200 ? '' : again.body]).toEqual([200, '']);
          expect(await now()).toEqual(before);
          // Clients cannot set the attributes in which the broker reports on a message.
          if (given.kind === `${CMBS}message`) return;
          await product.send('DELETE', path);
          const anew = await putBack(path, type, shown);
          expect([anew.status, anew.status === 201 ? '' : anew.body]).toEqual([201, '']);
          expect(await now()).toEqual(before);
        }
      }),
      { numRuns: extent(8, 25), endOnFailure: false },
    );
  },
  120_000,
);

test.each(TYPES)('a link can be PUT as %s shows it', async (type) => {
  const compute = await product.compute();
  await fc.assert(
    fc.asyncProperty(strictValues, mixins, tagged, async (given, tags, more) => {
      const path = freshPath('/wire/');
      const body = {
        kind: `${SCHEME}wire`,
        mixins: tags,
        attributes: { ...given, ...(tags.length === 0 ? {} : more) },
        source: { location: compute },
        target: { location: network },
      };
      const made = await product.json('PUT', path, body);
      expect([made.status, made.status === 201 ? '' : made.body]).toEqual([201, '']);
      const shown = await product.get(path, type);
      const before = (await product.get(path, FLAT)).json();
      const again = await putBack(path, type, shown);
      expect([again.status, again.status === 200 ? '' : again.body]).toEqual([200, '']);
      expect((await product.get(path, FLAT)).json()).toEqual(before);
      await product.send('DELETE', path);
    }),
    { numRuns: extent(4, 10) },
  );
});
