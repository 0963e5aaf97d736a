/**
 * Tells whether a build would change nothing. A stamp in `dist` has the checksum of each file that a build read or wrote,
 * and of each file that decides how names resolve.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = 'dist/.stamps';

/** A file that comes or goes here may change what an import resolves to. */
const SOURCES = ['shared', 'functions', 'companion', 'emulator', 'test/bench'];

/** Files besides the sources that decide about the result. npm writes the second when it installs. */
const SETTINGS = ['package.json', 'node_modules/.package-lock.json', 'tsconfig.json', 'terraform/routes.json'];

const own = (name) => relative('.', fileURLToPath(new URL(name, import.meta.url)));

const absentAs = (value) => (error) => {
  if (error.code !== 'ENOENT') throw error;
  return value;
};

/** The checksum of a file; `absent` when there is no file. */
async function checksum(path) {
  const content = await readFile(path).catch(absentAs(undefined));
  return content === undefined ? 'absent' : createHash('sha256').update(content).digest('hex');
}

async function checksums(paths) {
  const unique = [...new Set(paths)].sort();
  return Object.fromEntries(await Promise.all(unique.map(async (path) => [path, await checksum(path)])));
}

async function filesIn(folder) {
  const entries = await readdir(folder, { withFileTypes: true }).catch(absentAs([]));
  const files = await Promise.all(
    entries
      .filter(({ name }) => name !== 'node_modules')
      .map((entry) => (entry.isDirectory() ? filesIn(join(folder, entry.name)) : [join(folder, entry.name)])),
  );
  return files.flat().sort();
}

async function sourceFiles() {
  return (await Promise.all(SOURCES.map(filesIn))).flat();
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** The stamp of a build of one name. */
export class Stamp {
  #path;
  #started = Date.now();

  constructor(name) {
    this.#path = join(FOLDER, `${createHash('sha256').update(name).digest('hex').slice(0, 16)}.json`);
  }

  /** Whether all files that the last build read and wrote are unchanged. */
  async isCurrent() {
    const text = await readFile(this.#path, 'utf8').catch(absentAs(undefined));
    if (text === undefined) return false;
    const { files, inputs, outputs } = JSON.parse(text);
    return (
      same(files, await sourceFiles()) &&
      same(inputs, await checksums(Object.keys(inputs))) &&
      same(outputs, await checksums(Object.keys(outputs)))
    );
  }

  /** Forgets the last build: its outputs are others now. */
  async remove() {
    await rm(this.#path, { force: true });
  }

  /** Writes the stamp of a build that has read `inputs` and written `outputs`. */
  async write(inputs, outputs) {
    const files = await sourceFiles();
    const read = [
      ...inputs,
      ...SETTINGS,
      own('build.mjs'),
      own('build-modules.mjs'),
      own('build-stamp.mjs'),
      ...files.filter((file) => file.endsWith('package.json')),
    ];
    // A file that was saved during the build may have been read before.
    if (await changedSince(read, this.#started)) return;
    const stamp = { files, inputs: await checksums(read), outputs: await checksums(outputs) };
    await mkdir(dirname(this.#path), { recursive: true });
    // Atomic, so that a process that ends here leaves no half of a stamp.
    await writeFile(`${this.#path}.new`, JSON.stringify(stamp));
    await rename(`${this.#path}.new`, this.#path);
  }
}

async function changedSince(paths, time) {
  const stats = await Promise.all(paths.map((path) => stat(path).catch(absentAs(undefined))));
  return stats.some((one) => one !== undefined && one.mtimeMs >= time);
}
