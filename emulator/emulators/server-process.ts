/** A server process that is ready when it answers HTTP. */
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';

export interface ServerCommand {
  /** The name of the server in messages. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Addresses (`host:port`), each of which answers `GET /` when the server is up. */
  readonly hosts: readonly string[];
}

/** Milliseconds that a server may take to answer; an emulator needs 3 s, and more when others start at the same time. */
const START_MS = 60_000;
/** Milliseconds between two checks whether the server answers. */
const LOOK_MS = 50;
/** Milliseconds that one check may take. */
const ANSWER_MS = 2000;
/** Milliseconds from SIGTERM to SIGKILL. */
const STOP_MS = 5000;
/** Lines of output that are kept: enough to see why the server failed. */
const LINES_KEPT = 40;

/** How Java, Node and the Firebase suite report a port in use. */
const ADDRESS_IN_USE = /address already in use|EADDRINUSE|port taken/i;

/** A server did not start because a port is in use: the given port, or another port that the server chose. */
export class AddressInUse extends Error {
  override readonly name = 'AddressInUse';
}

/**
 * Runs the command as a child and stops the command when the standard input ends. The input ends with the parent, so a
 * server does not outlive a killed test run.
 */
const WATCHDOG = `
exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ read -r _ <&3; kill "$server" 2>/dev/null; } & reader=$!
wait "$server"; code=$?
kill "$reader" 2>/dev/null
exit "$code"
`;

export class ServerProcess {
  readonly #command: ServerCommand;
  /** The last lines of the output. */
  #lines: string[] = [];
  #child: ChildProcess | undefined;
  #closed: Promise<void> = Promise.resolve();

  constructor(command: ServerCommand) {
    this.#command = command;
  }

  /**
   * Resolves when the server answers. Rejects with the server's output when the server ends or does not answer in time.
   * @throws AddressInUse when the output says so
   */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.#command.name} runs already`);
    const { command, args, environment, name } = this.#command;
    // A separate process group: Ctrl-C at a terminal reaches this program only, which then stops the child.
    const child = spawn('/bin/sh', ['-c', WATCHDOG, 'sh', command, ...args], {
      detached: true,
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#lines = [];
    let failure: string | undefined;
    child.once('error', (error) => (failure = error.message));
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding('utf8').on('data', (text: string) => {
        this.#lines = [...this.#lines, ...text.split('\n').filter((line) => line.trim() !== '')].slice(
          -LINES_KEPT,
        );
      });
    }
    this.#closed = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        failure ??= `it ended with ${signal ?? `exit code ${code ?? 'unknown'}`}`;
        resolve();
      });
    });
    const deadline = performance.now() + START_MS;
    for (let isUp = false; !isUp || failure !== undefined; isUp = await this.#answers()) {
      if (performance.now() > deadline) failure ??= `it did not answer within ${START_MS / 1000} s`;
      if (failure !== undefined) {
        await this.stop();
        const message = [`${name} could not be started: ${failure}.`, ...this.#lines].join('\n  ');
        throw ADDRESS_IN_USE.test(message) ? new AddressInUse(message) : new Error(message);
      }
      await pause(LOOK_MS);
    }
  }

  async #answers(): Promise<boolean> {
    const answers = await Promise.all(this.#command.hosts.map((host) => isAnswering(host)));
    return answers.every(Boolean);
  }

  /** Stops the process and waits until it has ended. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    child.stdin?.on('error', () => undefined).end(); // The watchdog reads the end of its input, unless it has ended already.
    const killing = new AbortController();
    const kill = pause(STOP_MS, undefined, { signal: killing.signal }).then(
      () => killGroup(child),
      () => undefined, // the process ended in time
    );
    await this.#closed;
    killing.abort();
    await kill;
  }
}

/** Whether an HTTP server answers within `withinMs` milliseconds; false at once when the port is closed. */
export async function isAnswering(host: string, withinMs = ANSWER_MS): Promise<boolean> {
  try {
    const response = await fetch(`http://${host}/`, { signal: AbortSignal.timeout(withinMs) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // the caller asks again until its deadline, or reports it
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
