/** Text that OCCI clients send and expect beyond the checklist: links, tokens, JSON inside strings. */
import type { JsonObject } from '@cmbs/shared';
import { category, CMBS, CORE, FLAT, INFRA, OCCI, PLAIN, Product, URI_LIST } from './occi-support';

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

const NIC = `${INFRA}networkinterface`;
const SCHEME = 'http://example.com/text-clients#';

interface Shown {
  readonly id: string;
  readonly kind: string;
  readonly attributes: JsonObject;
  readonly target: { readonly location: string };
}

async function linksOf(path: string): Promise<readonly Shown[]> {
  return ((await product.get(path, FLAT)).json() as { links?: Shown[] }).links ?? [];
}

describe('a text body', () => {
  it('has no CR in any type', async () => {
    const path = await product.compute();
    for (const [target, type] of [
      ['/compute/', URI_LIST],
      ['/-/', URI_LIST],
      ['/compute/', PLAIN],
      ['/-/', PLAIN],
      [path, PLAIN],
    ] as const) {
      expect((await product.get(target, type)).body).toMatch(/^(?:[^\r\n]+\n)+$/);
    }
  });

  it('has categories, then links, then attributes', async () => {
    const network = await product.network();
    const path = await product.compute(`Link: <${network}>; rel="${INFRA}network"; category="${NIC}"`);
    const names = (await product.get(path, PLAIN)).body.split('\n').map((line) => line.split(':')[0] ?? '');
    expect(names.filter((name, at) => name !== names[at - 1])).toEqual([
      'Category',
      'Link',
      'X-OCCI-Attribute',
      '',
    ]);
  });
});

describe('an inline link in text', () => {
  it('may have tokens for attributes, even tokens that look like numbers', async () => {
    const network = await product.network();
    const path = await product.compute(
      `Link: <${network}>; rel="${INFRA}network"; category="${NIC}"; ` +
        'occi.networkinterface.interface=eth0; occi.networkinterface.mac=02:00:00:00:00:01; occi.core.title=7',
    );
    const [link] = await linksOf(path);
    expect(link).toMatchObject({
      kind: NIC,
      title: '7',
      attributes: {
        'occi.networkinterface.interface': 'eth0',
        'occi.networkinterface.mac': '02:00:00:00:00:01',
      },
    });
  });

  it('without a category has the kind in rel, or is a plain link', async () => {
    const network = await product.network();
    const path = await product.compute(
      `Link: <${network}>; rel="${INFRA}network"`,
      `Link: <${network}>; rel="${NIC}"; occi.networkinterface.interface="eth1"`,
    );
    const kinds = (await linksOf(path)).map(({ kind }) => kind);
    expect(kinds.sort()).toEqual([`${CORE}link`, NIC].sort());
  });

  it('shows its id and its ends, also in text/occi', async () => {
    const network = await product.network();
    const path = await product.compute(`Link: <${network}>; rel="${INFRA}network"; category="${NIC}"`);
    const [link] = await linksOf(path);
    const line = (await product.get(path, PLAIN)).lines('Link')[0] ?? '';
    expect(line).toContain(`; occi.core.id="${link?.id ?? ''}"; `);
    expect(line).toContain(
      `; occi.core.source="${product.url}${path}"; occi.core.target="${product.url}${network}"`,
    );
    expect((await product.get(path, OCCI)).header('link')).toContain(line);
  });

  it('returns under its id when its deleted source is created again', async () => {
    const network = await product.network();
    const path = await product.compute(
      `Link: <${network}>; rel="${INFRA}network"; category="${NIC}"; occi.networkinterface.interface="eth0"`,
    );
    const [before] = await linksOf(path);
    const shown = (await product.get(path, PLAIN)).body;
    await product.send('DELETE', path);
    const again = await product.plain('PUT', path, shown.trimEnd().split('\n'));
    expect([again.status, again.body]).toEqual([201, shown]);
    expect((await linksOf(path))[0]).toEqual(before);
  });
});

describe('the kinds of the ends of a link', () => {
  it('are shown in text where a kind declares them, and may be sent back', async () => {
    const names = ['occi.core.source.kind', 'occi.core.target.kind'];
    const declared = Object.fromEntries(names.map((name) => [name, { type: 'string' }]));
    const kind = {
      term: 'cable',
      scheme: SCHEME,
      parent: `${CORE}link`,
      location: '/cable/',
      attributes: declared,
    };
    expect((await product.json('POST', '/-/', { kinds: [kind] })).status).toBe(200);
    const [compute, network] = [await product.compute(), await product.network()];
    const made = await product.plain('POST', '/cable/', [
      `Category: ${category(`${SCHEME}cable`)}`,
      `X-OCCI-Attribute: occi.core.source="${compute}", occi.core.target="${network}"`,
    ]);
    expect(made.status).toBe(201);
    const path = product.pathOf(made.location ?? '');
    const shown = await product.get(path, PLAIN);
    expect(shown.attributes()).toMatchObject({
      'occi.core.source.kind': `"${INFRA}compute"`,
      'occi.core.target.kind': `"${INFRA}network"`,
    });
    const again = await product.plain('PUT', path, shown.body.trimEnd().split('\n'));
    expect([again.status, again.body]).toEqual([200, shown.body]);
  });
});

describe('JSON in text', () => {
  const MESSAGE = `Category: ${category(`${CMBS}message`, 'kind')}`;
  const CONTENT = 'cmbs.message.message_content';

  it.each([
    '{"n": 12345678901234567890, "s":"\\"é,"}',
    '[1e400,-0.0]',
    '"text"',
    '"{\\"a\\":1}"',
    '"\\"quoted\\""',
    '"[1"',
    '"null"',
    '"1"',
    'null',
    '1.50',
    'true',
  ])('%s is written as OCCI requires, and a PUT of the answer changes nothing', async (content) => {
    const raw = (): Promise<string> => product.get(path, FLAT).then(({ body }) => body);
    const body = `{"kind":"${CMBS}message","attributes":{"${CONTENT}":${content}}}`;
    const path = '/cmbs/message/json-in-text';
    const made = await product.send('PUT', path, { headers: { 'Content-Type': FLAT }, body });
    expect([200, 201]).toContain(made.status);
    const before = await raw();
    expect(before).toContain(`"${CONTENT}":${content}`);
    for (const type of [PLAIN, OCCI]) {
      const shown = await product.get(path, type);
      const attribute =
        shown.attributes()[CONTENT] ??
        /message_content=(.*?)(?:, cmbs|$)/.exec(shown.header('x-occi-attribute') ?? '')?.[1];
      expect(attribute).toMatch(/^(?:"(?:[^"\\]|\\.)*"|[0-9.]+|true)$/);
      const headers =
        type === PLAIN
          ? {}
          : Object.fromEntries(
              ['category', 'link', 'x-occi-attribute'].map((name) => [name, shown.header(name) ?? '']),
            );
      const put = await product.send('PUT', path, {
        headers: { 'Content-Type': type, Accept: type, ...headers },
        ...(type === PLAIN ? { body: shown.body } : {}),
      });
      expect([type, put.status, put.body]).toEqual([type, 200, shown.body]);
      expect(await raw()).toBe(before);
    }
  });

  it('is still read without quotes', async () => {
    const made = await product.plain('PUT', '/cmbs/message/bare', [
      MESSAGE,
      `X-OCCI-Attribute: ${CONTENT}={"a": 1}`,
    ]);
    expect(made.status).toBe(201);
    expect(made.attributes()[CONTENT]).toBe(String.raw`"{\"a\": 1}"`);
  });
});
