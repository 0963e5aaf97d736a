/** The OCCI checklist, links (#47 to #52). */
import { category, FLAT, INFRA, NESTED, OCCI, PLAIN, Product } from './occi-support';

const NIC = `${INFRA}networkinterface`;
const LINK = `Category: ${category(NIC, 'kind')}`;

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

const ends = (source: string, target: string): string =>
  `X-OCCI-Attribute: occi.core.source="${source}", occi.core.target="${target}"`;

const idOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** The links of a text rendering without the actions. */
async function linksOf(path: string): Promise<readonly string[]> {
  return (await product.get(path, PLAIN)).lines('Link').filter((line) => !line.includes('?action='));
}

describe('OCCI links', () => {
  it('#47 are created with a source and a target, absolute or relative', async () => {
    const [compute, network] = [await product.compute(), await product.network()];
    for (const [source, target] of [
      [product.url + compute, product.url + network],
      [compute, network],
      [product.url + compute, network],
    ] as const) {
      const made = await product.plain('POST', '/networkinterface/', [LINK, ends(source, target)]);
      expect(made.status).toBe(201);
      expect(made.location).toMatch(new RegExp(`^${product.url}/networkinterface/`));
      expect((await product.get(product.pathOf(made.location ?? ''))).attributes()).toMatchObject({
        'occi.core.source': `"${product.url}${compute}"`,
        'occi.core.target': `"${product.url}${network}"`,
      });
    }
    expect(await linksOf(compute)).toHaveLength(3);
  });

  it.each([FLAT, NESTED])('#47 are created from %s in all its forms', async (type) => {
    const [compute, network] = [await product.compute(), await product.network()];
    for (const body of [
      { links: [{ kind: NIC, source: compute, target: network }] },
      { links: [{ kind: NIC, source: { location: product.url + compute }, target: { location: network } }] },
      { kind: NIC, source: compute, target: { location: network, kind: `${INFRA}network` } },
      { kind: NIC, attributes: { occi: { core: { source: compute, target: network } } } },
      { kind: NIC, attributes: { 'occi.core.source': compute, 'occi.core.target': network } },
    ]) {
      const made = await product.json('POST', '/networkinterface/', body, type);
      expect([JSON.stringify(body), made.status]).toEqual([JSON.stringify(body), 201]);
    }
    expect(await linksOf(compute)).toHaveLength(5);
  });

  it('#48 must have a source here', async () => {
    const [compute, network] = [await product.compute(), await product.network()];
    const link = await product.create(NIC, [ends(compute, network)]);
    for (const source of ['/compute/none', 'http://example.com/compute/1', link, 'nonsense']) {
      const made = await product.plain('POST', '/networkinterface/', [LINK, ends(source, network)]);
      expect([source, made.status]).toEqual([source, 400]);
    }
    expect((await product.plain('POST', link, [ends('/compute/none', network)])).status).toBe(400);
  });

  it('#48 may have a target elsewhere, but not a missing target here', async () => {
    const compute = await product.compute();
    const outside = 'http://example.com/network/1';
    const link = await product.create(NIC, [ends(compute, outside)]);
    expect((await product.get(link)).attributes()['occi.core.target']).toBe(`"${outside}"`);
    expect(await linksOf(compute)).toEqual([expect.stringContaining(`<${outside}>; rel="`)]);
    expect(
      (await product.plain('POST', '/networkinterface/', [LINK, ends(compute, '/network/none')])).status,
    ).toBe(400);
  });

  it.each([
    ['source', 'X-OCCI-Attribute: occi.core.target="/network/1"'],
    ['target', 'X-OCCI-Attribute: occi.core.source="/compute/1"'],
  ])('#48 are refused without a %s', async (_end, line) => {
    expect((await product.plain('POST', '/networkinterface/', [LINK, line])).status).toBe(400);
  });

  it('#49 show their ends and the kinds of their ends', async () => {
    const [compute, network] = [await product.compute(), await product.network()];
    const link = await product.create(NIC, [ends(compute, network)]);
    const attributes = (await product.get(link, PLAIN)).attributes();
    expect(attributes).toMatchObject({
      'occi.core.source': `"${product.url}${compute}"`,
      'occi.core.target': `"${product.url}${network}"`,
    });
    // No category declares these attributes.
    expect(Object.keys(attributes).filter((name) => name.endsWith('.kind'))).toEqual([]);
    expect((await product.get(link, FLAT)).json()).toMatchObject({
      source: { location: product.url + compute, kind: `${INFRA}compute` },
      target: { location: product.url + network, kind: `${INFRA}network` },
    });
    expect((await product.get(link, NESTED)).json()).toMatchObject({
      source: product.url + compute,
      target: product.url + network,
    });
  });

  it('#50 are shown by their source in every rendering, and not by their target', async () => {
    const [compute, network] = [await product.compute(), await product.network()];
    const link = await product.create(NIC, [
      ends(compute, network),
      'X-OCCI-Attribute: occi.networkinterface.interface="eth0", occi.networkinterface.mac="02:00:00:00:00:01"',
    ]);
    const line =
      `<${network}>; rel="${INFRA}network"; self="${link}"; category="${NIC}"; ` +
      `occi.core.id="${idOf(link)}"; occi.core.source="${product.url}${compute}"; ` +
      `occi.core.target="${product.url}${network}"; ` +
      'occi.networkinterface.state="active"; occi.networkinterface.interface="eth0"; ' +
      'occi.networkinterface.mac="02:00:00:00:00:01"';
    const [shown] = await linksOf(compute);
    expect(shown?.split('; ').sort()).toEqual(line.split('; ').sort());
    expect(shown?.startsWith(`<${network}>; rel="${INFRA}network"; self="${link}"; category="${NIC}"; `)).toBe(
      true,
    );
    expect((await product.get(compute, OCCI)).header('link')).toContain(shown);
    expect(await linksOf(network)).toEqual([]);
    for (const type of [FLAT, NESTED]) {
      const { links } = (await product.get(compute, type)).json() as { links: unknown[] };
      expect(links).toEqual([expect.objectContaining({ kind: NIC, id: idOf(link) })]);
    }
  });

  it('#51 are created inside their source, and the answer has the location of the source only', async () => {
    const network = await product.network();
    const made = await product.plain('POST', '/compute/', [
      `Category: ${category(`${INFRA}compute`, 'kind')}`,
      `Link: <${network}>; rel="${INFRA}network"; category="${NIC}"; occi.networkinterface.interface="eth0"; ` +
        'occi.networkinterface.mac="00:11:22:33:44:55"',
    ]);
    expect(made.status).toBe(201);
    expect(made.lines('X-OCCI-Location')).toEqual([made.location]);
    const path = product.pathOf(made.location ?? '');
    const [shown] = await linksOf(path);
    const self = /self="([^"]+)"/.exec(shown ?? '')?.[1] ?? '';
    expect((await product.get(self, PLAIN)).attributes()).toMatchObject({
      'occi.core.source': `"${made.location}"`,
      'occi.core.target': `"${product.url}${network}"`,
      'occi.networkinterface.interface': '"eth0"',
      'occi.networkinterface.mac': '"00:11:22:33:44:55"',
    });
    expect((await product.get('/networkinterface/', PLAIN)).body).toContain(`${product.url}${self}\n`);
  });

  it.each([FLAT, NESTED])('#51 are created inside their source in %s', async (type) => {
    const network = await product.network();
    for (const target of [network, { location: product.url + network, kind: `${INFRA}network` }]) {
      const made = await product.json(
        'POST',
        '/compute/',
        { resources: [{ kind: `${INFRA}compute`, links: [{ kind: NIC, target }] }] },
        type,
      );
      expect(made.status).toBe(201);
      expect(await linksOf(product.pathOf(made.location ?? ''))).toHaveLength(1);
    }
  });

  it('#51 prevent the creation of their source if they cannot be created', async () => {
    const made = await product.json('POST', '/compute/', {
      resources: [{ kind: `${INFRA}compute`, id: 'unlinked', links: [{ kind: NIC, target: '/network/none' }] }],
    });
    expect(made.status).toBe(400);
    expect((await product.get('/compute/unlinked')).status).toBe(404);
  });

  it('#52 leave their source when they are deleted, which changes its ETag', async () => {
    const [compute, network] = [await product.compute(), await product.network()];
    const before = (await product.get(compute)).header('etag');
    const link = await product.create(NIC, [ends(compute, network)]);
    const between = (await product.get(compute)).header('etag');
    expect(await linksOf(compute)).toHaveLength(1);
    expect((await product.send('DELETE', link)).status).toBe(200);
    expect(await linksOf(compute)).toEqual([]);
    const after = (await product.get(compute)).header('etag');
    expect(new Set([before, between, after]).size).toBe(3);
    expect((await product.get(network)).status).toBe(200);
  });
});
