/** The local stack answers HTTPS by itself, and takes a new certificate while it runs. */
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { connect as connectSecurely, type SecureVersion, TLSSocket } from 'node:tls';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { type Log, silentLog } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { itWithOpenssl as it, makeCertificate, type TestCertificate } from '../certificates';
import { PATIENCE_MS } from '../patience';
import { within } from '../waits';
import { Bench } from './durability-support';
import { eventually, MESSAGE } from './harness';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Common name of the certificate on the connection. */
  readonly certificate: string;
  /** The client's port, which tells connections apart. */
  readonly port: number | undefined;
}

interface Asked {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
}

let directory: string;
let open: (() => unknown)[];
/** Certificates that clients of these tests trust. */
let trusted: string[];
let lines: string[];
const bench = new Bench();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-tls-'));
  open = [];
  trusted = [];
  lines = [];
});
afterEach(async () => {
  for (const close of open.reverse()) await close();
  await bench.clear();
  rmSync(directory, { recursive: true });
});
afterAll(() => bench.close());

function certificate(name: string): TestCertificate {
  const made = makeCertificate(directory, name);
  trusted.push(made.pem);
  return made;
}

/** Each line with its level. */
function recordingLog(): Log {
  const line =
    (level: string) =>
    (message: string, fields: object = {}): void =>
      void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  return { ...silentLog, info: line('info'), warn: line('warn'), error: line('error') };
}

const logged = (text: string): Promise<unknown> =>
  eventually(
    () => lines.filter((line) => line.includes(text)).length,
    (count) => count > 0,
    `a line with ${text}`,
  );

async function start({ cert, key }: Pick<TestCertificate, 'cert' | 'key'>): Promise<Stack> {
  const config = readConfig({
    PORT: '0',
    CMBS_DATA_DIR: join(directory, 'data'),
    CMBS_TLS_CERT: cert,
    CMBS_TLS_KEY: key,
    ...ANY_PORT,
  });
  const stack = await startStack({ config, log: recordingLog() });
  open.push(() => stack.close());
  return stack;
}

/** The paths that a stack is started with, and to which tests copy certificates. */
function inPlace({ cert, key }: TestCertificate): Pick<TestCertificate, 'cert' | 'key'> {
  const place = { cert: join(directory, 'server.crt'), key: join(directory, 'server.key') };
  copyFileSync(cert, place.cert);
  copyFileSync(key, place.key);
  return place;
}

async function ask(url: string, { method = 'GET', body, headers = {}, agent }: Asked = {}): Promise<Answer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const asked = request(url, {
    method,
    ca: trusted,
    agent: agent ?? false,
    headers: { Accept: 'application/json', 'Content-Type': 'application/json', ...headers },
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  asked.end(text);
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  const { socket } = answer;
  if (!(socket instanceof TLSSocket)) throw new Error('the connection is not encrypted');
  const { localPort: port } = socket;
  const name = String(socket.getPeerCertificate().subject.CN);
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const { statusCode: status = 0 } = answer;
  return { status, headers: answer.headers, text: Buffer.concat(chunks).toString(), certificate: name, port };
}

const shows = (stack: Stack, name: string): Promise<unknown> =>
  eventually(
    async () => (await ask(`${stack.url}/healthz`)).certificate,
    (shown) => shown === name,
    `the certificate of ${name}`,
  );

/** All bytes until the server closes the connection. */
async function bytesUntilClosed(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined); // a reset closes the connection as well
  await within(new Promise((resolve) => socket.once('close', resolve)), 'the end of the connection');
  return Buffer.concat(chunks).toString('latin1');
}

function plainly(url: string): Socket {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  open.push(() => socket.destroy());
  return socket;
}

describe('a stack with a certificate', () => {
  it('answers HTTPS, and makes https URLs', async () => {
    const stack = await start(certificate('one'));
    expect(stack.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const body = { kind: MESSAGE, attributes: { 'cmbs.message.message_content': 'secret' } };
    const made = await ask(`${stack.url}/cmbs/message/`, { method: 'POST', body });
    expect([made.status, made.certificate]).toEqual([201, 'one']);
    const location = String(made.headers.location);
    expect(location.startsWith(`${stack.url}/cmbs/message/`)).toBe(true);
    const read = await ask(location);
    expect([read.status, read.text]).toEqual([200, expect.stringContaining('secret')]);
    const list = await ask(`${stack.url}/cmbs/message/`, { headers: { Accept: 'text/uri-list' } });
    expect(list.text.trim()).toBe(location);
    // A page of this server has an https origin.
    const own = { Origin: stack.url };
    expect((await ask(location, { headers: own })).status).toBe(200);
    const plain = { Origin: stack.url.replace('https', 'http') };
    expect((await ask(location, { headers: plain })).status).toBe(403);
  });

  it('speaks TLS 1.2 and 1.3, and nothing older', async () => {
    const stack = await start(certificate('one'));
    const versionOf = async (only: SecureVersion): Promise<string | null> => {
      const options = { port: Number(new URL(stack.url).port), host: '127.0.0.1', ca: trusted };
      // The client's library has to be willing to speak the old versions.
      const ciphers = 'DEFAULT:@SECLEVEL=0';
      const socket = connectSecurely({ ...options, ciphers, minVersion: only, maxVersion: only });
      open.push(() => socket.destroy());
      await within(once(socket, 'secureConnect'), 'the handshake');
      return socket.getProtocol();
    };
    expect(await versionOf('TLSv1.3')).toBe('TLSv1.3');
    expect(await versionOf('TLSv1.2')).toBe('TLSv1.2');
    await expect(versionOf('TLSv1.1')).rejects.toThrow(/protocol version/);
  });

  it('takes files that replace its own, and keeps connections that are open', async () => {
    const [one, two] = [certificate('one'), certificate('two')];
    const place = inPlace(one);
    const stack = await start(place);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    open.push(() => agent.destroy());
    const before = await ask(`${stack.url}/-/`, { agent });
    renameSync(two.cert, place.cert);
    renameSync(two.key, place.key);
    await shows(stack, 'two');
    const after = await ask(`${stack.url}/-/`, { agent });
    expect([after.status, after.certificate, after.port]).toEqual([200, 'one', before.port]);
  });

  it('follows a symbolic link to other files, as Kubernetes and certbot replace them', async () => {
    for (const name of ['one', 'two']) {
      const made = certificate(name);
      mkdirSync(join(directory, name, 'pair'), { recursive: true });
      renameSync(made.cert, join(directory, name, 'pair', 'tls.crt'));
      renameSync(made.key, join(directory, name, 'pair', 'tls.key'));
    }
    symlinkSync(join(directory, 'one', 'pair'), join(directory, 'current'));
    const stack = await start({
      cert: join(directory, 'current', 'tls.crt'),
      key: join(directory, 'current', 'tls.key'),
    });
    await shows(stack, 'one');
    symlinkSync(join(directory, 'two', 'pair'), join(directory, 'next'));
    renameSync(join(directory, 'next'), join(directory, 'current'));
    await shows(stack, 'two');
  });

  it('keeps its certificate while the new files are broken, and logs this once', async () => {
    const [one, two] = [certificate('one'), certificate('two')];
    const place = inPlace(one);
    const stack = await start(place);
    // The new certificate with the old key.
    copyFileSync(two.cert, place.cert);
    await logged('CMBS_TLS_KEY is not the private key');
    await shows(stack, 'one');
    writeFileSync(place.cert, readFileSync(two.cert).subarray(0, 200));
    await logged('CMBS_TLS_CERT must name a file with a certificate');
    rmSync(place.cert);
    await logged('ENOENT');
    await shows(stack, 'one');
    copyFileSync(two.cert, place.cert);
    copyFileSync(two.key, place.key);
    await shows(stack, 'two');
    const problems = lines.filter((line) => line.includes('cannot be used'));
    expect(problems.filter((line) => line.includes('ENOENT'))).toHaveLength(1);
    expect(lines.join('\n')).not.toContain('PRIVATE KEY');
  });

  it('closes connections with plain HTTP, and others that do not finish a handshake, without a line in the log', async () => {
    const stack = await start(certificate('one'));
    const idle = bytesUntilClosed(plainly(stack.url));
    lines.length = 0;
    const plain = plainly(stack.url);
    plain.write('GET /-/ HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect(await bytesUntilClosed(plain)).not.toContain('cmbs');
    const garbage = plainly(stack.url);
    garbage.write(Buffer.alloc(5000, 0x16));
    await bytesUntilClosed(garbage);
    const reset = plainly(stack.url);
    await within(once(reset, 'connect'), 'a connection');
    reset.resetAndDestroy();
    // A client that does not trust the certificate.
    trusted = [];
    await expect(ask(`${stack.url}/-/`)).rejects.toThrow('self-signed certificate');
    trusted = [readFileSync(join(directory, 'one.crt'), 'utf8')];
    await idle;
    expect(lines).toEqual([]);
    expect((await ask(`${stack.url}/-/`)).status).toBe(200);
  });

  it('stops in time while a handshake is under way', async () => {
    const stack = await start(certificate('one'));
    const idle = plainly(stack.url);
    const ended = bytesUntilClosed(idle);
    await within(once(idle, 'connect'), 'a connection');
    const began = performance.now();
    await stack.close();
    await ended;
    expect(performance.now() - began).toBeLessThan(10_000); // a handshake may take as long
  });
});

describe('npm start with a certificate', () => {
  it('shows its https URL, and answers there after a crash', async () => {
    const supervisor = bench.program('emulator/start.ts');
    copyFileSync(bench.program('emulator/main.ts'), join(dirname(supervisor), 'main.js'));
    const { cert, key } = certificate('one');
    const data = join(directory, 'data');
    const settings = { CMBS_TLS_CERT: cert, CMBS_TLS_KEY: key };
    const stack = await bench.start({ program: supervisor, directory: data, settings });
    expect(stack.url).toMatch(/^https:/);
    expect((await ask(`${stack.url}/readyz`)).status).toBe(200);
    const pid = (): string => readFileSync(join(data, 'lock.pid'), 'utf8');
    const first = pid();
    process.kill(Number(first), 'SIGKILL');
    const status = (): Promise<number> =>
      ask(`${stack.url}/readyz`).then(
        ({ status }) => status,
        () => 0,
      );
    await eventually(pid, (now) => now !== first, 'another process');
    await eventually(status, (now) => now === 200, 'an answer after the crash');
    expect((await stack.terminate()).code).toBe(0);
  });

  it('does not start with files that do not belong together, and says why', async () => {
    const [one, two] = [certificate('one'), certificate('two')];
    const settings = { CMBS_TLS_CERT: one.cert, CMBS_TLS_KEY: two.key };
    const stack = bench.launch({ directory: join(directory, 'data'), settings });
    expect((await stack.exited).code).toBe(1);
    expect(stack.lines).toEqual(['CMBS_TLS_KEY is not the private key of the certificate in CMBS_TLS_CERT.']);
  });
});
