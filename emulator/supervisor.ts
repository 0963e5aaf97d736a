/**
 * Runs a program as a child process and restarts it when it crashes, for example by an abort of native code or by the
 * operating system's out-of-memory killer. The supervisor imports little, because it stays in memory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Log } from '@cmbs/shared';
import type { EnvironmentVariables } from '@cmbs/shared/config';
import { RESTART_FIRST_MS, RESTART_READY_MAX_MS } from './limits';
import { HAS_DATA_VARIABLE, RESTART_EXIT_CODE, RESTARTS_VARIABLE, type Restarts } from '@cmbs/shared/restarts';
import type { FinalMessage, ReadyMessage, StopMessage } from './supervision';

/** Maximum milliseconds before a restart if the program was not ready. */
const RESTART_MAX_MS = 15_000;
/** Consecutive crashes without a ready program, after which the program is not started again. */
const MAX_FAILED_STARTS = 10;
/** Milliseconds after which a run counts as stable, so that its crash counts as the first. */
const SUPERVISED_STABLE_MS = 10_000;

export interface SupervisorLimits {
  /** Consecutive crashes without a ready program, after which the program is not started again. */
  readonly failedStarts: number;
  /** Milliseconds before the second consecutive restart, and the maximum, if the program was not ready. */
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
}

const LIMITS: SupervisorLimits = {
  failedStarts: MAX_FAILED_STARTS,
  firstPauseMs: RESTART_FIRST_MS,
  maxPauseMs: RESTART_MAX_MS,
};

export interface SupervisorOptions {
  /** Node's own options, then the program and its arguments. */
  readonly args: readonly string[];
  readonly environment: EnvironmentVariables;
  readonly log: Log;
  readonly limits?: SupervisorLimits;
}

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface Life extends Ending {
  readonly wasReady: boolean;
  readonly isFinal: boolean;
  readonly ms: number;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #limits: SupervisorLimits;
  readonly #restarts: Record<string, number> = {};
  /** The port of the first child: with PORT=0 a restart would use another port, which clients do not know. */
  #port: number | undefined;
  #hasBeenReady = false;
  /** Consecutive crashes in a short time, and consecutive crashes without a ready program. */
  #crashes = 0;
  #failedStarts = 0;
  #child: ChildProcess | undefined;
  #stopping: NodeJS.Signals | undefined;
  #endPause = (): void => undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
  }

  /** Resolves with the end of the last child, when the child exited normally, could not start, or was stopped. */
  async run(): Promise<Ending> {
    for (;;) {
      const life = await this.#live();
      const reason = this.#reasonToRestart(life);
      if (reason === undefined) return life;
      const pauseMs = this.#pauseAfter(life);
      if (this.#failedStarts >= this.#limits.failedStarts) {
        this.#options.log.error('the stack crashed too often before it was ready and is not started again', {
          reason,
          crashes: this.#failedStarts,
        });
        return { code: 1, signal: null };
      }
      this.#restarts[reason] = (this.#restarts[reason] ?? 0) + 1;
      this.#options.log.warn('the stack crashed and is started again', {
        reason,
        restarts: total(this.#restarts),
        pause_ms: pauseMs,
      });
      await this.#pause(pauseMs);
      if (this.#stopping !== undefined) return { code: 0, signal: null };
    }
  }

  /** Stops the child; the second call kills it. */
  stop(signal: NodeJS.Signals): void {
    const isFirst = this.#stopping === undefined;
    this.#stopping = signal;
    this.#endPause();
    if (!isFirst) {
      this.#child?.kill('SIGKILL');
      return;
    }
    const message: StopMessage = { type: 'stop', signal };
    // A message, because at a terminal and under systemd the child also gets the signal itself.
    if (this.#child?.connected === true) this.#child.send(message, () => undefined);
  }

  async #live(): Promise<Life> {
    const { args, environment } = this.#options;
    const began = performance.now();
    const child = spawn(process.execPath, args, {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      env: {
        ...environment,
        [RESTARTS_VARIABLE]: JSON.stringify(this.#restarts),
        ...(this.#hasBeenReady ? { [HAS_DATA_VARIABLE]: '1' } : {}),
        ...(this.#port === undefined ? {} : { PORT: String(this.#port) }),
      },
    });
    this.#child = child;
    let wasReady = false;
    let isFinal = false;
    child.on('message', (message: ReadyMessage | FinalMessage) => {
      if (message.type === 'final') {
        isFinal = true;
        return;
      }
      wasReady = true;
      this.#hasBeenReady = true;
      this.#port = message.port;
    });
    const { code, signal } = await new Promise<Ending>((resolve, reject) => {
      child.once('error', reject);
      // `disconnect` comes after the last message; `exit` may come before it.
      let ending: Ending | undefined;
      let isDisconnected = false;
      const settle = (): void => {
        if (ending !== undefined && isDisconnected) resolve(ending);
      };
      child.once('exit', (code, signal) => {
        ending = { code, signal };
        settle();
      });
      child.once('disconnect', () => {
        isDisconnected = true;
        settle();
      });
    });
    this.#child = undefined;
    return { code, signal, wasReady, isFinal, ms: performance.now() - began };
  }

  /** Undefined when the child must not be started again. */
  #reasonToRestart({ code, signal, isFinal }: Life): string | undefined {
    if (this.#stopping !== undefined) return undefined;
    if (signal !== null) return signal;
    if (code === RESTART_EXIT_CODE) return 'memory';
    // A crash of the first start is probably an error of the installation, which would happen again.
    return code === 0 || isFinal || !this.#hasBeenReady ? undefined : 'fault';
  }

  /** Milliseconds: 0 after the first crash, more after each further crash in a short time. */
  #pauseAfter({ wasReady, ms }: Life): number {
    this.#failedStarts = wasReady ? 0 : this.#failedStarts + 1;
    this.#crashes = wasReady && ms >= SUPERVISED_STABLE_MS ? 1 : this.#crashes + 1;
    if (this.#crashes <= 1) return 0;
    const { firstPauseMs, maxPauseMs } = this.#limits;
    return Math.min(firstPauseMs * 2 ** (this.#crashes - 2), wasReady ? RESTART_READY_MAX_MS : maxPauseMs);
  }

  async #pause(ms: number): Promise<void> {
    if (ms === 0 || this.#stopping !== undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const total = (restarts: Restarts): number => Object.values(restarts).reduce((sum, n) => sum + n, 0);
