/**
 * Runs a program as a child process and starts it again when it dies: what native code aborts on, and what the operating
 * system kills for its memory, ends the child and not the service. Small, since it lies beside the program in memory.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Log } from '@cmbs/shared';
import { RESTART_FIRST_MS, RESTART_READY_MAX_MS } from './limits';
import { HAS_DATA_VARIABLE, RESTART_EXIT_CODE, RESTARTS_VARIABLE, type Restarts } from '@cmbs/shared/restarts';
import type { FinalMessage, ReadyMessage, StopMessage } from './supervision';

/** The same, at most, where the stack was not ready; after so many of them in a row the supervisor gives up. */
const RESTART_MAX_MS = 15_000;
const MAX_FAILED_STARTS = 10;
/** Milliseconds after which a stack counts as well, and its next death as the first. */
const SUPERVISED_STABLE_MS = 10_000;

export interface SupervisorLimits {
  /** Deaths in a row of a program that was not ready, after which the supervisor gives up. */
  readonly failedStarts: number;
  /** Milliseconds before the second of several restarts in a row, and at most where the program was not ready. */
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
  readonly environment: Readonly<Record<string, string | undefined>>;
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
  /** The port that the first child took: with PORT=0 another one would be a new address for all clients. */
  #port: number | undefined;
  #hasBeenReady = false;
  /** Deaths in a row within a short time, and those of them before the program was ready. */
  #deaths = 0;
  #failedStarts = 0;
  #child: ChildProcess | undefined;
  #stopping: NodeJS.Signals | undefined;
  #endPause = (): void => undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
  }

  /** Resolves with the end of the last child, when it ended by intention, could not start, or was told to stop. */
  async run(): Promise<Ending> {
    for (;;) {
      const life = await this.#live();
      const reason = this.#reasonToRestart(life);
      if (reason === undefined) return life;
      const pauseMs = this.#pauseAfter(life);
      if (this.#failedStarts >= this.#limits.failedStarts) {
        this.#options.log.error('the stack died too often before it was ready, and is not started again', {
          reason,
          deaths: this.#failedStarts,
        });
        return { code: 1, signal: null };
      }
      this.#restarts[reason] = (this.#restarts[reason] ?? 0) + 1;
      this.#options.log.warn('the stack died and is started again', {
        reason,
        restarts: total(this.#restarts),
        pause_ms: pauseMs,
      });
      await this.#pause(pauseMs);
      if (this.#stopping !== undefined) return { code: 0, signal: null };
    }
  }

  /** Stops the child in order; asked a second time, at once. */
  stop(signal: NodeJS.Signals): void {
    const isFirst = this.#stopping === undefined;
    this.#stopping = signal;
    this.#endPause();
    if (!isFirst) {
      this.#child?.kill('SIGKILL');
      return;
    }
    const message: StopMessage = { type: 'stop', signal };
    // By message, not by signal: at a terminal, and under systemd, the child has had the signal itself.
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
      // `close` of the channel comes after its last message, `exit` may not.
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
    // A fault in the very first start is one of the installation: another start would meet it again.
    return code === 0 || isFinal || !this.#hasBeenReady ? undefined : 'fault';
  }

  /** Milliseconds: nothing for the first death, longer for each that follows soon. */
  #pauseAfter({ wasReady, ms }: Life): number {
    this.#failedStarts = wasReady ? 0 : this.#failedStarts + 1;
    this.#deaths = wasReady && ms >= SUPERVISED_STABLE_MS ? 1 : this.#deaths + 1;
    if (this.#deaths <= 1) return 0;
    const { firstPauseMs, maxPauseMs } = this.#limits;
    return Math.min(firstPauseMs * 2 ** (this.#deaths - 2), wasReady ? RESTART_READY_MAX_MS : maxPauseMs);
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
