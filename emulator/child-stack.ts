/** A local stack as a child process, for the demo and for tests that stop and kill the stack. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { ANY_PORT } from './ports';

export interface ChildStackOptions {
  /** The bundled program. */
  readonly program: string;
  readonly directory: string;
  /** 0 (the default): a free port. */
  readonly port?: number;
  /** Further settings. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Called with each line of either output. */
  readonly onLine?: (line: string) => void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Milliseconds to start, on a busy machine; usually half a second. */
const START_MS = 60_000;
/** Last lines of the output that are kept, to show why the stack failed. */
const LINES_KEPT = 200;
const READY = /^\s*OCCI endpoint\s+(https?:\S+)$/;

/** The environment variables without the settings of this program, which the child would inherit. */
export function cleanEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => name !== 'PORT' && !name.startsWith('CMBS_')),
  );
}

export class ChildStack {
  /** The last lines of the output. */
  readonly lines: string[] = [];
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #ready: Promise<void>;
  #url: string | undefined;

  private constructor({ program, directory, port = 0, settings, onLine }: ChildStackOptions) {
    const child = spawn(process.execPath, [program], {
      env: { ...cleanEnvironment(), PORT: String(port), CMBS_DATA_DIR: directory, ...ANY_PORT, ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#ready = new Promise((resolve) => {
      const take = (line: string): void => {
        this.lines.push(line);
        if (this.lines.length > LINES_KEPT) this.lines.shift();
        const url = READY.exec(line)?.[1];
        if (url !== undefined && this.#url === undefined) {
          this.#url = url;
          resolve();
        }
        onLine?.(line);
      };
      for (const input of [child.stdout, child.stderr]) createInterface({ input }).on('line', take);
    });
    // `close` comes after the last line; `exit` may come before it.
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
  }

  /** Starts the process. The caller has to end the process, even if it does not become ready. */
  static launch(options: ChildStackOptions): ChildStack {
    return new ChildStack(options);
  }

  /** Resolves when the stack is ready. Rejects with the output when the stack ends or is not ready in time. */
  async ready(withinMs: number = START_MS): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it was not ready within ${withinMs} ms`)), withinMs);
    });
    try {
      const exit = await Promise.race([this.#ready, this.exited, late]);
      if (exit !== undefined) throw new Error(`it ended with ${exit.code ?? exit.signal ?? 'nothing'}`);
    } catch (error) {
      const said = this.lines.join('\n');
      throw new Error(`The deployment did not start: ${(error as Error).message}.\n${said}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** URL of the OCCI endpoint, without a slash at the end. */
  get url(): string {
    if (this.#url === undefined) throw new Error('It is not ready yet.');
    return this.#url;
  }

  /** Sends SIGKILL. Resolves when the process has ended. */
  kill(): Promise<Exit> {
    this.#child.kill('SIGKILL');
    return this.exited;
  }

  /** Sends SIGINT, as Ctrl-C does. Resolves when the process has ended, without a deadline. */
  interrupt(): Promise<Exit> {
    this.#child.kill('SIGINT');
    return this.exited;
  }

  /** Sends SIGTERM, as a service manager does. Resolves when the process has ended. */
  terminate(): Promise<Exit> {
    this.#child.kill('SIGTERM');
    return this.exited;
  }
}
