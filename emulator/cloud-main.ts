/** `npm run start:cloud`: functions and companion as in the cloud, on emulators or on the real services. */
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { CmbsError, VERSION } from '@cmbs/shared';
import { firstAdministratorOf } from '@cmbs/shared/access';
import {
  CLOUD_SETTINGS,
  ConfigError,
  readCloudConfig,
  readFunctionConfig,
  settingsHelp,
} from '@cmbs/shared/config';
import { cloudLog } from '@cmbs/shared/structured-log';
import { entryPointOf } from '@cmbs/functions/deployment';
import { ROUTES } from '@cmbs/functions/routes';
import { startCloudFunctions } from './cloud';
import { ensureLocalKey, LastingPart, Part } from './parts';
import { assertFree, freePorts, isTaken, portOf } from './ports';

const HELP = `CMBS ${VERSION}, in the parts that the cloud runs.

Usage: npm run start:cloud -- [options]

  (no option)                      all functions behind one endpoint, and the companion as a process of its own
  --only functions|companion       one of the two
  --function NAME --port PORT      one function alone, through functions-framework, as it is deployed
  --help

With FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST (npm run emulators) they work on emulators, without them on
Google Cloud with this machine's application default credentials. The parts authenticate to each other with a key that is
made in .cmbs/; with an empty CMBS_IDENTITY_KEY they use identity tokens of this machine's service account.

Settings are environment variables:
${settingsHelp(CLOUD_SETTINGS)}
`;

class UsageError extends Error {}

const dist = join(__dirname, '..');
const COMPANION = join(dist, 'companion', 'main.js');

/** The environment variables, with defaults for a deployment on this machine. */
async function environmentFor(port: string): Promise<Record<string, string | undefined>> {
  const isEmulated = (process.env.FIRESTORE_EMULATOR_HOST ?? '') !== '';
  const { CMBS_IDENTITY_KEY: given, ...inherited } = process.env;
  const { PORT: wanted = port } = inherited;
  // Members' names contain the endpoint's URL, so the port has to be known before the endpoint opens.
  const PORT = wanted === '0' ? String((await freePorts(1))[0]) : wanted;
  // A user's credentials cannot make identity tokens, so the parts use their own key even with the real services.
  const key = given ?? ensureLocalKey('.cmbs/identity.pem');
  return {
    ...inherited,
    PORT,
    CMBS_PUBLIC_URL: inherited.CMBS_PUBLIC_URL ?? `http://127.0.0.1:${PORT}`,
    ...(key === '' ? {} : { CMBS_IDENTITY_KEY: key }),
    // Without this, Google's clients wait for a metadata server, which a laptop does not have.
    ...(isEmulated ? { METADATA_SERVER_DETECTION: 'none' } : {}),
  };
}

async function signalled(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(name));
  });
}

/** One function through functions-framework's own program, in the folder that is deployed. */
async function runFunction(name: string, port: number): Promise<void> {
  if (!ROUTES.some((route) => route.name === name)) {
    throw new UsageError(
      `There is no function ${name}; there are: ${ROUTES.map((route) => route.name).join(', ')}.`,
    );
  }
  const environment = await environmentFor('8090');
  readFunctionConfig(environment, (line) => process.stderr.write(`${line}\n`)); // reports errors now, not with the first request
  // The framework would print a stack trace. It listens on all addresses.
  await assertFree(port).catch((cause: unknown) => {
    const why = isTaken(cause) ? 'something listens there already' : String(cause);
    throw new CmbsError('conflict', `Port ${port} cannot be used: ${why}; give another --port.`, { cause });
  });
  // The package does not export its program, which is beside its main file.
  const framework = join(dirname(require.resolve('@google-cloud/functions-framework')), 'main.js');
  const source = join(dist, 'functions', name);
  const part = new Part(
    process.execPath,
    [framework, `--target=${entryPointOf(name)}`, `--source=${source}`, `--port=${port}`],
    { ...environment, PORT: String(port) },
  );
  await Promise.race([signalled(), part.exited]);
  await part.stop();
}

async function runParts(only: string | undefined): Promise<void> {
  const environment = await environmentFor('8090');
  // The companion has the directory of modules; the functions beside it do without.
  const config = only === 'functions' ? readFunctionConfig(environment) : readCloudConfig(environment);
  // The companion reads the file again; a file that cannot be used is reported before any part starts.
  if (only !== 'functions') firstAdministratorOf(config);
  Object.assign(process.env, environment);
  const log = cloudLog({
    write: (line) => process.stderr.write(line),
    least: config.CMBS_LOG,
    project: config.GOOGLE_CLOUD_PROJECT,
    labels: { part: 'functions' },
  });
  const companion =
    only === 'functions'
      ? undefined
      : new LastingPart(process.execPath, [COMPANION], environment, (reason) =>
          log.warn('the companion crashed and is started again', { event: 'restarted', reason }),
        );
  const stopped = signalled();
  try {
    if (only === 'companion') {
      // A companion that ends by itself has printed the reason.
      if ((await Promise.race([stopped, companion?.exited])) === undefined) process.exitCode = 1;
      return;
    }
    const functions = await startCloudFunctions({ config, log });
    process.stdout.write(`CMBS ${VERSION}: the OCCI endpoint answers on ${functions.url}\n`);
    let isStopping = false;
    void stopped.then(() => (isStopping = true));
    companion?.exited.then(
      () =>
        isStopping || process.stdout.write('The companion has ended; the functions go on and queue its work.\n'),
      (error: unknown) => process.stderr.write(`The companion could not be started: ${String(error)}\n`),
    );
    await stopped;
    await functions.close();
  } finally {
    await companion?.stop();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', short: 'h' },
      only: { type: 'string' },
      function: { type: 'string' },
      port: { type: 'string' },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return;
  }
  const { only, function: name, port } = values;
  if (only !== undefined && only !== 'functions' && only !== 'companion') {
    throw new UsageError('--only takes functions or companion.');
  }
  if (name === undefined) {
    if (port !== undefined) throw new UsageError('--port goes with --function; the endpoint has PORT.');
    await runParts(only);
    return;
  }
  if (only !== undefined) throw new UsageError('--function runs one function alone; leave --only out.');
  if (port === undefined) throw new UsageError('--function needs --port PORT.');
  const number = portOf(port);
  if (number === undefined)
    throw new UsageError(`${JSON.stringify(port)} is not a port; use a number from 1 to 65535.`);
  await runFunction(name, number);
}

main().catch((error: unknown) => {
  const isUsage = error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  const isExpected = isUsage === true || error instanceof ConfigError || error instanceof CmbsError;
  process.stderr.write(`${isExpected ? (error as Error).message : String((error as Error).stack ?? error)}\n`);
  process.exitCode = isUsage === true ? 2 : 1;
});
