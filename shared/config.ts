/** All configuration, from environment variables, read and checked in one place. */
import { z } from 'zod';
import {
  DEFAULT_INBOX_LIMIT,
  DEFAULT_MAX_BODY_BYTES,
  DEFAULT_QUEUE_LIMIT,
  DEFAULT_SEND_WAIT_S,
  MAX_WAIT_S,
} from './limits';

const EXTENSIONS = ['infrastructure'] as const;
export type ExtensionName = (typeof EXTENSIONS)[number];

const wholeNumber = (from: number, to: number): z.ZodType<number, string> =>
  z
    .string()
    .regex(/^\d{1,15}$/, { error: 'must be a whole number' })
    .transform(Number)
    .pipe(
      z
        .number()
        .min(from, { error: `must be at least ${from}` })
        .max(to, { error: `must be at most ${to}` }),
    );

const flag = z
  .string()
  .regex(/^(?:true|false|1|0)$/, { error: 'must be true or false' })
  .transform((text) => text === 'true' || text === '1');

const host = z.string().regex(/^[A-Za-z0-9._:-]{1,253}$/, { error: 'must be a host name or address' });

const publicUrl = z
  .string()
  .regex(/^https?:\/\/[^\s/?#@]+(?:\/[^\s?#]*)?$/, { error: 'must be an http or https URL without query' })
  .transform((text) => text.replace(/\/+$/, ''));

interface Setting {
  readonly schema: z.ZodType<unknown, string>;
  readonly fallback: string | undefined;
  readonly help: string;
}

/** Every variable: how it is checked, its default, and its line in `--help` and the README. */
export const SETTINGS = {
  PORT: {
    schema: wholeNumber(0, 65_535),
    fallback: '8090',
    help: 'Port of the OCCI endpoint; 0 takes a free one',
  },
  CMBS_HOST: { schema: host, fallback: '127.0.0.1', help: 'Address that the OCCI endpoint listens on' },
  CMBS_DATA_DIR: {
    schema: z.string().min(1, { error: 'must not be empty' }),
    fallback: '.cmbs',
    help: 'Directory of the data; one process at a time',
  },
  CMBS_PUBLIC_URL: {
    schema: publicUrl,
    fallback: undefined,
    help: 'URL under which others reach this endpoint; needed when CMBS_HOST is not a loopback address',
  },
  CMBS_BIND_HOST: {
    schema: host,
    fallback: undefined,
    help: "Address that members' sockets bind to, where it differs from the one they advertise",
  },
  CMBS_EXTENSIONS: {
    schema: z
      .string()
      .transform((text) =>
        text
          .split(',')
          .map((one) => one.trim())
          .filter((one) => one !== ''),
      )
      .pipe(z.array(z.enum(EXTENSIONS, { error: `must be a comma-separated list of: ${EXTENSIONS.join(', ')}` }))),
    fallback: '',
    help: `Further sets of categories: ${EXTENSIONS.join(', ')}`,
  },
  CMBS_DISCOVERY: {
    schema: z.enum(['open', 'closed'], { error: 'must be open or closed' }),
    fallback: 'open',
    help: 'open: members that others describe are stored; closed: only members created here are known',
  },
  CMBS_TRUST_PROXY: { schema: flag, fallback: 'false', help: 'Trust X-Forwarded-Host, -Proto and -For' },
  CMBS_MAX_BODY_BYTES: {
    schema: wholeNumber(1024, 16 * 1024 * 1024),
    fallback: String(DEFAULT_MAX_BODY_BYTES),
    help: 'Largest request body; above it the answer is 413',
  },
  CMBS_QUEUE_LIMIT: {
    schema: wholeNumber(1, 1_000_000),
    fallback: String(DEFAULT_QUEUE_LIMIT),
    help: 'Messages queued for one receiver; above it the answer is 429',
  },
  CMBS_INBOX_LIMIT: {
    schema: wholeNumber(1, 10_000_000),
    fallback: String(DEFAULT_INBOX_LIMIT),
    help: "Entries of one member's inbox; while it is full, senders keep their messages",
  },
  CMBS_SEND_WAIT_S: {
    schema: wholeNumber(0, MAX_WAIT_S),
    fallback: String(DEFAULT_SEND_WAIT_S),
    help: 'Seconds that a send waits for its outcome when the request has no Prefer: wait',
  },
  CMBS_LOG: {
    schema: z.enum(['debug', 'info', 'warn', 'error', 'silent'], {
      error: 'must be debug, info, warn, error or silent',
    }),
    fallback: 'info',
    help: 'Least severity that is logged',
  },
} as const satisfies Record<string, Setting>;

type Name = keyof typeof SETTINGS;
export type Config = {
  readonly [N in Name]: (typeof SETTINGS)[N] extends { fallback: string }
    ? z.output<(typeof SETTINGS)[N]['schema']>
    : z.output<(typeof SETTINGS)[N]['schema']> | undefined;
};

/** What is wrong with the environment: one line for each bad variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|localhost|::1)$/;

/** Reads the environment; throws {@link ConfigError}. Unknown `CMBS_` variables are refused, as likely misspelt. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema, fallback }] of Object.entries<Setting>(SETTINGS)) {
    const text = environment[name] ?? fallback;
    if (text === undefined) continue;
    const result = schema.safeParse(text);
    if (result.success) values[name] = result.data;
    else problems.push(`${name}=${JSON.stringify(text)} ${result.error.issues[0]?.message ?? 'is not valid'}.`);
  }
  for (const name of Object.keys(environment)) {
    if (name.startsWith('CMBS_') && !Object.hasOwn(SETTINGS, name))
      problems.push(`${name} is not a setting; see --help.`);
  }
  const config = values as unknown as Config;
  if (problems.length === 0 && config.CMBS_PUBLIC_URL === undefined && !LOOPBACK.test(config.CMBS_HOST)) {
    problems.push(
      `CMBS_HOST=${JSON.stringify(config.CMBS_HOST)} is not a loopback address, so CMBS_PUBLIC_URL is needed.`,
    );
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return config;
}

/** The lines of `--help`. */
export function settingsHelp(): string {
  return Object.entries<Setting>(SETTINGS)
    .map(
      ([name, { fallback, help }]) =>
        `  ${name.padEnd(20)} ${help}${fallback === undefined || fallback === '' ? '' : ` (default ${fallback})`}`,
    )
    .join('\n');
}
