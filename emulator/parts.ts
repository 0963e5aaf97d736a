/** The processes of a cloud deployment on this machine. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { EnvironmentVariables } from '@cmbs/shared/config';
import { CLOUD_STOP_MS } from '@cmbs/shared/limits';
import { makeDirectory } from '@cmbs/shared/make-directory';
import { RESTART_EXIT_CODE, RESTARTS_VARIABLE } from '@cmbs/shared/restarts';
import { newLocalKey } from '@cmbs/shared/rpc/identity';
import { RESTART_READY_MAX_MS } from './limits';

/** A program in a process of its own, with its output in this program's. */
export class Part {
  /** Resolves with the reason for a restart, or with undefined when the program was stopped or exited normally. */
  readonly exited: Promise<string | undefined>;
  readonly #child: ChildProcess;
  #isStopping = false;

  constructor(command: string, args: readonly string[], environment: EnvironmentVariables) {
    this.#child = spawn(command, args, { env: environment, stdio: ['ignore', 'inherit', 'inherit'] });
    this.exited = once(this.#child, 'exit').then((values) => {
      const [code, signal] = values as [number | null, string | null];
      if (this.#isStopping) return undefined;
      return signal ?? (code === RESTART_EXIT_CODE ? 'memory' : undefined);
    });
    this.exited.catch(() => undefined); // rejects when the process could not be started, for callers that wait
  }

  /** Sends SIGTERM, and SIGKILL when the process does not end within `CLOUD_STOP_MS`. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), CLOUD_STOP_MS);
    await this.exited;
    clearTimeout(timer);
  }
}

/** A part that is restarted, after a pause, when it crashes. */
export class LastingPart {
  /** Resolves when the part was stopped or exited normally. */
  readonly exited: Promise<void>;
  readonly #stop = new AbortController();
  #part: Part;

  constructor(
    command: string,
    args: readonly string[],
    environment: EnvironmentVariables,
    onDeath: (reason: string) => void,
  ) {
    const restarts: Record<string, number> = {};
    const start = (): Part =>
      new Part(command, args, { ...environment, [RESTARTS_VARIABLE]: JSON.stringify(restarts) });
    this.#part = start();
    const keep = async (): Promise<void> => {
      for (;;) {
        const reason = await this.#part.exited;
        if (reason === undefined) return;
        restarts[reason] = (restarts[reason] ?? 0) + 1;
        onDeath(reason);
        // This timer keeps the program alive. It rejects when the part is stopped.
        const goesOn = pause(RESTART_READY_MAX_MS, true, { signal: this.#stop.signal }).catch(() => false);
        if (!(await goesOn)) return;
        this.#part = start();
      }
    };
    this.exited = keep();
    this.exited.catch(() => undefined); // rejects when the process could not be started, for callers that wait
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#part.stop();
  }
}

/** Makes a key for identity tokens, readable by this user only, unless the file exists; returns its path. */
export function ensureLocalKey(file: string): string {
  makeDirectory(dirname(file));
  try {
    writeFileSync(file, newLocalKey(), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return file;
}
