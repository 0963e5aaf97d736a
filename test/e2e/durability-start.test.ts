/** A start that cannot succeed says why, and damages nothing. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { cleanEnvironment } from '@cmbs/emulator/child-stack';
import { VERSION } from '@cmbs/shared';
import { SETTINGS } from '@cmbs/shared/config';
import { ask, Bench, freeAddresses, messageBody, must } from './durability-support';
import { PATIENCE_MS } from '../patience';

const bench = new Bench();
beforeAll(() => void bench.program());
afterEach(() => bench.clear());
afterAll(() => bench.close());

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the program to its end. A program that is not done in time is killed, and has no code. */
function run(args: readonly string[], settings: Readonly<Record<string, string>> = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { env: { ...cleanEnvironment(), ...settings }, timeout: PATIENCE_MS, cwd: bench.directory() };
    const child = execFile(process.execPath, [bench.program(), ...args], options, (_error, out, err) =>
      resolve({ code: child.exitCode, out, err }),
    );
  });
}

/** The files of a directory that `wanted` accepts, each with a digest of its content. */
function fingerprint(directory: string, wanted: (name: string) => boolean): Readonly<Record<string, string>> {
  return Object.fromEntries(
    readdirSync(directory)
      .filter(wanted)
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(directory, name)))
          .digest('hex'),
      ]),
  );
}

describe('the arguments of npm start', () => {
  it('--help names every setting, and --version the version', async () => {
    const help = await run(['--help']);
    expect(help).toMatchObject({ code: 0, err: '' });
    for (const name of Object.keys(SETTINGS)) expect(help.out).toContain(name);
    expect(await run(['--version'])).toEqual({ code: 0, out: `${VERSION}\n`, err: '' });
  });

  it('unknown arguments are refused with a hint', async () => {
    const ran = await run(['--prot=1']);
    expect(ran).toEqual({ code: 2, out: '', err: 'Unknown argument "--prot=1"; try --help.\n' });
  });
});

describe('a start with an invalid setting', () => {
  it.each([
    // test/unit/config.test.ts has every setting.
    ['PORT', 'http', 'must be a whole number'],
    ['CMBS_HOST', 'no host', 'a host name or address'],
    ['CMBS_PROT', '1', 'is not a setting; the option --help lists them'],
  ])('names the setting and its valid values: %s=%j', async (name, value, said) => {
    const { code, out, err } = await run([], { PORT: '0', [name]: value });
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toContain(name);
    expect(err).toContain(said);
    // One sentence for one mistake, without a stack trace.
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  it('names all invalid settings at once', async () => {
    const { code, err } = await run([], { PORT: 'x', CMBS_LOG: 'y', CMBS_DISCOVERY: 'z' });
    expect(code).toBe(1);
    expect(err.trimEnd().split('\n')).toHaveLength(3);
  });
});

it('a port in use is named, and the start ends with 1', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const { code, err } = await run([], { PORT: String(port) });
    expect(code).toBe(1);
    expect(err).toBe(`Something listens on 127.0.0.1:${port} already; stop it or set PORT.\n`);
  } finally {
    server.close();
  }
});

it('a data directory that is a file is named, and the start ends with 1', async () => {
  const { code, err } = await run([], { PORT: '0', CMBS_DATA_DIR: bench.program() });
  expect(code).toBe(1);
  expect(err).toContain(`The data directory ${bench.program()} cannot be used: `);
  expect(err.trimEnd().split('\n')).toHaveLength(1);
});

it('a second process on a data directory names the first and ends, and the first is unharmed', async () => {
  const directory = bench.directory();
  const first = await bench.start({ directory });
  await must('PUT', `${first.url}/cmbs/message/before`, { body: messageBody('l1', {}) });
  for (let attempt = 0; attempt < 3; attempt++) {
    const { code, err } = await run([], { PORT: '0', CMBS_DATA_DIR: directory });
    expect(code).toBe(1);
    expect(err).toMatch(/^The data directory \S+ is in use by another process \(pid \d+\); stop it or set /);
  }
  await must('PUT', `${first.url}/cmbs/message/after`, { body: messageBody('l1', {}) });
  await first.kill();
  const again = await bench.start({ directory });
  for (const id of ['before', 'after']) await must('GET', `${again.url}/cmbs/message/${id}`);
});

/** Database and log in the directory. An empty log, which a read leaves behind, does not count. */
const dataOf = (directory: string): Readonly<Record<string, string>> =>
  fingerprint(directory, (name) => /^cmbs\.db(?:-wal)?$/.test(name) && statSync(join(directory, name)).size > 0);

it.each([
  ['in its database', ['cmbs.db']],
  ['still in its log', ['cmbs.db', 'cmbs.db-wal']],
])('a data directory of a newer version, %s, is refused and stays unchanged', async (_, files) => {
  const written = bench.directory();
  const newer = await bench.start({ directory: written });
  await must('PUT', `${newer.url}/cmbs/message/m`, { body: messageBody('l1', {}) });
  await newer.interrupt();
  const directory = bench.directory();
  const db = new DatabaseSync(join(written, 'cmbs.db'));
  db.exec('PRAGMA user_version=999');
  // The last connection to close moves the log into the database.
  const isLogged = files.length > 1;
  if (!isLogged) db.close();
  for (const file of files) copyFileSync(join(written, file), join(directory, file));
  if (isLogged) db.close();

  const before = dataOf(directory);
  expect(Object.keys(before)).toEqual(files);
  const { code, err } = await run([], { PORT: '0', CMBS_DATA_DIR: directory });
  expect(code).toBe(1);
  expect(err).toContain(
    `${join(directory, 'cmbs.db')} was written by a newer version of this program (schema 999, this one knows `,
  );
  expect(dataOf(directory)).toEqual(before);
});

describe('a data directory that cannot be created', () => {
  it('is reported at once', async () => {
    for (const directory of ['/proc/1/nothing/here', '/dev/null/data']) {
      const ran = await run([], { PORT: '0', CMBS_DATA_DIR: directory });
      expect([ran.code, ran.err]).toEqual([
        1,
        expect.stringContaining(`The data directory ${directory} cannot be used`),
      ]);
    }
  });
});

it('an old Node.js is refused in one sentence', async () => {
  const old = join(bench.directory(), 'old.cjs');
  writeFileSync(old, "Object.defineProperty(process.versions, 'node', { value: '18.19.0' });");
  const check = join(__dirname, '..', '..', 'emulator', 'check-node.cjs');
  const ran = await new Promise<Ran>((resolve) => {
    const child = execFile(process.execPath, ['-r', old, check], (_error, out, err) =>
      resolve({ code: child.exitCode, out, err }),
    );
  });
  expect(ran).toEqual({
    code: 1,
    out: '',
    err: 'CMBS needs Node.js 20.20 or newer, and this is 18.19.0: install a newer one.\n',
  });
  const { scripts } = JSON.parse(readFileSync(join(__dirname, '..', '..', 'package.json'), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  expect(scripts.start).toMatch(/^node emulator\/check-node\.cjs && /);
});

it('a socket that cannot be opened is logged once, however often it is tried', async () => {
  const [address = ''] = await freeAddresses(1);
  const other = createServer().listen(Number(address.slice(address.lastIndexOf(':') + 1)), '127.0.0.1');
  await once(other, 'listening');
  const stack = await bench.start({ directory: bench.directory(), settings: { CMBS_LOG: 'info' } });
  try {
    const body = {
      kind: 'http://houssem.org/cmbs#member',
      attributes: { cmbs: { member: { l1_socket: address } } },
    };
    await must('PUT', `${stack.url}/cmbs/member/m`, { body });
    for (let time = 0; time < 3; time += 1) {
      expect((await ask('POST', `${stack.url}/cmbs/member/m?action=start_l1`)).status).toBe(409);
    }
    const told = stack.lines.filter((line) => line.includes(address));
    expect(told).toEqual([expect.stringContaining('layer not opened')]);
  } finally {
    other.close();
  }
});
