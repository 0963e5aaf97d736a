/** The OCCI checklist, entities (#25 to #37). */
import { isLocal } from './engine';
import type { JsonObject } from '@cmbs/shared';
import { category, FLAT, INFRA, NESTED, OCCI, PLAIN, Product } from './occi-support';

/** Ids are ordered by time in SQLite, and random in Firestore, where consecutive ids make hot spots. */
const VERSION = isLocal() ? '7' : '4';
const UUID = `[0-9a-f]{8}-[0-9a-f]{4}-${VERSION}[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`;
const KIND = `${INFRA}compute`;
const COMPUTE = `Category: ${category(KIND, 'kind')}`;

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

interface Shown {
  readonly id: string;
  readonly kind: string;
  readonly title?: string;
  readonly mixins?: readonly string[];
  readonly actions?: readonly string[];
  readonly attributes: JsonObject;
  readonly links?: readonly { readonly id: string }[];
}

const shown = async (path: string): Promise<Shown> => JSON.parse((await product.get(path, FLAT)).body) as Shown;

/** A compute with an outgoing link, and the link. */
async function linked(...lines: readonly string[]): Promise<{ compute: string; network: string; link: string }> {
  const [compute, network] = [await product.compute(...lines), await product.network()];
  const link = await product.create(`${INFRA}networkinterface`, [
    `X-OCCI-Attribute: occi.core.source="${compute}"`,
    `X-OCCI-Attribute: occi.core.target="${network}"`,
  ]);
  return { compute, network, link };
}

describe('OCCI entities', () => {
  it('#25 are created by POST to the location of their kind', async () => {
    const answer = await product.plain('POST', '/compute/', [COMPUTE]);
    expect(answer.status).toBe(201);
    expect(answer.location).toMatch(new RegExp(`^${product.url}/compute/${UUID}$`));
    expect(answer.body).toBe(`X-OCCI-Location: ${answer.location}\n`);
    expect((await product.get(product.pathOf(answer.location ?? ''))).status).toBe(200);
  });

  it('#25 are created from headers', async () => {
    const answer = await product.send('POST', '/compute/', {
      headers: { 'Content-Type': OCCI, Accept: OCCI, Category: category(KIND, 'kind') },
    });
    expect([answer.status, answer.body]).toEqual([201, 'OK']);
    expect(answer.header('x-occi-location')).toBe(answer.location);
  });

  it('#26 are created by POST to /, where the body names the kind', async () => {
    const answer = await product.plain('POST', '/', [COMPUTE]);
    expect(answer.status).toBe(201);
    expect(answer.location).toMatch(new RegExp(`^${product.url}/compute/${UUID}$`));
  });

  it.each([
    ['two kinds', '/compute/', [COMPUTE, `Category: ${category(`${INFRA}network`, 'kind')}`], 400],
    ['no kind', '/compute/', ['X-OCCI-Attribute: occi.core.title="x"'], 400],
    ['only a mixin', '/compute/', [`Category: ${category(`${INFRA}os_tpl`)}`], 400],
    ['an unknown kind', '/compute/', [`Category: ${category(`${INFRA}nothing`, 'kind')}`], 400],
    ['an action as kind', '/', [`Category: ${category(`${INFRA}compute`, 'action')}`], 400],
    ["another kind than the collection's", '/network/', [COMPUTE], 409],
    ['no body at all', '/compute/', [], 400],
  ])('#27 are not created with %s', async (_what, target, lines, status) => {
    expect((await product.plain('POST', target, lines)).status).toBe(status);
  });

  it('#27 are created without class in the request', async () => {
    expect((await product.plain('POST', '/compute/', [`Category: ${category(KIND)}`])).status).toBe(201);
  });

  it('#28 are created in batches', async () => {
    const resources = [
      { kind: KIND, title: 'one' },
      { kind: KIND, title: 'two' },
    ];
    for (const [type, locations] of [
      [FLAT, (body: unknown) => body as string[]],
      [NESTED, (body: unknown) => (body as { Location: string[] }).Location],
    ] as const) {
      const answer = await product.json('POST', '/compute/', { resources }, type);
      expect(answer.status).toBe(201);
      // A Location header could name only one of the two.
      expect(answer.location).toBeUndefined();
      const paths = locations(answer.json()).map((location) => product.pathOf(location));
      expect(paths).toHaveLength(2);
      expect(await Promise.all(paths.map(async (path) => (await shown(path)).title))).toEqual(['one', 'two']);
    }
  });

  it('#29 are created by PUT at the path that the client chooses', async () => {
    for (const path of ['/123', '/compute/chosen', '/deep/er/than/ever']) {
      const made = await product.plain('PUT', path, [COMPUTE]);
      expect([made.status, made.location]).toEqual([201, product.url + path]);
      expect((await shown(path)).id).toBe(path.slice(path.lastIndexOf('/') + 1));
    }
  });

  it.each(['/healthz', '/-/x', '/fn/query', '/compute/%2e%2e', '/a//b', '/compute/a%20b', '/_ah/x', '/topz'])(
    '#29 are not created at %s',
    async (path) => {
      const { status } = await product.plain('PUT', path, [COMPUTE]);
      expect([400, 403, 404, 405]).toContain(status);
    },
  );

  it('#29 need a kind to be created by PUT', async () => {
    expect(
      (await product.plain('PUT', '/compute/kindless', ['X-OCCI-Attribute: occi.core.title="x"'])).status,
    ).toBe(400);
    expect((await product.get('/compute/kindless')).status).toBe(404);
  });

  it('#30 are replaced by PUT, which removes absent attributes and keeps the links', async () => {
    const { compute, link } = await linked('X-OCCI-Attribute: occi.compute.cores=4, occi.compute.hostname="h"');
    for (let times = 0; times < 2; times++) {
      const put = await product.plain('PUT', compute, [COMPUTE, 'X-OCCI-Attribute: occi.core.title="only"']);
      expect(put.status).toBe(200);
      const now = await shown(compute);
      expect(now.title).toBe('only');
      expect(now.attributes).toEqual({ 'occi.compute.state': 'inactive' });
      expect(now.links?.map(({ id }) => id)).toEqual([link.slice(link.lastIndexOf('/') + 1)]);
    }
  });

  it('#30 return to the defaults of absent attributes', async () => {
    const medium = `Category: ${category('http://schemas.ogf.org/occi/infrastructure/compute/template/1.1#medium')}`;
    const path = await product.compute(medium, 'X-OCCI-Attribute: occi.compute.cores=7');
    await product.plain('PUT', path, [COMPUTE, medium]);
    expect((await shown(path)).attributes['occi.compute.cores']).toBe(2);
  });

  it.each([PLAIN, NESTED, FLAT])(
    '#31 accept by PUT everything that %s showed of them, links included',
    async (type) => {
      const { compute } = await linked('X-OCCI-Attribute: occi.compute.cores=2, occi.core.title="as it is"');
      const before = await product.get(compute, type);
      const put = await product.send('PUT', compute, {
        headers: { 'Content-Type': type, Accept: type },
        body: before.body,
      });
      expect([put.status, put.body]).toEqual([200, before.body]);
    },
  );

  it('#31 accept by PUT everything that text/occi showed of them', async () => {
    const { compute } = await linked('X-OCCI-Attribute: occi.core.title="as, it \\"is\\""');
    const before = await product.get(compute, OCCI);
    const headers: Record<string, string | readonly string[]> = { 'Content-Type': OCCI, Accept: OCCI };
    for (const name of ['category', 'link', 'x-occi-attribute']) headers[name] = before.headers[name] ?? [];
    const put = await product.send('PUT', compute, { headers });
    expect(put.status).toBe(200);
    for (const name of ['category', 'link', 'x-occi-attribute'])
      expect(put.header(name)).toBe(before.header(name));
  });

  it('#32 are changed in part by POST, which shows them', async () => {
    const path = await product.compute('X-OCCI-Attribute: occi.compute.cores=3');
    const answer = await product.plain('POST', path, ['X-OCCI-Attribute: occi.compute.hostname="foo"']);
    expect(answer.status).toBe(200);
    expect(answer.attributes()).toMatchObject({ 'occi.compute.hostname': '"foo"', 'occi.compute.cores': '3' });
    expect(answer.body).toBe((await product.get(path, PLAIN)).body);
  });

  it.each([FLAT, NESTED])('#32 are changed in part by POST of %s, in either form', async (type) => {
    const path = await product.compute('X-OCCI-Attribute: occi.compute.cores=3');
    for (const body of [
      { attributes: { 'occi.compute.hostname': 'flat' } },
      { attributes: { occi: { compute: { hostname: 'nested' } } } },
      { resources: [{ attributes: { occi: { compute: { hostname: 'wrapped' } } } }] },
      { kind: KIND, attributes: { 'occi.compute.hostname': 'bare' } },
    ]) {
      const answer = await product.json('POST', path, body, type);
      expect(answer.status).toBe(200);
      const wanted = /"(flat|nested|wrapped|bare)"/.exec(JSON.stringify(body))?.[1];
      expect((await shown(path)).attributes).toMatchObject({
        'occi.compute.hostname': wanted,
        'occi.compute.cores': 3,
      });
    }
  });

  it.each(['POST', 'PUT'])('#33 keep their kind and their id through %s', async (method) => {
    const path = await product.compute();
    const network = `Category: ${category(`${INFRA}network`, 'kind')}`;
    expect((await product.plain(method, path, [network])).status).toBe(409);
    expect((await product.plain(method, path, [COMPUTE, 'X-OCCI-Attribute: occi.core.id="other"'])).status).toBe(
      409,
    );
    expect((await product.json(method, path, { kind: KIND, id: 'other' })).status).toBe(409);
    const id = path.slice(path.lastIndexOf('/') + 1);
    expect((await product.plain(method, path, [COMPUTE, `X-OCCI-Attribute: occi.core.id="${id}"`])).status).toBe(
      200,
    );
    expect(await shown(path)).toMatchObject({ id, kind: KIND });
  });

  it('#33 have the id of their path when they are created by PUT', async () => {
    const lines = [COMPUTE, 'X-OCCI-Attribute: occi.core.id="other"'];
    expect((await product.plain('PUT', '/compute/not-other', lines)).status).toBe(400);
    expect((await product.get('/compute/not-other')).status).toBe(404);
  });

  it('#34 show kind, mixins, attributes, links, applicable actions and id', async () => {
    const os = 'http://houssem.org/cmbs/infrastructure/os_tpl#linux';
    const { compute, network, link } = await linked(
      `Category: ${category(os, 'mixin')}`,
      'X-OCCI-Attribute: occi.compute.cores=2, occi.core.title="shown"',
    );
    const id = compute.slice('/compute/'.length);
    const plain = await product.get(compute, PLAIN);
    expect(plain.lines('Category')).toEqual([category(KIND, 'kind'), category(os, 'mixin')]);
    expect(plain.attributes()).toEqual({
      'occi.core.id': `"${id}"`,
      'occi.core.title': '"shown"',
      'occi.compute.cores': '2',
      'occi.compute.state': '"inactive"',
    });
    expect(plain.lines('Link')).toEqual([
      expect.stringMatching(
        new RegExp(
          `^<${network}>; rel="${INFRA}network"; self="${link}"; category="${INFRA}networkinterface"; occi\\.`,
        ),
      ),
      `<${compute}?action=start>; rel="http://schemas.ogf.org/occi/infrastructure/compute/action#start"`,
      `<${compute}?action=save>; rel="http://schemas.ogf.org/occi/infrastructure/compute/action#save"`,
    ]);
    expect(await shown(compute)).toMatchObject({ id, kind: KIND, mixins: [os], title: 'shown' });
  });

  it('#35 are deleted once', async () => {
    const path = await product.compute();
    const deleted = await product.send('DELETE', path);
    expect([deleted.status, deleted.body]).toEqual([200, '']);
    expect((await product.get(path)).status).toBe(404);
    expect((await product.send('DELETE', path)).status).toBe(404);
  });

  it('#36 are deleted with the links at either end', async () => {
    for (const end of ['compute', 'network'] as const) {
      const made = await linked();
      await product.send('DELETE', made[end]);
      expect((await product.get(made.link)).status).toBe(404);
      expect((await product.get(made[end === 'compute' ? 'network' : 'compute'])).status).toBe(200);
    }
  });

  it('#37 have one id in all renderings, and it may come as a URN', async () => {
    const id = '5c6b1f4e-1b0a-4f4e-9d3c-2f0d7a5e1a11';
    const made = await product.plain('POST', '/compute/', [
      COMPUTE,
      `X-OCCI-Attribute: occi.core.id="urn:uuid:${id}"`,
    ]);
    expect(made.location).toBe(`${product.url}/compute/${id}`);
    const path = `/compute/${id}`;
    expect((await product.get(path, PLAIN)).attributes()['occi.core.id']).toBe(`"${id}"`);
    for (const type of [FLAT, NESTED]) expect((await product.get(path, type)).json()).toMatchObject({ id });
    for (const given of [id, `urn:uuid:${id}`]) {
      expect((await product.json('POST', path, { id: given, title: given })).status).toBe(200);
    }
    expect((await product.json('POST', '/compute/', { kind: KIND, id })).status).toBe(409);
  });

  it('#37 have ids that are valid in a URI', async () => {
    for (const id of ['a b', 'a/b', '..', '', 'ä', 'a?b', 'a#b', '__x__']) {
      const { status } = await product.json('POST', '/compute/', { kind: KIND, id });
      expect([id, status]).toEqual([id, 400]);
    }
  });
});
