/**
 * The cloud's parts on this machine, as processes of their own that speak through Firestore, Pub/Sub and the companion's
 * control endpoint only: the functions behind the gateway in this process, the companion in another.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { makeDirectory } from '@cmbs/shared/make-directory';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { newLocalKey } from '@cmbs/shared/rpc/identity';
import { CLOUD_STOP_MS } from '@cmbs/shared/limits';
import { GATEWAY_GRACE_MS, RESTART_READY_MAX_MS } from './limits';
import { RESTART_EXIT_CODE, RESTARTS_VARIABLE } from '@cmbs/shared/restarts';
import { sitePolicyOf } from '@cmbs/shared/sites';
import { prometheusMetrics } from '@cmbs/companion';
import { cloudRuntime, type CloudOptions } from '@cmbs/functions/cloud';
import { Gateway } from './gateway';

export interface CloudFunctions {
  /** URL of the OCCI endpoint, without a slash at the end. */
  readonly url: string;
  close(): Promise<void>;
}

/** Every function behind one gateway. */
export async function startCloudFunctions(options: Omit<CloudOptions, 'counters'>): Promise<CloudFunctions> {
  const { config, log } = options;
  const metrics = prometheusMetrics();
  const runtime = await cloudRuntime({ ...options, counters: metrics });
  try {
    const gateway = await Gateway.listen({
      app: runtime.app,
      host: config.CMBS_HOST,
      port: config.PORT,
      publicUrl: config.CMBS_PUBLIC_URL,
      trustedProxies: config.CMBS_TRUST_PROXY,
      maxBodyBytes: config.CMBS_MAX_BODY_BYTES,
      sites: sitePolicyOf(config, [config.CMBS_HOST]),
      log,
      metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
    });
    metrics.gauge('cmbs_requests_in_flight', () => gateway.inHand);
    return {
      url: gateway.url,
      close: async () => {
        await gateway.close(GATEWAY_GRACE_MS);
        await runtime.close();
      },
    };
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

/** A program of ours in a process of its own, with its output in ours. */
export class Part {
  /** Resolves with why it ought to be started again, or with undefined when it ended by intention or cannot run. */
  readonly exited: Promise<string | undefined>;
  readonly #child: ChildProcess;
  #isStopping = false;

  constructor(
    command: string,
    args: readonly string[],
    environment: Readonly<Record<string, string | undefined>>,
  ) {
    this.#child = spawn(command, args, { env: environment, stdio: ['ignore', 'inherit', 'inherit'] });
    this.exited = once(this.#child, 'exit').then((values) => {
      const [code, signal] = values as [number | null, string | null];
      if (this.#isStopping) return undefined;
      return signal ?? (code === RESTART_EXIT_CODE ? 'memory' : undefined);
    });
    this.exited.catch(() => undefined); // the process could not be started; callers that wait for it are told
  }

  /** SIGTERM, and SIGKILL when that does not help in time. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), CLOUD_STOP_MS);
    await this.exited;
    clearTimeout(timer);
  }
}

/** A part that is started again, after a pause, when it dies. */
export class LastingPart {
  /** Resolves when it has ended by intention, or cannot run. */
  readonly exited: Promise<void>;
  readonly #stop = new AbortController();
  #part: Part;

  constructor(
    command: string,
    args: readonly string[],
    environment: Readonly<Record<string, string | undefined>>,
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
        // A timer that keeps the program alive: nothing else may be left of it. It rejects when the part is stopped.
        const goesOn = pause(RESTART_READY_MAX_MS, true, { signal: this.#stop.signal }).catch(() => false);
        if (!(await goesOn)) return;
        this.#part = start();
      }
    };
    this.exited = keep();
    this.exited.catch(() => undefined); // the process could not be started; callers that wait for it are told
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#part.stop();
  }
}

/** A key for identity tokens where there is no Google account: made once, for this user only. */
export function ensureLocalKey(file: string): string {
  makeDirectory(dirname(file));
  try {
    writeFileSync(file, newLocalKey(), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return file;
}
