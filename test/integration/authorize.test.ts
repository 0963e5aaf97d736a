/**
 * The domain authorizes every operation with the stored resource, before it shows or changes anything: requests of the
 * OCCI interface, pushes, and service calls.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ANONYMOUS,
  CmbsError,
  newId,
  silentCounters,
  silentLog,
  systemClock,
  type Authorize,
  TOPIC_BUS,
  type JsonObject,
  type Operation,
  type Principal,
} from '@cmbs/shared';
import { embeddedBus } from '@cmbs/shared/bus/embedded';
import { DESIRED, layerMixin, layersOf } from '@cmbs/shared/broker';
import { EXTENSIONS, readConfig } from '@cmbs/shared/config';
import {
  type Action,
  Categories,
  categoryId,
  Entities,
  readEntity,
  RENDERINGS,
  writeEntity,
} from '@cmbs/shared/occi';
import { passiveExtensionsOf } from '@cmbs/shared/extensions';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import { codecsOf, standardServices } from '@cmbs/shared/services';
import { GovernedFiles, VirtualFiles } from '@cmbs/shared/services/builtin';
import { Companion } from '@cmbs/companion';
import type { App } from '@cmbs/functions/app';
import { assemble } from '@cmbs/functions/assemble';
import { parseQuery, splitTarget } from '@cmbs/functions/http-parse';
import type { OcciRequest } from '@cmbs/functions/request';
import { ROUTES, routeFor } from '@cmbs/functions/routes';
import { METHODS, serve } from '@cmbs/functions/serve';
import { localTokens, localVerifier } from '../../shared/rpc/identity/local';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const COMPUTE = 'http://schemas.ogf.org/occi/infrastructure#compute';
const START = 'http://schemas.ogf.org/occi/infrastructure/compute/action#start';
const OWN = 'http://example.com/own#';
const OWN_KIND = `${OWN}thing`;
const OWN_MIXIN = `${OWN}marked`;
const LINK = 'http://schemas.ogf.org/occi/core#link';
/** Title of every entity, so that every answer that shows an entity contains it. */
const SECRET = 'the secret title';
const ALICE: Principal = { kind: 'user', name: 'alice' };
const CMBS = 'http://houssem.org/cmbs#';
const MEMBER = '/cmbs/member/bob';
const PUSHER = 'pubsub@cmbs.local';
const AUDIENCE = 'https://push.example.org';
const KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;

/** A question to `authorize`: the operation, the path of the resource, and the action if there is one. */
type Question = readonly [operation: Operation, path: string, action?: string];

let temporary: TemporaryStore;
let app: App;
let asked: Question[];
let askedBy: Principal[];
let denied: Question | undefined;
/** Whether every question is denied. */
let isClosed: boolean;
let companion: Companion;
/** The directory of the files, and the files. */
let files: string;
let disk: VirtualFiles;
let closeBus: () => Promise<void>;

const isSame = (a: Question, b: Question): boolean => JSON.stringify(a) === JSON.stringify(b);

beforeEach(async () => {
  temporary = await openTemporaryStore();
  asked = [];
  askedBy = [];
  denied = undefined;
  isClosed = false;
  const { store } = temporary;
  const common = { store, clock: systemClock, newId, log: silentLog };
  const bus = embeddedBus(common);
  closeBus = () => bus.close();
  const authorize: Authorize = (principal, operation, { path, action }) => {
    const question: Question = action === undefined ? [operation, path] : [operation, path, action];
    asked.push(question);
    askedBy.push(principal);
    if (!isClosed && (denied === undefined || !isSame(question, denied))) return Promise.resolve();
    return Promise.reject(new CmbsError('forbidden', 'You may not do that.'));
  };
  const deciding = {
    ...common,
    bus,
    authorize,
    codecs: codecsOf(),
    deployment: 'test',
    uriOf: (path: string) => path,
  };
  const services = standardServices({ clock: systemClock, newId, authorize });
  files = mkdtempSync(join(tmpdir(), 'cmbs-files-'));
  writeFileSync(join(files, 'secret.txt'), SECRET);
  disk = await VirtualFiles.open(files, { clock: systemClock, bytes: 1_000_000 });
  const config = readConfig({ CMBS_EXTENSIONS: EXTENSIONS.join(',') });
  app = assemble(
    {
      ...deciding,
      rpc: inProcessRpc(() => companion, systemClock),
      ready: () => Promise.resolve(),
      files: new GovernedFiles({
        disk,
        authorize,
        visibility: { partsFor: () => Promise.resolve(undefined), maySee: () => Promise.resolve(!isClosed) },
      }),
      push: {
        services,
        signed: { verifier: localVerifier(KEY), expected: { audience: AUDIENCE, accounts: [PUSHER] } },
      },
    },
    config,
  );
  companion = await Companion.start({
    ...deciding,
    services,
    categories: app.categories,
    counters: silentCounters,
    discovery: 'open',
    queueLimit: config.CMBS_QUEUE_LIMIT,
    inboxLimit: config.CMBS_INBOX_LIMIT,
    inboxBytes: config.CMBS_INBOX_BYTES,
    exchanges: [],
  });
  const definitions = {
    kinds: [{ term: 'thing', scheme: OWN, location: '/thing/', attributes: {} }],
    mixins: [{ term: 'marked', scheme: OWN, location: '/marked/', attributes: {} }],
  };
  await request({ method: 'POST', target: '/-/', body: definitions });
  for (const id of ['a', 'b']) {
    const body = { kind: COMPUTE, title: SECRET, mixins: id === 'a' ? [] : [OWN_MIXIN], attributes: {} };
    const { status } = await request({ method: 'PUT', target: `/compute/${id}`, body });
    expect(status).toBe(201);
  }
  asked = [];
  askedBy = [];
});
afterEach(async () => {
  await companion.close();
  app.categories.close();
  await closeBus();
  await temporary.close();
  await disk.close();
  rmSync(files, { recursive: true });
});

interface Asked {
  readonly method: string;
  readonly target: string;
  readonly body?: unknown;
  readonly authorization?: string;
}

async function request({
  method,
  target,
  body,
  authorization,
}: Asked): Promise<{ readonly status: number; readonly text: string }> {
  const { path, query } = splitTarget(target);
  const sent: OcciRequest = {
    method,
    path,
    query: parseQuery(query),
    headers: {
      accept: ['application/json'],
      ...(body === undefined ? {} : { 'content-type': ['application/json'] }),
      ...(authorization === undefined ? {} : { authorization: [authorization] }),
    },
    body: Buffer.from(body === undefined ? '' : JSON.stringify(body)),
    principal: ALICE,
    renderings: RENDERINGS,
    peerAddress: undefined,
    clientAddress: '127.0.0.1',
    base: 'http://localhost',
    signal: new AbortController().signal,
  };
  const response = await serve(routeFor(path, sent.query), sent, app);
  let text = JSON.stringify(response.headers);
  const { body: answered } = response;
  if (typeof answered === 'string') text += answered;
  else if (answered instanceof Uint8Array) text += Buffer.from(answered).toString();
  else for await (const piece of answered) text += Buffer.from(piece).toString();
  return { status: response.status, text };
}

/** All stored entities and categories, and all files. */
async function stored(): Promise<unknown> {
  const collections = ['entities', 'entity-values', 'categories', 'provider-bindings', 'category-state'];
  const documents = await Promise.all(
    collections.map(async (collection) => (await temporary.store.query({ collection, limit: 10_000 })).docs),
  );
  return [documents, readdirSync(files).map((name) => [name, readFileSync(join(files, name), 'utf8')])];
}

const thing = (title: string) => ({ kind: OWN_KIND, title, attributes: {} });
const definition = (term: string) => ({
  mixins: [{ term, scheme: OWN, location: `/${term}/`, attributes: {} }],
});

interface Case extends Asked {
  /** In order, without repetitions. */
  readonly asks: readonly Question[];
  /** An operation whose denial leaves an entity as it is, and does not refuse the request. */
  readonly leaves?: Operation;
}

/** Requests with their questions. */
const CASES: readonly Case[] = [
  { method: 'GET', target: '/compute/a', asks: [['entity.read', '/compute/a']] },
  { method: 'HEAD', target: '/compute/a', asks: [['entity.read', '/compute/a']] },
  { method: 'OPTIONS', target: '/compute/a', asks: [['entity.read', '/compute/a']] },
  { method: 'GET', target: '/compute/', asks: [['entity.list', '/compute/']] },
  { method: 'GET', target: '/marked/?q=nothing', asks: [['entity.list', '/marked/']] },
  { method: 'GET', target: '/', asks: [['entity.list', '/']] },
  {
    method: 'DELETE',
    target: '/compute/',
    body: ['/compute/b'],
    asks: [
      ['entity.list', '/compute/'],
      ['entity.delete', '/compute/b'],
    ],
  },
  { method: 'OPTIONS', target: '/compute/', asks: [['entity.list', '/compute/']] },
  {
    method: 'POST',
    target: '/',
    body: { resources: ['1', '2'].map((id) => ({ ...thing(SECRET), id })) },
    asks: [
      ['entity.create', '/thing/1'],
      ['entity.create', '/thing/2'],
    ],
  },
  {
    method: 'PUT',
    target: '/thing/new',
    body: thing(SECRET),
    asks: [
      ['entity.create', '/thing/new'],
      ['entity.read', '/thing/new'],
    ],
  },
  {
    method: 'PUT',
    target: '/compute/b',
    body: { kind: COMPUTE, title: SECRET, attributes: {} },
    asks: [
      ['entity.replace', '/compute/b'],
      ['entity.untag', '/compute/b'],
      ['entity.untag', OWN_MIXIN],
      ['entity.read', '/compute/b'],
    ],
  },
  {
    method: 'POST',
    target: '/compute/a',
    body: {
      kind: COMPUTE,
      mixins: [OWN_MIXIN],
      attributes: {},
      links: [{ kind: LINK, id: 'l', target: '/compute/b', attributes: {} }],
    },
    asks: [
      ['entity.update', '/compute/a'],
      ['entity.tag', '/compute/a'],
      ['entity.tag', OWN_MIXIN],
      ['entity.create', '/link/l'],
      ['entity.read', '/compute/a'],
    ],
  },
  { method: 'DELETE', target: '/compute/a', asks: [['entity.delete', '/compute/a']] },
  {
    method: 'DELETE',
    target: '/compute/',
    leaves: 'entity.delete',
    asks: [
      ['entity.list', '/compute/'],
      ['entity.delete', '/compute/a'],
      ['entity.delete', '/compute/b'],
    ],
  },
  {
    method: 'POST',
    target: '/marked/',
    body: ['/compute/a', '/compute/b'],
    asks: [
      ['entity.tag', OWN_MIXIN],
      ['entity.tag', '/compute/a'],
      ['entity.tag', '/compute/b'],
    ],
  },
  {
    method: 'PUT',
    target: '/marked/',
    body: ['/compute/a'],
    asks: [
      ['entity.tag', OWN_MIXIN],
      ['entity.untag', OWN_MIXIN],
      ['entity.tag', '/compute/a'],
      ['entity.untag', '/compute/b'],
    ],
  },
  {
    method: 'DELETE',
    target: '/marked/',
    body: ['/compute/b'],
    asks: [
      ['entity.untag', OWN_MIXIN],
      ['entity.untag', '/compute/b'],
    ],
  },
  {
    method: 'DELETE',
    target: '/marked/',
    asks: [
      ['entity.untag', OWN_MIXIN],
      ['entity.untag', '/compute/b'],
    ],
  },
  {
    method: 'POST',
    target: '/compute/a?action=start',
    asks: [
      ['entity.read', '/compute/a'],
      ['action.invoke', '/compute/a', START],
    ],
  },
  {
    method: 'POST',
    target: '/compute/?action=start',
    asks: [
      ['entity.list', '/compute/'],
      ['action.invoke', '/compute/a', START],
      ['action.invoke', '/compute/b', START],
    ],
  },
  { method: 'OPTIONS', target: '/cmbs/member/x?action=start_l1', asks: [['entity.read', '/cmbs/member/x']] },
  { method: 'OPTIONS', target: '/cmbs/message/?send', asks: [['entity.list', '/cmbs/message/']] },
  { method: 'GET', target: '/-/', asks: [['category.read', '/-/']] },
  { method: 'OPTIONS', target: '/-/', asks: [['category.read', '/-/']] },
  {
    method: 'POST',
    target: '/-/',
    body: { mixins: [...definition('one').mixins, ...definition('two').mixins] },
    asks: [
      ['category.create', `${OWN}one`],
      ['category.create', `${OWN}two`],
    ],
  },
  {
    method: 'PUT',
    target: '/-/',
    body: {
      mixins: [{ ...definition('marked').mixins[0], title: 'Marked' }],
      providers: [{ OCCI_ID: OWN_KIND, Provider: { local: ['dummy'], remote: [] } }],
    },
    asks: [
      ['category.update', OWN_MIXIN],
      ['category.bind', OWN_KIND],
    ],
  },
  { method: 'DELETE', target: '/-/', body: definition('marked'), asks: [['category.delete', OWN_MIXIN]] },
];

describe.each(CASES)('$method $target', ({ asks, leaves, ...sent }) => {
  it('asks about each operation with the stored resource', async () => {
    const { status } = await request(sent);
    expect(status).toBeLessThan(300);
    const questions = asked.filter((question, at) => asked.findIndex((other) => isSame(question, other)) === at);
    expect(questions).toEqual(asks);
  });

  it('shows and changes nothing when one of its questions is denied', async () => {
    const before = await stored();
    for (const question of asks.filter(([operation]) => operation !== leaves)) {
      denied = question;
      const { status, text } = await request(sent);
      expect({ question, status }).toEqual({ question, status: 403 });
      expect(text).not.toContain(SECRET);
      expect(await stored()).toEqual(before);
    }
  });
});

it('a deletion of a collection leaves an entity that the caller may not delete', async () => {
  denied = ['entity.delete', '/compute/a'];
  expect((await request({ method: 'DELETE', target: '/compute/' })).status).toBe(200);
  const left = async (id: string): Promise<number> =>
    (await request({ method: 'GET', target: `/compute/${id}` })).status;
  expect([await left('a'), await left('b')]).toEqual([200, 404]);
  // When nothing can be deleted, the answer is the refusal.
  expect((await request({ method: 'DELETE', target: '/compute/' })).status).toBe(403);
});

it('a question names the kind, the mixins and the owner of the entity', async () => {
  const asks: unknown[] = [];
  const entities = new Entities({
    store: temporary.store,
    categories: app.categories,
    clock: systemClock,
    newId,
    authorize: async (...question) => void asks.push(question),
  });
  await entities.read('/compute/b', ANONYMOUS);
  const resource = { path: '/compute/b', kind: COMPUTE, mixins: [OWN_MIXIN], owner: ALICE.name };
  expect(asks).toEqual([[ANONYMOUS, 'entity.read', resource]]);
});

it('an entity stores the principal that made it', async () => {
  await request({
    method: 'POST',
    target: '/compute/a',
    body: { kind: COMPUTE, links: [{ kind: LINK, id: 'l', target: '/compute/b', attributes: {} }] },
  });
  for (const path of ['/compute/a', '/link/l']) {
    const made = await readEntity(temporary.store, path);
    expect(made?.entity).toMatchObject({ owner: ALICE.name, createdBy: ALICE });
  }
});

it('categories without an authorization function are neither shown nor changed', async () => {
  const categories = new Categories(temporary.store, []);
  await expect(categories.read(ALICE)).rejects.toMatchObject({ code: 'forbidden' });
  await expect(
    categories.remove({ categories: [], providers: [{ category: OWN_KIND, local: [], remote: [] }] }, ALICE),
  ).rejects.toMatchObject({ code: 'forbidden' });
  categories.close();
});

describe('an inbox', () => {
  const requests: readonly Asked[] = [
    { method: 'GET', target: `${MEMBER}/inbox/` },
    { method: 'HEAD', target: `${MEMBER}/inbox/` },
    { method: 'DELETE', target: `${MEMBER}/inbox/entry` },
    { method: 'PUT', target: `${MEMBER}/inbox/` },
  ];

  it.each(requests)('answers a denied $method alike whether or not the member exists', async (sent) => {
    denied = [sent.method === 'DELETE' ? 'inbox.acknowledge' : 'inbox.read', MEMBER];
    const absent = await request(sent);
    await member(['l32']);
    const present = await request(sent);
    expect(present).toEqual(absent);
    expect(present.status).toBe(403);
  });

  it('is looked up only for a caller who may read it', async () => {
    expect((await request({ method: 'GET', target: `${MEMBER}/inbox/` })).status).toBe(404);
    await member(['l32']);
    expect((await request({ method: 'GET', target: `${MEMBER}/inbox/` })).status).toBe(200);
    expect(asked).toContainEqual(['inbox.read', MEMBER]);
  });
});

describe('a pushed message', () => {
  beforeEach(() => member(['l32']));

  it('acts as the topic bus, which its stored copy names as the principal', async () => {
    const { status } = await push('note');
    expect(status).toBe(204);
    expect(asked).toContainEqual(['message.receive', MEMBER]);
    // Whether the member may have the topic is asked of the member's owner.
    const isSubscribing = ([operation]: (typeof asked)[number]): boolean => operation === 'topic.subscribe';
    expect(askedBy).toEqual(asked.map((one) => (isSubscribing(one) ? ALICE : TOPIC_BUS)));
    expect(asked.filter(isSubscribing)).toHaveLength(1);
    expect((await readEntity(temporary.store, '/cmbs/message/note'))?.entity.createdBy).toEqual(TOPIC_BUS);
  });

  it('is not received when the topic bus may not deliver to the member', async () => {
    const before = await stored();
    denied = ['message.receive', MEMBER];
    expect((await push('note')).status).toBe(403);
    expect(await stored()).toEqual(before);
    expect((await temporary.store.query({ collection: 'inbox:bob', limit: 1 })).docs).toEqual([]);
  });

  it('gets a fault when the topic bus may not call the service', async () => {
    const call = { method: 'echo.echo', params: [SECRET] };
    denied = ['service.call', 'service:echo.echo'];
    expect((await push('denied', call)).status).toBe(204);
    expect(await resultOf('denied')).toMatchObject({ error: { code: -32000, data: { code: 'forbidden' } } });
    denied = undefined;
    expect((await push('allowed', call)).status).toBe(204);
    expect(await resultOf('allowed')).toEqual({ result: [SECRET] });
  });

  it('asks nothing when its token is not valid', async () => {
    expect((await push('forged', 'text', `Bearer ${await token('else@cmbs.local')}`)).status).toBe(403);
    expect((await push('forged', 'text', 'Bearer none')).status).toBe(401);
    expect(asked).toEqual([]);
  });
});

describe('a call in a message', () => {
  const execute: Asked = { method: 'POST', target: '/cmbs/message/call?action=execute', body: { attributes: {} } };

  beforeEach(async () => {
    await member([]);
    await request({
      method: 'PUT',
      target: '/cmbs/message/call',
      body: {
        kind: `${CMBS}message`,
        attributes: { 'cmbs.message.message_content': { method: 'echo.echo', params: ['text'] } },
      },
    });
    asked = [];
    askedBy = [];
  });

  it('is authorized for the principal whose request executes the message', async () => {
    const { status } = await request(execute);
    expect(status).toBe(200);
    expect(asked).toContainEqual(['service.call', 'service:echo.echo']);
    expect(askedBy).toEqual(asked.map(() => ALICE));
    expect(await resultOf('call')).toEqual({ result: ['text'] });
  });

  it('does not run when the service is denied, and its result gives the reason', async () => {
    denied = ['service.call', 'service:echo.echo'];
    expect((await request(execute)).status).toBe(200);
    expect(await resultOf('call')).toEqual({
      error: { code: -32000, message: 'You may not do that.', data: { code: 'forbidden' } },
    });
  });

  it('does not run when the action is denied', async () => {
    denied = ['action.invoke', '/cmbs/message/call', `${CMBS.replace('cmbs#', 'cmbs/message/action#')}execute`];
    expect((await request(execute)).status).toBe(403);
    expect(asked).not.toContainEqual(['service.call', 'service:echo.echo']);
  });
});

describe('every function', () => {
  /** Paths for each pattern of the table of routes. */
  const PATHS: Readonly<Record<string, readonly string[]>> = {
    '/-/': ['/-/'],
    '/.well-known/org/ogf/occi/-/': ['/.well-known/org/ogf/occi/-/'],
    '/cmbs/member/': ['/cmbs/member/'],
    '/cmbs/member/{id}': [MEMBER],
    '/cmbs/member/{id}/inbox/': [`${MEMBER}/inbox/`],
    '/cmbs/member/{id}/inbox/{entry}': [`${MEMBER}/inbox/entry`],
    '/cmbs/message/': ['/cmbs/message/'],
    '/cmbs/message/{id}': ['/cmbs/message/call'],
    '/cmbs/message/{mixin}/': ['/cmbs/message/l1/'],
    '/push/{subscription}': ['/push/member.bob.l32?topic=news'],
    '/rpc': ['/rpc'],
    '/RPC2': ['/RPC2'],
    '/healthz': ['/healthz'],
    '/readyz': ['/readyz'],
    '/{path}/…': [
      '/',
      '/cmbs/',
      '/compute/',
      '/compute',
      '/compute/a',
      '/marked/',
      '/marked',
      '/thing/',
      '/nothing/',
      '/files/',
      '/files/secret.txt',
      '/files/absent',
    ],
  };
  /** Requests that are answered without a question, with the reason. */
  const WITHOUT_QUESTION: Readonly<Record<string, string>> = {
    'OPTIONS /push/member.bob.l32?topic=news': 'names the one method, and not whether there is the member',
    'OPTIONS /rpc': 'names the one method',
    'OPTIONS /RPC2': 'names the one method',
    'GET /healthz': 'a platform asks whether the process answers',
    'HEAD /healthz': 'as GET',
    'GET /readyz': 'a platform asks whether the store and the companion answer',
    'HEAD /readyz': 'as GET',
    'DELETE /': 'needs ?confirm=all',
  };

  const message = { kind: `${CMBS}message`, title: SECRET, mixins: [layerMixin('l1')], attributes: {} };

  async function bodyOf(method: string, path: string): Promise<unknown> {
    if (path.startsWith('/push/')) return pushed('note', 'text');
    if (path === '/rpc' || path === '/RPC2') return { id: 1, method: 'echo.echo', params: [SECRET] };
    const mixins = [{ term: 'marked', scheme: OWN, location: '/marked/', title: 'changed', attributes: {} }];
    if (path.endsWith('/-/')) return method === 'POST' ? definition('added') : { mixins };
    if (method !== 'POST' && method !== 'PUT') return undefined;
    if (path === '/marked/' || path === '/cmbs/message/l1/') return ['/compute/a'];
    const kinds = { '/cmbs/member': `${CMBS}member`, '/cmbs/message': `${CMBS}message`, '/thing/': OWN_KIND };
    const kind = Object.entries(kinds).find(([prefix]) => path.startsWith(prefix))?.[1] ?? COMPUTE;
    return { kind, title: 'changed', attributes: {} };
  }

  const rows = ROUTES.flatMap(({ paths, action = [undefined], flag }) =>
    paths.flatMap((pattern) =>
      (PATHS[pattern] ?? []).flatMap((path) =>
        action.map(
          (term) => path + (term === undefined ? (flag === undefined ? '' : `?${flag}`) : `?action=${term}`),
        ),
      ),
    ),
  );

  beforeEach(async () => {
    await member(['l32']);
    await request({ method: 'PUT', target: '/cmbs/message/call', body: message });
    asked = [];
    isClosed = true;
  });

  it('has paths here', () => {
    const patterns = [...new Set(ROUTES.flatMap(({ paths }) => paths))];
    const missing = patterns.filter((pattern) => !(pattern in PATHS)).map((pattern) => `add ${pattern} to PATHS`);
    expect(missing).toEqual([]);
  });

  it.each([...METHODS])('asks before it answers a %s with anything', async (method) => {
    const before = await stored();
    const wrong: unknown[] = [];
    for (const target of new Set(rows)) {
      asked = [];
      const body = method === 'GET' || method === 'HEAD' ? undefined : await bodyOf(method, target);
      // Topics that the owner may not have are dropped, and acknowledged.
      const isPush = target.startsWith('/push/');
      const authorization = isPush ? { authorization: `Bearer ${await token(PUSHER)}` } : {};
      // A refused call is answered with a fault.
      const isCall = target === '/rpc' || target === '/RPC2';
      const { status, text } = await request({
        method,
        target,
        ...(body === undefined ? {} : { body }),
        ...authorization,
      });
      const row = `${method} ${target}`;
      // The path does not have the method at all.
      const isRefused = isCall ? text.includes('"code":-32000') : status === 403 || isPush;
      const isAnswered = status !== 405 && !(row in WITHOUT_QUESTION);
      if (text.includes(SECRET) || (isAnswered && (asked.length === 0 || !isRefused))) {
        wrong.push({ row, status, text, asked });
      }
      if (row in WITHOUT_QUESTION && asked.length > 0) wrong.push({ row, now: 'asks' });
    }
    expect(wrong).toEqual([]);
    expect(await stored()).toEqual(before);
  });
});

describe('every action', () => {
  const categories = passiveExtensionsOf(EXTENSIONS, layersOf()).flatMap((extension) => extension.categories);
  const actions = categories.filter((category) => category.class === 'action');

  /** A stored entity that has the action, with the mixin that adds it. */
  async function entityWith(action: Action): Promise<string> {
    const id = categoryId(action);
    const offering = categories.find((category) => category.class !== 'action' && category.actions.includes(id));
    const mixins = offering?.class === 'mixin' ? [categoryId(offering)] : [];
    const kind = offering?.class === 'mixin' ? offering.applies[0] : offering && categoryId(offering);
    const { registry } = await app.categories.current();
    const now = systemClock.now();
    const entity = {
      ...{
        path: `/any/${action.term}`,
        id: action.term,
        kind: kind ?? COMPUTE,
        mixins,
        attributes: {},
        rawJson: {},
      },
      ...{ owner: ALICE.name, createdBy: ALICE, createdAt: now, updatedAt: now, isLinked: false },
    };
    await temporary.store.transact((tx) => {
      writeEntity(tx, entity, undefined, registry);
      return Promise.resolve();
    });
    return entity.path;
  }

  it('is decided, with the action', async () => {
    for (const action of actions) {
      const id = categoryId(action);
      const path = await entityWith(action);
      const before = await stored();
      asked = [];
      denied = ['action.invoke', path, id];
      const { status } = await request({ method: 'POST', target: `${path}?action=${action.term}`, body: {} });
      expect({ id, status, asked }).toEqual({ id, status: 403, asked: [['entity.read', path], denied] });
      expect(await stored()).toEqual(before);
    }
    expect(actions.length).toBeGreaterThan(20);
  });
});

/** Creates a member with these layers started, whose topic is `news`. */
async function member(layers: readonly string[]): Promise<void> {
  const attributes = { 'cmbs.member.topics': ['news'] };
  const body = { kind: `${CMBS}member`, title: SECRET, attributes };
  const saved = denied;
  denied = undefined;
  expect((await request({ method: 'PUT', target: MEMBER, body })).status).toBe(201);
  denied = saved;
  const started = Object.fromEntries(layers.map((layer) => [layer, 'started']));
  await temporary.store.transact((tx) => {
    tx.put(DESIRED, MEMBER, started);
    return Promise.resolve();
  });
  asked = [];
  askedBy = [];
}

const token = (account: string): Promise<string> => localTokens(KEY, account).tokenFor(AUDIENCE);

/** Pushes a message for the topic `news`, as Pub/Sub does. */
async function push(
  id: string,
  content: string | JsonObject = 'text',
  authorization?: string,
): Promise<{ readonly status: number }> {
  return request({
    method: 'POST',
    target: '/push/member.bob.l32?topic=news',
    authorization: authorization ?? `Bearer ${await token(PUSHER)}`,
    body: pushed(id, content),
  });
}

function pushed(id: string, content: string | JsonObject): JsonObject {
  const message = {
    kind: `${CMBS}message`,
    mixins: [`${CMBS}l32`],
    id,
    attributes: { cmbs: { message: { cmbs_layer: 'l32', topics: ['news'], message_content: content } } },
  };
  return {
    subscription: 'projects/x/subscriptions/cmbs.member.bob.l32.news',
    message: { messageId: id, data: Buffer.from(JSON.stringify(message)).toString('base64') },
  };
}

/** The stored result of a message's call. */
async function resultOf(id: string): Promise<unknown> {
  const entity = (await readEntity(temporary.store, `/cmbs/message/${id}`))?.entity;
  return JSON.parse(entity?.rawJson['cmbs.message.result'] ?? 'null') as unknown;
}
