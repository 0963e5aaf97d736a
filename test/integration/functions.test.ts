/**
 * Every function behind functions-framework, as deployed, with one server each. The same request to the local gateway,
 * under `/fn/<function>/…`, has to get the same answer.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getFunction, getTestServer } from '@google-cloud/functions-framework/testing';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import * as door from '@cmbs/functions';
import { provideRuntime, useRuntime } from '@cmbs/functions/runtime';
import type { Handler } from '@cmbs/functions/routes';
import { routeNamed, ROUTES } from '@cmbs/functions/routes';
import { silentLog, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { SitePolicy } from '@cmbs/shared/sites';
import { freePort, within } from './sockets-support';

const FLAT = 'application/json';
const NESTED = 'application/occi+json';
const KIND = 'http://houssem.org/cmbs#';
const MAX_BODY_BYTES = 8192;
const CONSOLE = 'https://console.example';
const ALICE = '/cmbs/member/alice';
const NOTE = '/cmbs/message/note';

interface Asked {
  readonly method: string;
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

let directory: string;
let stack: Stack;
let sockets: JsonObject;
const servers = new Map<string, Server>();

const runtime = (): door.Runtime => ({
  app: stack.app,
  publicUrl: stack.url,
  trustedProxies: 0,
  maxBodyBytes: MAX_BODY_BYTES,
  sites: new SitePolicy({ publicUrl: stack.url, hosts: [], origins: [CONSOLE], trustedProxies: 0 }),
});

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-functions-'));
  const config = readConfig({
    PORT: '0',
    CMBS_DATA_DIR: directory,
    ...ANY_PORT,
    CMBS_MAX_BODY_BYTES: String(MAX_BODY_BYTES),
    CMBS_ALLOWED_ORIGINS: CONSOLE,
  });
  stack = await startStack({ config, log: silentLog });
  const addresses: Record<string, string> = {};
  for (const layer of ['l1', 'l2', 'l31', 'l32', 'l4']) {
    addresses[`cmbs.member.${layer}_socket`] = `tcp://127.0.0.1:${await freePort()}`;
  }
  sockets = addresses;
});

afterAll(async () => {
  for (const server of servers.values()) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
  await stack.close();
  await rm(directory, { recursive: true });
});

beforeEach(() => useRuntime(runtime()));

async function urlOf(name: string): Promise<string> {
  let server = servers.get(name);
  if (server === undefined) {
    server = getTestServer(name).listen(0, '127.0.0.1');
    servers.set(name, server);
    await once(server, 'listening');
  }
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function send(base: string, { method, target, headers = {}, body }: Asked): Promise<Answer> {
  const { hostname, port } = new URL(base);
  const answered = new Promise<Answer>((resolve, reject) => {
    const request = httpRequest(
      { hostname, port, method, path: target, headers: { Accept: FLAT, ...headers }, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
  return within(answered, `${method} ${target}`);
}

const atFunction = async (name: string, asked: Asked): Promise<Answer> => send(await urlOf(name), asked);
const atGateway = (name: string, asked: Asked): Promise<Answer> =>
  send(stack.url, { ...asked, target: `/fn/${name}${asked.target}` });

/** Sends a request to the stack itself, and throws unless it succeeds. */
async function set(method: string, target: string, value?: JsonObject): Promise<Answer> {
  const asked: Asked = { method, target, headers: { 'Content-Type': FLAT } };
  const answer = await send(stack.url, value === undefined ? asked : { ...asked, body: JSON.stringify(value) });
  if (answer.status >= 300 && !(method === 'DELETE' && answer.status === 404)) {
    throw new Error(`${method} ${target}: ${answer.status} ${answer.body}`);
  }
  return answer;
}

const act = (path: string, term: string): Promise<Answer> => set('POST', `${path}?action=${term}`, {});

/** Creates one local member and one message again. */
async function fresh(layer: string, ...mixins: readonly string[]): Promise<void> {
  await set('DELETE', NOTE);
  await set('DELETE', ALICE);
  await set('PUT', ALICE, {
    kind: `${KIND}member`,
    attributes: { ...sockets, 'cmbs.member.state': 'active', 'cmbs.member.topics': ['news'] },
  });
  await set('PUT', NOTE, {
    kind: `${KIND}message`,
    mixins: [layer, ...mixins].map((term) => KIND + term),
    attributes: {
      'cmbs.message.message_content': { method: 'system.list_methods' },
      ...(layer === 'l1'
        ? { 'cmbs.message.l1_socket_receiver_member': `tcp://127.0.0.1:${idlePort()}` }
        : layer === 'l2'
          ? {}
          : layer === 'l31'
            ? { 'cmbs.message.providers': ['alice'] }
            : { 'cmbs.message.topics': ['news'] }),
    },
  });
}

// A port at which no process listens during this test.
const idlePort = (): number => Number((sockets['cmbs.member.l31_socket'] as string).split(':').at(-1));

interface Scenario {
  readonly prepare?: () => Promise<unknown>;
  readonly asked: Asked;
  readonly status: number;
  readonly shows: string;
}

const post = (target: string, value: JsonObject = {}): Asked => ({
  method: 'POST',
  target,
  headers: { 'Content-Type': FLAT, Prefer: 'wait=5' },
  body: JSON.stringify(value),
});
const get = (target: string): Asked => ({ method: 'GET', target });

const LAYERS = ['l1', 'l2', 'l31', 'l32', 'l4'] as const;

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  query: { asked: get('/-/?category=member'), status: 200, shows: '"term":"member"' },
  member: { prepare: () => fresh('l1'), asked: get(ALICE), status: 200, shows: `"kind":"${KIND}member"` },
  message: { prepare: () => fresh('l1'), asked: get('/cmbs/message/l1/'), status: 200, shows: '"id":"note"' },
  'member-inbox': {
    prepare: () => fresh('l1'),
    asked: get(`${ALICE}/inbox/`),
    status: 200,
    shows: '"entries":[]',
  },
  rpc: {
    asked: post('/rpc', { jsonrpc: '2.0', id: 1, method: 'echo.echo', params: ['x'] }),
    status: 200,
    shows: '"result":["x"]',
  },
  // Only Pub/Sub pushes: test/cloud tests pushes.
  'topic-push': {
    asked: post('/push/member.alice.l32'),
    status: 404,
    shows: 'takes no pushes',
  },
  health: { asked: get('/readyz'), status: 200, shows: '"ok"' },
  occi: { asked: get('/cmbs/neighbor/'), status: 200, shows: '{' },
  'member-check-neighbors': {
    prepare: () => fresh('l1'),
    asked: post(ALICE),
    status: 200,
    shows: '"failed":[]',
  },
  ...Object.fromEntries(
    LAYERS.flatMap((layer): readonly [string, Scenario][] => [
      [
        `member-start-${layer}`,
        { prepare: () => fresh('l1'), asked: post(ALICE), status: 200, shows: `"${layer}":{"state":"started"` },
      ],
      [
        `member-stop-${layer}`,
        {
          prepare: async () => {
            await fresh('l1');
            await act(ALICE, `start_${layer}`);
          },
          asked: post(ALICE),
          status: 200,
          shows: `"${layer}":{"state":"stopped"`,
        },
      ],
    ]),
  ),
  'message-execute': {
    prepare: () => fresh('l1'),
    asked: post(NOTE),
    status: 200,
    shows: '"cmbs.message.result":{"result":[',
  },
  'message-send': {
    prepare: async () => {
      await fresh('l1');
      await set('DELETE', '/cmbs/message/sent');
    },
    asked: {
      ...post('/cmbs/message/?send'),
      body: JSON.stringify({ kind: `${KIND}message`, id: 'sent', mixins: [`${KIND}l2`], attributes: {} }),
    },
    status: 200,
    shows: '"state":"published"',
  },
  'message-send-l1': { prepare: () => fresh('l1'), asked: post(NOTE), status: 202, shows: '"state":"queued"' },
  'message-send-l2': { prepare: () => fresh('l2'), asked: post(NOTE), status: 200, shows: '"send_id"' },
  'message-send-l31': { prepare: () => fresh('l31'), asked: post(NOTE), status: 202, shows: '"send_id"' },
  'message-send-l32': { prepare: () => fresh('l32'), asked: post(NOTE), status: 200, shows: '"send_id"' },
  'message-send-l4': { prepare: () => fresh('l4'), asked: post(NOTE), status: 200, shows: '"send_id"' },
  'message-resend': {
    prepare: () => fresh('l32', 'dead_letter'),
    asked: post(NOTE),
    status: 200,
    shows: '"send_id"',
  },
  'message-purge': { prepare: () => fresh('l1', 'dead_letter'), asked: post(NOTE), status: 200, shows: NOTE },
};

/** The text without times and generated identifiers, which differ between two runs. */
const comparable = (text: string): string =>
  text
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '<uuid>')
    .replace(/\d{4}-\d{2}-\d{2}T[\d:.]+Z/g, '<time>')
    .replace(/\b0?1\d{12}(?:-\d{6})?\b/g, '<ms>');

const TRANSPORT = new Set(['date', 'connection', 'keep-alive', 'transfer-encoding', 'etag']);
const essence = ({ status, headers, body }: Answer): unknown => ({
  status,
  headers: Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !TRANSPORT.has(name))
      .map(([name, value]) => [name, comparable(String(value))]),
  ),
  body: comparable(body),
});

/** The answer of the function, after checking that the gateway gives the same answer. */
async function both(name: string, asked: Asked, prepare?: () => Promise<unknown>): Promise<Answer> {
  await prepare?.();
  const deployed = await atFunction(name, asked);
  await prepare?.();
  const local = await atGateway(name, asked);
  expect(essence(deployed)).toEqual(essence(local));
  return deployed;
}

describe('the function', () => {
  it('of each route has a scenario in this test', () => {
    expect(Object.keys(SCENARIOS).sort()).toEqual(ROUTES.map(({ name }) => name).sort());
  });

  it.each(ROUTES.map(({ name }) => name))('%s answers as the local gateway does', async (name) => {
    const { prepare, asked, status, shows } = SCENARIOS[name] as Scenario;
    const answer = await both(name, asked, prepare);
    expect([answer.status, comparable(answer.body)]).toEqual([status, expect.stringContaining(shows)]);
    expect(answer.headers['x-occi-server']).toMatch(/^cmbs\//);
  });

  it.each(ROUTES.filter(({ action }) => action !== undefined).map(({ name, action }) => [name, action ?? []]))(
    '%s accepts its own action in the query',
    async (name, spellings) => {
      const { prepare, asked, status } = SCENARIOS[name] as Scenario;
      for (const term of spellings) {
        const answer = await both(name, { ...asked, target: `${asked.target}?action=${term}` }, prepare);
        expect(answer.status).toBe(status);
      }
    },
  );

  it.each(ROUTES.filter(({ action }) => action !== undefined).map(({ name }) => name))(
    '%s refuses the action of another function',
    async (name) => {
      const { asked } = SCENARIOS[name] as Scenario;
      const answer = await both(name, { ...asked, target: `${asked.target}?action=something_else` });
      expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('"code":"bad_action"')]);
      expect(answer.body).toContain('something_else');
    },
  );

  it.each(ROUTES.filter(({ name }) => name !== 'occi').map(({ name }) => name))(
    '%s answers 404 at a path of another function',
    async (name) => {
      const answer = await both(name, { ...(SCENARIOS[name] as Scenario).asked, target: '/cmbs/neighbor/one' });
      expect([answer.status, answer.body]).toEqual([404, expect.stringContaining(`The function ${name} has`)]);
    },
  );

  it('member refuses an action, because it has none', async () => {
    const answer = await both('member', post(`${ALICE}?action=start_l1`), () => fresh('l1'));
    expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('"code":"bad_action"')]);
  });

  it.each(['GET', 'HEAD'])('refuses an action requested with %s instead of POST', async (method) => {
    await fresh('l1');
    for (const name of ['member-start-l1', 'occi']) {
      const answer = await atFunction(name, { ...get(`${ALICE}?action=start_l1`), method });
      expect([name, answer.status, answer.headers.allow]).toEqual([name, 405, 'POST, OPTIONS']);
    }
  });

  it('occi answers the requests of all others, including actions', async () => {
    const answer = await both('occi', post(`${ALICE}?action=start_l2`), () => fresh('l1'));
    expect([answer.status, answer.body]).toEqual([200, expect.stringContaining('"l2":{"state":"started"')]);
    expect((await both('occi', get('/-/?category=member'))).status).toBe(404);
    expect((await both('query', get('/-/?category=member'))).status).toBe(200);
  });
});

describe('a function answers as the gateway does to', () => {
  const define = (id: string): JsonObject => ({ kind: `${KIND}member`, id, attributes: {} });
  const create = (type: string, body: string | Buffer): Asked => ({
    method: 'POST',
    target: '/cmbs/member/',
    headers: { 'Content-Type': type },
    body,
  });
  const clear = (): Promise<unknown> => set('DELETE', '/cmbs/member/');

  it.each([
    [FLAT, JSON.stringify(define('one'))],
    [NESTED, JSON.stringify({ resources: [define('one')] })],
    ['text/plain', `Category: member; scheme="${KIND}"; class="kind"\nX-OCCI-Attribute: occi.core.title="Zoë"\n`],
  ])('a body in %s', async (type, body) => {
    const answer = await both('member', create(type, body), clear);
    expect(answer.status).toBe(201);
  });

  it('a payload in headers, some of them repeated', async () => {
    const answer = await both(
      'member',
      {
        method: 'POST',
        target: '/cmbs/member/',
        headers: { 'Content-Type': 'text/occi', Category: `member; scheme="${KIND}"; class="kind"` },
      },
      clear,
    );
    expect(answer.status).toBe(201);
  });

  it('a query with semicolons, brackets and escapes', async () => {
    const answer = await both('member', get('/cmbs/member/?number=1;page=x[y]'), clear);
    expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('whole number')]);
    expect((await both('member', get('/cmbs/member/?number=%zz'))).status).toBe(400);
    expect((await both('member', get('/cmbs/member/?number=1&number=x'))).status).toBe(200);
  });

  it('a body without a type, with a refusal', async () => {
    const answer = await both('member', { method: 'POST', target: '/cmbs/member/', body: '{}' }, clear);
    expect([answer.status, answer.body]).toEqual([415, expect.stringContaining('Content-Type')]);
  });

  it('a body that is too large, with or without its length', async () => {
    const body = Buffer.alloc(MAX_BODY_BYTES + 1, 0x20);
    for (const headers of [{ 'Content-Length': String(body.length) }, { 'Transfer-Encoding': 'chunked' }]) {
      for (const type of [{ 'Content-Type': NESTED }, { 'Content-Type': 'text/plain' }, {}]) {
        const asked = { method: 'POST', target: '/cmbs/member/', headers: { ...headers, ...type }, body };
        expect((await atFunction('member', asked)).status).toBe(413);
      }
    }
  });

  it('a body with Content-Encoding, with a refusal', async () => {
    const answer = await atFunction('member', {
      ...create(NESTED, '{}'),
      headers: { 'Content-Type': NESTED, 'Content-Encoding': 'identity' },
    });
    expect(answer.status).toBe(400);
    const { gzipSync } = await import('node:zlib');
    const gzipped = create(NESTED, gzipSync(JSON.stringify(define('one'))));
    const asked = { ...gzipped, headers: { 'Content-Type': NESTED, 'Content-Encoding': 'gzip' } };
    expect((await both('member', asked)).status).toBe(415);
  });

  it.each([FLAT, 'application/occi+json'])('malformed JSON of the type %s', async (type) => {
    const answer = await atFunction('member', create(type, '{"'));
    expect([answer.status, answer.headers['x-occi-server']]).toEqual([400, expect.stringMatching(/^cmbs/)]);
  });

  it.each<[string, number, Readonly<Record<string, string>>]>([
    ['a page of another origin', 403, { Origin: 'https://page.example' }],
    ['a page that makes a cross-site request', 403, { 'Sec-Fetch-Site': 'cross-site' }],
    ['a foreign host name', 421, { Host: 'rebound.example' }],
    ['a page of the configured origin', 201, { Origin: CONSOLE }],
  ])('a request of %s', async (_, status, headers) => {
    const asked = create(NESTED, JSON.stringify(define('one')));
    const answer = await both('member', { ...asked, headers: { ...asked.headers, ...headers } }, clear);
    expect(answer.status).toBe(status);
    const allowed = status === 201 ? CONSOLE : undefined;
    expect(answer.headers['access-control-allow-origin']).toBe(allowed);
  });

  it('a preflight', async () => {
    const headers = { Origin: CONSOLE, 'Access-Control-Request-Method': 'PUT' };
    const answer = await both('member', { method: 'OPTIONS', target: ALICE, headers });
    expect([answer.status, answer.headers['access-control-allow-methods']]).toEqual([
      204,
      expect.stringContaining('PUT'),
    ]);
  });

  it('a HEAD, with headers only', async () => {
    const answer = await both('member', { method: 'HEAD', target: ALICE }, () => fresh('l1'));
    expect([answer.status, answer.body]).toEqual([200, '']);
  });
});

describe('a stream', () => {
  /** Opens an event stream by hand; resolves with the first bytes after the headers. */
  async function openStream(port: number): Promise<{ text: string; ended: Promise<unknown>; leave: () => void }> {
    const socket = connect(port, '127.0.0.1');
    const ended = once(socket, 'close');
    let text = '';
    const begun = new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8');
        if (text.includes(': the inbox of a member')) resolve();
      });
    });
    socket.write(`GET ${ALICE}/inbox/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n`);
    socket.write('Connection: close\r\n\r\n');
    await within(begun, 'the stream begins');
    return { text, ended, leave: () => socket.destroy() };
  }

  const port = async (): Promise<number> => Number(new URL(await urlOf('member-inbox')).port);

  it('begins at once and ends at the deadline', async () => {
    await fresh('l1');
    useRuntime({ ...runtime(), deadlineMs: 200 });
    const { text, ended } = await openStream(await port());
    expect(text).toContain('Content-Type: text/event-stream');
    await within(ended, 'the stream ends');
  });
});

/** Answers `occi` with another handler while `run` runs. */
async function withHandler(handler: Handler, run: () => Promise<void>): Promise<void> {
  const route = routeNamed('occi') as { handler: Handler };
  const own = route.handler;
  route.handler = handler;
  try {
    await run();
  } finally {
    route.handler = own;
  }
}

describe('a request', () => {
  it('is aborted when the client leaves', async () => {
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    let stop = (): void => undefined;
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    await withHandler(
      async ({ signal }) => {
        begin();
        await once(signal, 'abort');
        stop();
        return { status: 200, headers: {}, body: '' };
      },
      async () => {
        const { hostname, port } = new URL(await urlOf('occi'));
        const socket = connect(Number(port), hostname);
        socket.write('GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n');
        await within(begun, 'the handler begins');
        socket.destroy();
        await within(stopped, 'the handler is told');
      },
    );
  });

  it('is answered 504 when its handler does not stop at the deadline', async () => {
    useRuntime({ ...runtime(), deadlineMs: 1 });
    await withHandler(
      () => new Promise(() => undefined),
      async () => {
        const answer = await atFunction('occi', get('/x'));
        expect([answer.status, answer.body]).toEqual([504, expect.stringContaining('"code":"deadline_exceeded"')]);
      },
    );
  });
});

describe('a process', () => {
  it('answers 503 while its engines are unavailable', async () => {
    provideRuntime(() => Promise.reject(new Error('no such host')));
    const lines = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    const answer = await atFunction('member', get(ALICE));
    const line = JSON.parse(String(lines.mock.calls[0]?.[0])) as JsonObject;
    lines.mockRestore();
    expect(line).toMatchObject({ severity: 'ERROR', cause: expect.stringContaining('no such host') as string });
    expect([answer.status, answer.body]).toEqual([503, expect.stringContaining('"code":"unavailable"')]);
    expect(answer.body).not.toContain('no such host');
  });

  it('answers 503 without a runtime', async () => {
    await jest.isolateModulesAsync(async () => {
      const { currentRuntime } = await import('@cmbs/functions/runtime');
      await expect(currentRuntime()).rejects.toMatchObject({ code: 'unavailable', status: 503, retryable: true });
    });
  });

  it('assembles its runtime once, and again only after a failure', async () => {
    let times = 0;
    const quiet = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    provideRuntime(() => {
      times += 1;
      return times === 1 ? Promise.reject(new Error('away')) : Promise.resolve(runtime());
    });
    expect((await atFunction('health', get('/readyz'))).status).toBe(503);
    quiet.mockRestore();
    const answers = await Promise.all([1, 2, 3].map(() => atFunction('health', get('/readyz'))));
    expect([...answers.map(({ status }) => status), times]).toEqual([200, 200, 200, 2]);
  });
});

describe('the door of the functions', () => {
  const camelCase = (name: string): string =>
    name.replace(/-([a-z])/g, (_whole, letter: string) => letter.toUpperCase());

  it('exports every route in camel case and registers it under its name', () => {
    const handlers = Object.entries(door).filter(([name]) => name !== 'provideRuntime' && name !== 'useRuntime');
    expect(handlers.map(([name]) => name).sort()).toEqual(ROUTES.map(({ name }) => camelCase(name)).sort());
    for (const { name } of ROUTES) {
      expect(getFunction(name)).toBe(new Map<string, unknown>(handlers).get(camelCase(name)));
    }
  });

  it('leaves the requests of other servers in the process unchanged', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const other = createServer(({ headers }, response) => {
      seen.push(headers);
      response.end();
    });
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await fetch(`http://127.0.0.1:${port}/`, {
      method: 'POST',
      headers: { 'Content-Type': FLAT, 'Content-Encoding': 'gzip' },
    });
    other.close();
    expect(seen).toEqual([expect.objectContaining({ 'content-type': FLAT, 'content-encoding': 'gzip' })]);
  });
});
