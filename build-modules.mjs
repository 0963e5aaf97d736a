/**
 * Makes the service modules of a directory ready to be deployed: the entry of each, bundled with everything that it
 * imports, packages too, and the other files of its folder as they are. A deployed program has no compiler and no
 * `node_modules` for modules.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const ENTRIES = ['index.js', 'index.mjs', 'index.ts'];
const NPM_FILES = ['package.json', 'package-lock.json'];
const NAME = /^[A-Za-z][A-Za-z0-9_]*$/;

/** Bundled packages may call `require` for modules of Node.js, which an ECMAScript module does not have by itself. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

const isHidden = (name) => name.startsWith('.') || name === 'node_modules';

/**
 * The files of all modules: path below the directory → bytes.
 * @param {string} directory
 * @returns {Promise<ReadonlyMap<string, Uint8Array>>}
 * @throws Error that says what is wrong with the directory or a module
 */
export async function modulesOf(directory) {
  const files = new Map();
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause) => {
    throw new Error(`The directory of modules cannot be read: ${cause.message}.`, { cause });
  });
  for (const { name } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (isHidden(name) || !(await stat(join(directory, name))).isDirectory()) continue;
    if (!NAME.test(name))
      throw new Error(`${name}: a module's name is a letter, then letters, digits and underscores.`);
    await addModule(files, directory, name);
  }
  if (files.size === 0) throw new Error(`${directory} has no folder of a module.`);
  return files;
}

async function addModule(files, directory, name) {
  const folder = join(directory, name);
  const all = await filesIn(folder, '');
  const found = ENTRIES.filter((entry) => all.includes(entry));
  if (found.length !== 1)
    throw new Error(`${name}: it needs one of ${ENTRIES.join(', ')}; it has ${found.length}.`);
  const [entry] = found;
  for (const file of all) {
    // What the entry imports is in the bundle, whose form the package.json of the module would contradict.
    if (file === entry || file.endsWith('.ts') || NPM_FILES.includes(file)) continue;
    files.set(`${name}/${file}`, await readFile(join(folder, file)));
  }
  const isEsm = entry === 'index.mjs';
  const { outputFiles } = await build({
    entryPoints: [join(folder, entry)],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: isEsm ? 'esm' : 'cjs',
    ...(isEsm ? { banner: { js: REQUIRE } } : {}),
    sourcemap: 'inline',
    // The lines of stacks name the files of the module, without the machine's own paths.
    sourceRoot: `module:${name}`,
    sourcesContent: false,
    logLevel: 'silent',
    write: false,
  }).catch((error) => {
    throw new Error(`${name}: ${error.message}`);
  });
  files.set(`${name}/${isEsm ? 'index.mjs' : 'index.js'}`, outputFiles[0].contents);
}

/** Paths of the files in a folder, without hidden ones. */
async function filesIn(folder, path) {
  const entries = await readdir(join(folder, path), { withFileTypes: true });
  const files = await Promise.all(
    entries
      .filter(({ name }) => !isHidden(name))
      .map(({ name }) => (path === '' ? name : `${path}/${name}`))
      .map(async (inner) => ((await stat(join(folder, inner))).isDirectory() ? filesIn(folder, inner) : [inner])),
  );
  return files.flat().sort();
}
