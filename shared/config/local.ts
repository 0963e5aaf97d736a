/** The configuration of the local stack (`npm start`). */
import { accessProblems } from './access';
import { certificateProblems } from './certificate';
import { moduleProblems } from './modules';
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

/** Ways to prove who one is that send a secret with each request, which others on the network must not read. */
const SECRET_IDENTITIES = ['basic', 'token', 'oidc'] as const;

/** Secrets go through an encrypted connection, or stay on this machine. */
function plainHttpProblems(config: Config): readonly string[] {
  const { CMBS_HOST: host, CMBS_TLS_CERT: cert, CMBS_PUBLIC_URL: url, CMBS_TRUST_PROXY: proxies } = config;
  if (proxies > 0) return [];
  if (cert !== undefined) {
    if (url === undefined || url.startsWith('https:')) return [];
    return [`CMBS_PUBLIC_URL=${JSON.stringify(url)} must begin with https, since CMBS_TLS_CERT is set.`];
  }
  const secrets = SECRET_IDENTITIES.filter((name) => config.CMBS_IDENTITIES.includes(name));
  if (secrets.length === 0 || isLoopback(host)) return [];
  return [
    `CMBS_IDENTITIES=${secrets.join(',')} would send secrets unencrypted to CMBS_HOST=${JSON.stringify(host)}; set CMBS_TLS_CERT and CMBS_TLS_KEY, or CMBS_TRUST_PROXY behind a proxy that answers HTTPS.`,
  ];
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
      ...moduleProblems(config, environment, isReachable),
      ...certificateProblems(config),
      ...plainHttpProblems(config),
    );
  }
  report(problems, notices, notice);
  return config;
}
