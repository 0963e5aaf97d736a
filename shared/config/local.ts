/** The configuration of the local stack (`npm start`). */
import { accessProblems } from './access';
import {
  addressProblem,
  type ConfigOf,
  type EnvironmentVariables,
  ignoreNotice,
  isLoopback,
  type Notice,
  readSettings,
  report,
} from './read';
import { CLOUD_SETTINGS, SETTINGS } from './settings';

/** The host of a URL, an IPv6 address without its brackets. */
const hostIn = (url: string): string =>
  URL.canParse(url) ? new URL(url).hostname.replace(/^\[(.*)\]$/, '$1') : url;

/** The settings of access that only the local stack has. */
function localAccessProblems(config: Config): readonly string[] {
  const { CMBS_ADMIN_PASSWORD_FILE: file, CMBS_ADMINISTRATORS: names, CMBS_IDENTITIES: identities } = config;
  if (file === undefined || (identities.includes('basic') && names.length > 0)) return [];
  return ['CMBS_ADMIN_PASSWORD_FILE needs CMBS_IDENTITIES=basic and CMBS_ADMINISTRATORS.'];
}

/** The values of {@link SETTINGS}. */
export type Config = ConfigOf<typeof SETTINGS>;

/** @throws ConfigError */
export function readConfig(environment: EnvironmentVariables, notice: Notice = ignoreNotice): Config {
  const { config, problems, notices } = readSettings(SETTINGS, environment, CLOUD_SETTINGS);
  if (problems.length === 0) {
    const { CMBS_HOST: host, CMBS_PUBLIC_URL: url, CMBS_BIND_HOST: bound, CMBS_TRUST_PROXY: proxies } = config;
    const hosts = [host, ...(url === undefined ? [] : [hostIn(url)]), ...(bound === undefined ? [] : [bound])];
    const isReachable = proxies > 0 || !hosts.every(isLoopback);
    problems.push(
      ...addressProblem(config, 'CMBS_HOST', 'CMBS_PUBLIC_URL'),
      ...accessProblems(config, isReachable),
      ...localAccessProblems(config),
    );
  }
  report(problems, notices, notice);
  return config;
}
