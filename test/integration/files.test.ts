/** Files below one root: hostile names, links that change, special files, whole replacement, limits. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { rename } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type CmbsError, systemClock } from '@cmbs/shared';
import { type FileLimits, fileName, VirtualFiles } from '@cmbs/shared/services/builtin';
import { matcherOf } from '../../shared/services/builtin/files/pattern';
import { ManualClock } from '../contract/manual-clock';
import { extent } from '../extent';
import { itOnSmallDisk, mountDisk, unmountDisk } from '../small-disk';
import { bundleProgram } from './bundled-program';

const SECRET = 'a secret outside of the root';
/** Reads until both states of a directory that is exchanged must have been seen. */
const MOST_READS = 200_000;
const wanted = new AbortController().signal;
const everything = () => Promise.resolve(true);
const always = (): void => undefined;

let outside: string;
let root: string;
let files: VirtualFiles;
const opened: VirtualFiles[] = [];

async function open(
  more: { bytes?: number; limits?: Partial<FileLimits>; clock?: ManualClock } = {},
): Promise<VirtualFiles> {
  const { bytes = 64 * 1024 * 1024, clock = systemClock, limits = {} } = more;
  const made = await VirtualFiles.open(root, { clock, bytes, limits });
  opened.push(made);
  return made;
}

beforeEach(async () => {
  outside = mkdtempSync(join(tmpdir(), 'cmbs-files-'));
  root = join(outside, 'root');
  mkdirSync(join(outside, 'secrets'));
  writeFileSync(join(outside, 'secrets', 'file'), SECRET);
  files = await open();
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
  rmSync(outside, { recursive: true });
});

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error: unknown) => (error as CmbsError).code,
  );
const text = async (name: string): Promise<string> =>
  Buffer.from(await files.read(fileName(name), 0, -1, wanted)).toString();
const put = (name: string, content: string | Uint8Array = 'x', to = files) =>
  to.put(fileName(name), Buffer.from(content));

it.each([
  ['..'],
  ['../secrets/file'],
  ['a/../../secrets/file'],
  ['.'],
  ['./a'],
  ['a//b'],
  ['/etc/passwd'],
  ['//etc/passwd'],
  ['.hidden'],
  ['a/.hidden/b'],
  ['a\0b'],
  ['a\nb'],
  ['..\\secrets\\file'],
  ['a\\b'],
  ['a/\ud800'],
  ['a/\ufffd'],
  ['x'.repeat(256)],
  ['é'.repeat(128)],
  [Array.from({ length: 15 }, () => 'a').join('/')],
  [Array.from({ length: 10 }, () => 'x'.repeat(100)).join('/')],
])('refuses the name %j', (name) => {
  expect(() => fileName(name)).toThrow(expect.objectContaining({ code: 'bad_request' }) as Error);
});

it('takes names as they are, without decoding them', async () => {
  for (const name of ['%2e%2e', 'x..%2fsecrets', 'a b', 'naïve', '~', '-rf', '日本', "it's;rm"]) {
    await put(name, name);
    expect(await text(name)).toBe(name);
    expect(readFileSync(join(root, name), 'utf8')).toBe(name);
  }
});

it('follows no link, at any level, in any operation', async () => {
  mkdirSync(join(root, 'directory'));
  symlinkSync('../secrets', join(root, 'link'));
  symlinkSync('../../secrets/file', join(root, 'directory', 'file'));
  symlinkSync(join(outside, 'secrets'), join(root, 'absolute'));
  symlinkSync('directory', join(root, 'inside'));
  for (const name of ['link/file', 'directory/file', 'absolute/file', 'inside/x', 'link', 'absolute', 'inside']) {
    const path = fileName(name);
    expect([name, await codeOf(files.stat(path))]).toEqual([name, 'not_found']);
    expect(await codeOf(files.read(path, 0, -1, wanted))).toBe('not_found');
    expect(await codeOf(files.digest(path, 'sha256', wanted))).toBe('not_found');
    expect(await codeOf(files.list(path, { limit: 10, shows: everything, signal: wanted }))).toBe('not_found');
    expect(await codeOf(files.find(path, '**', { shows: everything, signal: wanted }))).toBe('not_found');
    expect(await codeOf(files.append(path, 0, Buffer.from('x'), always))).toBe('not_found');
    expect(await codeOf(files.remove(path, always))).toBe('not_found');
    expect(['not_found', 'conflict']).toContain(await codeOf(put(name)));
    expect(await codeOf(files.makeDirectory([...path, 'x'], always))).toBe('not_found');
  }
  const { entries } = await files.list([], { limit: 10, shows: everything, signal: wanted });
  expect(entries.map(({ name }) => name)).toEqual([['directory']]);
  expect((await files.find([], '**', { shows: everything, signal: wanted })).names).toEqual([['directory']]);
  expect(readFileSync(join(outside, 'secrets', 'file'), 'utf8')).toBe(SECRET);
});

it('reads nothing outside while links and directories are exchanged', async () => {
  // Each name is now the real thing, then a link out of the root.
  mkdirSync(join(root, 'directory'));
  writeFileSync(join(root, 'directory', 'file'), 'inside');
  symlinkSync(join(outside, 'secrets'), join(root, 'link'));
  const over = new AbortController();
  const exchanging = (async () => {
    while (!over.signal.aborted) {
      await rename(join(root, 'directory'), join(root, 'spare'));
      await rename(join(root, 'link'), join(root, 'directory'));
      await rename(join(root, 'directory'), join(root, 'link'));
      await rename(join(root, 'spare'), join(root, 'directory'));
    }
  })();
  const seen = new Map<string, number>();
  const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);
  try {
    const wasSeen = (): boolean => seen.has('inside') && seen.has('not_found');
    // The exchange happens during the reads once both states were seen.
    for (let n = 0; n < extent(1500, 20_000) || (!wasSeen() && n < MOST_READS); n += 1) {
      count(await text('directory/file').catch((error: unknown) => (error as CmbsError).code));
      if (n % 10 === 0) count(await codeOf(files.append(['directory', 'new'], 0, Buffer.from('x'), always)));
      if (n % 10 === 0) await codeOf(put('directory/new'));
    }
  } finally {
    over.abort();
    await exchanging;
  }
  expect([...seen.keys()].filter((what) => !['inside', 'not_found', 'conflict', 'none'].includes(what))).toEqual(
    [],
  );
  // Both states were seen.
  expect(seen.get('inside')).toBeGreaterThan(0);
  expect(seen.get('not_found')).toBeGreaterThan(0);
  expect(readdirSync(join(outside, 'secrets'))).toEqual(['file']);
});

it('neither waits for pipes nor opens sockets and devices', async () => {
  execFileSync('mkfifo', [join(root, 'pipe')]);
  const server = createServer().listen(join(root, 'socket'));
  await once(server, 'listening');
  try {
    for (const name of ['pipe', 'socket']) {
      expect(await codeOf(files.read([name], 0, -1, wanted))).toBe('not_found');
      expect(await codeOf(files.stat([name]))).toBe('not_found');
      expect(await codeOf(files.append([name], 0, Buffer.from('x'), always))).toBe('not_found');
      expect(await codeOf(files.remove([name], always))).toBe('not_found');
      expect(await codeOf(put(name))).toBe('conflict');
    }
    const { entries } = await files.list([], { limit: 10, shows: everything, signal: wanted });
    expect(entries).toEqual([]);
  } finally {
    server.close();
  }
});

it('reads parts of a huge file, and says how to read what is too much', async () => {
  const size = 3 * 1024 ** 4;
  writeFileSync(join(root, 'sparse'), '');
  truncateSync(join(root, 'sparse'), size);
  expect((await files.stat(['sparse'])).size).toBe(size);
  expect(await files.read(['sparse'], size - 10, -1, wanted)).toEqual(Buffer.alloc(10));
  expect(await files.read(['sparse'], size, -1, wanted)).toHaveLength(0);
  expect(await files.read(['sparse'], size + 5, 10, wanted)).toHaveLength(0);
  await expect(files.read(['sparse'], 0, -1, wanted)).rejects.toThrow(/bytes at most.*by offset and length/);
  for (const [offset, length] of [
    [-1, 1],
    [0, -2],
    [0.5, 1],
    [0, Number.NaN],
  ] as const) {
    expect(await codeOf(files.read(['sparse'], offset, length, wanted))).toBe('bad_request');
  }
  // A caller who leaves ends the work.
  const leaving = new AbortController();
  const digest = files.digest(['sparse'], 'sha256', leaving.signal);
  leaving.abort();
  expect(await codeOf(digest)).toBe('request_timeout');
});

it('computes digests and reads hard links', async () => {
  const content = Buffer.alloc(1_000_000, 'abc');
  await put('file', content);
  linkSync(join(root, 'file'), join(root, 'hard'));
  for (const algorithm of ['md5', 'sha256'] as const) {
    const expected = createHash(algorithm).update(content).digest('hex');
    expect(await files.digest(['file'], algorithm, wanted)).toBe(expected);
    expect(await files.digest(['hard'], algorithm, wanted)).toBe(expected);
  }
});

it('gives readers the content that they opened while others replace the file', async () => {
  await put('file', Buffer.alloc(2_000_000, 1));
  const reader = await files.openFile(['file']);
  await put('file', 'new');
  let bytes = 0;
  for await (const piece of reader.pieces(0, reader.info.size, wanted))
    bytes += piece.filter((byte) => byte === 1).length;
  expect(bytes).toBe(2_000_000);
  await reader.close();
  expect(await text('file')).toBe('new');
});

it('puts concurrently: each file is one of the contents, and a condition holds for one of them', async () => {
  const contents = Array.from({ length: 20 }, (_, n) => Buffer.alloc(100_000, n));
  await Promise.all(contents.map((content) => files.put(['file'], content)));
  const last = await files.read(['file'], 0, -1, wanted);
  expect(contents.some((content) => content.equals(last))).toBe(true);
  const { tag } = await files.stat(['file']);
  const outcomes = await Promise.allSettled(
    contents.map((content) =>
      files.put(['file'], content, (current) => {
        if (current?.tag !== tag) throw new Error('changed');
      }),
    ),
  );
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(readdirSync(root)).toEqual(['file']);
});

it('appends at the end alone', async () => {
  await put('log', 'one');
  await files.append(['log'], 3, Buffer.from(' two'), always);
  await expect(files.append(['log'], 3, Buffer.from(' two'), always)).rejects.toMatchObject({
    code: 'conflict',
    details: { size: 7 },
  });
  expect(await text('log')).toBe('one two');
  expect(await codeOf(files.append(['absent'], 3, Buffer.from('x'), always))).toBe('not_found');
});

it('makes and removes directories, and nothing else than files and empty directories', async () => {
  expect(await files.makeDirectory(['a'], always)).toBe(true);
  expect(await files.makeDirectory(['a'], always)).toBe(false);
  expect(await codeOf(files.makeDirectory(['b', 'c'], always))).toBe('not_found');
  await put('a/file');
  expect(await codeOf(files.remove(['a'], always))).toBe('conflict');
  expect(await codeOf(files.makeDirectory(['a', 'file'], always))).toBe('conflict');
  expect(await codeOf(put('a'))).toBe('conflict');
  expect(await codeOf(put('a/file/x'))).toBe('not_found');
  expect(await codeOf(files.read(['a'], 0, -1, wanted))).toBe('conflict');
  expect(await codeOf(files.remove([], always))).toBe('conflict');
  await files.remove(['a', 'file'], always);
  await files.remove(['a'], always);
  expect(readdirSync(root)).toEqual([]);
});

it('lists in pages, and only what is shown', async () => {
  const names = Array.from({ length: 25 }, (_, n) => `file-${String(n).padStart(2, '0')}`);
  for (const name of names) writeFileSync(join(root, name), '');
  writeFileSync(join(root, '.hidden'), '');
  const shows = ([name = '']: readonly string[]) => Promise.resolve(!name.endsWith('3'));
  const listed: string[] = [];
  for (let after: string | undefined = ''; after !== undefined;) {
    const page: Awaited<ReturnType<VirtualFiles['list']>> = await files.list([], {
      after,
      limit: 7,
      shows,
      signal: wanted,
    });
    listed.push(...page.entries.map(({ name }) => name.join('/')));
    after = page.next;
  }
  expect(listed).toEqual(names.filter((name) => !name.endsWith('3')));
  const few = await open({ limits: { directoryEntries: 20 } });
  expect(await codeOf(few.list([], { limit: 7, shows, signal: wanted }))).toBe('too_large');
});

describe('a search', () => {
  const find = async (pattern: string, from = '', to = files) => {
    const { names, isComplete } = await to.find(fileName(from), pattern, { shows: everything, signal: wanted });
    return { names: names.map((name) => name.join('/')), isComplete };
  };
  beforeEach(() => {
    for (const directory of ['a', 'a/b', 'c']) mkdirSync(join(root, directory));
    for (const name of ['one.csv', 'a/two.csv', 'a/b/three.csv', 'a/b/four.txt', 'c/five.csv']) {
      writeFileSync(join(root, name), '');
    }
  });

  it.each([
    ['*.csv', '', ['one.csv', 'a/two.csv', 'a/b/three.csv', 'c/five.csv']],
    ['a/*.csv', '', ['a/two.csv']],
    ['a/**/*.csv', '', ['a/two.csv', 'a/b/three.csv']],
    ['**/b/*', '', ['a/b/four.txt', 'a/b/three.csv']],
    ['f???.*', '', ['a/b/four.txt', 'c/five.csv']],
    ['*.csv', 'a', ['a/two.csv', 'a/b/three.csv']],
    ['[a]', '', []],
  ])('for %s below %j', async (pattern, from, expected) => {
    expect(await find(pattern, from)).toEqual({ names: expected, isComplete: true });
  });

  it('says that it ended at a limit', async () => {
    expect(await find('*.csv', '', await open({ limits: { found: 2 } }))).toEqual({
      names: ['one.csv', 'a/two.csv'],
      isComplete: false,
    });
    expect((await find('*', '', await open({ limits: { visited: 4 } }))).isComplete).toBe(false);
    expect((await find('*', '', await open({ limits: { findMs: -1 } }))).isComplete).toBe(false);
  });

  it('does not enter directories that are not shown', async () => {
    const shows = (name: readonly string[]) => Promise.resolve(name.join('/') !== 'a');
    const { names } = await files.find([], '*.csv', { shows, signal: wanted });
    expect(names).toEqual([['one.csv'], ['c', 'five.csv']]);
  });

  it('takes a hostile pattern, for which a backtracking search would not end', () => {
    const matches = matcherOf(`${'*a'.repeat(50)}b`);
    expect(matches(['a'.repeat(255)])).toBe(false);
    expect(
      matcherOf(Array.from({ length: 28 }, () => '**').join('/'))(Array.from({ length: 14 }, () => 'a')),
    ).toBe(true);
    for (const wrong of ['', 'x'.repeat(201), 'a/'.repeat(40)]) expect(() => matcherOf(wrong)).toThrow();
  });
});

describe('limits', () => {
  it('keeps all files together below the quota, whatever other programs and other puts do', async () => {
    writeFileSync(join(root, 'existing'), Buffer.alloc(600));
    const small = await open({ bytes: 1000 });
    expect(await codeOf(put('new', Buffer.alloc(401), small))).toBe('storage_full');
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, n) => codeOf(put(`new-${n}`, Buffer.alloc(100), small))),
    );
    expect(outcomes.filter((code) => code === 'none')).toHaveLength(4);
    expect(await codeOf(put('existing', Buffer.alloc(601), small))).toBe('storage_full');
    await put('existing', Buffer.alloc(10), small);
    await put('another', Buffer.alloc(590), small);
    expect(await codeOf(small.append(['another'], 590, Buffer.alloc(1), always))).toBe('storage_full');
    await small.remove(['another'], always);
    await put('another', Buffer.alloc(590), small);
  });

  it('counts again after a while, and removes what a dead process left', async () => {
    const clock = new ManualClock(Date.now());
    const small = await open({ bytes: 1000, clock });
    await put('mine', Buffer.alloc(500), small);
    writeFileSync(join(root, 'theirs'), Buffer.alloc(400));
    writeFileSync(join(root, '.cmbs-put-dead'), Buffer.alloc(500));
    writeFileSync(join(root, '.cmbs-put-alive'), Buffer.alloc(50));
    utimesSync(join(root, '.cmbs-put-dead'), 0, 0);
    await put('before', Buffer.alloc(200), small);
    clock.advance(10 * 60_000);
    expect(await codeOf(put('after', Buffer.alloc(1), small))).toBe('storage_full');
    expect(readdirSync(root).sort()).toEqual(['.cmbs-put-alive', 'before', 'mine', 'theirs']);
    unlinkSync(join(root, 'theirs'));
    clock.advance(10 * 60_000);
    await put('after', Buffer.alloc(250), small);
  });

  it('bounds the number of files', async () => {
    const few = await open({ limits: { files: 3 } });
    await put('a', 'x', few);
    await few.makeDirectory(['d'], always);
    await put('d/b', 'x', few);
    expect(await codeOf(put('c', 'x', few))).toBe('storage_full');
    expect(await codeOf(few.makeDirectory(['e'], always))).toBe('storage_full');
    await put('a', 'y', few);
  });

  it('refuses what waits too long a queue, and readers beyond a number', async () => {
    const busy = await open({ limits: { concurrency: 1, waiting: 2, openFiles: 1 } });
    await put('file', 'x', busy);
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => codeOf(busy.stat(['file']))));
    expect(outcomes.filter((code) => code === 'queue_full').length).toBeGreaterThan(0);
    expect(outcomes.filter((code) => code === 'none').length).toBeGreaterThan(0);
    const reader = await busy.openFile(['file']);
    expect(await codeOf(busy.openFile(['file']))).toBe('queue_full');
    await reader.close();
    await (await busy.openFile(['file'])).close();
  });

  itOnSmallDisk('leaves the old content on a disk that is full', async () => {
    mountDisk(root, 2);
    try {
      const small = await open();
      await put('file', Buffer.alloc(1_000_000, 1), small);
      expect(await codeOf(put('file', Buffer.alloc(1_500_000, 2), small))).toBe('storage_full');
      expect(await codeOf(small.append(['file'], 1_000_000, Buffer.alloc(1_500_000), always))).toBe(
        'storage_full',
      );
      // Another program takes the space that puts leave free.
      expect((await small.read(['file'], 0, -1, wanted)).every((byte) => byte === 1)).toBe(true);
      expect(readdirSync(root)).toEqual(['file']);
      await opened.pop()?.close();
    } finally {
      unmountDisk(root);
    }
  });
});

it('refuses a root that is no directory', async () => {
  await expect(
    VirtualFiles.open(join(outside, 'secrets', 'file'), { clock: systemClock, bytes: 1 }),
  ).rejects.toMatchObject({
    code: 'bad_request',
  });
});

it('leaves the old file or the new one when the process is killed', async () => {
  const program = bundleProgram('test/integration/files-child.ts');
  const running: ChildProcess[] = [];
  try {
    await put('file', Buffer.alloc(300_000, 0));
    for (let round = 0; round < extent(5, 40); round += 1) {
      const child = spawn(process.execPath, [program.path, root], { stdio: ['ignore', 'pipe', 'inherit'] });
      running.push(child);
      const exited = once(child, 'exit');
      const lines: string[] = [];
      for await (const line of createInterface({ input: child.stdout })) {
        if (lines.push(line) === 3 + round * 2) child.kill('SIGKILL');
      }
      expect((await exited)[1]).toBe('SIGKILL');
      const content = await files.read(['file'], 0, -1, wanted);
      expect(content).toHaveLength(300_000);
      expect(content.every((byte) => byte === content[0])).toBe(true);
    }
  } finally {
    for (const child of running) child.kill('SIGKILL');
    program.remove();
  }
}, 120_000);
