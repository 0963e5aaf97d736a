/** The configuration of functions and companions that run apart, on Google Cloud or on its emulators. */
import { accessProblems } from './access';
import { moduleProblems } from './modules';
import {
  addressProblem,
  ConfigError,
  type ConfigOf,
  type EnvironmentVariables,
  ignoreNotice,
  type Notice,
  readSettings,
  report,
} from './read';
import { CLOUD_SETTINGS, SETTINGS } from './settings';

type CloudSettings = ConfigOf<typeof CLOUD_SETTINGS>;

/** The values of {@link CLOUD_SETTINGS}, and what the platform sets. */
export type CloudConfig = CloudSettings & {
  readonly GOOGLE_CLOUD_PROJECT: string;
  /** Which services are emulators, by the variables of Google's clients. */
  readonly emulators: Emulators;
  /** Name of the Cloud Run service that this process is an instance of (`K_SERVICE`, which the platform sets). */
  readonly service: string | undefined;
};

interface Emulators {
  readonly firestore: boolean;
  readonly pubsub: boolean;
}

/** The project of emulators, which have no account. */
const EMULATED_PROJECT = 'demo-cmbs';

/** @throws ConfigError */
export function readCloudConfig(environment: EnvironmentVariables, notice: Notice = ignoreNotice): CloudConfig {
  const { config, problems, notices } = readSettings(CLOUD_SETTINGS, environment, SETTINGS);
  const isSet = (name: string): boolean => (environment[name] ?? '') !== '';
  const emulators = { firestore: isSet('FIRESTORE_EMULATOR_HOST'), pubsub: isSet('PUBSUB_EMULATOR_HOST') };
  if (problems.length === 0) {
    const isReachable = !(emulators.firestore && emulators.pubsub);
    problems.push(
      ...deploymentProblems(config, emulators),
      ...companionProblems(config),
      ...accessProblems(config, isReachable),
      ...moduleProblems(config, environment, isReachable),
    );
  }
  report(problems, notices, notice);
  const { GOOGLE_CLOUD_PROJECT = EMULATED_PROJECT } = config;
  return { ...config, GOOGLE_CLOUD_PROJECT, emulators, service: environment.K_SERVICE };
}

/**
 * The configuration of a function, which has no disk.
 * @throws ConfigError
 */
export function readFunctionConfig(environment: EnvironmentVariables, notice: Notice = ignoreNotice): CloudConfig {
  const config = readCloudConfig(environment, notice);
  for (const [name, what] of [
    ['CMBS_MODULES_DIR', 'no directory of modules'],
    ['CMBS_FILES_DIR', 'no disk'],
  ] as const) {
    if (config[name] === undefined) continue;
    throw new ConfigError(`${name} is for the local stack and companions: a function has ${what}; unset it here.`);
  }
  return config;
}

/** The settings that functions and companion share. */
function deploymentProblems(config: CloudSettings, { firestore, pubsub }: Emulators): readonly string[] {
  const problems: string[] = [];
  if (firestore !== pubsub) {
    problems.push('FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST go together; set both or none.');
  }
  const isEmulated = firestore && pubsub;
  if (config.GOOGLE_CLOUD_PROJECT === undefined && !isEmulated) {
    problems.push('GOOGLE_CLOUD_PROJECT is needed, or emulators: npm run emulators says how to set them.');
  }
  if (config.CMBS_PUBLIC_URL === undefined) problems.push('CMBS_PUBLIC_URL is needed: members are named by it.');
  if (config.CMBS_TOPIC_DELIVERY === 'push') {
    if (config.CMBS_PUSH_URL === undefined) problems.push('CMBS_TOPIC_DELIVERY=push needs CMBS_PUSH_URL.');
    if (config.CMBS_PUSH_SERVICE_ACCOUNT === undefined && !isEmulated) {
      problems.push('CMBS_TOPIC_DELIVERY=push needs CMBS_PUSH_SERVICE_ACCOUNT.');
    }
  }
  return problems;
}

function companionProblems(config: CloudSettings): readonly string[] {
  const { CMBS_SHARDS: all, CMBS_SHARD: own } = config;
  const isKnown = all.some((one) => one.startsWith(`${own}=`));
  return [
    ...(isKnown ? [] : [`CMBS_SHARD=${JSON.stringify(own)} is none of CMBS_SHARDS.`]),
    ...addressProblem(config, 'CMBS_CONTROL_HOST', 'CMBS_CONTROL_URL'),
  ];
}
