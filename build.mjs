/**
 * Bundles the programs: everything but native modules and the functions' framework in one file each. A function is
 * `dist/functions/<name>/`, ready to be deployed as it stands or as the zip beside it; the companion is
 * `dist/companion/`.
 *
 * `node build.mjs` builds everything; with names (`local/main`, `functions`, a prefix of them) only those, and no zips.
 * With names, a program is built only when one of its sources has changed since the last time.
 *
 * `--modules DIR` adds the service modules of a directory to the companion, and to the functions that call methods; then
 * everything that is asked for is built anew.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { strToU8, zipSync } from 'fflate';
import { modulesOf } from './build-modules.mjs';
import { Stamp } from './build-stamp.mjs';

/**
 * Prebuilt binaries, and the framework that the platform starts a function with, are not bundled; nor are the clients of
 * other brokers, which only one case of the bench loads.
 */
const EXTERNAL = [
  'zeromq',
  '@photostructure/sqlite',
  '@google-cloud/functions-framework',
  // Compiles service modules in TypeScript, in the local stack.
  'esbuild',
  'amqplib',
  '@nats-io/jetstream',
  '@nats-io/transport-node',
];

/** The source of each bundle in `dist`. A source that a checkout leaves out is not built. */
const PROGRAMS = {
  'local/main': 'emulator/main.ts',
  'local/module-worker': 'shared/services/modules/worker.ts',
  'local/start': 'emulator/start.ts',
  'local/backup': 'emulator/backup.ts',
  'local/demo': 'emulator/demo.ts',
  'local/cloud': 'emulator/cloud-main.ts',
  'local/emulators': 'emulator/emulators-main.ts',
  'bench/main': 'test/bench/main.ts',
  'docs/main': 'test/documents/main.ts',
  'companion/main': 'companion/main.ts',
  'companion/healthcheck': 'companion/healthcheck.ts',
  'companion/module-worker': 'shared/services/modules/worker.ts',
};

/** Programs that the bench compares functions with, bundled in the same way. */
const COUNTERPARTS = {
  'bench/read-one': 'test/bench/read-one.ts',
};

/** A zip of the same files is the same file. */
const ZIP_TIME = new Date('2020-01-01T00:00:00Z');

const settings = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  sourcemap: true,
  external: EXTERNAL,
  metafile: true,
  logLevel: 'warning',
};

const json = async (file) => JSON.parse(await readFile(file, 'utf8'));
const versionOf = async (workspace, name) => (await json(`${workspace}/package.json`)).dependencies[name];

const functionSettings = {
  ...settings,
  // The stack traces of a small function are read with the sources at hand; the zip stays small.
  sourcemap: false,
  minifySyntax: true,
  minifyWhitespace: true,
};

/** Files that this build has read and written. */
const inputs = [];
const outputs = [];

async function bundle(options) {
  const result = await build(options);
  inputs.push(...Object.keys(result.metafile.inputs));
  if (options.write !== false) outputs.push(...Object.keys(result.metafile.outputs));
  return result;
}

async function write(path, content) {
  await writeFile(path, content);
  outputs.push(path);
}

/** Writes the package.json by which a deployable is installed and started. */
async function writePackage(directory, name, { main, start, dependencies }) {
  const { version, license } = await json('package.json');
  const content = {
    name,
    version,
    private: true,
    license,
    main,
    engines: { node: '>=20.20' },
    scripts: { start },
    dependencies,
  };
  await write(`${directory}/package.json`, `${JSON.stringify(content, undefined, 2)}\n`);
}

/** Ends the build because of what it was asked for. */
function refuse(text) {
  process.stderr.write(`${text}\n`);
  process.exit(2);
}

function askedFor() {
  try {
    return parseArgs({ options: { modules: { type: 'string' } }, allowPositionals: true });
  } catch (error) {
    return refuse(error.message);
  }
}

const { positionals: names, values } = askedFor();
/** The service modules that are deployed with the programs: path → bytes. */
const modules =
  values.modules === undefined
    ? new Map()
    : await modulesOf(values.modules).catch(({ message }) => refuse(message));

/** Writes the service modules into a program. @returns the files, by their path in the program */
async function writeModules(directory) {
  const files = Object.fromEntries([...modules].map(([path, bytes]) => [`modules/${path}`, bytes]));
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(`${directory}/${path}`), { recursive: true });
    await write(`${directory}/${path}`, bytes);
  }
  return files;
}

/** The names that are being built; none: everything. */
let asked = names;
const isAsked = (name) => asked.length === 0 || asked.some((one) => name === one || name.startsWith(`${one}/`));

async function buildPrograms() {
  // Files of an earlier build would go into the image.
  if (isAsked('companion/main')) await rm('dist/companion', { recursive: true, force: true });
  const asPrograms = (isDeployed) =>
    Object.fromEntries(
      Object.entries(PROGRAMS).filter(
        ([name, source]) => name.startsWith('companion/') === isDeployed && isAsked(name) && existsSync(source),
      ),
    );
  const counterparts = Object.entries(COUNTERPARTS).filter(
    ([name, source]) => isAsked(name) && existsSync(source),
  );
  await Promise.all([
    bundle({ ...settings, entryPoints: asPrograms(false), outdir: 'dist' }),
    // A map of the whole bundle is larger than it, and read at each start; names and lines are as they were.
    bundle({ ...settings, sourcemap: false, entryPoints: asPrograms(true), outdir: 'dist' }),
    bundle({ ...functionSettings, entryPoints: Object.fromEntries(counterparts), outdir: 'dist' }),
  ]);
  if (!isAsked('companion/main')) return;
  await writeModules('dist/companion');
  await writePackage('dist/companion', 'cmbs-companion', {
    main: 'main.js',
    start: 'node main.js',
    dependencies: { zeromq: await versionOf('companion', 'zeromq') },
  });
}

/** The code of all functions that reach the same: their names alone tell them apart. */
async function functionCode({ withBus }) {
  const { outputFiles } = await bundle({
    ...functionSettings,
    ...(withBus ? {} : { alias: { '@cmbs/shared/bus/pubsub/connect': resolve('functions/without-bus.ts') } }),
    stdin: {
      contents: "import './main';\nexport { register } from './register';\n",
      resolveDir: 'functions',
      sourcefile: 'function.ts',
      loader: 'ts',
    },
    write: false,
  });
  return outputFiles[0].contents;
}

/** The program of the threads in which service modules run. */
async function workerCode() {
  const { outputFiles } = await bundle({
    ...functionSettings,
    entryPoints: ['shared/services/modules/worker.ts'],
    write: false,
  });
  return outputFiles[0].contents;
}

async function buildFunctions() {
  const routes = await json('terraform/routes.json');
  const framework = await versionOf('functions', '@google-cloud/functions-framework');
  // Functions of an earlier build that the table no longer names would be deployed.
  await rm('dist/functions', { recursive: true, force: true });
  const [withBus, withoutBus, worker] = await Promise.all([
    functionCode({ withBus: true }),
    functionCode({ withBus: false }),
    modules.size === 0 ? undefined : workerCode(),
  ]);
  await Promise.all(
    routes.map(async ({ name, entryPoint, access, callsMethods = false }) => {
      const directory = `dist/functions/${name}`;
      await mkdir(directory, { recursive: true });
      const code = access === 'bus' ? withBus : withoutBus;
      const index = `exports.${entryPoint} = require('./code').register('${name}');\n`;
      await Promise.all([
        write(`${directory}/code.js`, code),
        write(`${directory}/index.js`, index),
        writePackage(directory, `cmbs-${name}`, {
          main: 'index.js',
          start: `functions-framework --target=${entryPoint}`,
          dependencies: { '@google-cloud/functions-framework': framework },
        }),
      ]);
      const hasModules = callsMethods && worker !== undefined;
      const own = hasModules ? { ...(await writeModules(directory)), 'module-worker.js': worker } : {};
      if (hasModules) await write(`${directory}/module-worker.js`, worker);
      if (asked.length > 0) return;
      const packageJson = await readFile(`${directory}/package.json`);
      const files = { 'code.js': code, 'index.js': strToU8(index), 'package.json': packageJson, ...own };
      await writeFile(`dist/functions/${name}.zip`, zipSync(files, { level: 6, mtime: ZIP_TIME }));
    }),
  );
}

const known = [...Object.keys(PROGRAMS), ...Object.keys(COUNTERPARTS), 'functions'];
const unknown = names.find((one) => !known.some((name) => name === one || name.startsWith(`${one}/`)));
if (unknown !== undefined) refuse(`There is nothing called ${unknown} to build; there are: ${known.join(', ')}.`);

async function buildAsked() {
  await buildPrograms();
  if (isAsked('functions')) await buildFunctions();
}

if (names.length === 0) await buildAsked();
// Each name has a stamp of its own: a program that several scripts need is built once.
for (const name of names) {
  asked = [name];
  inputs.length = 0;
  outputs.length = 0;
  const stamp = new Stamp(name);
  if (modules.size === 0 && (await stamp.isCurrent())) continue;
  await buildAsked();
  // The next build, without modules, has to remove them.
  if (modules.size > 0) await stamp.remove();
  else await stamp.write(inputs, outputs);
}
