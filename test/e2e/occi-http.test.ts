/** HTTP by RFC 9110 on every path: validators, conditions, negotiation, spellings of a path. */
import { CMBS, FLAT, INFRA, category, NESTED, OCCI, PLAIN, Product } from './occi-support';

const COMPUTE = `Category: ${category(`${INFRA}compute`, 'kind')}`;
const MEMBER = `Category: ${category(`${CMBS}member`, 'kind')}`;
const LOCAL = 'X-OCCI-Attribute: cmbs.member.local="true"';

let product: Product;
beforeAll(async () => {
  product = await Product.start();
});
afterAll(() => product.close());

const etag = async (target: string, accept = PLAIN): Promise<string> =>
  (await product.get(target, accept)).header('etag') ?? '';

describe('an ETag', () => {
  it('belongs to one rendering', async () => {
    const path = await product.compute();
    const tags = await Promise.all([PLAIN, OCCI, NESTED, FLAT].map((type) => etag(path, type)));
    expect(new Set(tags).size).toBe(4);
    for (const tag of tags) expect(tag).toMatch(/^"[\w-]+"$/);
    const [plain = ''] = tags;
    expect((await product.get(path, PLAIN, { 'If-None-Match': plain })).status).toBe(304);
    expect((await product.get(path, FLAT, { 'If-None-Match': plain })).status).toBe(200);
    expect((await product.get(path, PLAIN, { 'If-None-Match': `W/${plain}` })).status).toBe(304);
    expect((await product.get(path, PLAIN, { 'If-Match': plain })).status).toBe(200);
    expect((await product.get(path, FLAT, { 'If-Match': plain })).status).toBe(412);
    // A tag of any rendering names the state that a write expects.
    const written = await product.json('POST', path, { attributes: { 'occi.core.title': 'x' } });
    expect(written.status).toBe(200);
    for (const tag of tags) {
      expect(
        (await product.plain('POST', path, ['X-OCCI-Attribute: occi.core.title="y"'], { 'If-Match': tag })).status,
      ).toBe(412);
    }
    const now = await etag(path, FLAT);
    expect(
      (await product.plain('POST', path, ['X-OCCI-Attribute: occi.core.title="z"'], { 'If-Match': now })).status,
    ).toBe(200);
  });

  it('of a source covers its links: their attributes, ends and mixins', async () => {
    const [compute, other] = [await product.compute(), await product.compute()];
    const [one, two] = [await product.network(), await product.network()];
    const link = await product.create(`${INFRA}networkinterface`, [
      `X-OCCI-Attribute: occi.core.source="${compute}", occi.core.target="${one}"`,
    ]);
    const seen = [await etag(compute)];
    const changes = async (what: string): Promise<void> => {
      const tag = await etag(compute);
      expect([what, seen.includes(tag)]).toEqual([what, false]);
      const stale = { 'If-Match': seen.at(-1) ?? '' };
      expect(
        (await product.plain('POST', compute, ['X-OCCI-Attribute: occi.core.summary="s"'], stale)).status,
      ).toBe(412);
      seen.push(tag);
    };
    await product.plain('POST', link, ['X-OCCI-Attribute: occi.core.title="of the link"']);
    await changes('an attribute');
    await product.plain('POST', link, [`X-OCCI-Attribute: occi.core.target="${two}"`]);
    await changes('the target');
    await product.plain('POST', '/networkinterface/ipnetworkinterface/', [
      `X-OCCI-Location: ${product.url}${link}`,
    ]);
    await changes('a mixin');
    await product.plain('POST', link, [`X-OCCI-Attribute: occi.core.source="${other}"`]);
    await changes('a source that no longer has it');
  });

  it('covers the actions that the categories give', async () => {
    const id = await product.defineMixin('later');
    const path = await product.compute(`Category: ${category(id, 'mixin')}`);
    const before = await etag(path);
    const scheme = 'http://example.com/occi/my_stuff#';
    const action = `Category: wave; scheme="${scheme}"; class="action"`;
    expect((await product.plain('POST', '/-/', [action])).status).toBe(200);
    const update = { mixins: [{ term: 'later', scheme, actions: [`${scheme}wave`] }] };
    expect((await product.json('PUT', '/-/', update)).status).toBe(200);
    expect(await etag(path)).not.toBe(before);
  });
});

describe('Vary', () => {
  it('names Accept if the answer depends on Accept', async () => {
    const path = await product.compute();
    const answers = await Promise.all(
      [path, '/compute/', '/-/', '/nope', '/compute/nope'].map((target) => product.get(target)),
    );
    for (const answer of answers) expect(answer.header('vary')?.split(', ')).toContain('Accept');
    const same = await product.get(path, PLAIN, { 'If-None-Match': await etag(path) });
    expect([same.status, same.header('vary')]).toEqual([304, 'Accept']);
  });

  it('names the headers that filter', async () => {
    for (const target of ['/compute/', '/-/']) {
      expect((await product.get(target)).header('vary')).toBe('Accept, Category, X-OCCI-Attribute');
    }
  });
});

describe('a condition', () => {
  it('matches nothing if it is not a list of tags', async () => {
    const path = await product.compute();
    for (const malformed of ['"abc*', 'a*', '*a', '']) {
      const title = ['X-OCCI-Attribute: occi.core.title="x"'];
      const refused = await product.plain('POST', path, title, { 'If-Match': malformed });
      expect([malformed, refused.status]).toEqual([malformed, 412]);
    }
  });

  it('may come in several lines', async () => {
    const path = await product.compute();
    const tag = await etag(path);
    expect((await product.get(path, PLAIN, { 'If-None-Match': ['"a"', tag] })).status).toBe(304);
    const write = (condition: readonly string[]) =>
      product.plain('POST', path, ['X-OCCI-Attribute: occi.core.title="x"'], { 'If-Match': condition });
    expect((await write(['"a"', '"b"'])).status).toBe(412);
    expect((await write(['"a"', tag])).status).toBe(200);
  });

  it.each(['/compute/', '/-/', '/', '/cmbs/message/l1/'])(
    'on the collection %s checks whether the collection exists',
    async (target) => {
      const get = (name: string, value: string) => product.get(target, PLAIN, { [name]: value });
      expect((await get('If-Match', '*')).status).toBe(200);
      expect((await get('If-Match', '"a"')).status).toBe(412);
      expect((await get('If-None-Match', '*')).status).toBe(304);
      expect((await get('If-None-Match', '"a"')).status).toBe(200);
    },
  );

  it('on a collection also applies to writes', async () => {
    const post = (headers: Readonly<Record<string, string>>) =>
      product.plain('POST', '/compute/', [COMPUTE], headers);
    expect((await post({ 'If-None-Match': '*' })).status).toBe(412);
    expect((await post({ 'If-Match': '"a"' })).status).toBe(412);
    expect((await post({ 'If-Match': '*' })).status).toBe(201);
    await product.defineMixin('guarded');
    for (const [method, target] of [
      ['DELETE', '/compute/'],
      ['PUT', '/guarded/'],
      ['POST', '/compute/?action=start'],
      ['POST', '/cmbs/message/?send'],
      ['DELETE', '/-/'],
      ['DELETE', '/nothing/here/'],
    ] as const) {
      const refused = await product.plain(method, target, [], { 'If-Match': '"a"' });
      expect([method, target, refused.status]).toEqual([method, target, 412]);
    }
    expect((await product.get('/compute/')).lines('X-OCCI-Location').length).toBeGreaterThan(0);
  });

  it('on the DELETE of a member is checked once, and afterwards the member refuses changes', async () => {
    await product.plain('PUT', '/cmbs/member/guarded', [MEMBER, LOCAL]);
    const stale = await etag('/cmbs/member/guarded');
    await product.plain('POST', '/cmbs/member/guarded', ['X-OCCI-Attribute: occi.core.title="x"']);
    const remove = (tag: string) =>
      product.send('DELETE', '/cmbs/member/guarded', { headers: { 'If-Match': tag } });
    expect((await remove(stale)).status).toBe(412);
    // The conditions of simultaneous changes and deletions are checked one after another.
    const tag = await etag('/cmbs/member/guarded');
    const change = () =>
      product.plain('POST', '/cmbs/member/guarded', ['X-OCCI-Attribute: occi.core.title="y"'], {
        'If-Match': tag,
      });
    const answers = await Promise.all([remove(tag), change(), change(), remove(tag), change()]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const { status } of answers) expect([200, 404, 409, 412]).toContain(status);
  });

  it('on the DELETE of a member, if it holds, deletes the member with its data', async () => {
    const started = await product.plain('PUT', '/cmbs/member/going', [
      MEMBER,
      LOCAL,
      'X-OCCI-Attribute: cmbs.member.start="l1"',
    ]);
    expect(started.status).toBe(201);
    const headers = { 'If-Match': await etag('/cmbs/member/going') };
    expect((await product.send('DELETE', '/cmbs/member/going', { headers })).status).toBe(200);
    expect((await product.get('/cmbs/member/going')).status).toBe(404);
  });
});

describe('Accept', () => {
  it.each([
    ['text/event-stream;q=0.1, application/json', FLAT],
    ['application/*', FLAT],
    ['APPLICATION/JSON', FLAT],
    [NESTED, FLAT],
    ['*/*', FLAT],
    ['text/event-stream;q=0, */*', FLAT],
    ['image/png', 406],
    ['text/event-stream;q=0', 406],
  ])('%s at an inbox gives %s', async (accept, expected) => {
    await product.plain('PUT', '/cmbs/member/reader', [MEMBER, LOCAL]);
    const answer = await product.get('/cmbs/member/reader/inbox/', accept);
    expect(answer.status === 200 ? answer.type : answer.status).toBe(expected);
    expect(answer.header('vary')).toBe('Accept');
  });

  it('at an inbox may name the event stream in upper or lower case', async () => {
    await product.plain('PUT', '/cmbs/member/reader', [MEMBER, LOCAL]);
    const head = await product.send('HEAD', '/cmbs/member/reader/inbox/', {
      headers: { Accept: 'application/json;q=0.5, Text/Event-Stream' },
    });
    expect([head.status, head.type]).toEqual([200, 'text/event-stream']);
  });
});

describe('Content-Type', () => {
  it.each(['text/plain,text/occi', 'foo/bar, text/plain', 'text/plain; charset=utf-8 , text/occi'])(
    '%s is read as its first known type',
    async (type) => {
      const made = await product.send('POST', '/compute/', { headers: { 'Content-Type': type }, body: COMPUTE });
      expect([made.status, made.type]).toEqual([201, PLAIN]);
    },
  );

  it('is 415 if it has only unknown types', async () => {
    const headers = { 'Content-Type': 'foo/bar, foo/baz' };
    expect((await product.send('POST', '/compute/', { headers, body: COMPUTE })).status).toBe(415);
  });
});

describe('X-HTTP-Method-Override', () => {
  const override = (method: string, target: string, body?: string) =>
    product.send('POST', target, {
      headers: { 'X-HTTP-Method-Override': method, ...(body === undefined ? {} : { 'Content-Type': PLAIN }) },
      ...(body === undefined ? {} : { body }),
    });

  it('deletes an entity, and the entities that a body names', async () => {
    const path = await product.compute();
    expect((await override('delete', path)).status).toBe(200);
    expect((await product.get(path)).status).toBe(404);
    const id = await product.defineMixin('overridden');
    const tagged = await product.compute(`Category: ${category(id, 'mixin')}`);
    expect((await override('DELETE', '/overridden/', `X-OCCI-Location: ${product.url}${tagged}`)).status).toBe(
      200,
    );
    expect((await product.get('/overridden/')).lines('X-OCCI-Location')).toEqual([]);
    expect((await override('DELETE', '/-/', `Category: ${category(id, 'mixin')}`)).status).toBe(200);
    expect((await product.get('/overridden/')).status).toBe(404);
  });

  it('does not request an action', async () => {
    const path = await product.compute();
    for (const method of ['GET', 'DELETE']) {
      const refused = await override(method, `${path}?action=start`, '');
      expect([refused.status, refused.header('allow')]).toEqual([405, 'POST, OPTIONS']);
    }
    expect((await override('PUT', path)).status).toBe(400);
  });
});

describe('a path', () => {
  it('is the same in every spelling', async () => {
    const made = await product.plain('PUT', '/cmbs/m%65ssage/sp%65lt', [
      `Category: ${category(`${CMBS}message`, 'kind')}`,
    ]);
    expect([made.status, made.location]).toEqual([201, `${product.url}/cmbs/message/spelt`]);
    expect((await product.get('/%63mbs/message/spelt')).status).toBe(200);
    expect((await product.get('/%2D/')).status).toBe(200);
    expect((await product.get('/cmbs/member/no%62ody/in%62ox/')).header('x-occi-error')).toContain(
      '/cmbs/member/nobody',
    );
    expect((await product.get('/cmbs/mess%61ge/spelt?action=execute')).header('allow')).toBe('POST, OPTIONS');
    expect((await product.get('/cmbs%2Fmessage/spelt')).status).toBe(404);
    await product.defineMixin('spelling');
    const tag = (location: string) => product.plain('POST', '/spelling/', [`X-OCCI-Location: ${location}`]);
    expect((await tag(`${product.url}/%63mbs/message/sp%65lt`)).status).toBe(200);
    expect((await tag(`${product.url}/cmbs%2Fmessage/spelt`)).status).toBe(404);
    expect((await product.get('/%zz')).status).toBe(404);
  });

  it.each(['/compute', '/cmbs/message', '/-', '/.well-known/org/ogf/occi/-', '/cmbs/member/reader/inbox'])(
    'to a collection without its slash, %s, redirects to the collection',
    async (path) => {
      const sent = await product.get(`${path}?a=b%20c&d`);
      expect([sent.status, sent.location]).toEqual([308, `${product.url}${path}/?a=b+c&d=`]);
    },
  );

  it('without its final slash redirects a POST, and neither deletes the collection nor hides an entity', async () => {
    const posted = await product.plain('POST', '/compute?action=start', []);
    expect([posted.status, posted.location]).toEqual([308, `${product.url}/compute/?action=start`]);
    expect((await product.send('DELETE', '/compute')).status).toBe(404);
    expect(
      (await product.plain('PUT', '/cmbs/message/l2', [`Category: ${category(`${CMBS}message`, 'kind')}`])).status,
    ).toBe(201);
    expect((await product.get('/cmbs/message/l2')).status).toBe(200);
    expect((await product.get('/cmbs/message/l31')).status).toBe(308);
  });

  it('has no urn:uuid: in front of its id, not even for an action', async () => {
    const action = await product.send('POST', '/cmbs/message/urn:uuid:1?action=execute');
    expect([action.status, action.header('x-occi-error')]).toEqual([400, expect.stringContaining('urn:uuid')]);
    const target = '/compute/urn:uuid:00000000-0000-4000-8000-000000000001';
    for (const method of ['GET', 'PUT', 'DELETE'] as const) {
      const refused = await product.plain(method, target, [COMPUTE]);
      expect([method, refused.status, refused.header('x-occi-error')]).toEqual([
        method,
        400,
        expect.stringContaining('urn:uuid'),
      ]);
    }
  });
});

describe('an Idempotency-Key', () => {
  let last = 0;
  const key = (): Readonly<Record<string, string>> => ({ 'Idempotency-Key': `key-${(last += 1)}` });
  const title = (text: string): readonly string[] => [`X-OCCI-Attribute: occi.core.title="${text}"`];

  /** Sends a request twice; the second does not undo changes in between. */
  async function twice(
    method: string,
    target: string,
    lines: readonly string[],
    between: () => Promise<unknown>,
    more: Readonly<Record<string, string>> = {},
  ): Promise<readonly number[]> {
    const headers = { ...key(), ...more };
    const first = await product.plain(method, target, lines, headers);
    await between();
    const second = await product.plain(method, target, lines, headers);
    const other = await product.plain(method, target, [...lines, ...title('other')], headers);
    expect([method, target, other.status]).toEqual([method, target, 422]);
    return [first.status, second.status];
  }

  const nothing = (): Promise<void> => Promise.resolve();

  it('makes a repeated change one change', async () => {
    const path = await product.compute();
    const later = () => product.plain('POST', path, title('later'));
    expect(await twice('POST', path, title('first'), later)).toEqual([200, 200]);
    expect((await product.get(path)).attributes()['occi.core.title']).toBe('"later"');
    const condition = { 'If-Match': await etag(path) };
    expect(await twice('PUT', path, [COMPUTE, ...title('put')], later, condition)).toEqual([200, 200]);
    expect((await product.get(path)).attributes()['occi.core.title']).toBe('"later"');
    expect(await twice('PUT', '/compute/once', [COMPUTE], nothing, { 'If-None-Match': '*' })).toEqual([201, 201]);
  });

  it('makes a repeated deletion one deletion', async () => {
    const put = () => product.plain('PUT', '/compute/deleted-once', [COMPUTE]);
    await put();
    expect(await twice('DELETE', '/compute/deleted-once', [], put)).toEqual([200, 200]);
    expect((await product.get('/compute/deleted-once')).status).toBe(200);
    const storage = `Category: ${category(`${INFRA}storage`, 'kind')}`;
    const size = 'X-OCCI-Attribute: occi.storage.size=1.0';
    const fill = () => product.plain('POST', '/storage/', [storage, size]);
    await fill();
    expect(await twice('DELETE', '/storage/', [], fill)).toEqual([200, 200]);
    expect((await product.get('/storage/')).lines('X-OCCI-Location')).toHaveLength(1);
  });

  it('makes repeated tagging one tagging', async () => {
    await product.defineMixin('once_tag');
    const location = [`X-OCCI-Location: ${product.url}${await product.compute()}`];
    const untag = () => product.send('DELETE', '/once_tag/');
    const tagged = async () => (await product.get('/once_tag/')).lines('X-OCCI-Location').length;
    expect(await twice('POST', '/once_tag/', location, untag)).toEqual([200, 200]);
    expect(await tagged()).toBe(0);
    expect(await twice('PUT', '/once_tag/', location, untag)).toEqual([200, 200]);
    expect(await tagged()).toBe(0);
    const tag = () => product.plain('POST', '/once_tag/', location);
    await tag();
    expect(await twice('DELETE', '/once_tag/', [], tag)).toEqual([200, 200]);
    expect(await tagged()).toBe(1);
  });

  it('makes a repeated definition, change or deletion of a category one change', async () => {
    const scheme = 'http://example.com/once#';
    const line = `Category: once; scheme="${scheme}"; class="mixin"; location="/once/"`;
    expect(await twice('POST', '/-/', [line], nothing)).toEqual([200, 200]);
    const change = `Category: once; scheme="${scheme}"; class="mixin"; title="changed"; location="/once/"`;
    expect(await twice('PUT', '/-/', [change], nothing)).toEqual([200, 200]);
    expect(await twice('DELETE', '/-/', [`Category: once; scheme="${scheme}"`], nothing)).toEqual([200, 200]);
    expect((await product.get('/once/')).status).toBe(404);
  });

  it('makes a repeated action one action', async () => {
    const path = await product.compute();
    const start = [
      `Category: ${category('http://schemas.ogf.org/occi/infrastructure/compute/action#start', 'action')}`,
    ];
    expect(await twice('POST', `${path}?action=start`, start, nothing)).toEqual([200, 200]);
  });

  it('makes a repeated acknowledgement one acknowledgement', async () => {
    const start = 'X-OCCI-Attribute: cmbs.member.start="l1"';
    await product.plain('PUT', '/cmbs/member/keyed', [MEMBER, LOCAL, start]);
    const { attributes } = (await product.get('/cmbs/member/keyed', FLAT)).json() as {
      readonly attributes: Readonly<Record<string, string>>;
    };
    const sent = await product.json('POST', '/cmbs/message/?send&from=keyed', {
      kind: `${CMBS}message`,
      mixins: [`${CMBS}l1`],
      attributes: {
        'cmbs.message.message_content': 'x',
        'cmbs.message.l1_socket_receiver_member': attributes['cmbs.member.l1_socket'] ?? '',
      },
    });
    expect(sent.status).toBe(200);
    const { entries } = (await product.get('/cmbs/member/keyed/inbox/')).json() as {
      readonly entries: readonly { readonly id: string }[];
    };
    const [entry] = entries;
    const headers = { ...key(), 'Content-Type': FLAT };
    const acknowledge = (id = '') =>
      product.send('DELETE', '/cmbs/member/keyed/inbox/', { headers, body: JSON.stringify({ entries: [id] }) });
    const first = await acknowledge(entry?.id);
    const [second, other] = [await acknowledge(entry?.id), await acknowledge('two')];
    expect([first.status, second.status, other.status]).toEqual([200, 200, 422]);
    expect(second.json()).toEqual({ acknowledged: 1 });
  });

  it('can be used again if its request was refused', async () => {
    const headers = key();
    expect((await product.plain('PUT', '/compute/again', [], headers)).status).toBe(400);
    expect((await product.plain('PUT', '/compute/again', [COMPUTE], headers)).status).toBe(201);
  });
});

describe('a number beyond 2^53', () => {
  const BIG = '12345678901234567890';
  const MESSAGE = category(`${CMBS}message`, 'kind');

  it.each([BIG, '1e400', '-9007199254740993', '[1e400,{"a":12345678901234567890}]'])(
    '%s in a content stays as it is, in a body, a header and text',
    async (number) => {
      const body = `{"kind":"${CMBS}message","attributes":{"cmbs.message.message_content":${number}}}`;
      const headers = { 'Content-Type': FLAT, Accept: FLAT };
      const made = await product.send('POST', '/cmbs/message/', { headers, body });
      expect(made.status).toBe(201);
      const path = product.pathOf(made.location ?? '');
      expect((await product.get(path, FLAT)).body).toContain(`"cmbs.message.message_content":${number}`);
      const inText = (await product.get(path)).attributes()['cmbs.message.message_content'] ?? '';
      expect([number, JSON.stringify(number)]).toContain(inText);
      for (const again of [
        await product.occi('POST', '/cmbs/message/', {
          Category: MESSAGE,
          'X-OCCI-Attribute': `cmbs.message.message_content=${inText}`,
        }),
        await product.plain('POST', '/cmbs/message/', [
          `Category: ${MESSAGE}`,
          `X-OCCI-Attribute: cmbs.message.message_content=${inText}`,
        ]),
      ]) {
        expect(again.status).toBe(201);
        const copy = await product.get(product.pathOf(again.location ?? ''), FLAT);
        expect(copy.body).toContain(`"cmbs.message.message_content":${number}`);
      }
    },
  );

  it.each([BIG, '1e400', '9007199254740993'])('%s is refused in an attribute of type number', async (number) => {
    const attribute = `occi.compute.memory=${number}`;
    for (const refused of [
      await product.plain('POST', '/compute/', [COMPUTE, `X-OCCI-Attribute: ${attribute}`]),
      await product.occi('POST', '/compute/', {
        Category: category(`${INFRA}compute`, 'kind'),
        'X-OCCI-Attribute': attribute,
      }),
      await product.send('POST', '/compute/', {
        headers: { 'Content-Type': FLAT },
        body: `{"kind":"${INFRA}compute","attributes":{"occi.compute.memory":${number}}}`,
      }),
      await product.send('POST', '/compute/', {
        headers: { 'Content-Type': NESTED },
        body: `{"resources":[{"kind":"${INFRA}compute","attributes":{"occi":{"compute":{"memory":${number}}}}}]}`,
      }),
    ]) {
      expect([refused.status, refused.header('x-occi-error')]).toEqual([
        400,
        expect.stringContaining('occi.compute.memory'),
      ]);
    }
    const held = await product.plain('POST', '/compute/', [COMPUTE, 'X-OCCI-Attribute: occi.compute.memory=1e22']);
    expect(held.status).toBe(201);
  });

  it.each([BIG, '1e400', '-12345678901234567890.5'])(
    '%s is kept in the id and the parameters of a call',
    async (number) => {
      await product.plain('PUT', '/cmbs/member/callee', [
        MEMBER,
        LOCAL,
        'X-OCCI-Attribute: cmbs.member.start="l1"',
      ]);
      const { attributes } = (await product.get('/cmbs/member/callee', FLAT)).json() as {
        readonly attributes: Readonly<Record<string, string>>;
      };
      const socket = attributes['cmbs.member.l1_socket'] ?? '';
      const call = `{"jsonrpc":"2.0","method":"echo.echo","params":[${number},{"a":${number}}],"id":${number}}`;
      for (const content of [call, JSON.stringify(call)]) {
        const body =
          `{"kind":"${CMBS}message","mixins":["${CMBS}l1"],"attributes":` +
          `{"cmbs.message.l1_socket_receiver_member":"${socket}","cmbs.message.message_content":${content}}}`;
        const headers = { 'Content-Type': FLAT, Accept: FLAT };
        const sent = await product.send('POST', '/cmbs/message/?send&from=callee', { headers, body });
        expect(sent.status).toBe(200);
        expect(sent.body).toContain(`{"jsonrpc":"2.0","id":${number},"result":[${number},{"a":${number}}]}`);
      }
    },
  );
});

it.each(['page=99999999999999999999', 'number=10001', 'number=1e5', 'page=5001&number=2', 'page=0', 'number=x'])(
  'a page that is too large is 413, and an invalid page is 400: %s',
  async (query) => {
    const { status } = await product.get(`/compute/?${query}`);
    expect(status).toBe(/e|=0|x/.test(query.replace(/page|number/g, '')) ? 400 : 413);
  },
);

it.each([
  ['2030-02-30T00:00:00Z', 400],
  ['2030-02-29T00:00:00Z', 400],
  ['2032-02-29T00:00:00Z', 201],
  ['2030-01-31T24:00:00Z', 400],
  ['2030-01-31T12:60:00Z', 400],
  ['2030-01-31T12:00:00+24:00', 400],
  ['2030-01-31T12:00:00', 400],
  ['2030-01-31 12:00:00Z', 400],
  ['2030-1-31T12:00:00Z', 400],
  ['2030-01-31t12:00:00.123456789z', 201],
  ['2030-06-30T23:59:60Z', 201],
  ['2030-06-15T23:59:60Z', 400],
  ['2030-07-01T01:59:60+02:00', 201],
])('the time %s is %i', async (time, status) => {
  const message = { kind: `${CMBS}message`, attributes: { 'cmbs.message.expires_at': time } };
  expect((await product.json('POST', '/cmbs/message/', message)).status).toBe(status);
});
