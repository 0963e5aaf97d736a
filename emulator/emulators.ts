/**
 * Firestore and Pub/Sub emulators on this machine, from whichever is there: running already, the Firebase suite, or
 * the components of the Google Cloud SDK. Nothing is downloaded, everything listens on loopback only.
 *
 * @example
 * const emulators = await startEmulators();
 * openFirestoreStore({ clock: systemClock, emulatorHost: emulators.hosts.firestore });
 * await emulators.stop();
 */
import {
  type EmulatorCommand,
  type EmulatorKind,
  type Environment,
  findProgram,
  sdkEmulator,
} from './emulators/cloud-sdk';
import { startFirebaseSuite } from './emulators/firebase-suite';
import { AddressInUse, isAnswering, ServerProcess } from './emulators/server-process';
import { assertFree, freePorts, isTaken } from './ports';

export type { EmulatorKind } from './emulators/cloud-sdk';

/** The variables by which Google's clients, and this program, find an emulator. */
export const HOST_VARIABLES = {
  firestore: 'FIRESTORE_EMULATOR_HOST',
  pubsub: 'PUBSUB_EMULATOR_HOST',
} as const satisfies Record<EmulatorKind, string>;

const KINDS = ['firestore', 'pubsub'] as const;
const LOOPBACK = '127.0.0.1';
/** Milliseconds that an emulator which runs already may take to answer: a busy machine may keep it waiting for long. */
const RUNNING_ANSWER_MS = 60_000;
/**
 * Attempts to start emulators whose ports are taken. The Firestore emulator binds further ports, which it looks for
 * itself; another program may take one of them in between.
 */
const START_ATTEMPTS = 4;

export interface EmulatorsOptions {
  /** Ports to listen on; free ones by default. Without effect on emulators that run already. */
  readonly ports?: Partial<Readonly<Record<EmulatorKind, number>>>;
  /** Where to look for them: `process.env` by default. */
  readonly environment?: Environment;
  /** Milliseconds that an emulator which a variable names may take to answer. */
  readonly answerMs?: number;
}

export interface Emulators {
  /** `host:port` of each. */
  readonly hosts: Readonly<Record<EmulatorKind, string>>;
  /** Where they came from, for a person. */
  readonly source: string;
  /** They were started here, and end with {@link stop}. */
  readonly areOurs: boolean;
  /** What a program needs in its environment to use them. */
  readonly variables: Readonly<Record<string, string>>;
  /** Ends what was started here and waits until it is gone. */
  stop(): Promise<void>;
}

/** No emulators can be started here; the message says in one line what to install. */
export class EmulatorsMissing extends Error {
  override readonly name = 'EmulatorsMissing';
}

/** The variables name emulators that cannot be used. Not {@link EmulatorsMissing}: somebody counts on them. */
export class WrongEmulatorVariables extends Error {
  override readonly name = 'WrongEmulatorVariables';
}

/** A port that was asked for is somebody else's. */
export class PortTaken extends Error {
  override readonly name = 'PortTaken';

  constructor(port: number) {
    super(
      `Port ${port} is taken; stop what listens there, or give another one (--firestore-port, --pubsub-port).`,
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

/** Starts again, each time with new ports, while a port is taken. */
async function unlessInUse<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof AddressInUse) || attempt === START_ATTEMPTS) throw error;
    }
  }
}

/** One emulator of the Google Cloud SDK that can be stopped and started again, for tests of what happens then. */
export interface RestartableEmulator {
  readonly host: string;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Starts it again on the same port, empty. */
  restart(): Promise<void>;
}

/** Rejects with {@link EmulatorsMissing}. The result is not started yet. */
export async function restartableEmulator(
  kind: EmulatorKind,
  environment: Environment = process.env,
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

async function runningEmulators(environment: Environment, answerMs: number): Promise<Emulators | undefined> {
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
  environment: Environment,
): Promise<Emulators | undefined> {
  const program = findProgram('firebase', environment);
  if (program === undefined) return undefined;
  const ports = await portsOf(options);
  const suite = await startFirebaseSuite(program, ports);
  return emulators(hostsAt(ports), `the Firebase Emulator Suite, ${program}`, () => suite.stop());
}

async function sdkEmulators(options: EmulatorsOptions, environment: Environment): Promise<Emulators> {
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

/** The ports asked for, which have to be free, or free ones. */
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

/** Rejects when the port asked for is taken: whatever answers there would pass for the emulator. */
async function freePort(asked?: number): Promise<number> {
  if (asked === undefined) {
    const [port = 0] = await freePorts(1);
    return port;
  }
  await assertFree(asked, LOOPBACK).catch((error: unknown) => {
    throw isTaken(error) ? new PortTaken(asked) : error;
  });
  return asked;
}
