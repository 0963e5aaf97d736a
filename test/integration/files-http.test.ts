/** Files over HTTP and by the methods of the module `file`, for several users of a closed deployment. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { type Json, type JsonObject, silentLog } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { PATIENCE_MS } from '../patience';

const ACCESS = 'http://houssem.org/cmbs/access#';
const MEMBER = 'http://houssem.org/cmbs#member';
const MESSAGE = 'http://houssem.org/cmbs#message';
const SECRET = 'a secret outside of the root';

let directory: string;
let root: string;
let stack: Stack;

/** A user, or nobody. */
class Caller {
  #serial = 0;

  constructor(
    readonly name: string,
    readonly password: string | undefined,
  ) {}

  get headers(): Record<string, string> {
    if (this.password === undefined) return {};
    return { Authorization: `Basic ${Buffer.from(`${this.name}:${this.password}`).toString('base64')}` };
  }

  ask(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    return fetch(stack.url + path, {
      method,
      redirect: 'manual',
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: { ...this.headers, ...headers },
      ...(body === undefined ? {} : { body: Buffer.from(body) }),
    });
  }

  async status(
    method: string,
    path: string,
    body?: string,
    headers: Record<string, string> = {},
  ): Promise<number> {
    return (await this.ask(method, path, body, headers)).status;
  }

  async create(path: string, kind: string, attributes: JsonObject): Promise<void> {
    const made = await this.ask('PUT', path, JSON.stringify({ kind, attributes }), {
      'Content-Type': 'application/json',
    });
    if (made.status !== 201) throw new Error(`${path}: ${made.status} ${await made.text()}`);
  }

  /** Calls a method by a message that is executed here. Returns its result, or the fault. */
  async call(method: string, ...params: readonly Json[]): Promise<Json> {
    const path = `/cmbs/message/${this.name}-${(this.#serial += 1)}`;
    await this.create(path, MESSAGE, {
      'cmbs.message.executable': 'true',
      'cmbs.message.message_content': { jsonrpc: '2.0', id: 1, method, params },
    });
    const answer = await this.ask('POST', `${path}?action=execute`, '{}', {
      'Content-Type': 'application/json',
      Accept: 'application/json',
    });
    const entity = (await answer.json()) as { readonly attributes?: JsonObject };
    const result = entity.attributes?.['cmbs.message.result'] as
      { readonly result?: Json; readonly error?: JsonObject } | undefined;
    if (result === undefined) throw new Error(`${method}: ${answer.status} ${JSON.stringify(entity)}`);
    return result.result ?? (result.error as Json);
  }
}

const administrator = new Caller('root', 'password of the administrator');
const alice = new Caller('alice', 'password of alice');
const bob = new Caller('bob', 'password of bob');
const nobody = new Caller('nobody', undefined);

let rules = 0;
const rule = (target: string, operations: readonly string[], more: JsonObject): Promise<void> =>
  administrator.create(`/cmbs/access/rule/r-${(rules += 1)}`, `${ACCESS}rule`, {
    'cmbs.access.rule.target': target,
    'cmbs.access.rule.operations': operations,
    ...more,
  });
const allow = (target: string, operations: readonly string[], ...subjects: readonly string[]): Promise<void> =>
  rule(target, operations, { 'cmbs.access.rule.allow': subjects });

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-files-'));
  root = join(directory, 'files');
  writeFileSync(join(directory, 'password'), administrator.password ?? '');
  writeFileSync(join(directory, 'secret'), SECRET);
  stack = await startStack({
    config: readConfig({
      PORT: '0',
      ...ANY_PORT,
      CMBS_DATA_DIR: join(directory, 'data'),
      CMBS_FILES_DIR: root,
      CMBS_FILES_BYTES: String(200 * 1024 * 1024),
      CMBS_IDENTITIES: 'basic',
      CMBS_ADMINISTRATORS: 'root',
      CMBS_ADMIN_PASSWORD_FILE: join(directory, 'password'),
    }),
    log: silentLog,
  });
  for (const { name, password = '' } of [alice, bob]) {
    await administrator.create(`/cmbs/access/user/${name}`, `${ACCESS}user`, {
      'cmbs.access.user.password': password,
    });
  }
  // Who has a message executed does so by a member.
  for (const who of [administrator, alice, bob]) await who.create(`/cmbs/member/${who.name}`, MEMBER, {});
  for (const path of ['/files/alice/', '/files/shared/', '/files/public/']) {
    expect(await administrator.status('PUT', path)).toBe(201);
  }
  await allow('entity:/files/alice/', ['entity.*'], 'user:alice');
  await allow('entity:/files/shared/', ['entity.read'], 'user:alice', 'user:bob');
  await allow('entity:/files/public/', ['entity.read'], 'everybody');
  await rule('entity:/files/shared/private.txt', ['entity.*'], { 'cmbs.access.rule.deny': ['user:bob'] });
});
afterAll(async () => {
  await stack.close();
  rmSync(directory, { recursive: true });
});

describe('one file, two ways', () => {
  it('is the same by HTTP and by methods', async () => {
    const made = await alice.ask('PUT', '/files/alice/report.csv', 'a,b\n1,2\n');
    expect(made.status).toBe(201);
    expect(made.headers.get('location')).toBe(`${stack.url}/files/alice/report.csv`);
    expect(readFileSync(join(root, 'alice', 'report.csv'), 'utf8')).toBe('a,b\n1,2\n');
    const got = await alice.ask('GET', '/files/alice/report.csv');
    expect([got.status, await got.text()]).toEqual([200, 'a,b\n1,2\n']);
    for (const [name, value] of Object.entries({
      'content-type': 'text/csv; charset=utf-8',
      'content-length': '8',
      'accept-ranges': 'bytes',
      'x-content-type-options': 'nosniff',
      etag: made.headers.get('etag'),
    })) {
      expect([name, got.headers.get(name)]).toEqual([name, value]);
    }
    expect(await alice.call('file.read', 'alice/report.csv')).toBe(Buffer.from('a,b\n1,2\n').toString('base64'));
    expect(await alice.call('file.read', 'alice/report.csv', 4, 3)).toBe(Buffer.from('1,2').toString('base64'));
    for (const algorithm of ['md5', 'sha256']) {
      const digest = createHash(algorithm).update('a,b\n1,2\n').digest('hex');
      expect(await alice.call(`file.${algorithm}`, 'alice/report.csv')).toBe(digest);
    }
    expect(
      await alice.call('file.put', 'alice/report.csv', Buffer.from('3,4\n').toString('base64'), 8),
    ).toMatchObject({
      name: 'report.csv',
      type: 'file',
      size: 12,
    });
    expect(await (await alice.ask('GET', '/files/alice/report.csv')).text()).toBe('a,b\n1,2\n3,4\n');
    expect(await alice.call('file.stat', 'alice')).toMatchObject({ name: 'alice', type: 'directory' });
    expect(await alice.call('file.mkdir', 'alice/deep')).toBe(true);
    expect(await alice.call('file.mkdir', 'alice/deep')).toBe(false);
    expect(await alice.status('PUT', '/files/alice/deep/two.csv', 'x')).toBe(201);
    expect(await alice.call('file.find', 'alice', '*.csv')).toEqual({
      names: ['alice/report.csv', 'alice/deep/two.csv'],
      is_complete: true,
    });
    expect(await alice.call('file.ls', 'alice')).toMatchObject({
      entries: [
        { name: 'deep', type: 'directory' },
        { name: 'report.csv', size: 12 },
      ],
    });
    const listing = await alice.ask('GET', '/files/alice/', undefined, { Accept: 'application/json' });
    expect(await listing.json()).toMatchObject({
      entries: [
        { name: 'deep', type: 'directory', href: `${stack.url}/files/alice/deep/` },
        { name: 'report.csv', size: 12 },
      ],
    });
    expect(await (await alice.ask('GET', '/files/alice')).text()).toBe('deep/\nreport.csv\n');
    expect(await alice.status('DELETE', '/files/alice/deep/')).toBe(409);
    expect(await alice.call('file.rm', 'alice/deep/two.csv')).toBe(true);
    expect(await alice.status('DELETE', '/files/alice/deep/')).toBe(204);
    expect(await alice.status('DELETE', '/files/alice/report.csv/')).toBe(404);
    expect(await alice.status('DELETE', '/files/alice/report.csv')).toBe(204);
    expect(await alice.status('GET', '/files/alice/report.csv')).toBe(404);
  });

  it('pages through a directory by the link to the next page', async () => {
    for (let n = 0; n < 5; n += 1) writeFileSync(join(root, 'public', `page ${n}`), '');
    const names: string[] = [];
    for (let next: string | undefined = '/files/public/?number=2'; next !== undefined;) {
      const page: Response = await nobody.ask('GET', next);
      names.push(...(await page.text()).split('\n').filter((line) => line !== ''));
      const link: string | undefined = /<([^>]+)>/.exec(page.headers.get('link') ?? '')?.[1];
      next = link?.slice(stack.url.length);
    }
    expect(names).toEqual(['page 0', 'page 1', 'page 2', 'page 3', 'page 4']);
    expect(await nobody.status('GET', '/files/public/?numbr=2')).toBe(400);
    expect(await nobody.status('GET', '/files/public/?number=0')).toBe(400);
    expect((await nobody.ask('GET', '/files/public/page%203')).headers.get('content-type')).toBe(
      'application/octet-stream',
    );
  });

  it.each([
    ['..%2f..%2fsecret', '../../secret'],
    ['%2e%2e/secret', '../secret'],
    ['alice/%2e%2e/%2e%2e/secret', 'alice/../../secret'],
    ['%2Fetc%2Fpasswd', '/etc/passwd'],
    ['/etc/passwd', '//etc/passwd'],
    ['..%5csecret', '..\\secret'],
    ['a%00', 'a\0'],
    ['.hidden', '.hidden'],
    ['%252e%252e/secret', '%252e%252e/secret'],
    ['..%c0%af..%c0%afsecret', '..\ufffd..\ufffdsecret'],
    ['link', 'link'],
    ['linked/secret', 'linked/secret'],
  ])('lets nobody out of the root by %s', async (path, name) => {
    if (path === 'link') symlinkSync(join(directory, 'secret'), join(root, 'link'));
    if (path === 'linked/secret') symlinkSync(directory, join(root, 'linked'));
    // fetch would resolve dots.
    const socket = connect(Number(new URL(stack.url).port), '127.0.0.1');
    socket.write(
      `GET /files/${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: ${administrator.headers.Authorization ?? ''}\r\n\r\n`,
    );
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    await once(socket, 'close');
    expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
    expect(answer).not.toContain(SECRET);
    for (const method of ['read', 'stat', 'md5', 'rm', 'ls']) {
      expect(await administrator.call(`file.${method}`, name)).toMatchObject({
        code: -32000,
        data: { code: expect.stringMatching(/^(?:bad_request|not_found)$/) as string },
      });
    }
    expect(await administrator.call('file.put', name, 'eA==')).toMatchObject({
      code: -32000,
      data: { code: expect.stringMatching(/^(?:bad_request|not_found|conflict)$/) as string },
    });
    expect(readFileSync(join(directory, 'secret'), 'utf8')).toBe(SECRET);
  });

  it('refuses arguments of other types', async () => {
    for (const [method, ...params] of [
      ['read'],
      ['read', 1],
      ['read', 'a', 'b'],
      ['read', 'a', 0, 1, 2],
      ['put', 'a'],
      ['put', 'a', 'not base64'],
      ['put', 'a', 'eA==', -1],
      ['ls', 'a', 'b', 1001],
      ['find', 'a'],
      ['stat', 'a', 'b'],
    ] as const) {
      expect(await administrator.call(`file.${method}`, ...params)).toMatchObject({ code: -32602 });
    }
  });
});

describe('HTTP', () => {
  const content = Buffer.from(Array.from({ length: 1000 }, (_, n) => n % 256));
  let etag = '';
  let modified = '';
  beforeAll(async () => {
    const made = await administrator.ask('PUT', '/files/public/bytes.bin', content);
    etag = made.headers.get('etag') ?? '';
    modified = made.headers.get('last-modified') ?? '';
  });
  const get = (headers: Record<string, string>): Promise<Response> =>
    nobody.ask('GET', '/files/public/bytes.bin', undefined, headers);

  it.each([
    ['bytes=0-9', 0, 10],
    ['bytes=990-', 990, 1000],
    ['bytes=990-5000', 990, 1000],
    ['bytes=-5', 995, 1000],
    ['bytes=-5000', 0, 1000],
    ['bytes=999-999', 999, 1000],
  ])('answers the range %s', async (range, start, end) => {
    const answer = await get({ Range: range });
    expect([answer.status, answer.headers.get('content-range')]).toEqual([206, `bytes ${start}-${end - 1}/1000`]);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(content.subarray(start, end));
  });

  it.each([['bytes=1000-'], ['bytes=-0'], ['bytes=5000-6000']])('cannot satisfy %s', async (range) => {
    const answer = await get({ Range: range });
    expect([answer.status, answer.headers.get('content-range')]).toEqual([416, 'bytes */1000']);
  });

  it.each([
    ['bytes=0-1,5-6'],
    ['lines=0-1'],
    ['bytes=5-1'],
    ['bytes=-'],
    ['bytes=a-b'],
    ['bytes=99999999999999999999-'],
  ])('ignores %s', async (range) => {
    const answer = await get({ Range: range });
    expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, 1000]);
  });

  it('takes a range only of the version that If-Range names', async () => {
    expect((await get({ Range: 'bytes=0-9', 'If-Range': etag })).status).toBe(206);
    expect((await get({ Range: 'bytes=0-9', 'If-Range': '"other"' })).status).toBe(200);
    expect((await get({ Range: 'bytes=0-9', 'If-Range': `W/${etag}` })).status).toBe(200);
    expect((await get({ Range: 'bytes=0-9', 'If-Range': 'Mon, 01 Jan 2001 00:00:00 GMT' })).status).toBe(200);
  });

  it('answers conditions', async () => {
    expect((await get({ 'If-None-Match': etag })).status).toBe(304);
    expect((await get({ 'If-None-Match': `"x", W/${etag}` })).status).toBe(304);
    expect((await get({ 'If-None-Match': '"x"' })).status).toBe(200);
    expect((await get({ 'If-Modified-Since': modified })).status).toBe(304);
    expect((await get({ 'If-Modified-Since': 'Mon, 01 Jan 2001 00:00:00 GMT' })).status).toBe(200);
    expect((await get({ 'If-Match': '"x"' })).status).toBe(412);
    const put = (headers: Record<string, string>): Promise<number> =>
      administrator.status('PUT', '/files/public/conditional', 'x', headers);
    expect(await put({ 'If-Match': '*' })).toBe(412);
    expect(await put({ 'If-None-Match': '*' })).toBe(201);
    expect(await put({ 'If-None-Match': '*' })).toBe(412);
    const tag = (await nobody.ask('HEAD', '/files/public/conditional')).headers.get('etag') ?? '';
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => put({ 'If-Match': tag })));
    expect(outcomes.filter((status) => status === 204)).toHaveLength(1);
    expect(outcomes.filter((status) => status === 412)).toHaveLength(7);
    expect(await administrator.status('DELETE', '/files/public/conditional', undefined, { 'If-Match': tag })).toBe(
      412,
    );
    expect(await administrator.status('DELETE', '/files/public/conditional', undefined, { 'If-Match': '*' })).toBe(
      204,
    );
  });

  it('answers HEAD as GET without the content', async () => {
    const answer = await nobody.ask('HEAD', '/files/public/bytes.bin');
    expect([answer.status, answer.headers.get('content-length'), await answer.text()]).toEqual([200, '1000', '']);
  });

  it('refuses a body that is too large, a part of a file, and other methods', async () => {
    expect(await administrator.status('PUT', '/files/public/large', 'x'.repeat(1024 * 1024 + 1))).toBe(413);
    expect(await administrator.status('PUT', '/files/public/part', 'x', { 'Content-Range': 'bytes 0-0/2' })).toBe(
      400,
    );
    expect(await administrator.status('PUT', '/files/absent/file', 'x')).toBe(404);
    expect(await administrator.status('PUT', '/files/public/', 'x')).toBe(400);
    const post = await administrator.ask('POST', '/files/public/bytes.bin', 'x');
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD, PUT, DELETE, OPTIONS']);
    expect((await nobody.ask('OPTIONS', '/files/public/bytes.bin')).headers.get('allow')).toContain('PUT');
  });

  it('shows no file that could run a script', async () => {
    for (const name of ['page.html', 'image.svg', 'PAGE.HTM', 'x.xhtml', 'x.xml', 'x.js', 'x.unknown']) {
      expect(await administrator.status('PUT', `/files/public/${name}`, '<script>1</script>')).toBe(201);
      const { headers } = await nobody.ask('GET', `/files/public/${name}`);
      expect([name, headers.get('content-disposition')]).toEqual([name, 'attachment']);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('content-security-policy')).toContain('sandbox');
    }
    const listing = await nobody.ask('GET', '/files/public/', undefined, { Accept: 'text/html' });
    expect(listing.status).toBe(406);
  });

  it('streams a huge file as the client reads, and ends with the client', async () => {
    const size = 50 * 1024 ** 3;
    writeFileSync(join(root, 'public', 'huge'), '');
    truncateSync(join(root, 'public', 'huge'), size);
    const before = process.memoryUsage().rss;
    const asked = httpRequest(`${stack.url}/files/public/huge`).end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    expect(answer.headers['content-length']).toBe(String(size));
    let bytes = 0;
    for await (const chunk of answer) {
      bytes += (chunk as Buffer).length;
      if (bytes > 64 * 1024 * 1024) break;
    }
    asked.destroy();
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 1024 * 1024);
    // The file is closed: so many downloads could not be open at the same time.
    for (let n = 0; n < 250; n += 1) {
      const tail = await nobody.ask('GET', '/files/public/huge', undefined, { Range: 'bytes=-3' });
      expect([tail.status, (await tail.arrayBuffer()).byteLength]).toEqual([206, 3]);
    }
  });
});

describe('who may do what', () => {
  it('is decided by rules for the paths, the same by HTTP and by methods', async () => {
    await administrator.ask('PUT', '/files/shared/open.txt', 'open');
    await administrator.ask('PUT', '/files/shared/private.txt', 'private');
    const own = '/files/alice/own.txt';
    expect(await alice.status('PUT', own, 'mine')).toBe(201);
    // Alice may read and write below one directory, and bob cannot tell what is there.
    expect(await bob.status('GET', own)).toBe(404);
    expect(await bob.status('GET', '/files/alice/absent')).toBe(404);
    expect(await bob.status('GET', '/files/alice/')).toBe(404);
    expect(await bob.status('GET', '/files/alice')).toBe(404);
    expect(await bob.status('DELETE', own)).toBe(404);
    expect(await bob.status('PUT', own, 'x')).toBe(403);
    expect(await bob.status('PUT', '/files/alice/absent', 'x')).toBe(403);
    expect(await bob.status('PUT', '/files/alice/directory/')).toBe(403);
    const texts = await Promise.all(
      [own, '/files/alice/absent'].map(async (path) => (await bob.ask('PUT', path, 'x')).text()),
    );
    expect(texts[0]?.replace(own, '')).toBe(texts[1]?.replace('/files/alice/absent', ''));
    for (const name of ['alice/own.txt', 'alice/absent']) {
      for (const method of ['read', 'stat', 'md5', 'sha256', 'rm']) {
        expect(await bob.call(`file.${method}`, name)).toMatchObject({ data: { code: 'not_found' } });
      }
      expect(await bob.call('file.put', name, 'eA==')).toMatchObject({ data: { code: 'forbidden' } });
      expect(await bob.call('file.put', name, 'eA==', 4)).toMatchObject({ data: { code: 'not_found' } });
    }
    // Both read what is shared, but for one file.
    for (const [who, names] of [
      [alice, ['open.txt', 'private.txt']],
      [bob, ['open.txt']],
    ] as const) {
      expect(await who.call('file.find', 'shared', '**')).toEqual({
        names: names.map((name) => `shared/${name}`),
        is_complete: true,
      });
      expect((await (await who.ask('GET', '/files/shared/')).text()).trim().split('\n')).toEqual(names);
    }
    expect(await bob.status('GET', '/files/shared/private.txt')).toBe(404);
    expect(await alice.status('PUT', '/files/shared/open.txt', 'x')).toBe(403);
    expect(await alice.status('DELETE', '/files/shared/open.txt')).toBe(403);
    // The root is for administrators, until a rule says otherwise.
    expect(await alice.status('GET', '/files/')).toBe(403);
    expect(await (await administrator.ask('GET', '/files/')).text()).toContain('alice/\n');
    expect(await nobody.status('GET', '/files/')).toBe(401);
    expect(await nobody.status('GET', own)).toBe(401);
    expect(await nobody.status('GET', '/files/alice/absent')).toBe(401);
    expect(await nobody.status('PUT', '/files/public/x', 'x')).toBe(401);
    expect(readFileSync(join(root, 'alice', 'own.txt'), 'utf8')).toBe('mine');
  });

  it('lets a caller put into a directory that the caller cannot read', async () => {
    mkdirSync(join(root, 'box'));
    await allow('entity:/files/box/', ['entity.create'], 'user:bob');
    expect(await bob.status('PUT', '/files/box/letter', 'x')).toBe(201);
    expect(await bob.status('PUT', '/files/box/letter', 'y')).toBe(403);
    expect(await bob.status('GET', '/files/box/letter')).toBe(404);
    expect(readFileSync(join(root, 'box', 'letter'), 'utf8')).toBe('x');
  });

  it('keeps the path of the files free of entities', async () => {
    expect(stack.url).toContain('http');
    const made = await administrator.ask(
      'POST',
      '/-/',
      JSON.stringify({ kinds: [{ term: 'x', scheme: 'http://example.com/#', location: '/files/' }] }),
      {
        'Content-Type': 'application/json',
      },
    );
    expect(made.status).toBeGreaterThanOrEqual(400);
  });
});

it('refuses in a stack without files, over HTTP and by methods', async () => {
  const { app } = stack;
  const config = readConfig({ PORT: '0', ...ANY_PORT, CMBS_DATA_DIR: join(directory, 'without') });
  const without = await startStack({ config, log: silentLog });
  try {
    expect(app.files).toBeDefined();
    const answer = await fetch(`${without.url}/files/x`);
    expect([answer.status, await answer.text()]).toEqual([501, expect.stringContaining('companion') as string]);
  } finally {
    await without.close();
  }
});
