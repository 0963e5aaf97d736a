/** What methods of service modules may do with the broker, the entities and the access kinds. */
import type { Json, JsonObject } from '@cmbs/shared';
import { WorkerProgram } from '../integration/modules/support';
import { eventually, freeSocket, MESSAGE, unique, type LayerName } from './harness';
import { CMBS, type Failed, LAYERS, RELAY, type ServiceCaller, ServiceStack } from './service-domain-support';

let worker: WorkerProgram;
beforeAll(() => {
  worker = new WorkerProgram();
});
afterAll(() => worker.remove());

type User = Awaited<ReturnType<ServiceStack['user']>>;

interface Entry {
  readonly id: string;
  readonly lease?: string;
  readonly layer: string;
  readonly message: { readonly attributes: { readonly cmbs: { readonly message: JsonObject } } };
}

const contentOf = ({ message }: Entry): Json | undefined => message.attributes.cmbs.message.message_content;
const withoutIds = (text: string): string => text.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID');

describe.each([
  ['an open stack', false],
  ['a closed stack', true],
])('modules in %s', (_name, isClosed) => {
  let stack: ServiceStack;
  let alice: User;
  let bob: User;

  beforeAll(async () => {
    stack = new ServiceStack(isClosed);
    await stack.start(worker);
    alice = await stack.user('alice');
    bob = await stack.user('bob');
    if (!isClosed) return;
    // Bob takes messages of alice, and the administrator lets alice publish for bob.
    await bob.result('acl.allow', 'member:/cmbs/member/bob', ['user:alice'], ['message.receive']);
    alice.acts = '/cmbs/member/alice';
    const root = stack.root;
    root.acts = alice.member;
    await root.result('acl.allow', 'topic:bob.>', ['user:alice'], ['topic.publish']);
  });
  afterAll(() => stack.close());

  const receivers = (layer: LayerName): JsonObject => {
    if (layer === 'l1') return { receiver: bob.sockets.l1 };
    if (layer === 'l31') return { providers: ['bob'] };
    return layer === 'l2' ? {} : { topics: ['bob.news'] };
  };

  it.each(['message', 'relay'])('send on every layer, read an inbox and acknowledge, by %s', async (module) => {
    const sent = LAYERS.map((layer) => ({ layer, content: { text: unique(layer), big: '12345678901234567890' } }));
    for (const { layer, content } of sent) {
      const answer = await alice.result(`${module}.send`, { layer, content, from: 'alice', ...receivers(layer) });
      expect(answer).toMatchObject({ is_open: false, delivery: { from: '/cmbs/member/alice' } });
      expect((await alice.ask('GET', (answer as JsonObject).location as string)).status).toBe(200);
    }
    const entries = await eventually(
      async () => {
        const page = await bob.result(`${module}.read`, 'bob', { lease: 0, number: 1000 });
        return (page as unknown as { readonly entries: readonly Entry[] }).entries;
      },
      (found) => found.length === LAYERS.length,
      'bob has a message of each layer',
    );
    expect(new Set(entries.map(({ layer }) => layer))).toEqual(new Set(LAYERS));
    expect(entries.map(contentOf)).toEqual(expect.arrayContaining(sent.map(({ content }) => content)));
    // The entries are leased to the first reader, and acknowledged by id and by lease.
    const leased = (await bob.result(`${module}.read`, bob.member)) as unknown as {
      readonly entries: readonly Entry[];
    };
    expect(leased.entries).toHaveLength(LAYERS.length);
    expect(await bob.result(`${module}.read`, bob.member, { wait: 0 })).toMatchObject({ entries: [], leased: 5 });
    const [first, second, ...others] = leased.entries as unknown as readonly [Entry, Entry, ...Entry[]];
    expect(await bob.fault(`${module}.acknowledge`, 'bob', [{ id: first.id, lease: 'another' }])).toMatchObject({
      code: -32000,
      data: { code: 'conflict' },
    });
    expect(
      await bob.result(`${module}.acknowledge`, 'bob', [
        first.id,
        first.id,
        { id: second.id, lease: second.lease ?? '' },
      ]),
    ).toBe(2);
    expect(
      await bob.result(
        `${module}.acknowledge`,
        'bob',
        others.map(({ id }) => id),
      ),
    ).toBe(3);
    expect(await bob.fault(`${module}.acknowledge`, 'bob', [first.id])).toMatchObject({
      data: { code: 'not_found' },
    });
    expect(await bob.result(`${module}.read`, 'bob')).toEqual({ entries: [], leased: 0 });
  });

  it('a call in a message sends for the member that sent the message', async () => {
    const content = unique('nested');
    const nested = { layer: 'l1', content, from: 'alice', ...receivers('l1') };
    const call = { method: 'message.send', params: [nested], id: 1 };
    const sent = (await alice.result('message.send', {
      layer: 'l1',
      content: call,
      from: 'alice',
      ...receivers('l1'),
    })) as { readonly result: JsonObject };
    expect(sent.result).toMatchObject({
      result: { id: 1, result: { delivery: { state: 'delivered', from: '/cmbs/member/alice' } } },
    });
    const page = (await bob.result('message.read', 'bob', { lease: 0 })) as unknown as {
      readonly entries: readonly Entry[];
    };
    expect(page.entries.map(contentOf)).toEqual(expect.arrayContaining([content, call]));
    await bob.result(
      'message.acknowledge',
      'bob',
      page.entries.map(({ id }) => id),
    );
  });

  it('a reader that waits gets the message that arrives', async () => {
    const reading = bob.result('relay.read', 'bob', { wait: 20 });
    const content = unique('awaited');
    await alice.result('message.send', { layer: 'l1', content, from: 'alice', ...receivers('l1') });
    const { entries } = (await reading) as unknown as { readonly entries: readonly Entry[] };
    expect(entries.map(contentOf)).toEqual([content]);
    await bob.result(
      'message.acknowledge',
      'bob',
      entries.map(({ id }) => id),
    );
  });

  it('numbers, keys and texts of a content arrive as they were written', async () => {
    const content =
      '{"__proto__":{"a":1},"constructor":[12345678901234567890,1e400,0.1],"nul":"\\u0000","\\ud83d\\ude00":null}';
    const call = `{"method":"relay.send","id":1,"params":[{"layer":"l1","from":"alice","receiver":"${bob.sockets.l1}","content":${content}}]}`;
    const path = `/cmbs/message/${unique('call')}`;
    const created = await fetch(stack.url + path, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...alice.headers },
      body: `{"kind":"${MESSAGE}","attributes":{"cmbs.message.message_content":${call}}}`,
    });
    expect(created.status).toBe(201);
    const { status } = await alice.ask('POST', `${path}?action=execute`, { attributes: { from: alice.member } });
    expect(status).toBe(200);
    const inbox = await fetch(`${stack.url}${bob.member}/inbox/`, {
      headers: { Accept: 'application/json', ...bob.headers },
    });
    const text = await inbox.text();
    expect(text).toContain('"__proto__":{"a":1}');
    expect(text).toContain('[12345678901234567890,1e400,0.1]');
    const { entries } = JSON.parse(text) as { readonly entries: readonly Entry[] };
    await bob.result(
      'message.acknowledge',
      'bob',
      entries.map(({ id }) => id),
    );
    expect(({} as Record<string, unknown>).a).toBeUndefined();
  });

  it('a repeated send with the same idempotency key is one message', async () => {
    const message = {
      layer: 'l1',
      content: 'once',
      from: 'alice',
      idempotency_key: unique('key'),
      ...receivers('l1'),
    };
    const first = (await alice.result('message.send', message)) as JsonObject;
    expect(await alice.result('relay.send', message)).toMatchObject({ location: first.location as string });
    expect(await alice.fault('relay.send', { ...message, content: 'twice' })).toMatchObject({
      data: { code: 'idempotency_mismatch' },
    });
    const { entries } = (await bob.result('message.read', 'bob')) as unknown as {
      readonly entries: readonly Entry[];
    };
    expect(entries.map(contentOf)).toEqual(['once']);
    await bob.result(
      'message.acknowledge',
      'bob',
      entries.map(({ id }) => id),
    );
  });

  it('create, find, change, act on and delete entities', async () => {
    const title = unique('title');
    const created = (await alice.result(
      'relay.create',
      { kind: MESSAGE, title, attributes: { 'cmbs.message.message_content': { celsius: 21 } } },
      { idempotency_key: title },
    )) as { readonly location: string };
    const { location } = created;
    const got = (await alice.result('relay.get', location)) as JsonObject;
    expect(got).toMatchObject({
      location,
      title,
      kind: MESSAGE,
      attributes: { 'cmbs.message.message_content': { celsius: 21 } },
    });
    // The form is that of GFD.226 over HTTP, and its entity tag holds there.
    const overHttp = await alice.ask('GET', location);
    const { location: _path, etag, ...entity } = got;
    expect(entity).toEqual(overHttp.json);
    expect(overHttp.headers.get('etag')).toContain(`"${etag as string}-`);
    expect(
      await alice.result('relay.list', '/cmbs/message/', { filter: { attributes: { 'occi.core.title': title } } }),
    ).toEqual({ entities: [got] });
    expect(await alice.result('relay.list', '/cmbs/message/', { q: `occi.core.title=${title}` })).toEqual({
      entities: [got],
    });
    const page = (await alice.result('relay.list', '/cmbs/message/', { number: 1 })) as { readonly next: string };
    expect(await alice.result('relay.list', '/cmbs/message/', { number: 1, cursor: page.next })).not.toEqual(page);
    const changed = (await alice.result(
      'relay.update',
      location,
      { attributes: { 'cmbs.message.storable': 'false' } },
      { if_match: etag as string },
    )) as JsonObject;
    expect(changed).toMatchObject({ attributes: { 'cmbs.message.storable': 'false' } });
    expect(
      await alice.fault('relay.update', location, { title: 'late' }, { if_match: etag as string }),
    ).toMatchObject({ data: { code: 'precondition_failed' } });
    const target = unique('target');
    await alice.result('relay.create', {
      kind: MESSAGE,
      id: target,
      mixins: [`${CMBS}l1`],
      attributes: {
        'cmbs.message.message_content': 'x',
        'cmbs.message.l1_socket_receiver_member': bob.sockets.l1,
      },
    });
    expect(await alice.result('relay.act', `/cmbs/message/${target}`, 'send_l1', { from: 'alice' })).toMatchObject(
      {
        is_open: false,
        entity: { attributes: { 'cmbs.message.delivery': { state: 'delivered' } } },
      },
    );
    expect(await alice.fault('relay.act', location, 'fly')).toMatchObject({ data: { code: 'bad_action' } });
    expect(await alice.result('relay.remove', location)).toBeNull();
    expect((await alice.ask('GET', location)).status).toBe(404);
    expect(await alice.fault('relay.get', location)).toMatchObject({ code: -32000, data: { code: 'not_found' } });
  });

  it('get no rights from the context of a call that has ended', async () => {
    expect(await alice.result('relay.keep')).toBe('kept');
    expect(
      await bob.fault('relay.misuse', { layer: 'l1', content: 'x', from: 'alice', ...receivers('l1') }),
    ).toMatchObject({
      code: -32000,
      message: expect.stringContaining('the call is over') as string,
    });
  });

  it.each<readonly [string, readonly Json[]]>([
    ['send', []],
    ['send', [null]],
    ['send', ['text']],
    ['send', [[]]],
    ['send', [{}]],
    ['send', [{ layer: 1 }]],
    ['send', [{ layer: 'l1', topics: 'news' }]],
    ['send', [{ layer: 'l1', executable: 'true' }]],
    ['send', [{ layer: 'l1', wait: -1 }]],
    ['send', [{ layer: 'l1', wait: 1e300 }]],
    ['send', [{ layer: 'l1', headers: ['a'] }]],
    ['send', [{ layer: 'l1', constructor: 1 }]],
    ['send', [{ layer: 'l1', unknown: 1 }]],
    ['send', [{ layer: 'l1' }, { layer: 'l1' }]],
    ['read', []],
    ['read', [7]],
    ['read', ['bob', 'now']],
    ['read', ['bob', { number: 'many' }]],
    ['acknowledge', ['bob']],
    ['acknowledge', ['bob', []]],
    ['acknowledge', ['bob', 'all']],
    ['acknowledge', ['bob', [7]]],
    ['acknowledge', ['bob', [{ lease: 'x' }]]],
    ['acknowledge', ['bob', [{ id: 'x'.repeat(1001) }]]],
  ])('%s%j is refused as wrong arguments', async (method, args) => {
    for (const module of ['message', 'relay']) {
      expect(await alice.fault(`${module}.${method}`, ...args)).toMatchObject({ code: -32602 });
    }
  });

  it.each<readonly [string, readonly Json[], string]>([
    ['send', [{ layer: 'l9', content: 1 }], 'bad_request'],
    ['send', [{ layer: '__proto__', content: 1 }], 'bad_request'],
    ['send', [{ layer: 'x'.repeat(1000), content: 1 }], 'bad_request'],
    ['send', [{ layer: 'l1', content: 1, from: 'alice', receiver: 'http://example.com' }], 'bad_attribute'],
    ['send', [{ layer: 'l2', content: 1, from: 'alice', topics: ['a*'] }], 'bad_attribute'],
    ['send', [{ layer: 'l32', content: 1, from: 'alice', topics: ['a..b'] }], 'bad_attribute'],
    ['send', [{ layer: 'l2', content: 1, from: 'nobody-here' }], 'bad_attribute'],
    ['send', [{ layer: 'l2', content: 1, from: 'alice', id: '../up' }], 'bad_request'],
    ['send', [{ layer: 'l2', content: 1, from: 'alice', id: '__x__' }], 'bad_request'],
    ['send', [{ layer: 'l2', content: 1, from: 'alice', idempotency_key: 'x'.repeat(256) }], 'bad_request'],
    ['read', ['bob', { number: 0 }], 'bad_request'],
    ['read', ['bob', { number: 1.5 }], 'bad_request'],
    ['read', ['bob', { lease: 1e9 }], 'bad_request'],
    ['read', ['bob', { cursor: '!' }], 'bad_request'],
    ['read', ['../access/user/root'], 'not_found'],
    ['read', ['__proto__'], 'not_found'],
    ['read', ['/cmbs/member/bob/inbox/'], 'not_found'],
    ['acknowledge', ['bob', Array.from({ length: 1001 }, (_, at) => `entry-${at}`)], 'bad_request'],
  ])('%s of %j is refused as over HTTP', async (method, args, code) => {
    const caller = method === 'send' ? alice : bob;
    for (const module of ['message', 'relay']) {
      expect(await caller.fault(`${module}.${method}`, ...args)).toMatchObject({ code: -32000, data: { code } });
    }
  });

  it.each<readonly [string, readonly Json[], string | number]>([
    ['get', [], -32602],
    ['get', [{}], -32602],
    ['get', ['x'.repeat(1001)], -32602],
    ['get', [`/${'x'.repeat(999)}`], 'not_found'],
    ['get', ['cmbs/message/x'], 'bad_request'],
    ['get', ['http://elsewhere.example/cmbs/message/x'], 'bad_request'],
    ['get', ['/cmbs/message/\u0000'], 'not_found'],
    ['get', ['/cmbs/message/%2e%2e%2f'], 'not_found'],
    ['list', ['/cmbs/message'], 'bad_request'],
    ['list', ['/cmbs/message/', { number: 1001 }], -32602],
    ['list', ['/cmbs/message/', { cursor: 'x' }], 'bad_request'],
    ['list', ['/cmbs/message/', { filter: { attributes: { 'no.such': 1 } } }], 'bad_request'],
    ['list', ['/cmbs/message/', { filter: { kind: 'http://none#x' } }], 'bad_request'],
    ['create', [{}], 'bad_request'],
    ['create', [{ kind: 'http://none#x' }], 'unknown_category'],
    ['create', [{ kind: 7 }], 'bad_request'],
    ['create', [{ kind: MESSAGE, attributes: [] }], 'bad_request'],
    ['create', [{ kind: MESSAGE, attributes: { __proto: 1 } }], 'bad_attribute'],
    ['create', [{ resources: [{ kind: MESSAGE }, { kind: MESSAGE }] }], 'bad_request'],
    ['create', [{ kind: MESSAGE, id: 'a/b' }], 'bad_request'],
    ['update', ['/cmbs/message/none', { title: 'x' }], 'not_found'],
    ['update', ['/cmbs/message/none', 'x'], -32602],
    ['remove', ['/cmbs/message/none'], 'not_found'],
    ['act', ['/cmbs/message/none', 'send_l1'], 'not_found'],
    ['act', ['/cmbs/message/none'], -32602],
  ])('entities.%s%j is refused', async (method, args, expected) => {
    const { code, data } = await alice.fault(`relay.${method}`, ...args);
    expect(typeof expected === 'number' ? code : data?.code).toBe(expected);
  });

  it('a content beyond the bytes of a frame is refused', async () => {
    const content = 'x'.repeat(1_100_000);
    for (const method of ['message.send', 'relay.send']) {
      await expect(
        stack.direct(stack.principal('alice'), method, { layer: 'l2', from: 'alice', content }),
      ).rejects.toMatchObject({ code: -32000, data: { code: 'too_large' } });
    }
  });

  it('a content of a module that is nested too deeply is refused', async () => {
    const to = { layer: 'l2', from: 'alice' };
    expect(await alice.result('relay.deep', to, 20)).toMatchObject({ is_open: false });
    expect(await alice.fault('relay.deep', to, 100)).toMatchObject({
      code: -32000,
      data: { code: 'bad_request' },
    });
    expect((await alice.fault('relay.deep', to, 1000)).code).toBe(-32603);
  });

  it('a value nested too deeply, and one with many elements, harm nobody', async () => {
    const deep = `${'['.repeat(100)}${']'.repeat(100)}`;
    const many = JSON.stringify(Array.from({ length: 200_000 }, () => 0));
    for (const content of [deep, many]) {
      const outcome = await stack
        .direct(stack.principal('alice'), 'message.send', {
          layer: 'l2',
          from: 'alice',
          content: JSON.parse(content) as Json,
        })
        .then(
          () => 'sent',
          (fault: unknown) => (fault as Failed).code,
        );
      expect(['sent', -32000]).toContain(outcome);
    }
    expect(await alice.result('echo.echo', 1)).toEqual([1]);
  });
});

describe('the rights of a method', () => {
  let stack: ServiceStack;
  let alice: User;
  let bob: User;
  let root: ServiceCaller;

  beforeAll(async () => {
    stack = new ServiceStack(true);
    await stack.start(worker);
    alice = await stack.user('alice');
    bob = await stack.user('bob');
    root = stack.root;
    root.acts = alice.member;
  });
  afterAll(() => stack.close());

  const asMessage = (layer: LayerName, attributes: JsonObject): JsonObject => ({
    kind: MESSAGE,
    mixins: [CMBS + layer],
    attributes: { 'cmbs.message.message_content': 'x', ...attributes },
  });
  const overHttp = async (
    caller: ServiceCaller,
    method: string,
    path: string,
    body?: JsonObject,
  ): Promise<Json> => {
    const { status, json } = await caller.ask(method, path, body);
    if (status < 300) throw new Error(`${method} ${path} was not refused: ${status}`);
    const { code, message } = json.error as JsonObject;
    return [code as string, withoutIds(message as string)];
  };
  const byCall = async (caller: ServiceCaller, method: string, ...args: readonly Json[]): Promise<Json> => {
    const { code, message, data } = await caller.fault(method, ...args);
    expect(code).toBe(-32000);
    return [data?.code as string, withoutIds(message)];
  };

  it.each<
    readonly [string, () => readonly [string, string, JsonObject?], () => readonly [string, readonly Json[]]]
  >([
    [
      "sends in the name of another's member",
      () => ['POST', '/cmbs/message/?send&from=alice', asMessage('l2', {})],
      () => ['send', [{ layer: 'l2', content: 'x', from: 'alice' }]],
    ],
    [
      "publishes on another's topic",
      () => ['POST', '/cmbs/message/?send&from=bob', asMessage('l32', { 'cmbs.message.topics': ['alice.news'] })],
      () => ['send', [{ layer: 'l32', content: 'x', from: 'bob', topics: ['alice.news'] }]],
    ],
    [
      'sends to a member that does not take the message',
      () => [
        'POST',
        '/cmbs/message/?send&from=bob',
        asMessage('l1', { 'cmbs.message.l1_socket_receiver_member': alice.sockets.l1 }),
      ],
      () => ['send', [{ layer: 'l1', content: 'x', from: 'bob', receiver: alice.sockets.l1 }]],
    ],
    ["reads another's inbox", () => ['GET', '/cmbs/member/alice/inbox/'], () => ['read', ['alice']]],
    [
      'reads the inbox of a member that does not exist',
      () => ['GET', '/cmbs/member/nobody/inbox/'],
      () => ['read', ['nobody']],
    ],
    [
      "acknowledges in another's inbox",
      () => ['DELETE', '/cmbs/member/alice/inbox/', { entries: ['x'] }],
      () => ['acknowledge', ['alice', ['x']]],
    ],
  ])('a caller who %s is refused in the same words on every way', async (_what, http, call) => {
    const [method, args] = call();
    const refused = await overHttp(bob, ...http());
    expect(await byCall(bob, `message.${method}`, ...args)).toEqual(refused);
    const request = { jsonrpc: '2.0', id: 1, method: `message.${method}`, params: args } as const;
    const { error } = (await bob.must(200, bob.ask('POST', '/rpc', request))) as unknown as {
      readonly error: Failed;
    };
    expect([error.data?.code, withoutIds(error.message)]).toEqual(refused);
    expect(await byCall(bob, `relay.${method}`, ...args)).toEqual(refused);
  });

  it('a message that no member takes is a fault that says where the message is', async () => {
    const send = { layer: 'l1', content: 'lost', from: 'bob', receiver: alice.sockets.l1 };
    for (const method of ['message.send', 'relay.send']) {
      const { data } = await bob.fault(method, send);
      expect(data?.code).toBe('conflict');
      const { attributes } = await bob.must(200, bob.ask('GET', data?.location as string));
      expect(attributes).toMatchObject({ 'cmbs.message.delivery': { state: 'failed' } });
    }
  });

  it('an entity is shown and changed as over HTTP', async () => {
    const path = `/cmbs/message/${unique('secret')}`;
    await alice.put(path, MESSAGE, { 'cmbs.message.message_content': 'hidden' });
    const refused = await overHttp(bob, 'GET', path);
    expect(await byCall(bob, 'relay.get', path)).toEqual(refused);
    expect(await byCall(bob, 'relay.update', path, { title: 'mine' })).toEqual(refused);
    expect(await byCall(bob, 'relay.remove', path)).toEqual(refused);
    expect(await byCall(bob, 'relay.act', path, 'execute')).toEqual(refused);
    const { entities } = (await bob.result('relay.list', '/cmbs/message/', { number: 1000 })) as unknown as {
      readonly entities: readonly { readonly location: string }[];
    };
    expect(entities.map(({ location }) => location)).not.toContain(path);
    await alice.result('acl.allow', path, ['user:bob'], ['entity.read']);
    expect(await bob.result('relay.get', path)).toMatchObject({ location: path });
    expect(await byCall(bob, 'relay.remove', path)).toEqual(await overHttp(bob, 'DELETE', path));
  });

  it('nobody is refused as over HTTP', async () => {
    const nobody = { kind: 'anonymous', name: 'anonymous' } as const;
    for (const [method, ...args] of [
      ['message.send', { layer: 'l2', content: 1, from: 'alice' }],
      ['acl.list'],
      ['group.list'],
      ['token.list'],
    ] as const) {
      await expect(stack.direct(nobody, method, ...args)).rejects.toMatchObject({
        data: { code: 'unauthenticated' },
      });
    }
  });

  it('a token limits what its methods may do', async () => {
    const { id, token } = (await stack.direct(stack.principal('alice'), 'token.create', {
      name: 'reader',
      operations: ['service.call', 'entity.read', 'entity.list'],
    })) as { readonly id: string; readonly token: string };
    const reader = stack.caller(`Bearer ${token}`);
    const principal = { ...stack.principal('alice'), token: `/cmbs/access/token/${id}` };
    const send = { layer: 'l2', content: 'x', from: 'alice' };
    const refused = await overHttp(reader, 'POST', '/cmbs/message/?send&from=alice', asMessage('l2', {}));
    for (const method of ['message.send', 'relay.send']) {
      const fault = (await stack.direct(principal, method, send).catch((thrown: unknown) => thrown)) as Failed;
      expect([fault.data?.code, withoutIds(fault.message)]).toEqual(refused);
    }
    expect(await stack.direct(principal, 'relay.get', alice.member)).toMatchObject({ location: alice.member });
    expect(await stack.direct(principal, 'acl.check', 'entity.read', alice.member)).toBe(true);
    expect(await stack.direct(principal, 'acl.check', 'message.send', alice.member)).toBe(false);
    await expect(stack.direct(principal, 'message.read', 'alice')).rejects.toMatchObject({
      data: { code: 'forbidden' },
    });
    await expect(stack.direct(principal, 'token.create', {})).rejects.toMatchObject({
      data: { code: 'forbidden' },
    });
    // The token is gone at once.
    expect((await reader.ask('GET', alice.member)).status).toBe(200);
    expect(await alice.result('token.revoke', id)).toBe(true);
    expect((await reader.ask('GET', alice.member)).status).toBe(401);
  });

  it('a token is made over HTTP, and used there', async () => {
    const call = { jsonrpc: '2.0', id: 1, method: 'token.create', params: [] } as const;
    const { result } = (await alice.must(200, alice.ask('POST', '/rpc', call))) as {
      readonly result: { readonly id: string; readonly token: string };
    };
    const other = stack.caller(`Bearer ${result.token}`);
    const who = await other.must(200, other.ask('POST', '/rpc', { ...call, method: 'system.whoami' }));
    expect(who).toMatchObject({ result: { name: 'alice', session: result.id } });
    expect(await alice.result('token.revoke', result.id)).toBe(true);
  });

  it('tokens are listed for their owner, with what they are limited to, and without the secret', async () => {
    const expires_at = '2090-01-01T00:00:00Z';
    const limits = { expires_at, targets: ['entity:/cmbs/message/'], operations: ['entity.read'] };
    const { id, token } = (await stack.direct(stack.principal('bob'), 'token.create', {
      id: unique('t'),
      name: 'for a program',
      ...limits,
    })) as { readonly id: string; readonly token: string };
    expect(token).toContain('cmbs_');
    expect(await bob.result('token.list')).toEqual([{ id, name: 'for a program', ...limits }]);
    expect(JSON.stringify(await bob.result('token.list'))).not.toContain(token.split('_')[2]);
    expect(await alice.result('token.list')).toEqual([]);
    // An administrator may read all tokens, and lists its own.
    expect(await root.result('token.list')).toEqual([]);
    expect(await alice.fault('token.revoke', id)).toMatchObject({ data: { code: 'not_found' } });
    expect(await bob.fault('token.create', { operations: ['fly'] })).toMatchObject({ code: -32000 });
    await expect(
      stack.direct(stack.principal('bob'), 'token.create', { operations: ['fly'] }),
    ).rejects.toMatchObject({ data: { code: 'bad_attribute' } });
    await expect(stack.direct(stack.principal('bob'), 'token.create', { id: '../x' })).rejects.toMatchObject({
      code: -32000,
    });
    await bob.result('token.revoke', id);
  });

  it('a request with a token has the rights of the token in the methods that it calls', async () => {
    const operations = ['entity.*', 'action.invoke', 'service.call', 'message.send_as'];
    const { token } = (await stack.direct(stack.principal('alice'), 'token.create', { operations })) as {
      readonly token: string;
    };
    const limited = stack.caller(`Bearer ${token}`);
    limited.acts = alice.member;
    const refused = await overHttp(limited, 'POST', '/cmbs/message/?send&from=alice', asMessage('l2', {}));
    const send = { layer: 'l2', content: 'x', from: 'alice' };
    expect(await byCall(limited, 'message.send', send)).toEqual(refused);
    expect(await byCall(limited, 'relay.send', send)).toEqual(refused);
    expect(await byCall(limited, 'relay.call', 'message.send', [send])).toEqual(refused);
    expect(await byCall(limited, 'message.read', 'alice')).toEqual(
      await overHttp(limited, 'GET', '/cmbs/member/alice/inbox/'),
    );
    await alice.result('token.revoke', token.split('_')[1] ?? '');
  });

  it('a new token is not shown where the answer is stored', async () => {
    expect(await alice.fault('relay.call', 'token.create', [{}])).toMatchObject({ data: { code: 'forbidden' } });
    const call = { jsonrpc: '2.0', id: 1, method: 'token.create', params: [] } as const;
    const several = {
      ...call,
      method: 'system.multicall',
      params: [[{ methodName: 'token.create', params: [] }]],
    };
    for (const asked of [call, several]) {
      const { json } = await alice.ask('POST', '/rpc', asked, { 'Idempotency-Key': unique('key') });
      expect(JSON.stringify(json)).toContain('would be stored');
    }
    expect(await alice.fault('token.create', {})).toMatchObject({ code: -32000, data: { code: 'forbidden' } });
    expect(await alice.result('token.list')).toEqual([]);
  });

  it('rules have effect at once, and only administrators write those for methods', async () => {
    expect(await bob.result('acl.check', 'service.call', 'echo.echo')).toBe(true);
    expect(await alice.fault('acl.deny', 'echo.echo', ['user:bob'])).toMatchObject({
      data: { code: 'forbidden' },
    });
    const name = (await root.result('acl.deny', 'echo.echo', ['user:bob'], ['service.call'], {
      name: unique('no-echo'),
    })) as string;
    expect(await bob.fault('echo.echo', 1)).toMatchObject({ code: -32000, data: { code: 'forbidden' } });
    expect(await bob.result('acl.check', 'service.call', 'echo.echo')).toBe(false);
    expect(await alice.result('echo.echo', 1)).toEqual([1]);
    const general = (await root.result('acl.allow', 'method:', ['user:bob'])) as string;
    expect(await root.result('acl.list', 'echo.echo')).toEqual([
      {
        name,
        target: 'method:echo.echo',
        operations: ['service.call'],
        order: 'allow,deny',
        allow: [],
        deny: ['user:bob'],
      },
      {
        name: general,
        target: 'method:',
        operations: ['service.call'],
        order: 'allow,deny',
        allow: ['user:bob'],
        deny: [],
      },
    ]);
    expect(await bob.result('acl.list', 'echo.echo')).toEqual([]);
    expect(await bob.fault('acl.remove', name)).toMatchObject({ data: { code: 'not_found' } });
    await root.result('acl.remove', name);
    expect(await bob.result('echo.echo', 1)).toEqual([1]);
    await root.result('acl.remove', general);
  });

  it('who may not call a method of discovery may not use it through a module either', async () => {
    const name = unique('service');
    const rule = await root.result('acl.deny', 'discovery.register', ['user:bob']);
    for (const method of ['discovery.register', 'relay.publish']) {
      expect(await bob.fault(method, [{ name }])).toMatchObject({ code: -32000, data: { code: 'forbidden' } });
      expect(await alice.result(method, [{ name }])).toBe(0);
    }
    await root.result('acl.remove', rule);
    expect(await bob.result('relay.publish', [{ name }])).toBe(0);
  });

  it('an owner shows an entity to another user, for a time', async () => {
    const path = `/cmbs/message/${unique('shared')}`;
    await alice.put(path, MESSAGE, { 'cmbs.message.message_content': 'hello' });
    expect(await bob.result('acl.check', 'entity.read', path)).toBe(false);
    const rule = (await alice.result('acl.allow', path, ['user:bob'], ['entity.read'])) as string;
    expect(await bob.result('acl.check', 'entity.read', path)).toBe(true);
    expect((await bob.ask('GET', path)).status).toBe(200);
    expect(((await alice.result('acl.list', path)) as readonly JsonObject[]).map(({ name }) => name)).toEqual([
      rule,
    ]);
    await alice.result('acl.remove', rule);
    expect((await bob.ask('GET', path)).status).toBe(404);
    const over = (await alice.result('acl.allow', path, ['user:bob'], ['entity.read'], {
      until: '2001-01-01T00:00:00Z',
    })) as string;
    expect((await bob.ask('GET', path)).status).toBe(404);
    await alice.result('acl.remove', over);
    expect(await bob.fault('acl.allow', path, ['user:bob'], ['entity.read'])).toMatchObject({
      data: { code: 'forbidden' },
    });
  });

  it.each<readonly [string, readonly Json[], string | number]>([
    ['acl.allow', [], -32602],
    ['acl.allow', ['echo.echo', []], -32602],
    ['acl.allow', ['echo.echo', 'user:bob'], -32602],
    ['acl.allow', ['echo.echo', ['bob']], 'bad_attribute'],
    ['acl.allow', ['echo.echo', ['user:bob'], ['fly']], 'bad_attribute'],
    ['acl.allow', ['no target:x', ['user:bob'], ['entity.read']], 'bad_request'],
    ['acl.allow', ['echo.echo', ['user:bob'], ['service.call'], { name: '../user/root' }], 'bad_request'],
    ['acl.allow', ['echo.echo', ['user:bob'], ['service.call'], { until: 'tomorrow' }], 'bad_attribute'],
    ['acl.remove', ['../user/alice'], 'not_found'],
    ['acl.remove', [`__proto__`], 'not_found'],
    ['acl.check', ['fly', 'echo.echo'], -32602],
    ['acl.check', ['entity.read', 'x:y'], 'bad_request'],
    ['acl.list', ['x:y'], 'bad_request'],
    ['group.create', ['../user/alice'], 'bad_request'],
    ['group.create', ['crowd', { members: ['everybody'] }], 'bad_attribute'],
    ['group.create', ['crowd', { others: [] }], -32602],
    ['group.delete', ['../user/alice'], 'not_found'],
    ['group.members', ['nowhere'], 'not_found'],
    ['group.add', ['nowhere', ['user:bob']], 'not_found'],
    ['group.add', ['nowhere', []], -32602],
    ['group.add', ['nowhere', [{}]], -32602],
    ['token.revoke', ['../user/alice'], 'not_found'],
    ['token.revoke', [7], -32602],
  ])('%s%j is refused', async (method, args, expected) => {
    const { code, data } = await root.fault(method, ...args);
    expect(typeof expected === 'number' ? code : data?.code).toBe(expected);
    expect((await alice.ask('GET', '/cmbs/access/user/alice')).status).toBe(200);
  });

  it('groups give their members what rules allow the group, and lose no member that two callers add', async () => {
    const group = unique('readers');
    const path = `/cmbs/message/${unique('for-readers')}`;
    await alice.put(path, MESSAGE, { 'cmbs.message.message_content': 'hello' });
    await alice.result('acl.allow', path, [`group:${group}`], ['entity.read']);
    expect(await bob.fault('group.create', group)).toMatchObject({ data: { code: 'forbidden' } });
    expect(await root.result('group.create', group, { administrators: ['user:alice'] })).toBe(true);
    expect(await root.fault('group.create', group)).toMatchObject({ data: { code: 'conflict' } });
    expect((await bob.ask('GET', path)).status).toBe(404);
    // The administrator of a group changes its members.
    expect(await alice.result('group.add', group, ['user:bob'])).toEqual(['user:bob']);
    expect((await bob.ask('GET', path)).status).toBe(200);
    expect(await bob.fault('group.add', group, ['user:carol'])).toMatchObject({ data: { code: 'not_found' } });
    const names = Array.from({ length: 8 }, (_, at) => `user:member-${at}`);
    await Promise.all(names.map((name) => alice.result('group.add', group, [name])));
    expect([...((await root.result('group.members', group)) as readonly string[])].sort()).toEqual(
      ['user:bob', ...names].sort(),
    );
    expect(await alice.result('group.remove', group, [...names, 'user:never'])).toEqual(['user:bob']);
    expect(await alice.result('group.remove', group, ['user:bob'])).toEqual([]);
    expect((await bob.ask('GET', path)).status).toBe(404);
    expect(await root.result('group.add_administrators', group, ['user:bob'])).toEqual(['user:alice', 'user:bob']);
    expect(await bob.result('group.list')).toEqual([group]);
    expect(await root.result('group.remove_administrators', group, ['user:bob'])).toEqual(['user:alice']);
    expect(await root.result('group.administrators', group)).toEqual(['user:alice']);
    expect(await bob.result('group.list')).toEqual([]);
    expect(await alice.fault('group.delete', group)).toMatchObject({ data: { code: 'forbidden' } });
    expect(await root.result('group.delete', group)).toBe(true);
    expect(await root.fault('group.members', group)).toMatchObject({ data: { code: 'not_found' } });
  });
});

describe('a module that sends when it starts', () => {
  const source = `${RELAY}
    let outcome = null;
    methods.outcome = { documentation: 'For a test.', signatures: ['any'], call: () => outcome };
    export const startup = async (server) => {
      const sent = await server.broker
        .send({ layer: 'l32', content: 'started', topics: ['status.relay'], from: 'station', wait: 0 })
        .catch(({ code, message, data }) => ({ code, message, data }));
      outcome = sent;
    };`;

  it('acts as the service, which a rule must allow', async () => {
    const stack = new ServiceStack(true);
    try {
      await stack.start(worker);
      const alice = await stack.user('alice');
      const root = stack.root;
      root.acts = alice.member;
      await root.put('/cmbs/member/station', `${CMBS}member`, { 'cmbs.member.l1_socket': await freeSocket() });
      await stack.stop();
      await stack.start(worker, source);
      expect(await root.result('relay.outcome')).toMatchObject({ code: -32000, data: { code: 'not_found' } });
      // The rules of docs/services.md.
      for (const [target, operations] of [
        ['/cmbs/message/', ['entity.read', 'message.send', 'message.deliver']],
        ['member:/cmbs/member/station', ['message.send_as']],
        ['topic:status.>', ['topic.publish']],
      ] as const) {
        await root.result('acl.allow', target, ['service:module:relay'], operations);
      }
      await stack.stop();
      await stack.start(worker, source);
      const { location } = (await root.result('relay.outcome')) as { readonly location: string };
      const state = await eventually(
        async () => (await root.must(200, root.ask('GET', location))).attributes as JsonObject,
        (attributes) => (attributes['cmbs.message.delivery'] as JsonObject).state === 'published',
        'the message is out',
      );
      expect(state).toMatchObject({ 'cmbs.message.delivery': { from: '/cmbs/member/station' } });
      expect((await alice.ask('GET', location)).status).toBe(404);
    } finally {
      await stack.close();
    }
  });

  it('uses the domain in the order of the start, in an open stack without a rule', async () => {
    const stack = new ServiceStack(false);
    try {
      await stack.start(worker);
      const alice = await stack.user('alice');
      await stack.stop();
      await stack.start(worker, source.replace("'station'", "'alice'"));
      expect(await alice.result('relay.outcome')).toMatchObject({ delivery: { from: alice.member } });
    } finally {
      await stack.close();
    }
  });
});
