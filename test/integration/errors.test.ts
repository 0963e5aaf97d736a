/** Provokes every code of the error catalogue: its status, and whether the same request may succeed later. */
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getTestServer } from '@google-cloud/functions-framework/testing';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import '@cmbs/functions';
import { rangeOf } from '@cmbs/functions/file-content';
import { pageOf } from '@cmbs/functions/occi-context';
import { preconditionOf } from '@cmbs/functions/preconditions';
import { parseQuery } from '@cmbs/functions/http-parse';
import type { OcciRequest } from '@cmbs/functions/request';
import { answerError, checkVersion, requestRendering, responseRendering } from '@cmbs/functions/respond';
import { checkOwn, routeNamed, type Route } from '@cmbs/functions/routes';
import { useRuntime } from '@cmbs/functions/runtime';
import {
  ANONYMOUS,
  CATALOGUE,
  CmbsError,
  silentLog,
  systemClock,
  toCmbsError,
  type ErrorCode,
} from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { MAX_HEADER_BYTES } from '@cmbs/emulator/gateway';
import { MAX_PAGE_OFFSET } from '@cmbs/shared/limits';
import { LoginAttempts } from '../../shared/access/identities';
import { CommitQueue, MAX_QUEUED_COMMITS } from '../../shared/store/sqlite/commit-queue';
import { inProcessRpc } from '@cmbs/shared/rpc/in-process';
import { tokenVerifier } from '../../shared/rpc/identity/verify-token';
import { checkValue } from '../../shared/occi/attributes';
import { CORE_KINDS } from '../../shared/occi/core';
import { locationPath } from '../../shared/occi/categories/category-input';
import {
  actionInput,
  CategoryRegistry,
  EMPTY_PAYLOAD,
  RENDERINGS,
  STANDARD_RENDERINGS,
  TEXT_PLAIN,
} from '@cmbs/shared/occi';
import { checkEntityPath } from '../../shared/occi/paths';
import { SitePolicy } from '@cmbs/shared/sites';
import { toStoreError } from '../../shared/store/sqlite/errors';
import { within } from './sockets-support';

/** Codes that the product does not raise yet: a fault reports the outcome of a call. */
const NOT_RAISED: readonly ErrorCode[] = ['outcome_unknown'];

const NOBODY = { audience: 'https://cmbs.example.org', accounts: [] };

const EXPECTED: Readonly<Record<ErrorCode, { readonly status: number; readonly retryable: boolean }>> = {
  bad_request: { status: 400, retryable: false },
  unknown_category: { status: 400, retryable: false },
  bad_attribute: { status: 400, retryable: false },
  bad_action: { status: 400, retryable: false },
  unauthenticated: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  method_not_allowed: { status: 405, retryable: false },
  not_acceptable: { status: 406, retryable: false },
  request_timeout: { status: 408, retryable: true },
  conflict: { status: 409, retryable: false },
  precondition_failed: { status: 412, retryable: false },
  too_large: { status: 413, retryable: false },
  unsupported_media_type: { status: 415, retryable: false },
  range_not_satisfiable: { status: 416, retryable: false },
  expectation_failed: { status: 417, retryable: false },
  misdirected: { status: 421, retryable: false },
  idempotency_mismatch: { status: 422, retryable: false },
  queue_full: { status: 429, retryable: true },
  too_many_attempts: { status: 429, retryable: true },
  headers_too_large: { status: 431, retryable: false },
  internal: { status: 500, retryable: true },
  not_implemented: { status: 501, retryable: false },
  unavailable: { status: 503, retryable: true },
  storage_full: { status: 507, retryable: true },
  deadline_exceeded: { status: 504, retryable: true },
  outcome_unknown: { status: 504, retryable: false },
};

let directory: string;
let stack: Stack;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-errors-'));
  stack = await startStack({ config: readConfig({ PORT: '0', CMBS_DATA_DIR: directory }), log: silentLog });
});
afterAll(async () => {
  await stack.close();
  await rm(directory, { recursive: true });
});

const registry = new CategoryRegistry(CORE_KINDS);
const request = (more: Partial<OcciRequest> = {}): OcciRequest => ({
  method: 'GET',
  path: '/',
  query: [],
  headers: {},
  body: Buffer.alloc(0),
  principal: ANONYMOUS,
  renderings: RENDERINGS,
  peerAddress: undefined,
  clientAddress: '',
  base: 'http://localhost',
  signal: new AbortController().signal,
  ...more,
});

/** The error that `run` throws or rejects with. */
async function thrown(run: () => unknown): Promise<CmbsError> {
  try {
    await run();
  } catch (error) {
    if (error instanceof CmbsError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const provoked: readonly (readonly [ErrorCode, () => unknown])[] = [
  ['bad_request', () => parseQuery('a=%zz')],
  ['unknown_category', () => registry.requireKind('http://example.com/#nothing')],
  ['bad_attribute', () => checkValue('a', 1, { type: 'string', required: false, mutable: true, lenient: false })],
  ['bad_action', () => actionInput({ ...EMPTY_PAYLOAD, action: 'http://example.com/#run' }, registry)],
  [
    'unauthenticated',
    () => tokenVerifier({ issuers: [], keys: () => Promise.resolve({}) }).verify(undefined, NOBODY),
  ],
  ['forbidden', () => checkEntityPath('/-/one')],
  ['not_found', () => checkOwn(routeNamed('query') as Route, request())],
  ['not_acceptable', () => responseRendering(request({ headers: { accept: ['image/png'] } }))],
  ['conflict', () => locationPath('/-/')],
  ['precondition_failed', () => preconditionOf(request({ headers: { 'if-match': ['*'] } }))?.(undefined)],
  ['too_large', () => pageOf(request({ query: [['number', String(MAX_PAGE_OFFSET + 1)]] }), TEXT_PLAIN)],
  ['unsupported_media_type', () => requestRendering(request({ body: Buffer.from('a') }))],
  [
    'range_not_satisfiable',
    () => rangeOf(request({ headers: { range: ['bytes=9-'] } }), { size: 1, etag: '"a"', modified: 0 }, 0),
  ],
  ['not_implemented', () => checkVersion(request({ headers: { 'user-agent': ['x OCCI/9.0'] } }))],
  [
    'unavailable',
    () => inProcessRpc(() => undefined, systemClock).call('/a', 'release', {}, { deadlineMs: 1000 }),
  ],
  [
    'deadline_exceeded',
    () => {
      const stuck = { handle: () => new Promise<never>(() => undefined) };
      return inProcessRpc(() => stuck, systemClock).call('/a', 'release', {}, { deadlineMs: 1 });
    },
  ],
  [
    'queue_full',
    () => {
      const queue = new CommitQueue({ commit: () => undefined, ready: () => false });
      for (let at = 0; at <= MAX_QUEUED_COMMITS; at += 1) {
        queue.add({ cancelled: false, started: false, owner: undefined, writes: 1, chars: 1 });
      }
    },
  ],
  [
    'too_many_attempts',
    () => {
      const attempts = new LoginAttempts({ clock: systemClock, perName: { burst: 1, drainMs: 60_000 } });
      attempts.begin('192.0.2.1', 'alice');
      attempts.begin('192.0.2.1', 'alice');
    },
  ],
  // SQLite's SQLITE_FULL.
  ['storage_full', () => Promise.reject(toStoreError(Object.assign(new Error('full'), { errcode: 13 })))],
  ['internal', () => Promise.reject(toCmbsError(new TypeError('secret')))],
];

async function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('utf8')));
  socket.write(text);
  await within(once(socket, 'close'), 'the answer', 10_000);
  return answer;
}

const HEAD = 'Host: localhost\r\nConnection: close\r\n';

const answered: readonly (readonly [ErrorCode, () => Promise<string>])[] = [
  ['method_not_allowed', () => raw(stack.url, `PUT /cmbs/member/ HTTP/1.1\r\n${HEAD}Content-Length: 0\r\n\r\n`)],
  ['misdirected', () => raw(stack.url, 'GET /-/ HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n')],
  [
    'expectation_failed',
    () => raw(stack.url, `POST /-/ HTTP/1.1\r\n${HEAD}Expect: tea\r\nContent-Length: 0\r\n\r\n`),
  ],
  [
    'headers_too_large',
    () => raw(stack.url, `GET /-/ HTTP/1.1\r\n${HEAD}X-Long: ${'a'.repeat(MAX_HEADER_BYTES)}\r\n\r\n`),
  ],
  [
    'idempotency_mismatch',
    async () => {
      const create = (title: string): Promise<string> => {
        const body = JSON.stringify({ kind: 'http://houssem.org/cmbs#member', title, attributes: {} });
        return raw(
          stack.url,
          `POST /cmbs/member/ HTTP/1.1\r\n${HEAD}Content-Type: application/json\r\nIdempotency-Key: one\r\n` +
            `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        );
      };
      expect(await create('first')).toMatch(/^HTTP\/1\.1 201/);
      return create('second');
    },
  ],
  [
    'request_timeout',
    async () => {
      const sites = new SitePolicy({ publicUrl: undefined, hosts: [], origins: [], trustedProxies: 0 });
      const runtime = { app: stack.app, publicUrl: undefined, trustedProxies: 0, maxBodyBytes: 1024, sites };
      useRuntime({ ...runtime, deadlineMs: 50 });
      const server = getTestServer('occi').listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      try {
        // Announces a body but does not send it; without a type the product reads the body, not the framework.
        return await raw(`http://127.0.0.1:${port}`, `POST /x HTTP/1.1\r\n${HEAD}Content-Length: 9\r\n\r\n`);
      } finally {
        server.closeAllConnections();
        server.close();
      }
    },
  ],
];

describe('the error catalogue', () => {
  it('has exactly the codes that this test expects', () => {
    expect(CATALOGUE).toEqual(EXPECTED);
  });

  it('has a case in this test for every code', () => {
    const hit = [...provoked, ...answered].map(([code]) => code);
    expect([...hit, ...NOT_RAISED].sort()).toEqual(Object.keys(CATALOGUE).sort());
  });

  it.each(provoked)('throws %s', async (code, run) => {
    const error = await thrown(run);
    expect([error.code, { status: error.status, retryable: error.retryable }]).toEqual([code, EXPECTED[code]]);
    expect(error.message).toMatch(/^\S.*[^.]\.$/s);
    expect(error.message).not.toContain('secret');
  });

  it.each(answered)('answers %s', async (code, ask) => {
    const { status } = EXPECTED[code];
    expect((await ask()).split('\r\n', 1)).toEqual([expect.stringMatching(new RegExp(`^HTTP/1\\.1 ${status} `))]);
    // The status alone identifies the code.
    expect(Object.entries(EXPECTED).filter(([, entry]) => entry.status === status)).toHaveLength(1);
  });

  it.each(NOT_RAISED)('does not raise %s yet', async (code) => {
    const root = join(__dirname, '..', '..');
    for (const folder of ['shared', 'functions', 'companion', 'emulator']) {
      for (const name of await readdir(join(root, folder), { recursive: true })) {
        if (!name.endsWith('.ts') || name.includes('node_modules')) continue;
        expect([name, (await readFile(join(root, folder, name), 'utf8')).includes(`'${code}'`)]).toEqual([
          name,
          false,
        ]);
      }
    }
  });

  it.each(STANDARD_RENDERINGS.map(({ mediaTypes }) => mediaTypes[0]))('is rendered in %s', (type) => {
    for (const code of Object.keys(CATALOGUE) as ErrorCode[]) {
      const error = new CmbsError(code, 'A sentence that says what to do.', { cause: new Error('secret') });
      const asked = request({ headers: { accept: [type] } });
      const { status, headers, body } = answerError(error, asked, silentLog);
      expect(status).toBe(EXPECTED[code].status);
      expect(headers['X-OCCI-Error']).toBe('A sentence that says what to do.');
      expect(JSON.stringify([headers, body])).not.toContain('secret');
    }
  });
});
