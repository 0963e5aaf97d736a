/** The programs of a deployment as child processes, from the bundles that the set-up of the test run has built. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { routeFor } from '@cmbs/functions/routes';
import type { JsonObject } from '@cmbs/shared';
import { eventually } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import type { EnvironmentVariables } from './deployment';
import { PATIENCE_MS } from '../patience';

const DIST = resolve(__dirname, '../../dist');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running program and the lines it has written. */
export class Program {
  readonly lines: string[] = [];
  /** Resolves when the program has ended and its whole output is in {@link lines}. */
  readonly ended: Promise<Ended>;
  /** Resolves when the process has ended; its last output may still be in the pipe. */
  readonly #exited: Promise<void>;
  readonly #child: ChildProcess;
  /** True when the program has ended and its whole output has arrived. */
  #hasClosed = false;

  /** @param script a script in `dist/`, an absolute path, or a program that does not run in Node */
  constructor(
    script: string | { readonly command: string },
    args: readonly string[],
    environment: EnvironmentVariables,
    { cwd = process.cwd() }: { readonly cwd?: string } = {},
  ) {
    // Only the given variables: those of the test run must not reach the program.
    const { PATH = '', HOME = '' } = process.env;
    const [command, first] =
      typeof script === 'string' ? [process.execPath, [resolve(DIST, script)]] : [script.command, []];
    this.#child = spawn(command, [...first, ...args], {
      env: { PATH, HOME, ...environment },
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#exited = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        this.#hasClosed = true;
        resolve({ code, signal });
      });
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.lines.push(line));
    }
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child.pid ?? NaN;
  }

  /** The log entries among the lines. */
  get entries(): readonly JsonObject[] {
    return this.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as JsonObject);
  }

  /** Resolves when the program has written the line. Rejects with its output when the program ends first. */
  async says(line: string): Promise<void> {
    await this.#until(
      () => this.lines.includes(line),
      (isSaid) => isSaid,
      `the program says ${line}`,
    );
  }

  /** Resolves when the program has logged this `event`. Rejects with its output when the program ends first. */
  async logs(event: string): Promise<void> {
    await this.#until(
      () => this.entries.some((entry) => entry.event === event),
      (isLogged) => isLogged,
      `the program logs ${event}`,
    );
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Sends SIGTERM; resolves with the milliseconds until the program has ended. */
  async stop(): Promise<number> {
    const started = performance.now();
    if (this.isRunning) {
      this.signal('SIGTERM');
      const timer = setTimeout(() => this.signal('SIGKILL'), PATIENCE_MS);
      await this.#exited;
      clearTimeout(timer);
    }
    return performance.now() - started;
  }

  async kill(): Promise<void> {
    if (this.isRunning) this.signal('SIGKILL');
    await this.#exited;
  }

  /** Resolves when the URL answers with the status. Rejects with the program's output when the program ends first. */
  async answers(url: string, status?: number): Promise<void> {
    await this.#until(
      async () => {
        try {
          const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
          await response.text();
          return response.status;
        } catch {
          return undefined;
        }
      },
      (now) => now !== undefined && (status === undefined || now === status),
      `${url} answers ${status ?? 'something'}`,
    );
  }

  async #until<T>(probe: () => Promise<T> | T, wanted: (value: T) => boolean, what: string): Promise<void> {
    await eventually(
      async () => {
        // The last output may arrive after the process ended.
        const hasEnded = this.#hasClosed;
        const value = await probe();
        if (hasEnded && !wanted(value)) throw new Error(`the program has ended:\n${this.lines.join('\n')}`);
        return value;
      },
      wanted,
      what,
      PATIENCE_MS,
    );
  }
}

export class CompanionProgram extends Program {
  /** URL of the control endpoint. */
  readonly url: string;

  private constructor(environment: EnvironmentVariables, port: number, program: string) {
    super(program, [], { ...environment, CMBS_CONTROL_PORT: String(port) });
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Resolves when the companion is alive, possibly as a standby. */
  static async start(environment: EnvironmentVariables, program = 'companion/main.js'): Promise<CompanionProgram> {
    const companion = new CompanionProgram(environment, await freePort(), program);
    await companion.answers(`${companion.url}/healthz`, 200);
    return companion;
  }

  /** Resolves when the companion holds its shard. */
  holding(): Promise<void> {
    return this.answers(`${this.url}/readyz`, 200);
  }
}

/** One function alone, as started by `npm run start:cloud -- --function`. */
export class FunctionProgram extends Program {
  readonly port: number;

  constructor(name: string, port: number, environment: EnvironmentVariables) {
    super('local/cloud.js', ['--function', name, '--port', String(port)], environment);
    this.port = port;
  }

  /** Resolves when the function serves requests, with any status: most functions have nothing at this path. */
  answersAnything(): Promise<void> {
    return this.answers(`http://127.0.0.1:${this.port}/healthz`);
  }
}

/** Sends each request to the function that the URL map of a deployment selects. */
export class UrlMap {
  /** Paths of the requests by function. */
  readonly requests = new Map<string, string[]>();
  readonly #ports: ReadonlyMap<string, number>;
  readonly #server = createServer((incoming, outgoing) => this.#forward(incoming, outgoing));

  private constructor(ports: ReadonlyMap<string, number>) {
    this.#ports = ports;
  }

  static async listen(port: number, ports: ReadonlyMap<string, number>): Promise<UrlMap> {
    const map = new UrlMap(ports);
    map.#server.listen(port, '127.0.0.1');
    await once(map.#server, 'listening');
    return map;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #forward(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method = 'GET', url = '/', headers } = incoming;
    const { pathname, searchParams } = new URL(url, 'http://map');
    const { name } = routeFor(decodeURIComponent(pathname), [...searchParams]);
    this.requests.set(name, [...(this.requests.get(name) ?? []), pathname]);
    const onward = httpRequest(
      { host: '127.0.0.1', port: this.#ports.get(name), method, path: url, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    onward.on('error', (error) => {
      if (!outgoing.headersSent) outgoing.writeHead(502);
      outgoing.end(`${name}: ${error.message}`);
    });
    incoming.pipe(onward);
  }
}
