/** The OCCI checklist, renderings (#66 to #78). */
import { localTest } from './engine';
import type { Json, JsonObject } from '@cmbs/shared';
import { category, CORE, FLAT, INFRA, NESTED, OCCI, PLAIN, Product, SIZES, URI_LIST } from './occi-support';
import { notEmpty } from '../not-empty';

const KIND = `${INFRA}compute`;
const COMPUTE = `Category: ${category(KIND, 'kind')}`;
const NIC = `${INFRA}networkinterface`;
const SCHEME = 'http://example.com/renderings#';

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

async function linked(): Promise<{ compute: string; network: string; link: string }> {
  const [compute, network] = [await product.compute(), await product.network()];
  const link = await product.create(NIC, [
    `X-OCCI-Attribute: occi.core.source="${compute}", occi.core.target="${network}"`,
  ]);
  return { compute, network, link };
}

describe('OCCI text renderings', () => {
  it.each([PLAIN, 'text/occi+plain', OCCI, URI_LIST])('#66 include %s', async (type) => {
    const answer = await product.get('/compute/', type);
    expect([answer.status, answer.type]).toEqual([200, type === 'text/occi+plain' ? PLAIN : type]);
  });

  it.each(['text/plain; charset=utf-8', 'text/occi+plain', 'TEXT/PLAIN'])('#66 are read as %s', async (type) => {
    const made = await product.send('POST', '/compute/', { headers: { 'Content-Type': type }, body: COMPUTE });
    expect(made.status).toBe(201);
  });

  it("#67 write categories in the form that the working group's test suites read", async () => {
    const expected = /^\w+; \bscheme=[a-z:./#"]*; \bclass="(action|kind|mixin)"/;
    const lines = (await product.get('/-/', PLAIN)).lines('Category');
    expect(lines[1]).toMatch(expected);
    const strict =
      /^[\w.-]+; scheme="[^"]+#"; class="(kind|mixin|action)"(; title="[^",]*")?(; rel="[^" ]+")?(; location="\/[^"]*\/")?(; attributes="[^",]+")?(; actions="[^",]+")?$/;
    for (const line of lines) expect(line).toMatch(strict);
    expect((await product.get('/-/', OCCI)).header('category')?.split(', ')).toEqual(lines);
  });

  it('#67 mark required and immutable attributes', async () => {
    const [storage] = (await product.get('/-/?category=storage', PLAIN)).lines('Category');
    expect(storage).toContain('attributes="occi.storage.size{required} occi.storage.state{immutable} ');
    expect(storage).toMatch(/; actions="\S+#online \S+#offline [^"]+"$/);
  });

  it('#67 write a comma in a title unchanged, inside the quotes', async () => {
    const mixin = { term: 'commas', scheme: SCHEME, location: '/commas/', title: 'one, two; "three"' };
    expect((await product.json('POST', '/-/', { mixins: [mixin] })).status).toBe(200);
    const answer = await product.get('/-/?category=commas', OCCI);
    expect(answer.header('category')).toContain(String.raw`; title="one, two; \"three\""`);
    const { mixins } = (await product.get('/-/?category=commas', FLAT)).json() as { mixins: JsonObject[] };
    expect(mixins[0]).toMatchObject({ title: 'one, two; "three"' });
  });

  it.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
  ])('#68 are read with %s at the ends of lines, whatever the case of names', async (_name, newline) => {
    const made = await product.send('POST', '/compute/', {
      headers: { 'Content-Type': PLAIN, Accept: PLAIN },
      body: [
        COMPUTE.replace('Category', 'category'),
        'x-occi-attribute: occi.compute.cores=2, occi.compute.hostname="a, b"',
        '',
        'X-OCCI-ATTRIBUTE:occi.core.title="t"',
        '',
      ].join(newline),
    });
    expect(made.status).toBe(201);
    expect((await product.get(product.pathOf(made.location ?? ''))).attributes()).toMatchObject({
      'occi.compute.cores': '2',
      'occi.compute.hostname': '"a, b"',
      'occi.core.title': '"t"',
    });
  });

  it('#68 write one item a line', async () => {
    const { compute } = await linked();
    const { body } = await product.get(compute, PLAIN);
    expect(body).toMatch(/^(?:(?:Category|Link|X-OCCI-Attribute): [^\n]+\n)+$/);
    expect(body.match(/^X-OCCI-Attribute: /gm)?.length).toBeGreaterThan(1);
    for (const line of body.split('\n')) expect(line.match(/occi\.compute\.\w+=/g)?.length ?? 0).toBeLessThan(2);
  });

  it('#69 put everything into headers in text/occi, with the body OK', async () => {
    const { compute } = await linked();
    const [plain, occi] = [await product.get(compute, PLAIN), await product.get(compute, OCCI)];
    expect(occi.body).toBe('OK');
    for (const name of ['Category', 'X-OCCI-Attribute', 'Link']) {
      expect(occi.headers[name.toLowerCase()]).toEqual([plain.lines(name).join(', ')]);
    }
  });

  it('#69 are read from comma lists and from repeated headers', async () => {
    const network = await product.network();
    const small = category(`${SIZES}small`);
    const nic = `<${network}>; rel="${INFRA}network"; category="${NIC}"`;
    for (const headers of [
      {
        Category: `${category(KIND, 'kind')}, ${small}`,
        'X-OCCI-Attribute': 'occi.core.title="a, b", occi.compute.hostname="<c>, d"',
        Link: `${nic}, ${nic}`,
      },
      {
        Category: [category(KIND, 'kind'), small],
        'X-OCCI-Attribute': ['occi.core.title="a, b"', 'occi.compute.hostname="<c>, d"'],
        Link: [nic, nic],
      },
    ]) {
      const made = await product.send('POST', '/compute/', {
        headers: { 'Content-Type': OCCI, Accept: PLAIN, ...headers },
      });
      expect([made.status, made.body]).toEqual([201, expect.any(String)]);
      const shown = await product.get(product.pathOf(made.location ?? ''), PLAIN);
      expect(shown.attributes()).toMatchObject({
        'occi.core.title': '"a, b"',
        'occi.compute.hostname': '"<c>, d"',
        'occi.compute.cores': '1',
      });
      expect(shown.lines('Link').filter((line) => line.startsWith(`<${network}>`))).toHaveLength(2);
    }
  });

  it('#69 are read from headers when there is no body, and answered in text/plain without Accept', async () => {
    const made = await product.send('POST', '/compute/', {
      headers: { 'Content-Type': OCCI, Category: category(KIND, 'kind') },
    });
    expect([made.status, made.type]).toEqual([201, PLAIN]);
  });

  it('#70 distinguish strings from numbers', async () => {
    const path = await product.compute(
      'X-OCCI-Attribute: occi.compute.memory=3.6, occi.core.title="a? \\", occi.compute.memory=1.0"',
    );
    const shown = (await product.get(path, FLAT)).json() as { title: string; attributes: JsonObject };
    expect(shown.attributes['occi.compute.memory']).toBe(3.6);
    expect(shown.title).toBe('a? ", occi.compute.memory=1.0');
    const plain = (await product.get(path, PLAIN)).attributes();
    expect(plain['occi.compute.memory']).toBe('3.6');
    expect(plain['occi.core.title']).toBe('"a? \\", occi.compute.memory=1.0"');
  });

  it('#70 keep every character of a string', async () => {
    const title = 'tab\t line\nquote" back\\slash é ☃ 😀 \u2028';
    const made = await product.json('POST', '/compute/', { kind: KIND, title });
    const path = product.pathOf(made.location ?? '');
    const copy = await product.compute();
    for (const type of [PLAIN, OCCI]) {
      const shown = await product.get(path, type);
      const quoted =
        type === PLAIN
          ? shown.attributes()['occi.core.title']
          : /occi\.core\.title=("(?:[^"\\]|\\.)*")/.exec(shown.header('x-occi-attribute') ?? '')?.[1];
      expect(JSON.parse(quoted ?? '')).toBe(title);
      const item = `occi.core.title=${quoted}`;
      const changed = await (type === PLAIN
        ? product.plain('POST', copy, [`X-OCCI-Attribute: ${item}`])
        : product.occi('POST', copy, { 'X-OCCI-Attribute': item }));
      expect(changed.status).toBe(200);
      expect((await product.get(copy, FLAT)).json()).toMatchObject({ title });
    }
  });

  it('#71 refuse an answer that does not fit into headers, rather than truncate it', async () => {
    const kind = { term: 'big', scheme: SCHEME, location: '/big/', parent: KIND };
    await product.json('POST', '/-/', { kinds: [kind] });
    const resources = Array.from({ length: 400 }, () => ({ kind: `${SCHEME}big` }));
    expect((await product.json('POST', '/big/', { resources })).status).toBe(201);
    const whole = await product.get('/big/', OCCI);
    expect([whole.status, whole.header('x-occi-location')]).toEqual([413, undefined]);
    expect(whole.header('x-occi-error')).toContain('page');
    const page = await product.get('/big/?page=1&number=20', OCCI);
    expect([page.status, page.header('x-occi-location')?.split(', ')]).toEqual([200, expect.any(Array)]);
    expect((await product.get('/big/', PLAIN)).lines('X-OCCI-Location')).toHaveLength(400);
  });

  it('#71 refuse a request whose headers are too large', async () => {
    const answer = await product.send('GET', '/compute/', { headers: { 'X-Padding': 'x'.repeat(200_000) } });
    expect(answer.status).toBe(431);
  });

  it('#72 list URLs in text/uri-list, of collections only', async () => {
    const path = await product.compute();
    expect((await product.get('/compute/', URI_LIST)).body.split('\n')).toContain(product.url + path);
    const refused = await product.get(path, URI_LIST);
    expect([refused.status, refused.type]).toEqual([400, PLAIN]);
  });

  it('#73 write the location of a category as a path', async () => {
    const [compute] = (await product.get('/-/?category=compute', PLAIN)).lines('Category');
    expect(compute).toContain('; location="/compute/"');
    for (const type of [FLAT, NESTED]) {
      const { kinds } = (await product.get('/-/?category=compute', type)).json() as { kinds: JsonObject[] };
      expect(kinds[0]?.location).toBe('/compute/');
    }
  });

  it("#77 write a mixin's first dependency as rel, and never the kinds to which the mixin applies", async () => {
    const rel = async (term: string): Promise<string | undefined> =>
      /; rel="([^"]*)"/.exec((await product.get(`/-/?category=${term}`, PLAIN)).body)?.[1];
    expect(await rel('medium')).toBe(`${INFRA}resource_tpl`);
    expect(await rel('os_tpl')).toBeUndefined();
    const depends = [`${INFRA}os_tpl`, `${INFRA}resource_tpl`];
    await product.json('POST', '/-/', { mixins: [{ term: 'two', scheme: SCHEME, location: '/two/', depends }] });
    expect(await rel('two')).toBe(`${INFRA}os_tpl`);
    expect(await rel('compute')).toBe(`${CORE}resource`);
  });

  it('#78 write absolute URLs in lists, and Location for one entity', async () => {
    const made = await product.plain('POST', '/compute/', [COMPUTE]);
    expect(made.location).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/compute\//);
    expect(made.body).toBe(`X-OCCI-Location: ${made.location}\n`);
    expect((await product.get('/compute/', PLAIN)).body).toContain(`X-OCCI-Location: ${made.location}\n`);
  });

  // In the cloud the public URL is configured, since clients do not use a function's own host.
  localTest('#78 write URLs with the host of the request', async () => {
    const path = await product.compute();
    const answer = await product.get('/compute/', PLAIN, { Host: 'localhost:8090' });
    expect(answer.body).toContain(`X-OCCI-Location: http://localhost:8090${path}\n`);
  });
});

describe('OCCI JSON renderings', () => {
  it("#74 show an entity with GFD.226's keys and no others", async () => {
    const mixin = `${SIZES}small`;
    const made = await product.json('POST', '/compute/', {
      kind: KIND,
      mixins: [mixin],
      title: 't',
      summary: 's',
      attributes: { 'occi.compute.hostname': 'h' },
    });
    const path = product.pathOf(made.location ?? '');
    const network = await product.network();
    const link = await product.create(NIC, [
      `X-OCCI-Attribute: occi.core.source="${path}", occi.core.target="${network}", occi.networkinterface.mac="02:00:00:00:00:09"`,
    ]);
    const id = path.slice('/compute/'.length);
    const shownLink = {
      kind: NIC,
      id: link.slice('/networkinterface/'.length),
      attributes: {
        'occi.networkinterface.mac': '02:00:00:00:00:09',
        'occi.networkinterface.interface': 'enx020000000009',
        'occi.networkinterface.state': 'active',
      },
      source: { location: product.url + path, kind: KIND },
      target: { location: product.url + network, kind: `${INFRA}network` },
    };
    expect((await product.get(path, FLAT)).json()).toEqual({
      kind: KIND,
      mixins: [mixin],
      id,
      title: 't',
      summary: 's',
      attributes: {
        'occi.compute.hostname': 'h',
        'occi.compute.cores': 1,
        'occi.compute.memory': 1,
        'occi.compute.ephemeral_storage.size': 10,
        'occi.compute.state': 'inactive',
      },
      actions: ['start', 'save'].map(
        (term) => `http://schemas.ogf.org/occi/infrastructure/compute/action#${term}`,
      ),
      links: [shownLink],
    });
    expect((await product.get(link, FLAT)).json()).toEqual(shownLink);
  });

  it("#74 show an entity in the original's form: bare, with nested names", async () => {
    const { compute, network, link } = await linked();
    const shown = (await product.get(compute, NESTED)).json();
    expect(Object.keys(shown).sort()).toEqual(['actions', 'attributes', 'id', 'kind', 'links', 'mixins']);
    expect(shown).toMatchObject({
      kind: KIND,
      mixins: [],
      attributes: { occi: { compute: { state: 'inactive' } } },
      id: compute.slice('/compute/'.length),
      links: [{ kind: NIC, source: product.url + compute, target: product.url + network }],
    });
    expect((await product.get(link, NESTED)).json()).toMatchObject({
      source: product.url + compute,
      target: product.url + network,
    });
  });

  it('#75 show collections and the model with the keys of GFD.226', async () => {
    const { link } = await linked();
    const links = (await product.get('/networkinterface/', FLAT)).json() as { links: JsonObject[] };
    expect(Object.keys(links)).toEqual(['links']);
    expect(links.links.map(({ id }) => id)).toContain(link.slice('/networkinterface/'.length));
    const mixed = (await product.get('/', FLAT)).json();
    expect(Object.keys(mixed)).toEqual(['resources', 'links']);
    const model = (await product.get('/-/', FLAT)).json() as Record<string, JsonObject[]>;
    expect(Object.keys(model)).toEqual(['kinds', 'mixins', 'actions']);
    const keys = new Set([
      ...['term', 'scheme', 'title', 'attributes', 'actions', 'location'],
      ...['parent', 'depends', 'applies'],
    ]);
    const specKeys = new Set(['type', 'mutable', 'required', 'default', 'pattern', 'description']);
    for (const category of notEmpty(Object.values(model).flat())) {
      expect(Object.keys(category).filter((key) => !keys.has(key))).toEqual([]);
      for (const spec of Object.values(category.attributes as JsonObject)) {
        expect(Object.keys(spec as JsonObject).filter((key) => !specKeys.has(key))).toEqual([]);
      }
    }
    const byTerm = (list: readonly JsonObject[] | undefined, term: string): JsonObject | undefined =>
      list?.find((one) => one.term === term);
    expect(byTerm(model.kinds, 'compute')).toMatchObject({ parent: `${CORE}resource`, location: '/compute/' });
    expect(byTerm(model.mixins, 'medium')).toMatchObject({ depends: [`${INFRA}resource_tpl`], applies: [KIND] });
    expect(byTerm(model.actions, 'stop')).toMatchObject({
      attributes: { method: { type: 'string', pattern: { enum: ['graceful', 'acpioff', 'poweroff'] } } },
    });
  });

  it('#75 accept the model that they show as definitions', async () => {
    const kind = {
      term: 'round_trip',
      scheme: SCHEME,
      title: 'Round trip',
      parent: KIND,
      location: '/round_trip/',
      attributes: {
        'com.example.n': { type: 'number', mutable: true, required: false, default: 2, pattern: { minimum: 1 } },
      },
    };
    await product.json('POST', '/-/', { kinds: [kind] });
    for (const type of [FLAT, NESTED]) {
      const shown = (await product.get('/-/?category=round_trip', type)).body;
      const before = (await product.get('/-/?category=round_trip', FLAT)).json();
      expect(before).toEqual({ kinds: [kind] });
      expect((await product.json('DELETE', '/-/', { kinds: [{ term: kind.term, scheme: SCHEME }] })).status).toBe(
        200,
      );
      expect((await product.json('POST', '/-/', JSON.parse(shown) as Json, type)).status).toBe(200);
    }
  });

  it('#76 show lists of locations in the form of their dialect', async () => {
    const body = { resources: [{ kind: KIND }, { kind: KIND }] };
    const flat = await product.json('POST', '/compute/', body, FLAT);
    expect(flat.json()).toEqual([expect.stringContaining('/compute/'), expect.stringContaining('/compute/')]);
    const nested = await product.json('POST', '/compute/', body, NESTED);
    expect(nested.json()).toEqual({
      Location: [expect.stringContaining('/compute/'), expect.stringContaining('/compute/')],
    });
    const listed = (await product.get('/compute/', NESTED)).json();
    expect(Object.keys(listed)).toEqual(['X-OCCI-Location']);
  });
});
