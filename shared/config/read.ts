/** Reads settings from environment variables. */
import type { z } from 'zod';

/** One environment variable. */
export interface Setting {
  /** Checks the text of the variable and converts it. */
  readonly schema: z.ZodType<unknown, string>;
  /** The text that counts when the variable is not set; undefined: the setting is optional. */
  readonly fallback: string | undefined;
  /** The line in `--help` and in docs/reference/settings.md. */
  readonly help: string;
}

export type Settings = Readonly<Record<string, Setting>>;

/** The values of settings. */
export type ConfigOf<S extends Settings> = {
  readonly [N in keyof S]: S[N] extends { fallback: string }
    ? z.output<S[N]['schema']>
    : z.output<S[N]['schema']> | undefined;
};

/** The environment is not valid; the message has one line for each problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** The variables of a process, such as `process.env`. */
export type EnvironmentVariables = Readonly<Record<string, string | undefined>>;

/** Takes one line about each variable that is ignored. */
export type Notice = (line: string) => void;

interface Read<S extends Settings> {
  /** The valid values. */
  readonly config: ConfigOf<S>;
  /** One line for each value that is not valid, and for each unknown `CMBS_` variable, which is probably misspelt. */
  readonly problems: string[];
  /** One line for each variable that other programs read. */
  readonly notices: readonly string[];
}

/** @param others settings of other programs, which one environment may serve too */
export function readSettings<S extends Settings>(
  settings: S,
  environment: EnvironmentVariables,
  others: Settings,
): Read<S> {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema, fallback }] of Object.entries<Setting>(settings)) {
    const text = environment[name] ?? fallback;
    if (text === undefined) continue;
    const result = schema.safeParse(text);
    if (result.success) values[name] = result.data;
    else problems.push(`${name}=${JSON.stringify(text)} ${result.error.issues[0]?.message ?? 'is not valid'}.`);
  }
  const notices: string[] = [];
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('CMBS_') || Object.hasOwn(settings, name)) continue;
    if (Object.hasOwn(others, name)) {
      notices.push(`${name} is a setting of another program of CMBS; it is ignored here.`);
    } else {
      problems.push(`${name} is not a setting; the option --help lists them.`);
    }
  }
  return { config: values as ConfigOf<S>, problems, notices };
}

/** Throws one {@link ConfigError} with all problems; without problems, passes the notices on. */
export function report(problems: readonly string[], notices: readonly string[], notice: Notice): void {
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  notices.forEach(notice);
}

/** For programs that report no ignored variables. */
export const ignoreNotice: Notice = () => undefined;

/** Whether only programs of this machine reach the host. */
export const isLoopback = (host: string): boolean => LOOPBACK.test(host);

const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|localhost|::1)$/;

/** The problem of an endpoint that others can reach only by a URL which is not set. */
export function addressProblem(
  config: Readonly<Record<string, unknown>>,
  hostName: string,
  urlName: string,
): readonly string[] {
  const host = String(config[hostName]);
  if (config[urlName] !== undefined || isLoopback(host)) return [];
  return [`${hostName}=${JSON.stringify(host)} is not a loopback address, so ${urlName} is needed.`];
}
