/** When `build.mjs` builds again, tested in a small temporary tree. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { itNightly } from '../skipping';

const BUILD = resolve(__dirname, '../../build.mjs');

let tree: string;

beforeEach(async () => {
  tree = await mkdtemp(join(tmpdir(), 'cmbs-build-'));
  await write('package.json', '{ "name": "tree" }');
  await write('emulator/main.ts', "import { name } from './name';\nconsole.log(`hello ${name}`);\n");
  await write('emulator/name.ts', "export const name = 'first';\n");
  await write('emulator/start.ts', "console.log('start');\n");
});
afterEach(() => rm(tree, { recursive: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(tree, path)), { recursive: true });
  await writeFile(join(tree, path), text);
}

const build = (...names: readonly string[]) =>
  promisify(execFile)(process.execPath, [BUILD, ...names], { cwd: tree });

/** Builds the program; returns whether its file was written, and the output of the program. */
async function built(): Promise<{ readonly isNew: boolean; readonly says: string }> {
  const program = join(tree, 'dist/local/main.js');
  const writtenAt = async () => (await stat(program).catch(() => undefined))?.mtimeMs;
  const before = await writtenAt();
  await build('local/main');
  const { stdout } = await promisify(execFile)(process.execPath, [program]);
  return { isNew: (await writtenAt()) !== before, says: stdout.trim() };
}

it('build.mjs builds a program once, and not again while nothing has changed', async () => {
  expect(await built()).toEqual({ isNew: true, says: 'hello first' });
  expect(await built()).toEqual({ isNew: false, says: 'hello first' });
  await write('emulator/name.ts', await readFile(join(tree, 'emulator/name.ts'), 'utf8'));
  expect(await built()).toEqual({ isNew: false, says: 'hello first' });
});

it('build.mjs builds a program once for all scripts that need it', async () => {
  await build('local/main', 'local/start');
  expect(await built()).toEqual({ isNew: false, says: 'hello first' });
});

describe('build.mjs builds again', () => {
  beforeEach(async () => {
    await built();
  });

  it('when a source changes, and when the change is reverted', async () => {
    await write('emulator/name.ts', "export const name = 'other';\n");
    expect(await built()).toEqual({ isNew: true, says: 'hello other' });
    await write('emulator/name.ts', "export const name = 'first';\n");
    expect(await built()).toEqual({ isNew: true, says: 'hello first' });
  });

  it('when an import resolves to a new file', async () => {
    await write('emulator/name/index.ts', "export const name = 'folder';\n");
    await rename(join(tree, 'emulator/name.ts'), join(tree, 'emulator/unused.ts'));
    expect(await built()).toEqual({ isNew: true, says: 'hello folder' });
    await write('emulator/name.tsx', "export const name = 'file';\n");
    expect(await built()).toEqual({ isNew: true, says: 'hello file' });
  });

  itNightly('when its output is missing or was modified', async () => {
    await rm(join(tree, 'dist/local/main.js'));
    expect(await built()).toEqual({ isNew: true, says: 'hello first' });
    await write('dist/local/main.js', "console.log('something else');\n");
    expect(await built()).toEqual({ isNew: true, says: 'hello first' });
  });

  itNightly('when another build has written the same program from other sources', async () => {
    const before = await readFile(join(tree, 'emulator/name.ts'), 'utf8');
    await write('emulator/name.ts', "export const name = 'other';\n");
    await build('local/main', 'local/start');
    await write('emulator/name.ts', before);
    expect(await built()).toEqual({ isNew: true, says: 'hello first' });
  });

  it('when packages are installed or a package.json changes', async () => {
    await write('node_modules/.package-lock.json', '{}');
    expect((await built()).isNew).toBe(true);
    await write('emulator/package.json', '{ "name": "emulator" }');
    expect((await built()).isNew).toBe(true);
    expect((await built()).isNew).toBe(false);
  });
});

describe('build.mjs --modules', () => {
  const refusal = async (...args: readonly string[]): Promise<unknown> =>
    build('local/main', ...args).then(
      () => 'it was built',
      (error: unknown) => {
        const { code, stderr } = error as { readonly code?: unknown; readonly stderr?: unknown };
        return [code, stderr];
      },
    );

  it.each([
    ['needs a directory', undefined, /argument missing/],
    ['needs a directory that exists', {}, /^The directory of modules cannot be read: ENOENT.*\n$/],
    ['needs a module', { 'readme.txt': '' }, /^modules has no folder of a module\.\n$/],
    ['refuses a name that no module can have', { 'a-b/index.js': '' }, /^a-b: a module's name is a letter, .*\n$/],
    [
      'refuses a folder without an entry',
      { 'a/other.js': '' },
      /^a: it needs one of index\.js, .*; it has 0\.\n$/,
    ],
    ['refuses two entries', { 'a/index.js': '', 'a/index.ts': '' }, /^a: it needs one of .*; it has 2\.\n$/],
    ['refuses a syntax error', { 'a/index.mjs': 'export const = 1;' }, /^a: Build failed[^]*index\.mjs:1:13/],
    [
      'refuses an import of nothing',
      { 'a/index.mjs': "import './b.mjs';" },
      /^a: Build failed[^]*Could not resolve/,
    ],
  ])('%s', async (_what, files, text) => {
    for (const [path, content] of Object.entries<string>(files ?? {})) await write(`modules/${path}`, content);
    expect(await refusal('--modules', ...(files === undefined ? [] : ['modules']))).toEqual([
      2,
      expect.stringMatching(text),
    ]);
  });

  it('builds anew each time, and so does the next build without modules', async () => {
    await write('modules/a/index.js', 'exports.methods = {};');
    expect((await built()).isNew).toBe(true);
    const program = join(tree, 'dist/local/main.js');
    const before = (await stat(program)).mtimeMs;
    await build('local/main', '--modules', 'modules');
    expect((await stat(program)).mtimeMs).not.toBe(before);
    expect((await built()).isNew).toBe(true);
  });
});
