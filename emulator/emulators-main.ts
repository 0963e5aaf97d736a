/** `npm run emulators`: runs the Firestore and Pub/Sub emulators until Ctrl-C, or while a command runs. */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { type Emulators, EmulatorsMissing, PortTaken, startEmulators, WrongEmulatorVariables } from './emulators';
import suite from './firebase.json';
import { portOf } from './ports';

const HELP = `Starts the Firestore and Pub/Sub emulators that this machine has.

Usage: npm run emulators [-- [--firestore-port N] [--pubsub-port N] [-- COMMAND ARGUMENTS…]]

Without a command they run until Ctrl-C; with one, until it ends, and its exit code is that of this program.
The command finds them by FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST.
`;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

class Usage extends Error {}

interface Arguments {
  readonly help: boolean;
  readonly ports: { readonly firestore: number; readonly pubsub: number };
  readonly command: readonly string[];
}

function parse(args: readonly string[]): Arguments {
  const at = args.indexOf('--');
  const own = at < 0 ? args : args.slice(0, at);
  try {
    const { values } = parseArgs({
      args: [...own],
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        'firestore-port': { type: 'string', default: String(suite.emulators.firestore.port) },
        'pubsub-port': { type: 'string', default: String(suite.emulators.pubsub.port) },
      },
    });
    const ports = { firestore: portFrom(values['firestore-port']), pubsub: portFrom(values['pubsub-port']) };
    return { help: values.help, ports, command: at < 0 ? [] : args.slice(at + 1) };
  } catch (error) {
    throw error instanceof TypeError ? new Usage(error.message) : error;
  }
}

function portFrom(text: string): number {
  const port = portOf(text);
  if (port === undefined) throw new Usage(`${JSON.stringify(text)} is not a port; use a number from 1 to 65535.`);
  return port;
}

async function main(args: readonly string[]): Promise<number> {
  const { help, ports, command } = parse(args);
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const emulators = await startEmulators({ ports });
  try {
    process.stdout.write(`The emulators run (${emulators.source}).\n\n`);
    for (const [name, value] of Object.entries(emulators.variables))
      process.stdout.write(`export ${name}=${value}\n`);
    process.stdout.write('\n');
    return command.length === 0 ? await untilSignal(emulators.areOurs) : await run(command, emulators);
  } finally {
    await emulators.stop();
  }
}

async function untilSignal(areOurs: boolean): Promise<number> {
  process.stdout.write(areOurs ? 'Ctrl-C stops them.\n' : 'Ctrl-C ends this program; they go on.\n');
  // Keeps this process alive when the emulators were not started here.
  const alive = setInterval(() => undefined, 60_000);
  await new Promise((resolve) => {
    for (const name of SIGNALS) process.once(name, resolve);
  });
  clearInterval(alive);
  return 0;
}

/** Runs the command with the emulators in its environment; resolves with its exit code, or 143 after a signal. */
function run([program = '', ...args]: readonly string[], { variables }: Emulators): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...variables } });
    // A terminal sends Ctrl-C to the command too; this program waits until the command has ended.
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
    for (const name of SIGNALS) process.on(name, pass);
    child.once('error', (error) => reject(new Usage(`${program} cannot be run: ${error.message}.`)));
    child.once('close', (code) => resolve(code ?? 143));
  });
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const isExpected = [EmulatorsMissing, WrongEmulatorVariables, PortTaken, Usage].some(
      (expected) => error instanceof expected,
    );
    const { message, stack = message } = error as Error;
    process.stderr.write(`${isExpected ? message : stack}\n`);
    process.exitCode = error instanceof Usage ? 2 : 1;
  },
);
