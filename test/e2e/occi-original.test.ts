/**
 * Compatibility with the original (docs/occi.md, "The original"): its routes in its own dialect, its quirks, kept
 * or fixed, and its set-up script with its own files, byte for byte.
 */
import type { Json, JsonObject } from '@cmbs/shared';
import { CMBS, fixture, FLAT, INFRA, NESTED, OCCI, OCCI_JSON, PLAIN, Product, type Answer } from './occi-support';
import { freePort } from '../integration/sockets-support';

const MEMBER = '/cmbs/member/016ad860-2a9a-504f-8861-aeafd0b2ae29';
const MESSAGE = '/cmbs/message/0101d860-2a9a-504f-8861-aeafd0b20101';
const SCHEME = 'http://example.com/original#';

let product: Product;
beforeEach(async () => {
  product = await Product.start();
});
afterEach(() => product.close());

/** A request as the original's clients send it, with the original's type in both directions. */
const ask = (method: string, target: string, body?: Json): Promise<Answer> =>
  product.send(method, target, {
    headers: { 'Content-Type': OCCI_JSON, Accept: OCCI_JSON },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

/** A file of the original, byte for byte. */
async function post(method: string, target: string, name: string, set?: 'seed-readme'): Promise<Answer> {
  const body = await fixture(name, set);
  return product.send(method, target, { headers: { 'Content-Type': OCCI_JSON, Accept: OCCI_JSON }, body });
}

const member = (id: string, attributes: JsonObject = {}): JsonObject => ({
  kind: `${CMBS}member`,
  id,
  attributes: { cmbs: { member: { local: 'false', ...attributes } } },
});

const message = (more: JsonObject = {}): JsonObject => ({
  kind: `${CMBS}message`,
  mixins: [`${CMBS}l2`],
  attributes: { cmbs: { message: { cmbs_layer: 'l2', ...more } } },
});

const mixin = (term: string, more: JsonObject = {}): JsonObject => ({
  ...{ term, scheme: SCHEME, title: term, related: [], attributes: {}, actions: [], location: `/${term}/` },
  ...more,
});

async function created(collection: string, ...resources: readonly JsonObject[]): Promise<string> {
  const answer = await ask('POST', collection, { resources });
  if (answer.status !== 201) throw new Error(`Not created: ${answer.status} ${answer.body}`);
  return product.pathOf((answer.json() as { Location: string[] }).Location[0] ?? '');
}

const listed = (answer: Answer): Json | undefined => answer.json()['X-OCCI-Location'];

describe('the query interface of the original', () => {
  it('shows kinds, mixins and actions with nested attributes', async () => {
    const model = (await product.get('/-/', NESTED)).json() as Record<string, JsonObject[]>;
    expect(Object.keys(model).sort()).toEqual(['actions', 'kinds', 'mixins']);
    expect(model.kinds?.find(({ term }) => term === 'member')).toMatchObject({
      scheme: CMBS,
      related: ['http://schemas.ogf.org/occi/core#resource'],
      location: '/cmbs/member/',
      attributes: { cmbs: { member: { state: { mutable: true, type: 'String', default: 'inactive' } } } },
      actions: expect.arrayContaining(['http://houssem.org/cmbs/member/action#start_l1']) as Json,
    });
  });

  it('is filtered by the body of a GET, and a class that is not asked for is an empty list', async () => {
    const { kinds, mixins, actions } = (
      await product.json('GET', '/-/', { kinds: [{ term: 'member' }] }, NESTED)
    ).json() as Record<string, JsonObject[]>;
    expect(kinds?.map(({ term }) => term)).toEqual(['member']);
    expect([mixins, actions]).toEqual([[], []]);
  });

  it('answers definitions with 200 and an empty object', async () => {
    const defined = await ask('POST', '/-/', { mixins: [mixin('defined')] });
    expect([defined.status, defined.body]).toEqual([200, '{}']);
    const changed = await ask('PUT', '/-/', { mixins: [{ term: 'defined', scheme: SCHEME, title: 'Changed' }] });
    expect([changed.status, changed.body]).toEqual([200, '{}']);
    const { mixins } = (await product.get('/-/?category=defined', NESTED)).json() as { mixins: JsonObject[] };
    expect(mixins).toMatchObject([{ title: 'Changed', location: '/defined/' }]);
    const deleted = await ask('DELETE', '/-/', { mixins: [{ term: 'defined', scheme: SCHEME }] });
    expect([deleted.status, deleted.body]).toEqual([200, '{}']);
    expect((await ask('GET', '/defined/')).status).toBe(404);
  });

  it('refuses a second definition with 409, and with it the whole batch', async () => {
    await ask('POST', '/-/', { mixins: [mixin('twice')] });
    const again = await ask('POST', '/-/', { mixins: [mixin('fresh'), mixin('twice')] });
    expect([again.status, (await ask('GET', '/fresh/')).status]).toEqual([409, 404]);
    const elsewhere = await ask('POST', '/-/', { mixins: [mixin('other', { location: '/twice/' })] });
    expect(elsewhere.status).toBe(409);
  });

  it('refuses changes of unknown categories and of immutable keys', async () => {
    await ask('POST', '/-/', { mixins: [mixin('fixed')] });
    expect((await ask('PUT', '/-/', { mixins: [{ term: 'none', scheme: SCHEME }] })).status).toBe(400);
    expect(
      (await ask('PUT', '/-/', { mixins: [{ term: 'fixed', scheme: SCHEME, location: '/moved/' }] })).status,
    ).toBe(409);
    expect((await ask('DELETE', '/-/', { mixins: [{ term: 'none', scheme: SCHEME }] })).status).toBe(404);
    expect((await ask('PUT', '/-/', { mixins: [{ term: 'os_tpl', scheme: INFRA, title: 'Mine' }] })).status).toBe(
      403,
    );
  });

  it('lets clients define kinds with actions and bind providers, at run time', async () => {
    const attributes = { com: { example: { lamp: { colour: { type: 'String', default: 'white' } } } } };
    const defined = await ask('POST', '/-/', {
      actions: [{ term: 'blink', scheme: SCHEME, title: 'Blink', attributes: {} }],
      kinds: [
        {
          ...mixin('lamp', { attributes, actions: [`${SCHEME}blink`] }),
          related: ['http://schemas.ogf.org/occi/core#resource'],
        },
      ],
      mixins: [],
    });
    expect(defined.status).toBe(200);
    const lamp = await created('/lamp/', { kind: `${SCHEME}lamp` });
    expect((await ask('POST', `${lamp}?action=blink`, {})).status).toBe(501);
    const binding = (local: readonly string[], remote: readonly string[] = []): JsonObject => ({
      providers: [{ Provider: { local, remote }, OCCI_ID: `${SCHEME}lamp` }],
    });
    expect((await ask('PUT', '/-/', binding(['nobody']))).status).toBe(400);
    expect((await ask('PUT', '/-/', binding([], ['http://example.com/']))).status).toBe(501);
    expect((await ask('PUT', '/-/', binding(['dummy']))).status).toBe(200);
    expect((await ask('POST', `${lamp}?action=blink`, {})).status).toBe(200);
  });

  it('does not delete a kind that has entities', async () => {
    await ask('POST', '/-/', { kinds: [mixin('used')] });
    const used = await created('/used/', { kind: `${SCHEME}used` });
    const remove = (): Promise<Answer> => ask('DELETE', '/-/', { kinds: [{ term: 'used', scheme: SCHEME }] });
    expect((await remove()).status).toBe(409);
    await ask('DELETE', used);
    expect((await remove()).status).toBe(200);
  });

  it('merges definitions of the built-in kinds, and of no others', async () => {
    const more = {
      cmbs: { member: { colour: { type: 'String' }, state: { type: 'String', default: 'failed' } } },
    };
    const posted = await ask('POST', '/-/', {
      kinds: [{ term: 'member', scheme: CMBS, attributes: more, actions: [], location: '/cmbs/member/' }],
    });
    expect(posted.status).toBe(200);
    const path = await created('/cmbs/member/', member('merged', { colour: 'red' }));
    expect((await ask('GET', path)).json()).toMatchObject({
      attributes: { cmbs: { member: { colour: 'red', state: 'inactive' } } },
    });
    const moved = { term: 'member', scheme: CMBS, attributes: {}, actions: [], location: '/members/' };
    expect((await ask('POST', '/-/', { kinds: [moved] })).status).toBe(409);
    const compute = { term: 'compute', scheme: INFRA, attributes: {}, actions: [], location: '/compute/' };
    expect((await ask('POST', '/-/', { kinds: [compute] })).status).toBe(409);
  });
});

describe('collections of the original', () => {
  it('answer a creation with 201 and {"Location":[…]}, and with a Location header for one entity', async () => {
    const one = await ask('POST', '/cmbs/member/', { resources: [member('one')] });
    const url = `${product.url}/cmbs/member/one`;
    expect([one.status, one.json(), one.location]).toEqual([201, { Location: [url] }, url]);
    const two = await ask('POST', '/cmbs/member/', { resources: [member('two'), member('three')] });
    expect((two.json() as { Location: string[] }).Location).toHaveLength(2);
  });

  it("keep the client's id, and make a UUID if there is none", async () => {
    expect(await created('/cmbs/member/', member('mine'))).toBe('/cmbs/member/mine');
    expect(await created('/cmbs/message/', message())).toMatch(/^\/cmbs\/message\/[0-9a-f-]{36}$/);
  });

  it('refuse an id that exists and a wrong kind with 409, and a missing kind with 400', async () => {
    await created('/cmbs/member/', member('once'));
    expect((await ask('POST', '/cmbs/member/', { resources: [member('once')] })).status).toBe(409);
    expect((await ask('POST', '/cmbs/member/', { resources: [message()] })).status).toBe(409);
    expect((await ask('POST', '/cmbs/member/', { resources: [{ id: 'x', attributes: {} }] })).status).toBe(400);
    expect((await ask('POST', '/cmbs/member/', {})).status).toBe(400);
    expect((await ask('POST', '/cmbs/none/', { resources: [member('x')] })).status).toBe(404);
  });

  it('are listed as {"X-OCCI-Location":[…]}, and accept that, {"locations":[…]} and […] for tagging', async () => {
    await ask('POST', '/-/', { mixins: [mixin('tagged')] });
    const path = await created('/cmbs/member/', member('tagged'));
    const url = product.url + path;
    expect(listed(await ask('GET', '/cmbs/member/'))).toEqual([url]);
    for (const body of [{ 'X-OCCI-Location': [url] }, { locations: [url] }, { Location: [path] }, [url]]) {
      const answer = await ask('POST', '/tagged/', body);
      expect([JSON.stringify(body), answer.status, answer.body]).toEqual([JSON.stringify(body), 200, '{}']);
      expect(listed(await ask('GET', '/tagged/'))).toEqual([url]);
      expect((await ask('DELETE', '/tagged/', body)).status).toBe(200);
      expect(listed(await ask('GET', '/tagged/'))).toEqual([]);
    }
    expect((await ask('POST', '/none/', { 'X-OCCI-Location': [url] })).status).toBe(404);
    expect((await ask('POST', '/tagged/', { 'X-OCCI-Location': [`${url}-none`] })).status).toBe(404);
  });

  it('are filtered by all attributes in the body of a GET, at any depth', async () => {
    for (const [id, local, state] of [
      ['a', 'true', 'active'],
      ['b', 'false', 'active'],
      ['c', 'false', 'suspended'],
    ] as const) {
      await created('/cmbs/member/', member(id, { local, state, topics: [`topic.${id}`, 'all'] }));
    }
    const only = async (attributes: JsonObject): Promise<Json | undefined> => {
      const locations = listed(await ask('GET', '/cmbs/member/', { resources: [{ attributes }] }));
      return (locations as string[]).map((url) => url.slice(-1));
    };
    expect(await only({ cmbs: { member: { local: 'false' } } })).toEqual(['b', 'c']);
    expect(await only({ cmbs: { member: { local: 'false', state: 'active' } } })).toEqual(['b']);
    expect(await only({ cmbs: { member: { state: 'active', local: 'true' } } })).toEqual(['a']);
    expect(await only({ 'cmbs.member.local': 'False' })).toEqual(['b', 'c']);
    expect(await only({ cmbs: { member: { topics: 'topic.c' } } })).toEqual(['c']);
    expect(await only({ cmbs: { member: { topics: 'all', local: 'none' } } })).toEqual([]);
    // In the original, no entity matches an empty filter.
    expect(listed(await ask('GET', '/cmbs/member/', {}))).toHaveLength(3);
  });

  it('are filtered the same way by POST where the body of a GET does not arrive', async () => {
    await created('/cmbs/member/', member('near', { local: 'true' }), member('far'));
    const url = `${product.url}/cmbs/member/far`;
    const body = { resources: [{ attributes: { cmbs: { member: { local: 'false' } } } }] };
    const asked = await Promise.all([
      ask('GET', '/cmbs/member/', body),
      product.send('POST', '/cmbs/member/', {
        headers: { 'Content-Type': OCCI_JSON, Accept: OCCI_JSON, 'X-HTTP-Method-Override': 'GET' },
        body: JSON.stringify(body),
      }),
      product.get('/cmbs/member/', OCCI_JSON, {
        'Content-Type': OCCI,
        'X-OCCI-Attribute': 'cmbs.member.local="false"',
      }),
      product.get('/cmbs/member/?attribute=cmbs.member.local&value=false', OCCI_JSON),
      product.get('/cmbs/member/?q=cmbs.member.local%3Dfalse', OCCI_JSON),
    ]);
    for (const answer of asked) expect(listed(answer)).toEqual([url]);
  });
});

describe('entities of the original', () => {
  it('are shown bare, whatever the body of the GET', async () => {
    const path = await created('/cmbs/member/', { ...member('bare'), title: 'T', summary: 'S' });
    for (const answer of [await ask('GET', path), await ask('GET', path, { anything: 1 })]) {
      expect(answer.json()).toMatchObject({
        kind: `${CMBS}member`,
        id: 'bare',
        title: 'T',
        summary: 'S',
        links: [],
      });
    }
    expect((await ask('GET', '/cmbs/member/none')).status).toBe(404);
  });

  it('have the declared defaults of attributes that are not given', async () => {
    const path = await created('/cmbs/message/', message());
    const { attributes } = (await ask('GET', path)).json() as { attributes: { cmbs: { message: JsonObject } } };
    expect(attributes.cmbs.message).toMatchObject({ executable: 'true', sendable: 'true', path_history: [] });
    expect(JSON.stringify(attributes)).not.toContain('None');
  });

  it('answer PUT and POST with 200 and their new state', async () => {
    const made = await ask('PUT', '/cmbs/message/put', { resources: [message({ sendable: 'False' })] });
    expect([made.status, made.location]).toEqual([201, `${product.url}/cmbs/message/put`]);
    const content = { message_content: { a: [1, { b: null }] } };
    const changed = await ask('POST', '/cmbs/message/put', {
      resources: [{ attributes: { cmbs: { message: content } } }],
    });
    expect(changed.status).toBe(200);
    expect(changed.json()).toMatchObject({ attributes: { cmbs: { message: { ...content, sendable: 'False' } } } });
    const replaced = await ask('PUT', '/cmbs/message/put', { resources: [message()] });
    expect(replaced.status).toBe(200);
    const { attributes } = replaced.json() as { attributes: { cmbs: { message: JsonObject } } };
    expect(attributes.cmbs.message).toMatchObject({ sendable: 'true' });
    expect(attributes.cmbs.message).not.toHaveProperty('message_content');
    expect(replaced.body).toBe((await ask('GET', '/cmbs/message/put')).body);
  });

  it('answer 404 if they do not exist', async () => {
    const change = { resources: [{ attributes: { cmbs: { member: { state: 'active' } } } }] };
    expect((await ask('POST', '/cmbs/member/none', change)).status).toBe(404);
    expect((await ask('DELETE', '/cmbs/member/none')).status).toBe(404);
    expect((await ask('POST', '/cmbs/member/none?action=start_l1', {})).status).toBe(404);
    const path = await created('/cmbs/member/', member('gone'));
    const deleted = await ask('DELETE', path);
    expect([deleted.status, deleted.body]).toEqual([200, '{}']);
    expect((await ask('DELETE', path)).status).toBe(404);
  });

  it('refuse an action that they do not have with 400', async () => {
    const path = await created('/cmbs/message/', message());
    expect((await ask('POST', `${path}?action=send_l4`, {})).status).toBe(400);
    expect((await ask('POST', `${path}?action=fly`, {})).status).toBe(400);
  });

  it('accept values that the original accepts against its own patterns and types', async () => {
    for (const name of ['post_message_l31', 'post_message_l32', 'post_message_l4']) {
      expect([name, (await post('POST', '/cmbs/message/', name)).status]).toEqual([name, 201]);
    }
    const path = await created(
      '/cmbs/message/',
      message({ executable: 'True', storable: 'False', path_history: '' }),
    );
    expect((await ask('GET', path)).json()).toMatchObject({
      attributes: { cmbs: { message: { executable: 'True', storable: 'False' } } },
    });
    const strange = await ask('POST', '/cmbs/message/', { resources: [message({ executable: 'maybe' })] });
    expect(strange.status).toBe(400);
  });

  it('are written in text as the standard requires', async () => {
    const path = await created('/cmbs/message/', message({ message_content: 'a, "b"' }));
    const plain = await product.get(path, PLAIN);
    expect(plain.lines('Category')).toEqual([
      `message; scheme="${CMBS}"; class="kind"`,
      `l2; scheme="${CMBS}"; class="mixin"`,
    ]);
    expect(plain.attributes()).toMatchObject({
      'cmbs.message.cmbs_layer': '"l2"',
      'cmbs.message.message_content': '"a, \\"b\\""',
    });
    for (const line of plain.body.trim().split('\n')) expect(line).toMatch(/^[A-Z][\w-]+: \S.*[^;\s]$/);
  });

  it('keep the content of a message byte for byte', async () => {
    for (const content of [
      '1.0',
      '12345678901234567890',
      '{"b":1,"a":[[1],{}]}',
      '"é\\u00e9"',
      '[]',
      'null',
      '1E5',
    ]) {
      const body = `{"resources":[{"kind":"${CMBS}message","mixins":["${CMBS}l2"],"attributes":{"cmbs":{"message":{"message_content":${content}}}}}]}`;
      const made = await product.send('POST', '/cmbs/message/', { headers: { 'Content-Type': OCCI_JSON }, body });
      expect([content, made.status]).toEqual([content, 201]);
      for (const type of [OCCI_JSON, FLAT]) {
        const shown = await product.get(product.pathOf(made.location ?? ''), type);
        expect(shown.body).toContain(`message_content":${content}`);
      }
    }
  });
});

const freeSocket = async (): Promise<string> => `tcp://127.0.0.1:${await freePort()}`;

describe("the original's set-up script", () => {
  const CATEGORIES = ['post_category_cmbs_member', 'post_category_cmbs_message'] as const;
  const PROVIDERS = ['put_provider_cmbs_member', 'put_provider_cmbs_message'] as const;

  it('runs unchanged with its own files', async () => {
    const before = (await product.get('/-/', NESTED)).json();
    for (const name of CATEGORIES) expect([name, (await post('POST', '/-/', name)).status]).toEqual([name, 200]);
    for (const name of PROVIDERS) expect([name, (await post('PUT', '/-/', name)).status]).toEqual([name, 200]);
    // The files define built-in categories.
    expect((await product.get('/-/', NESTED)).json()).toEqual(before);

    const made = await post('POST', '/cmbs/member/', 'post_member');
    expect([made.status, made.json()]).toEqual([201, { Location: [product.url + MEMBER] }]);

    // The script does not have this request: its files name fixed ports, which may be in use here.
    const [l1, l2, nobody] = [await freeSocket(), await freeSocket(), await freeSocket()];
    const moved = { l1_socket: l1, l2_socket: l2, neighbors_socket: [nobody] };
    expect((await ask('POST', MEMBER, { attributes: { cmbs: { member: moved } } })).status).toBe(200);

    const neighbors = await post('POST', `${MEMBER}?action=check_neighbors`, 'action_check_neighbors_member');
    expect(neighbors.status).toBe(200);
    expect(neighbors.json()).toMatchObject({ attributes: { found: [], failed: [{ socket: nobody }] } });

    for (const layer of ['l1', 'l2']) {
      const started = await post('POST', `${MEMBER}?action=start_${layer}`, `action_start_${layer}_member`);
      expect([layer, started.status]).toEqual([layer, 200]);
    }
    expect((await ask('GET', MEMBER)).json()).toMatchObject({
      attributes: {
        cmbs: { member: { ...moved, layers: { l1: { state: 'started' }, l2: { state: 'started' } } } },
      },
    });

    const sent = await post('POST', '/cmbs/message/', 'post_message_l1');
    expect([sent.status, sent.json()]).toEqual([201, { Location: [product.url + MESSAGE] }]);
    const receiver = { cmbs: { message: { l1_socket_receiver_member: l1 } } };
    expect((await ask('POST', MESSAGE, { attributes: receiver })).status).toBe(200);
    const send = await post('POST', `${MESSAGE}?action=send_l1`, 'action_send_l1_message');
    expect(send.status).toBe(200);
    expect((await ask('GET', MESSAGE)).json()).toMatchObject({
      attributes: {
        cmbs: {
          message: {
            delivery: { state: 'delivered' },
            result: {
              member_description: { id: MEMBER.slice(-36), attributes: { cmbs: { member: { local: 'false' } } } },
              sockets_l1: [l1],
            },
          },
        },
      },
    });

    const broadcast = await post('POST', '/cmbs/message/', 'post_message_l2');
    expect(broadcast.status).toBe(201);
    const path = product.pathOf(broadcast.location ?? '');
    expect((await post('POST', `${path}?action=send_l2`, 'action_send_l2_message')).status).toBe(200);

    for (const layer of ['l1', 'l2', 'l31', 'l32', 'l4']) {
      const stopped = await post('POST', `${MEMBER}?action=stop_${layer}`, `action_stop_${layer}_member`);
      expect([layer, stopped.status]).toEqual([layer, 200]);
    }
    expect((await ask('DELETE', MEMBER)).status).toBe(200);
  });

  it("runs with the README's files, whose other spelling becomes the canonical one", async () => {
    const before = (await product.get('/-/', NESTED)).json();
    for (const name of CATEGORIES) {
      expect([name, (await post('POST', '/-/', name, 'seed-readme')).status]).toEqual([name, 200]);
    }
    for (const name of PROVIDERS) {
      expect([name, (await post('PUT', '/-/', name, 'seed-readme')).status]).toEqual([name, 200]);
    }
    expect((await product.get('/-/', NESTED)).json()).toEqual(before);
    const made = await post('POST', '/cmbs/member/', 'post_member', 'seed-readme');
    expect(made.status).toBe(201);
    const path = product.pathOf(made.location ?? '');
    const shown = (await ask('GET', path)).json() as { attributes: { cmbs: { member: JsonObject } } };
    expect(shown.attributes.cmbs.member).toMatchObject({
      l31_socket: 'tcp://127.0.0.1:5031',
      l32_socket: 'tcp://127.0.0.1:5032',
    });
    const moved = { attributes: { cmbs: { member: { 'l3.1_socket': await freeSocket() } } } };
    expect((await ask('POST', path, moved)).status).toBe(200);
    for (const term of ['start_l3.1', 'stop_l3.1', 'start_l31', 'stop_l31']) {
      expect([term, (await ask('POST', `${path}?action=${term}`, {})).status]).toEqual([term, 200]);
    }
    const message = await post('POST', '/cmbs/message/', 'post_message_l1', 'seed-readme');
    expect(message.status).toBe(201);
  });
});
