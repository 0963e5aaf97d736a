/**
 * A deployment on the emulators, in this process: the functions behind the gateway and one companion, assembled as in
 * their programs. Each deployment has its own project.
 */
import { startCloudCompanion, type CloudCompanion, type CloudCompanionLimits } from '../../companion/cloud';
import { startCloudFunctions } from '@cmbs/emulator/cloud';
import type { CloudLimits } from '@cmbs/functions/cloud';
import { ANY_PORT } from '@cmbs/emulator/ports';
import { readCloudConfig, type CloudConfig } from '@cmbs/shared/config';
import type { Engine, RunOptions, Running } from '../e2e/engine';
import { freePort } from '../integration/free-port';
import { VARIABLES } from './emulators-of-run';
import { uniqueProject, type EmulatorHosts } from './support';

/** File with the key for identity tokens that all deployments of this test run share. */
export function localKeyFile(): string {
  const file = process.env[VARIABLES.identityKey];
  if (file === undefined) throw new Error('the set-up of the run has made no key');
  return file;
}

/** Limits of both programs of a deployment. */
type Limits = CloudLimits & CloudCompanionLimits;

export type EnvironmentVariables = Readonly<Record<string, string>>;

/** Settings of a deployment in a new project, for both of its parts, in this process or another. */
export async function cloudEnvironment(
  hosts: EmulatorHosts,
  more: EnvironmentVariables = {},
): Promise<EnvironmentVariables> {
  const port = String(await freePort());
  return {
    FIRESTORE_EMULATOR_HOST: hosts.firestore,
    PUBSUB_EMULATOR_HOST: hosts.pubsub,
    METADATA_SERVER_DETECTION: 'none',
    GOOGLE_CLOUD_PROJECT: uniqueProject(),
    PORT: port,
    CMBS_PUBLIC_URL: `http://127.0.0.1:${port}`,
    CMBS_CONTROL_PORT: String(await freePort()),
    CMBS_IDENTITY_KEY: localKeyFile(),
    CMBS_LOG: 'silent',
    ...ANY_PORT,
    ...more,
  };
}

/** Also sets the addresses of the emulators in this process, from which Google's clients read them. */
export function configOf(env: EnvironmentVariables): CloudConfig {
  for (const name of ['FIRESTORE_EMULATOR_HOST', 'PUBSUB_EMULATOR_HOST']) process.env[name] = env[name];
  return readCloudConfig(env);
}

/** The parts of one deployment. */
export class CloudParts implements Running {
  readonly #config: CloudConfig;
  readonly #options: RunOptions;
  readonly #limits: Limits;
  readonly #functions: Running;
  companion: CloudCompanion | undefined;

  private constructor(config: CloudConfig, options: RunOptions, limits: Limits, functions: Running) {
    this.#config = config;
    this.#options = options;
    this.#limits = limits;
    this.#functions = functions;
  }

  static async start(env: EnvironmentVariables, options: RunOptions, limits: Limits = {}): Promise<CloudParts> {
    const config = configOf(env);
    const { log, clock } = options;
    const functions = await startCloudFunctions({
      config,
      log,
      limits,
      ...(clock === undefined ? {} : { clock }),
    });
    const parts = new CloudParts(config, options, limits, functions);
    await parts.startCompanion();
    return parts;
  }

  get url(): string {
    return this.#functions.url;
  }

  get metrics(): readonly string[] {
    return [this.url, ...(this.companion === undefined ? [] : [this.companion.url])].map(
      (url) => `${url}/metrics`,
    );
  }

  /** Resolves when the companion holds its shard. */
  async startCompanion(): Promise<void> {
    const { log, clock, delivery = {} } = this.#options;
    this.companion = await startCloudCompanion({
      delivery,
      config: this.#config,
      log,
      limits: this.#limits,
      ...(clock === undefined ? {} : { clock }),
    });
    await this.companion.holding();
  }

  async stopCompanion(): Promise<void> {
    await this.companion?.close();
    this.companion = undefined;
  }

  async close(): Promise<void> {
    await this.#functions.close();
    await this.stopCompanion();
  }
}

export interface CloudEngine {
  readonly engine: Engine;
  /** The parts while they run. */
  readonly parts: () => CloudParts;
}

/** The engine of one deployment, which finds its data again after a restart. */
export function cloudEngine(
  hosts: EmulatorHosts,
  more: EnvironmentVariables = {},
  limits: Limits = {},
): CloudEngine {
  let running: CloudParts | undefined;
  let settings: Promise<EnvironmentVariables> | undefined;
  return {
    engine: async (options) => {
      settings ??= cloudEnvironment(hosts, { ...more, ...options.env });
      return (running = await CloudParts.start(await settings, options, limits));
    },
    parts: () => {
      if (running === undefined) throw new Error('the deployment does not run');
      return running;
    },
  };
}
