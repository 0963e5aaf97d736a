/** The module `discovery` in a closed deployment: publishers, members, modules, expiry. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModuleAnnouncements } from '@cmbs/companion';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { type Json, type JsonObject, type Principal, silentLog } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { discoveryModule, ServiceRegistry } from '@cmbs/shared/services/builtin';
import { type ServiceModule, Services, type Value } from '@cmbs/shared/services';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import type { Store } from '@cmbs/shared/store';
import { ManualClock } from '../contract/manual-clock';
import { eventually } from '../e2e/harness';
import { PATIENCE_MS } from '../patience';

const ACCESS = 'http://houssem.org/cmbs/access#';
const MEMBER = 'http://houssem.org/cmbs#member';
const MESSAGE = 'http://houssem.org/cmbs#message';

const MINUTE_MS = 60_000;
const user = (name: string): Principal => ({ kind: 'user', name });
const [ALICE, BOB, ROOT] = [user('alice'), user('bob'), user('root')];

interface Found {
  readonly services: readonly JsonObject[];
  readonly next?: string;
}

describe('records', () => {
  let directory: string;
  let store: Store;
  let clock: ManualClock;
  let services: Services;
  let registry: ServiceRegistry;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cmbs-discovery-'));
    clock = new ManualClock();
    store = await openSqliteStore({ directory, clock, log: silentLog });
    use({});
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  function use(limits: { ofPublisher?: number; records?: number }): void {
    registry = new ServiceRegistry({
      store,
      clock,
      isAdministrator: ({ name }) => Promise.resolve(name === 'root'),
      limits: { ofPublisher: 100, records: 10_000, ...limits },
    });
    services = new Services({ clock, newId: () => 'id' });
    services.register(discoveryModule({ registry, members: () => undefined }));
  }

  async function call(principal: Principal, method: string, ...params: readonly Value[]): Promise<Value> {
    const signal = new AbortController().signal;
    return services
      .call(`discovery.${method}`, params, { principal, signal, log: silentLog })
      .catch((fault: unknown) => {
        const { code, data } = fault as { readonly code: number; readonly data?: Json };
        return { code, data } as Value;
      });
  }
  const found = async (query: Readonly<Record<string, Value>> = {}): Promise<readonly JsonObject[]> =>
    ((await call(BOB, 'find', query)) as unknown as Found).services;
  const namesOf = async (query: Readonly<Record<string, Value>> = {}): Promise<readonly unknown[]> =>
    (await found(query)).map(({ name }) => name);

  const FULL = {
    name: 'tier1.srm',
    vo: 'cms',
    site: 'CERN',
    admin: 'srm@example.org',
    wsdl: 'https://srm.example.org/srm.wsdl',
    version: '2.2',
    endpoint: [{ uri: 'https://srm.example.org:8443/RPC2', encoding: 'xmlrpc' }],
    item: [{ key: 'protocol', value: 'gsiftp' }],
  };

  it('are found as they were published, by each of their parts, with the publisher that was', async () => {
    expect(await call(ALICE, 'register', [{ ...FULL, provider_dn: 'user:root' }, { name: 'other' }])).toBe(0);
    const expire = (clock.now() + 15 * MINUTE_MS) / 1000;
    expect(await found({ name: 'tier1.srm' })).toEqual([{ ...FULL, provider_dn: 'user:alice', expire }]);
    for (const query of [
      { vo: 'cms' },
      { site: 'CERN' },
      { item: { key: 'protocol', value: 'gsiftp' } },
      { name: 'tier1.srm', vo: 'cms', site: 'CERN', provider_dn: 'user:alice' },
    ]) {
      expect([query, await namesOf(query)]).toEqual([query, ['tier1.srm']]);
    }
    for (const query of [
      { vo: 'atlas' },
      { name: 'tier1' },
      { name: 'tier1.srm', vo: 'atlas' },
      { item: { key: 'gsiftp', value: 'protocol' } },
      { provider_dn: 'user:root' },
    ]) {
      expect([query, await namesOf(query)]).toEqual([query, []]);
    }
    expect(await call(BOB, 'list_names')).toEqual({ names: ['other', 'tier1.srm'] });
  });

  it('are gone after three intervals, unless they are published again', async () => {
    await call(ALICE, 'register', [{ name: 'renewed' }, { name: 'forgotten' }]);
    for (let interval = 0; interval < 2; interval += 1) {
      clock.advance(5 * MINUTE_MS);
      await call(ALICE, 'register', [{ name: 'renewed', version: String(interval) }]);
    }
    clock.advance(5 * MINUTE_MS - 1);
    expect(await namesOf()).toEqual(['forgotten', 'renewed']);
    clock.advance(1);
    expect(await found()).toMatchObject([{ name: 'renewed', version: '1' }]);
    clock.advance(10 * MINUTE_MS);
    expect(await namesOf()).toEqual([]);
    expect(await call(BOB, 'list_names')).toEqual({ names: [] });
  });

  it('live as long as their publisher says, within a day', async () => {
    const now = clock.now() / 1000;
    await call(ALICE, 'register', [
      { name: 'short', expire: now + 60 },
      { name: 'long', expire: now + 100 * 24 * 3600 },
    ]);
    expect((await found({ name: 'long' }))[0]?.expire).toBe(now + 24 * 3600);
    clock.advance(MINUTE_MS);
    expect(await namesOf()).toEqual(['long']);
    expect(await call(ALICE, 'expire', { name: 'long' }, now + 120)).toBe(1);
    clock.advance(MINUTE_MS);
    expect(await namesOf()).toEqual([]);
    expect(await call(ALICE, 'register', [{ name: 'past', expire: now }])).toMatchObject({
      data: { code: 'bad_request' },
    });
  });

  it('belong to their publishers, and to administrators', async () => {
    await call(ALICE, 'register', [{ name: 'shared', site: 'a' }]);
    await call(BOB, 'register', [{ name: 'shared', site: 'a' }]);
    expect((await found({ name: 'shared' })).map((record) => record.provider_dn).sort()).toEqual([
      'user:alice',
      'user:bob',
    ]);
    expect(await call(BOB, 'deregister', { name: 'shared', provider_dn: 'user:alice' })).toMatchObject({
      data: { code: 'forbidden' },
    });
    expect(await call(BOB, 'expire', { name: 'shared', provider_dn: 'user:alice' }, 0)).toMatchObject({
      data: { code: 'forbidden' },
    });
    expect(await call(BOB, 'deregister', { name: 'shared', site: 'b' })).toBe(0);
    expect(await call(BOB, 'deregister', { name: 'shared' })).toBe(1);
    expect(await found({ name: 'shared' })).toMatchObject([{ provider_dn: 'user:alice' }]);
    // A token publishes for its user, and a member of the same name is another publisher.
    await call({ ...ALICE, token: '/cmbs/access/token/x' }, 'register', [
      { name: 'shared', site: 'a', version: '2' },
    ]);
    await call({ kind: 'member', name: 'alice' }, 'register', [{ name: 'shared', site: 'a' }]);
    expect(await found({ name: 'shared', provider_dn: 'user:alice' })).toMatchObject([{ version: '2' }]);
    expect(await call(ROOT, 'deregister', { name: 'shared', provider_dn: 'user:alice' })).toBe(1);
    expect(await found({ name: 'shared' })).toMatchObject([{ provider_dn: 'member:alice' }]);
  });

  it('are bounded for each publisher and in all, and registered all or none', async () => {
    use({ ofPublisher: 3, records: 5 });
    const some = (prefix: string, count: number) =>
      Array.from({ length: count }, (_, n) => ({ name: `${prefix}${n}` }));
    expect(await call(ALICE, 'register', some('a', 4))).toMatchObject({ data: { code: 'storage_full' } });
    expect(await namesOf()).toEqual([]);
    expect(await call(ALICE, 'register', some('a', 3))).toBe(0);
    expect(await call(ALICE, 'register', some('a', 3))).toBe(0);
    expect(await call(ALICE, 'register', [{ name: 'b' }])).toMatchObject({ data: { code: 'storage_full' } });
    expect(await call(BOB, 'register', some('c', 3))).toMatchObject({ data: { code: 'storage_full' } });
    expect(await call(BOB, 'register', some('c', 2))).toBe(0);
    clock.advance(15 * MINUTE_MS);
    expect(await call(BOB, 'register', some('c', 3))).toBe(0);
  });

  it('are found in pages', async () => {
    const names = Array.from({ length: 50 }, (_, n) => `service-${String(n).padStart(2, '0')}`);
    await call(
      ALICE,
      'register',
      names.map((name) => ({ name })),
    );
    const seen: unknown[] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const query: Readonly<Record<string, Value>> = { limit: 7, ...(cursor === '' ? {} : { cursor }) };
      const page = (await call(BOB, 'find', query)) as unknown as Found;
      seen.push(...page.services.map(({ name }) => name));
      cursor = page.next;
    }
    expect(seen).toEqual(names);
    expect(await call(BOB, 'find', { cursor: 'x' })).toMatchObject({ data: { code: 'bad_request' } });
    expect(await call(BOB, 'find', { cursor: 'snonsense' })).toMatchObject({ data: { code: 'bad_request' } });
  });

  it.each<[string, Value]>([
    ['no name', {}],
    ['an empty name', { name: '' }],
    ['a name with a line break', { name: 'a\nb' }],
    ['a name with a lone surrogate', { name: '\ud800' }],
    ['a long name', { name: 'x'.repeat(201) }],
    ['an unknown part', { name: 'a', endpoints: [] }],
    ['a part of Object.prototype', JSON.parse('{"name":"a","__proto__":{"x":1}}') as Value],
    ['a script for an endpoint', { name: 'a', endpoint: [{ uri: 'javascript:alert(1)', encoding: 'xmlrpc' }] }],
    ['an endpoint without encoding', { name: 'a', endpoint: [{ uri: 'https://a/' }] }],
    [
      'very many endpoints',
      { name: 'a', endpoint: Array(17).fill({ uri: 'https://a/', encoding: 'x' }) as Value },
    ],
    ['very many items', { name: 'a', item: Array(33).fill({ key: 'a', value: 'b' }) as Value }],
    ['a long item', { name: 'a', item: [{ key: 'a', value: 'x'.repeat(501) }] }],
    ['a number for a text', { name: 'a', vo: 1 }],
    ['a fraction for a time', { name: 'a', expire: 1.5 }],
    ['a negative time', { name: 'a', expire: -1 }],
    ['no struct', 'a'],
    ['nil', null],
  ])('are refused with %s', async (_what, descriptor) => {
    expect(await call(ALICE, 'register', [{ name: 'fine' }, descriptor])).toMatchObject({ code: -32602 });
    expect(await namesOf()).toEqual([]);
  });

  it('are refused beyond a size, or too many at a time', async () => {
    const item = Array.from({ length: 20 }, (_, n) => ({ key: String(n), value: 'x'.repeat(500) }));
    expect(await call(ALICE, 'register', [{ name: 'a', item }])).toMatchObject({ data: { code: 'too_large' } });
    const many = Array.from({ length: 51 }, (_, n) => ({ name: `n${n}` }));
    for (const params of [
      [many],
      [[]],
      [],
      [{ name: 'a' }],
      [[{ name: 'a' }], 1],
    ] as readonly (readonly Value[])[]) {
      expect(await call(ALICE, 'register', ...params)).toMatchObject({ code: -32602 });
    }
    expect(await call(ALICE, 'deregister', {})).toMatchObject({ code: -32602 });
    expect(await call(ALICE, 'find', { nmae: 'a' })).toMatchObject({ code: -32602 });
  });

  it('of modules are published every five minutes, also after a failure, and are gone when nobody does', async () => {
    const echo: ServiceModule = {
      name: 'echo',
      methods: { echo: { documentation: 'x', signatures: [['array']], call: () => [] } },
    };
    services.register(echo);
    services.replace({ ...echo, name: 'weather', version: '2.1' });
    let failures = 1;
    let publications = 0;
    const announcements = ModuleAnnouncements.start({
      registry: {
        register: async (...what) => {
          if (failures-- > 0) throw new Error('the store does not answer');
          await registry.register(...what);
          publications += 1;
        },
      },
      services,
      url: 'https://cmbs.example.org',
      clock,
      log: silentLog,
    });
    await clock.waiting();
    expect(await namesOf()).toEqual([]);
    for (let interval = 1; interval <= 4; interval += 1) {
      clock.advance(5 * MINUTE_MS);
      await clock.waiting();
      await eventually(
        () => publications,
        (count) => count === interval,
        'published',
      );
    }
    expect(await found({ name: 'echo' })).toMatchObject([
      {
        site: 'https://cmbs.example.org',
        provider_dn: 'system:system',
        endpoint: [
          { uri: 'https://cmbs.example.org/RPC2', encoding: 'xmlrpc' },
          { uri: 'https://cmbs.example.org/rpc', encoding: 'jsonrpc' },
        ],
        item: [{ key: 'kind', value: 'module' }],
      },
    ]);
    expect(await found({ name: 'weather' })).toMatchObject([{ version: '2.1' }]);
    expect(await call(ALICE, 'deregister', { name: 'echo', provider_dn: 'system:system' })).toMatchObject({
      data: { code: 'forbidden' },
    });
    await announcements.close();
    clock.advance(15 * MINUTE_MS - 1);
    expect(await namesOf()).toEqual(['discovery', 'echo', 'weather']);
    clock.advance(1);
    expect(await namesOf()).toEqual([]);
  });
});

describe('in a deployment', () => {
  let directory: string;
  let stack: Stack;
  let serial = 0;
  const passwords: Readonly<Record<string, string>> = {
    root: 'password of root',
    alice: 'password of alice',
    bob: 'password of bob',
  };

  async function ask(who: string, method: string, path: string, body?: JsonObject): Promise<JsonObject> {
    const credentials = Buffer.from(`${who}:${passwords[who] ?? ''}`).toString('base64');
    const answer = await fetch(stack.url + path, {
      method,
      headers: {
        Authorization: `Basic ${credentials}`,
        'Content-Type': 'application/json',
        Accept: 'application/json',
      },
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const json = (await answer.json()) as JsonObject;
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(json)}`);
    return json;
  }
  const create = (who: string, path: string, kind: string, attributes: JsonObject): Promise<JsonObject> =>
    ask(who, 'PUT', path, { kind, attributes });

  async function call(who: string, method: string, ...params: readonly Json[]): Promise<Json> {
    const path = `/cmbs/message/${who}-${(serial += 1)}`;
    await create(who, path, MESSAGE, {
      'cmbs.message.executable': 'true',
      'cmbs.message.message_content': { jsonrpc: '2.0', id: 1, method: `discovery.${method}`, params },
    });
    const { attributes } = await ask(who, 'POST', `${path}?action=execute`, {
      attributes: { from: `/cmbs/member/${who === 'root' ? 'alice' : who}` },
    });
    const { result, error } = (attributes as JsonObject)['cmbs.message.result'] as JsonObject;
    return result ?? (error as Json);
  }
  const find = async (who: string, query: JsonObject): Promise<readonly JsonObject[]> =>
    ((await call(who, 'find', query)) as unknown as Found).services;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cmbs-discovery-'));
    writeFileSync(join(directory, 'password'), passwords.root ?? '');
    stack = await startStack({
      config: readConfig({
        PORT: '0',
        ...ANY_PORT,
        CMBS_DATA_DIR: join(directory, 'data'),
        CMBS_IDENTITIES: 'basic',
        CMBS_ADMINISTRATORS: 'root',
        CMBS_ADMIN_PASSWORD_FILE: join(directory, 'password'),
      }),
      log: silentLog,
    });
    for (const who of ['alice', 'bob']) {
      await create('root', `/cmbs/access/user/${who}`, `${ACCESS}user`, {
        'cmbs.access.user.password': passwords[who] ?? '',
      });
      await create(who, `/cmbs/member/${who}`, MEMBER, {
        'cmbs.member.start': ['l1', 'l2'],
        'cmbs.member.state': 'active',
      });
    }
  });
  afterAll(async () => {
    await stack.close();
    rmSync(directory, { recursive: true });
  });

  it('one user finds what another published, and its own members alone', async () => {
    expect(
      await call('alice', 'register', [
        { name: 'weather', vo: 'cms', endpoint: [{ uri: 'https://w.example/RPC2', encoding: 'xmlrpc' }] },
      ]),
    ).toBe(0);
    expect(await find('bob', { name: 'weather' })).toMatchObject([{ provider_dn: 'user:alice', vo: 'cms' }]);
    const own = await eventually(
      () => find('bob', { item: { key: 'kind', value: 'member' } }),
      ([member]) => (member?.endpoint as readonly Json[] | undefined)?.length === 2,
      "bob's member is open on two layers",
    );
    expect(own).toMatchObject([
      {
        name: 'bob',
        site: stack.url,
        provider_dn: 'user:bob',
        endpoint: [
          { uri: expect.stringMatching(/^tcp:/) as string, encoding: 'l1' },
          { uri: expect.stringMatching(/^tcp:/) as string, encoding: 'l2' },
        ],
      },
    ]);
    expect(await find('bob', { name: 'bob' })).toMatchObject([{ name: 'bob' }]);
    expect(await find('bob', { name: 'alice' })).toEqual([]);
    const all = (await find('root', { item: { key: 'kind', value: 'member' } })).map(({ name }) => name);
    expect(all).toEqual(['alice', 'bob']);
    await create('root', '/cmbs/access/rule/alice-for-bob', `${ACCESS}rule`, {
      'cmbs.access.rule.target': 'member:/cmbs/member/alice',
      'cmbs.access.rule.operations': ['entity.read'],
      'cmbs.access.rule.allow': ['user:bob'],
    });
    expect(await find('bob', { name: 'alice' })).toMatchObject([{ name: 'alice' }]);
    expect(await call('bob', 'deregister', { name: 'weather', provider_dn: 'user:alice' })).toMatchObject({
      code: -32000,
      data: { code: 'forbidden' },
    });
    expect(await call('root', 'deregister', { name: 'weather', provider_dn: 'user:alice' })).toBe(1);
    expect(await find('bob', { name: 'weather' })).toEqual([]);
  });

  it('members that were described here are found, and changes show at once', async () => {
    await create('root', '/cmbs/member/remote', MEMBER, {
      'cmbs.member.local': 'false',
      'cmbs.member.l1_socket': 'tcp://127.0.0.1:5999',
      'cmbs.member.topics': ['news.>'],
    });
    expect(await find('root', { item: { key: 'topic', value: 'news.>' } })).toMatchObject([
      { name: 'remote', site: '', endpoint: [{ uri: 'tcp://127.0.0.1:5999', encoding: 'l1' }] },
    ]);
    expect((await find('root', { item: { key: 'local', value: 'false' } })).map(({ name }) => name)).toEqual([
      'remote',
    ]);
    expect(
      (await find('root', { site: stack.url, item: { key: 'kind', value: 'member' } })).map(({ name }) => name),
    ).toEqual(['alice', 'bob']);
    await ask('root', 'DELETE', '/cmbs/member/remote');
    expect(await find('root', { name: 'remote' })).toEqual([]);
  });

  it('all records and members come in pages, each once', async () => {
    await call('alice', 'register', [{ name: 'one' }, { name: 'two' }]);
    const names: unknown[] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const page = (await call('root', 'find', {
        limit: 2,
        ...(cursor === '' ? {} : { cursor }),
      })) as unknown as Found;
      names.push(...page.services.map(({ name }) => name));
      cursor = page.next;
    }
    expect(names).toEqual([...new Set(names)]);
    expect(names).toEqual(
      expect.arrayContaining(['one', 'two', 'echo', 'system', 'discovery', 'file', 'alice', 'bob']),
    );
  });
});
