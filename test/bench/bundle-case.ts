/**
 * The bundles that are deployed: time from the start of a process to its first answer, and size. They are compared
 * with an empty function, and with a function that only reads a document with Google's client.
 */
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import { EmulatorsMissing, startEmulators } from '@cmbs/emulator/emulators';
import { layerMixin, MEMBER, MEMBER_KIND, MEMBERS, MESSAGE, MESSAGE_KIND, MESSAGES } from '@cmbs/shared/broker';
import { newLocalKey } from '@cmbs/shared/rpc/identity';
import { install } from '../cloud/npm';
import { requestText } from './http-load';
import { Deployed, emptyFunction, freePort, type EnvironmentVariables } from './programs';
import { atMost, compared, inTurn, type Aim, type Contestant, type Row } from './rounds';

const ROUNDS = 7;
const TYPE = 'application/json';
const KIB = 1024;
const MIB = KIB * KIB;

const EMPTY = 'empty function';
const READ_ONE = 'reading a document';

const START_LIMIT =
  'Loading the bundle, then reading the deployment’s id and the categories over a channel that is new.';
const SEND_LIMIT =
  'Loading both of Google’s clients; then the writes to the store before and after the publication.';
const SIZE_LIMIT = 'The domain, zod and RE2 beside Google’s client; an empty function’s zip is less than 1 KiB.';

const DIST = join(__dirname, '..');
const functionAt = (name: string): string => join(DIST, 'functions', name);

/** @param scratch where the bench itself lies: an empty function finds the framework from there */
export async function bundleCase(scratch: string): Promise<readonly Row[]> {
  const empty = await emptyFunction(scratch);
  const directory = await mkdtemp(join(tmpdir(), 'cmbs-bench-'));
  try {
    return [
      ...(await startRows(empty, directory)),
      ...(await uploadRows()),
      ...(await grownRows()),
      ...(await installedRows(directory)),
    ];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Milliseconds from the start of a process to its first answer. */
function contestant(name: string, start: () => Promise<Deployed>, request: string, status?: number): Contestant {
  return {
    name,
    run: async () => {
      const before = performance.now();
      const deployed = await start();
      try {
        await deployed.answers(request, status);
        return performance.now() - before;
      } finally {
        await deployed.close();
      }
    },
  };
}

async function startRows(empty: string, directory: string): Promise<readonly Row[]> {
  const emptyContestant = contestant(EMPTY, () => Deployed.function(empty, 'empty'), requestText('GET', '/'), 200);
  try {
    const emulators = await startEmulators();
    try {
      return await startsOnEmulators(emptyContestant, await settings(directory, emulators.variables));
    } finally {
      await emulators.stop();
    }
  } catch (error) {
    if (!(error instanceof EmulatorsMissing)) throw error;
    process.stderr.write(`Only what starts without a store is measured. ${error.message}\n`);
    return startsWithoutStore(emptyContestant, directory);
  }
}

/** Settings of a deployment, with its own project, so that it reads no other data. */
async function settings(directory: string, emulators: EnvironmentVariables): Promise<EnvironmentVariables> {
  const key = join(directory, 'identity.pem');
  await writeFile(key, newLocalKey(), { mode: 0o600 });
  return {
    ...emulators,
    METADATA_SERVER_DETECTION: 'none',
    GOOGLE_CLOUD_PROJECT: `demo-bench-${process.pid}`,
    CMBS_PUBLIC_URL: `http://127.0.0.1:${await freePort()}`,
    CMBS_IDENTITY_KEY: key,
    CMBS_LOG: 'warn',
  };
}

async function startsOnEmulators(empty: Contestant, environment: EnvironmentVariables): Promise<readonly Row[]> {
  const message = `${MESSAGES}bench`;
  await put('member', `${MEMBERS}bench`, environment, {
    kind: MEMBER_KIND,
    attributes: { [MEMBER.state]: 'active', [MEMBER.local]: 'true' },
  });
  await put('message', message, environment, {
    kind: MESSAGE_KIND,
    mixins: [layerMixin('l32')],
    attributes: {
      [MESSAGE.executable]: 'false',
      [MESSAGE.sendable]: 'true',
      [MESSAGE.storable]: 'true',
      [MESSAGE.content]: 'hello',
      [MESSAGE.topics]: ['bench'],
    },
  });
  const companion = (): Promise<Deployed> => Deployed.companion(environment);
  const query = 'query: start to GET /-/';
  const send = 'message-send-l32: start to a send';
  const alive = 'companion: start to /healthz';
  const ready = 'companion: start to /readyz';
  const figures = await inTurn(
    [
      empty,
      contestant(
        READ_ONE,
        () => Deployed.function(join(__dirname, 'read-one.js'), 'readOne', environment),
        requestText('GET', '/'),
        200,
      ),
      contestant(
        query,
        () => Deployed.function(functionAt('query'), 'query', environment),
        requestText('GET', '/-/', { Accept: TYPE }),
        200,
      ),
      contestant(
        send,
        () => Deployed.function(functionAt('message-send-l32'), 'messageSendL32', environment),
        requestText('POST', `${message}?action=send_l32`, { Accept: TYPE }),
        200,
      ),
      contestant(alive, companion, requestText('GET', '/healthz'), 200),
      contestant(ready, companion, requestText('GET', '/readyz'), 200),
    ],
    ROUNDS,
  );
  const row = (ours: string, against: string, limit: string): Row =>
    compared(figures, { what: ours, unit: 'ms', ours, against, limit });
  return [
    row(query, EMPTY, START_LIMIT),
    row(query, READ_ONE, START_LIMIT),
    row(send, EMPTY, SEND_LIMIT),
    row(send, READ_ONE, SEND_LIMIT),
    row(alive, EMPTY, 'Loading the bundle; nothing of the store is needed to be alive.'),
    row(ready, EMPTY, 'Loading, then the lease of its shard and all that it reads with it.'),
  ];
}

async function put(name: string, path: string, environment: EnvironmentVariables, entity: unknown): Promise<void> {
  const deployed = await Deployed.function(functionAt(name), name, environment);
  try {
    const headers = { Accept: TYPE, 'Content-Type': TYPE };
    await deployed.answers(requestText('PUT', path, headers, JSON.stringify(entity)), 201);
  } finally {
    await deployed.close();
  }
}

/** Without a store, a function answers with an error, and a companion is alive all the same. */
async function startsWithoutStore(empty: Contestant, directory: string): Promise<readonly Row[]> {
  const unused = `127.0.0.1:${await freePort()}`;
  const environment = await settings(directory, { FIRESTORE_EMULATOR_HOST: unused, PUBSUB_EMULATOR_HOST: unused });
  const query = 'query: start to an error';
  const send = 'message-send-l32: start to an error';
  const alive = 'companion: start to /healthz';
  const request = requestText('GET', '/');
  const figures = await inTurn(
    [
      empty,
      contestant(query, () => Deployed.function(functionAt('query'), 'query', environment), request),
      contestant(
        send,
        () => Deployed.function(functionAt('message-send-l32'), 'messageSendL32', environment),
        request,
      ),
      contestant(alive, () => Deployed.companion(environment), requestText('GET', '/healthz'), 200),
    ],
    ROUNDS,
  );
  const limit = 'Loading the bundle. This case runs without emulators, so no request reached a store.';
  return [query, send, alive].map((ours) =>
    compared(figures, { what: ours, unit: 'ms', ours, against: EMPTY, limit }),
  );
}

interface Sizes {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  readonly against: string;
  readonly other: number;
  readonly limit?: string;
  readonly aim?: Aim;
}

/** A row without variation, since sizes do not vary. */
function sizeRow(sizes: Sizes): Row {
  const ratio = sizes.ours / sizes.other;
  return { ...sizes, ratio, low: ratio, high: ratio };
}

/**
 * KiB of what is deployed as it was before the work on speed began (commit 10a27f6). A bundle may be a tenth larger, since
 * every feature adds a little.
 */
const KIB_BEFORE = {
  'functions/query.zip': 838.2,
  'functions/message-send-l32.zip': 1014.1,
  'companion/main.js': 8944.8,
};
const TENTH_MORE = atMost(1.1);

function grownRows(): Promise<readonly Row[]> {
  return Promise.all(
    Object.entries(KIB_BEFORE).map(async ([what, other]) => {
      const ours = (await stat(join(DIST, what))).size / KIB;
      return sizeRow({ what, unit: 'KiB', ours, against: 'before', other, aim: TENTH_MORE });
    }),
  );
}

/** The size of the upload for one function. */
async function uploadRows(): Promise<readonly Row[]> {
  const code = await readFile(join(__dirname, 'read-one.js'));
  const packageJson = await readFile(join(functionAt('query'), 'package.json'));
  const other = zipSync({ 'code.js': code, 'package.json': packageJson }, { level: 6 }).length / KIB;
  return Promise.all(
    ['query', 'message-send-l32'].map(async (name) => {
      const ours = (await stat(`${functionAt(name)}.zip`)).size / KIB;
      return sizeRow({ what: `${name}: its zip`, unit: 'KiB', ours, against: READ_ONE, other, limit: SIZE_LIMIT });
    }),
  );
}

/** The size on an instance: the bundle, and the packages that npm installs beside it. */
async function installedRows(directory: string): Promise<readonly Row[]> {
  const [query, companion] = [functionAt('query'), join(DIST, 'companion')];
  try {
    const [framework, zeromq] = await Promise.all([installed(query, directory), installed(companion, directory)]);
    const row = async (name: string, bundle: string, against: string, other: number): Promise<Row> =>
      sizeRow({
        what: `${name}: installed`,
        unit: 'MiB',
        ours: (await sizeOf(bundle)) / MIB + other,
        against,
        other,
        limit: 'The bundle; both need the rest.',
      });
    return await Promise.all([
      row('query', query, EMPTY, framework),
      row('message-send-l32', functionAt('message-send-l32'), EMPTY, framework),
      row('companion', companion, 'zeromq alone', zeromq),
    ]);
  } catch (error) {
    process.stderr.write(`Installed sizes are not measured. ${String(error)}\n`);
    return [];
  }
}

/** MiB that npm installs for a bundle. */
async function installed(bundle: string, directory: string): Promise<number> {
  const target = await mkdtemp(join(directory, 'installed-'));
  await cp(join(bundle, 'package.json'), join(target, 'package.json'));
  await install(target);
  return (await sizeOf(join(target, 'node_modules'))) / MIB;
}

/** Bytes of all files in a folder. */
async function sizeOf(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async (file) => (await stat(join(file.parentPath, file.name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
