/** The programs of a deployment as processes of their own, from the bundles that the run's set-up has built. */
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
  /** Resolves when the program has ended and all that it has written is in {@link lines}. */
  readonly ended: Promise<Ended>;
  /** Resolves when the process is gone; what it wrote last may still be in the pipe. */
  readonly #exited: Promise<void>;
  readonly #child: ChildProcess;
  /** It has ended, and all that it has written is there. */
  #hasClosed = false;

  /** @param script in `dist/`, or with a slash in front anywhere; or another program than Node's */
  constructor(
    script: string | { readonly command: string },
    args: readonly string[],
    environment: EnvironmentVariables,
    { cwd = process.cwd() }: { readonly cwd?: string } = {},
  ) {
    // Only what it is told: variables of this run are not its.
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

  /** The lines that are log entries. */
  get entries(): readonly JsonObject[] {
    return this.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as JsonObject);
  }

  /** Resolves when it has written the line; an error with what it has written when it ends first. */
  async says(line: string): Promise<void> {
    await this.#until(
      () => this.lines.includes(line),
      (isSaid) => isSaid,
      `the program says ${line}`,
    );
  }

  /** Resolves when it has written a log entry with this `event`; an error as above. */
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

  /** Milliseconds from SIGTERM to its end. */
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

  /** Resolves when the URL answers with the status; an error with what the program has written when it ends first. */
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
        // What it wrote last may come after its end.
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
  /** Of its control endpoint. */
  readonly url: string;

  private constructor(environment: EnvironmentVariables, port: number, program: string) {
    super(program, [], { ...environment, CMBS_CONTROL_PORT: String(port) });
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Resolves when it is alive; it may stand by. */
  static async start(environment: EnvironmentVariables, program = 'companion/main.js'): Promise<CompanionProgram> {
    const companion = new CompanionProgram(environment, await freePort(), program);
    await companion.answers(`${companion.url}/healthz`, 200);
    return companion;
  }

  /** Resolves when it holds its shard. */
  holding(): Promise<void> {
    return this.answers(`${this.url}/readyz`, 200);
  }
}

/** One function alone, as `npm run start:cloud -- --function` starts it. */
export class FunctionProgram extends Program {
  readonly port: number;

  constructor(name: string, port: number, environment: EnvironmentVariables) {
    super('local/cloud.js', ['--function', name, '--port', String(port)], environment);
    this.port = port;
  }

  /** Resolves when it serves requests; most functions have nothing at this path, and say so. */
  answersAnything(): Promise<void> {
    return this.answers(`http://127.0.0.1:${this.port}/healthz`);
  }
}

/** Sends each request to the function that a deployment's URL map would pick. */
export class UrlMap {
  /** Paths of the requests, by the function that they went to. */
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
