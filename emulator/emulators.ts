/**
 * Firestore and Pub/Sub emulators on this machine: running emulators, the Firebase suite, or the components of the Google
 * Cloud SDK. Nothing is downloaded, and all emulators listen on loopback only.
 *
 * @example
 * const emulators = await startEmulators();
 * openFirestoreStore({ clock: systemClock, emulatorHost: emulators.hosts.firestore });
 * await emulators.stop();
 */
import type { EnvironmentVariables } from '@cmbs/shared/config';
import { type EmulatorCommand, type EmulatorKind, findProgram, sdkEmulator } from './emulators/cloud-sdk';
import { startFirebaseSuite } from './emulators/firebase-suite';
import { AddressInUse, isAnswering, ServerProcess } from './emulators/server-process';
import { assertFree, freePorts, isTaken } from './ports';

export type { EmulatorKind } from './emulators/cloud-sdk';

/** The variables that tell Google's clients, and this program, the address of an emulator. */
export const HOST_VARIABLES = {
  firestore: 'FIRESTORE_EMULATOR_HOST',
  pubsub: 'PUBSUB_EMULATOR_HOST',
} as const satisfies Record<EmulatorKind, string>;

const KINDS = ['firestore', 'pubsub'] as const;
const LOOPBACK = '127.0.0.1';
/** Milliseconds for a running emulator to answer, on a busy machine. */
const RUNNING_ANSWER_MS = 60_000;
/** Attempts to start emulators, because another program may take a port that the Firestore emulator chose itself. */
const START_ATTEMPTS = 4;

export interface EmulatorsOptions {
  /** Default: free ports. Ignored for emulators that already run. */
  readonly ports?: Partial<Readonly<Record<EmulatorKind, number>>>;
  /** Default: `process.env`. */
  readonly environment?: EnvironmentVariables;
  /** Milliseconds for an emulator that a variable names to answer. */
  readonly answerMs?: number;
}

export interface Emulators {
  /** `host:port` of each emulator. */
  readonly hosts: Readonly<Record<EmulatorKind, string>>;
  /** Where the emulators come from, for messages. */
  readonly source: string;
  /** True when {@link startEmulators} started the emulators, which {@link stop} then ends. */
  readonly areOurs: boolean;
  /** Environment variables for a program that uses the emulators. */
  readonly variables: Readonly<Record<string, string>>;
  /** Stops the emulators that were started here, and waits until they have ended. */
  stop(): Promise<void>;
}

/** No emulator can be started on this machine; the message says what to install. */
export class EmulatorsMissing extends Error {
  override readonly name = 'EmulatorsMissing';
}

/** The variables name emulators that cannot be used. */
export class WrongEmulatorVariables extends Error {
  override readonly name = 'WrongEmulatorVariables';
}

/** A port that the options name is in use. */
export class PortTaken extends Error {
  override readonly name = 'PortTaken';

  constructor(port: number) {
    super(
      `Port ${port} is in use; stop the program that uses it, or give another port (--firestore-port, --pubsub-port).`,
    );
  }
}

/**
 * Rejects with {@link EmulatorsMissing}, {@link WrongEmulatorVariables}, {@link PortTaken}, or with the output of an
 * emulator that did not start.
 */
export async function startEmulators(options: EmulatorsOptions = {}): Promise<Emulators> {
  const { environment = process.env, answerMs = RUNNING_ANSWER_MS } = options;
  return (
    (await runningEmulators(environment, answerMs)) ??
    (await unlessInUse(() => firebaseEmulators(options, environment))) ??
    (await unlessInUse(() => sdkEmulators(options, environment)))
  );
}

/** Tries again with new ports when a port is in use. */
async function unlessInUse<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof AddressInUse) || attempt === START_ATTEMPTS) throw error;
    }
  }
}

/** An emulator of the Google Cloud SDK that tests can stop and start again. */
export interface RestartableEmulator {
  readonly host: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Starts the emulator again on the same port, without its data. */
  restart(): Promise<void>;
}

/** Rejects with {@link EmulatorsMissing}. The result is not started yet. */
export async function restartableEmulator(
  kind: EmulatorKind,
  environment: EnvironmentVariables = process.env,
): Promise<RestartableEmulator> {
  const command = await sdkEmulator(kind, environment);
  if (typeof command === 'string') throw new EmulatorsMissing(command);
  const port = await freePort();
  const server = sdkServer(kind, command, port);
  return {
    host: `${LOOPBACK}:${port}`,
    start: () => unlessInUse(() => server.start()),
    stop: () => server.stop(),
    restart: async () => {
      await server.stop();
      await unlessInUse(() => server.start());
    },
  };
}

async function runningEmulators(
  environment: EnvironmentVariables,
  answerMs: number,
): Promise<Emulators | undefined> {
  const firestore = environment[HOST_VARIABLES.firestore];
  const pubsub = environment[HOST_VARIABLES.pubsub];
  if (firestore === undefined && pubsub === undefined) return undefined;
  if (firestore === undefined || pubsub === undefined) {
    throw new WrongEmulatorVariables(
      `Set both ${HOST_VARIABLES.firestore} and ${HOST_VARIABLES.pubsub}, or neither.`,
    );
  }
  const hosts = { firestore, pubsub };
  for (const kind of KINDS) {
    if (await isAnswering(hosts[kind], answerMs)) continue;
    throw new WrongEmulatorVariables(
      `No emulator answers at ${hosts[kind]}, which ${HOST_VARIABLES[kind]} names; start it or unset the variable.`,
    );
  }
  return { ...emulators(hosts, 'running already', () => Promise.resolve()), areOurs: false };
}

async function firebaseEmulators(
  options: EmulatorsOptions,
  environment: EnvironmentVariables,
): Promise<Emulators | undefined> {
  const program = findProgram('firebase', environment);
  if (program === undefined) return undefined;
  const ports = await portsOf(options);
  const suite = await startFirebaseSuite(program, ports);
  return emulators(hostsAt(ports), `the Firebase Emulator Suite, ${program}`, () => suite.stop());
}

async function sdkEmulators(options: EmulatorsOptions, environment: EnvironmentVariables): Promise<Emulators> {
  const [firestore, pubsub] = await Promise.all([
    sdkEmulator('firestore', environment),
    sdkEmulator('pubsub', environment),
  ]);
  if (typeof firestore === 'string') throw new EmulatorsMissing(firestore);
  if (typeof pubsub === 'string') throw new EmulatorsMissing(pubsub);
  const ports = await portsOf(options);
  const servers = [sdkServer('firestore', firestore, ports.firestore), sdkServer('pubsub', pubsub, ports.pubsub)];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const started = await Promise.allSettled(servers.map((server) => server.start()));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  return emulators(hostsAt(ports), 'the Google Cloud SDK', stop);
}

function sdkServer(kind: EmulatorKind, { command, args }: EmulatorCommand, port: number): ServerProcess {
  return new ServerProcess({
    name: kind === 'firestore' ? 'The Firestore emulator' : 'The Pub/Sub emulator',
    command,
    args: [...args, `--host=${LOOPBACK}`, `--port=${port}`],
    hosts: [`${LOOPBACK}:${port}`],
  });
}

/** The ports of the options, or free ones. */
async function portsOf({ ports = {} }: EmulatorsOptions): Promise<Readonly<Record<EmulatorKind, number>>> {
  return { firestore: await freePort(ports.firestore), pubsub: await freePort(ports.pubsub) };
}

function hostsAt(ports: Readonly<Record<EmulatorKind, number>>): Readonly<Record<EmulatorKind, string>> {
  return { firestore: `${LOOPBACK}:${ports.firestore}`, pubsub: `${LOOPBACK}:${ports.pubsub}` };
}

function emulators(hosts: Emulators['hosts'], source: string, stop: () => Promise<void>): Emulators {
  const variables = Object.fromEntries(KINDS.map((kind) => [HOST_VARIABLES[kind], hosts[kind]]));
  return { hosts, source, areOurs: true, variables, stop };
}

/** Rejects when the port is in use: another program there could be taken for the emulator. */
async function freePort(wanted?: number): Promise<number> {
  if (wanted === undefined) {
    const [port = 0] = await freePorts(1);
    return port;
  }
  await assertFree(wanted, LOOPBACK).catch((error: unknown) => {
    throw isTaken(error) ? new PortTaken(wanted) : error;
  });
  return wanted;
}
