/** The configuration of the local stack (`npm start`). */
import {
  addressProblem,
  type ConfigOf,
  type EnvironmentVariables,
  ignoreNotice,
  type Notice,
  readSettings,
  report,
} from './read';
import { CLOUD_SETTINGS, SETTINGS } from './settings';

/** The values of {@link SETTINGS}. */
export type Config = ConfigOf<typeof SETTINGS>;

/** @throws ConfigError */
export function readConfig(environment: EnvironmentVariables, notice: Notice = ignoreNotice): Config {
  const { config, problems, notices } = readSettings(SETTINGS, environment, CLOUD_SETTINGS);
  if (problems.length === 0) problems.push(...addressProblem(config, 'CMBS_HOST', 'CMBS_PUBLIC_URL'));
  report(problems, notices, notice);
  return config;
}
