/** Finds the emulators of the Google Cloud SDK and the Java that runs them, without network access. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { EnvironmentVariables } from '@cmbs/shared/config';

export type EmulatorKind = 'firestore' | 'pubsub';

/** How to run one emulator, without its port. */
export interface EmulatorCommand {
  readonly command: string;
  readonly args: readonly string[];
}

/** Where installers and packages put the SDK. */
const USUAL_ROOTS = [
  '/usr/lib/google-cloud-sdk',
  '/usr/share/google-cloud-sdk',
  '/usr/local/google-cloud-sdk',
  '/opt/google-cloud-sdk',
  '/opt/homebrew/share/google-cloud-sdk',
  '/snap/google-cloud-cli/current',
];
/** Milliseconds for `gcloud info`, which takes two seconds. */
const GCLOUD_MS = 20_000;

const FIRESTORE_JAR = 'platform/cloud-firestore-emulator/cloud-firestore-emulator.jar';
const FIRESTORE_MAIN = 'com.google.cloud.datastore.emulator.firestore.CloudFirestore';
const PUBSUB_DIRECTORY = 'platform/pubsub-emulator/lib';

/** With the simple compiler the emulators start faster and use half the processor time. */
const JVM_OPTIONS = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx1g'];

/** Path of a program in `PATH`. */
export function findProgram(name: string, environment: EnvironmentVariables): string | undefined {
  const directories = (environment.PATH ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

function findJava(environment: EnvironmentVariables): string | undefined {
  const { JAVA_HOME } = environment;
  const own = JAVA_HOME === undefined ? undefined : join(JAVA_HOME, 'bin', 'java');
  return own !== undefined && existsSync(own) ? own : findProgram('java', environment);
}

/** SDK roots to search, the most likely first. `gcloud` is a link into the SDK's `bin`, so its real path names the root. */
function likelyRoots(environment: EnvironmentVariables): readonly string[] {
  const gcloud = findProgram('gcloud', environment);
  return [
    ...(environment.CLOUDSDK_ROOT_DIR === undefined ? [] : [environment.CLOUDSDK_ROOT_DIR]),
    ...(gcloud === undefined ? [] : [dirname(dirname(realpathSync(gcloud)))]),
    join(environment.HOME ?? homedir(), 'google-cloud-sdk'),
    ...USUAL_ROOTS,
  ];
}

/** The root that `gcloud` reports, for installations that wrap `gcloud` in another program. */
async function askGcloud(environment: EnvironmentVariables): Promise<string | undefined> {
  const gcloud = findProgram('gcloud', environment);
  if (gcloud === undefined) return undefined;
  try {
    const { stdout } = await promisify(execFile)(
      gcloud,
      ['info', '--format=value(installation.sdk_root)', '--quiet'],
      { timeout: GCLOUD_MS, env: { ...environment } },
    );
    return stdout.trim() === '' ? undefined : stdout.trim();
  } catch (error) {
    // A slow gcloud is not a missing one: tests would be skipped although their emulators are installed.
    if ((error as { killed?: boolean }).killed === true) {
      throw new Error(`gcloud info did not end within ${GCLOUD_MS / 1000} s; set CLOUDSDK_ROOT_DIR.`, {
        cause: error,
      });
    }
    return undefined; // A broken gcloud has no emulators either; the caller says what to install.
  }
}

function jarOf(kind: EmulatorKind, root: string): string | undefined {
  if (kind === 'firestore') {
    const jar = join(root, FIRESTORE_JAR);
    return existsSync(jar) ? jar : undefined;
  }
  const directory = join(root, PUBSUB_DIRECTORY);
  if (!existsSync(directory)) return undefined;
  const name = readdirSync(directory).find((file) => /^cloud-pubsub-emulator-.*-all\.jar$/.test(file));
  return name === undefined ? undefined : join(directory, name);
}

async function findJar(kind: EmulatorKind, environment: EnvironmentVariables): Promise<string | undefined> {
  for (const root of likelyRoots(environment)) {
    const jar = jarOf(kind, root);
    if (jar !== undefined) return jar;
  }
  const root = await askGcloud(environment);
  return root === undefined ? undefined : jarOf(kind, root);
}

/** The command that runs the SDK's emulator, or one sentence that says what is missing. */
export async function sdkEmulator(
  kind: EmulatorKind,
  environment: EnvironmentVariables,
): Promise<EmulatorCommand | string> {
  const component = kind === 'firestore' ? 'cloud-firestore-emulator' : 'pubsub-emulator';
  const jar = await findJar(kind, environment);
  if (jar === undefined) {
    return `Install the Google Cloud SDK with its component ${component} (gcloud components install ${component}).`;
  }
  const java = findJava(environment);
  if (java === undefined) return 'Install Java 11 or newer, which runs the emulators of the Google Cloud SDK.';
  return {
    command: java,
    args:
      kind === 'firestore'
        ? [...JVM_OPTIONS, '-Duser.language=en', '-cp', jar, FIRESTORE_MAIN]
        : [...JVM_OPTIONS, '-jar', jar],
  };
}
