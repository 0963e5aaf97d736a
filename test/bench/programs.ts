/** The servers of the bench. Each is a child process, started on a free port and stopped by its process id. */
import { execFile, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { askOnce, exchangeOnce, requestText, type Answer } from './http-load';
import type { RoleArguments, RoleName, RoleReady } from './roles';

const START_MS = 20_000;
/** A companion drains for up to ten seconds. */
const STOP_MS = 12_000;
/** Milliseconds between two checks of a starting process: a hundredth of a start. */
const ASK_AGAIN_MS = 3;

/** A port that is free now; another program is unlikely to take it before the bench does. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export async function within<T>(promise: Promise<T>, what: string, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Ends a child by its process id, and waits until it is gone. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await within(gone, 'the end of a server', STOP_MS).catch(() => child.kill('SIGKILL'));
}

/** Resident memory in MiB. */
export async function residentMb(child: ChildProcess): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(child.pid)]);
  return Number(stdout.trim()) / 1024;
}

/** A bare counterpart from {@link ROLES}, in a child process. */
export class Bare {
  private constructor(
    readonly child: ChildProcess,
    readonly ready: RoleReady,
  ) {}

  static async start<R extends RoleName>(role: R, given: RoleArguments<R>): Promise<Bare> {
    const child = fork(__filename, ['--role', role, JSON.stringify(given)], { stdio: 'inherit' });
    const died = once(child, 'exit').then(() => {
      throw new Error(`${role} ended before it was ready`);
    });
    const ready = once(child, 'message').then(([message]) => message as RoleReady);
    try {
      return new Bare(child, await within(Promise.race([ready, died]), `${role} ready`, START_MS));
    } finally {
      died.catch(() => undefined); // a later end is a stop
    }
  }

  get port(): number {
    return this.ready.ports[0] as number;
  }

  /** The next message from the child; call this before the action that causes the message. */
  async message<T>(): Promise<T> {
    const [message] = (await within(once(this.child, 'message'), 'a message of a server', START_MS)) as [T];
    return message;
  }

  close(): Promise<void> {
    return stop(this.child);
  }
}

export type EnvironmentVariables = Readonly<Record<string, string>>;

export interface ProductOptions {
  /** Options of Node. */
  readonly node?: readonly string[];
  readonly settings?: EnvironmentVariables;
  /** A data directory of an earlier start; a new one by default. */
  readonly directory?: string;
}

/** The product, started like `npm start`. */
export class Product {
  private constructor(
    readonly child: ChildProcess,
    readonly port: number,
    /** The data directory. */
    readonly directory: string,
  ) {}

  static async start({ node = [], settings = {}, directory: given }: ProductOptions = {}): Promise<Product> {
    const directory = given ?? (await mkdtemp(join(tmpdir(), 'cmbs-bench-')));
    const port = await freePort();
    const child = spawn(process.execPath, [...node, join(__dirname, '../local/main.js')], {
      env: {
        ...process.env,
        PORT: String(port),
        CMBS_DATA_DIR: directory,
        CMBS_LOG: 'warn',
        ...ANY_PORT,
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const { stdout } = child;
    let text = '';
    const ready = new Promise<void>((resolve, reject) => {
      stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('Ctrl-C')) resolve();
      });
      child.once('exit', () => reject(new Error(`the product ended: ${text}`)));
    });
    await within(ready, 'the product ready', START_MS);
    return new Product(child, port, directory);
  }

  /** Creates an entity; returns its path. */
  async create(collection: string, entity: unknown): Promise<string> {
    const body = JSON.stringify(entity);
    const type = 'application/occi+json';
    const { head } = await askOnce(
      this.port,
      requestText('POST', collection, { 'Content-Type': type, Accept: type }, body),
    );
    const location = /\r\nlocation: (\S+)/i.exec(head)?.[1];
    if (location === undefined) throw new Error(`no Location in ${head}`);
    return new URL(location).pathname;
  }

  async act(path: string, action: string): Promise<void> {
    await askOnce(this.port, requestText('POST', `${path}?action=${action}`));
  }

  /** Ends the process and keeps its data. */
  stop(): Promise<void> {
    return stop(this.child);
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Writes the smallest function, which exports `empty`; returns its folder. */
export async function emptyFunction(scratch: string): Promise<string> {
  const source = join(scratch, 'empty-function');
  await mkdir(source, { recursive: true });
  await writeFile(join(source, 'index.js'), 'exports.empty = (request, response) => void response.end();\n');
  return source;
}

/** A deployed part, started as in the cloud, that answers while it starts. */
export class Deployed {
  readonly #child: ChildProcess;

  private constructor(
    child: ChildProcess,
    readonly port: number,
  ) {
    this.#child = child;
  }

  /** @param source a folder, or a file, that exports `target` */
  static async function(
    source: string,
    target: string,
    environment: EnvironmentVariables = {},
  ): Promise<Deployed> {
    const port = await freePort();
    // The package does not export its program, which is beside the exported file.
    const framework = createRequire(__filename).resolve('@google-cloud/functions-framework');
    const main = join(dirname(framework), 'main.js');
    return Deployed.#launch(
      [main, `--target=${target}`, `--source=${source}`, `--port=${port}`],
      environment,
      port,
    );
  }

  static async companion(environment: EnvironmentVariables): Promise<Deployed> {
    const port = await freePort();
    return Deployed.#launch(
      [join(__dirname, '../companion/main.js')],
      { ...environment, CMBS_CONTROL_PORT: String(port) },
      port,
    );
  }

  static #launch(args: readonly string[], environment: EnvironmentVariables, port: number): Deployed {
    // Only the given settings, without those of the shell that runs the bench.
    const { PATH = '', HOME = '' } = process.env;
    const child = spawn(process.execPath, [...args], {
      env: { PATH, HOME, NODE_ENV: 'production', ...environment },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return new Deployed(child, port);
  }

  /** Resolves with the first answer that has the status, or with the first answer if no status is given. */
  async answers(request: string, status?: number): Promise<Answer> {
    const deadline = performance.now() + START_MS;
    for (;;) {
      // The program is not listening yet, or has ended.
      const answer = await exchangeOnce(this.port, request).catch((error: unknown) => String(error));
      if (typeof answer !== 'string' && (status === undefined || answer.status === status)) return answer;
      if (performance.now() > deadline || this.#child.exitCode !== null) {
        const last = typeof answer === 'string' ? answer : `${answer.head}\n${answer.body}`;
        throw new Error(`no answer ${status ?? ''} to ${request.split('\r\n', 1).join()}; the last was ${last}`);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
    }
  }

  close(): Promise<void> {
    return stop(this.#child);
  }
}
