/** All configuration, from environment variables, read and checked in one place. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { DEFAULT_MEMORY_LIMIT_MB, MAX_WAIT_S } from './limits';

/** Every bound of this product: a name, a unit, a reason. */

/** Bytes of a request body, by default (`CMBS_MAX_BODY_BYTES`): a message fits, a flood does not. */
const DEFAULT_MAX_BODY_BYTES = 1024 * 1024;
/** Ports that members' sockets may be bound to, by default: around the original's, which are always among them. */
const DEFAULT_PORT_RANGE = '5000-6999';
/** Entries of one member's inbox; a sender beyond that gets an error reply and tries again later. */
const DEFAULT_INBOX_LIMIT = 100_000;
/** Bytes of the entries of one member's inbox, by default (`CMBS_INBOX_BYTES`): a few members fit on a laptop's disk. */
const DEFAULT_INBOX_BYTES = 256 * 1024 * 1024;
/** Sends queued for one receiver's address; beyond that a send is 429 with Retry-After. */
const DEFAULT_QUEUE_LIMIT = 10_000;
/** Seconds that a send action waits for the outcome when `Prefer: wait` is absent. */
export const DEFAULT_SEND_WAIT_S = 10;
/** The least of the same: a busy stack needs so much. */
export const LEAST_MEMORY_LIMIT_MB = 192;

const EXTENSIONS = ['infrastructure'] as const;
export type ExtensionName = (typeof EXTENSIONS)[number];

function isKeyFile(path: string): boolean {
  try {
    createPrivateKey(readFileSync(path));
    return true;
  } catch {
    return false;
  }
}

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

/** A number of proxies; `true` is one. */
const proxies = z
  .string()
  .regex(/^(?:true|false|\d)$/, { error: 'must be true, false or a number up to 9' })
  .transform((text) => (text === 'true' ? 1 : text === 'false' ? 0 : Number(text)));

const host = z.string().regex(/^[A-Za-z0-9._:-]{1,253}$/, { error: 'must be a host name or address' });

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const publicUrl = z
  .string()
  .regex(/^https?:\/\/[^\s/?#@]+(?:\/[^\s?#]*)?$/, { error: 'must be an http or https URL without query' })
  .refine(isDecodable, {
    error: 'has a malformed percent escape',
  })
  .transform((text) => text.replace(/\/+$/, ''));

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== ''),
);

const isOrigin = (text: string): boolean =>
  /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;

const addressRanges = list.pipe(
  z.array(
    z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], {
      error: 'must be a comma-separated list of address ranges such as 10.0.0.0/8,fd00::/8',
    }),
  ),
);

/** First and last port of a range. */
export type PortRange = readonly [first: number, last: number];

/** `5000-6999,7100`. */
const portRanges = list.pipe(
  z
    .array(
      z.string().transform((text, check): PortRange => {
        const [, first = '', last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
        const range = [Number(first), Number(last)] as const;
        if (first === '' || range[0] < 1 || range[0] > range[1] || range[1] > 65_535) {
          check.addIssue({ code: 'custom', message: 'must be a list of ports and ranges such as 5000-6999,7100' });
        }
        return range;
      }),
    )
    .min(1, { error: 'must name at least one port' }),
);

export interface Setting {
  readonly schema: z.ZodType<unknown, string>;
  readonly fallback: string | undefined;
  readonly help: string;
}

/** Every variable: how it is checked, its default, and its line in `--help` and in docs/reference/settings.md. */
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
  CMBS_ACCEPT_DATA_LOSS: {
    schema: z.enum(['true', 'false'], { error: 'must be true or false' }).transform((text) => text === 'true'),
    fallback: 'false',
    help: 'true: start although acknowledged data are missing or damaged; set for one start only',
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
  CMBS_ADDRESS_RANGES: {
    schema: addressRanges,
    fallback: '',
    help: 'Ranges of addresses that are not public and that members may use: 10.0.0.0/8,fd00::/8',
  },
  CMBS_PORT_RANGE: {
    schema: portRanges,
    fallback: DEFAULT_PORT_RANGE,
    help: "Ports that members' sockets may be bound to; 5010, 5020, 5031, 5032 and 5040 are always among them",
  },
  CMBS_IPC_DIR: {
    schema: z.string().min(1, { error: 'must not be empty' }),
    fallback: undefined,
    help: 'Directory of the sockets ipc://NAME, created if absent; without this setting there are none',
  },
  CMBS_EXTENSIONS: {
    schema: list.pipe(
      z.array(z.enum(EXTENSIONS, { error: `must be a comma-separated list of: ${EXTENSIONS.join(', ')}` })),
    ),
    fallback: '',
    help: `Further sets of categories: ${EXTENSIONS.join(', ')}`,
  },
  CMBS_DISCOVERY: {
    schema: z.enum(['open', 'closed'], { error: 'must be open or closed' }),
    fallback: 'open',
    help: 'open: members that others describe are stored; closed: only members created here are known',
  },
  CMBS_TRUST_PROXY: {
    schema: proxies,
    fallback: 'false',
    help: "Trust X-Forwarded-Host and -Proto, and as many last addresses of -For (true: 1; Google's load balancer: 2)",
  },
  CMBS_ALLOWED_HOSTS: {
    schema: list.pipe(z.array(host)),
    fallback: '',
    help: 'Further names by which requests may call this server, besides loopback and those of the settings above',
  },
  CMBS_IGNORED_QUERY: {
    schema: list,
    fallback: '',
    help: 'Query parameters that are ignored instead of refused, such as those that a front end adds',
  },
  CMBS_ALLOWED_ORIGINS: {
    schema: list.pipe(
      z.array(z.string().refine(isOrigin, { error: 'must be a list of origins such as https://console.example' })),
    ),
    fallback: '',
    help: 'Origins of other servers whose web pages may make requests here: https://console.example',
  },
  CMBS_MAX_BODY_BYTES: {
    schema: wholeNumber(1024, 16 * 1024 * 1024),
    fallback: String(DEFAULT_MAX_BODY_BYTES),
    help: 'Largest request body; above it the answer is 413',
  },
  CMBS_QUEUE_LIMIT: {
    schema: wholeNumber(1, 1_000_000),
    fallback: String(DEFAULT_QUEUE_LIMIT),
    help: 'Messages queued for one receiver, or for the topic bus on one layer; above it the answer is 429',
  },
  CMBS_INBOX_LIMIT: {
    schema: wholeNumber(1, 10_000_000),
    fallback: String(DEFAULT_INBOX_LIMIT),
    help: "Entries of one member's inbox; while it is full, senders keep their messages",
  },
  CMBS_INBOX_BYTES: {
    schema: wholeNumber(1024, 1024 ** 4),
    fallback: String(DEFAULT_INBOX_BYTES),
    help: "Bytes of one member's inbox, as JSON; while it is full, senders keep their messages",
  },
  CMBS_SEND_WAIT_S: {
    schema: wholeNumber(0, MAX_WAIT_S),
    fallback: String(DEFAULT_SEND_WAIT_S),
    help: 'Seconds that a send waits for its outcome when the request has no Prefer: wait',
  },
  CMBS_MEMORY_LIMIT_MB: {
    schema: wholeNumber(0, 1_048_576).refine((mb) => mb === 0 || mb >= LEAST_MEMORY_LIMIT_MB, {
      error: `must be 0 or at least ${LEAST_MEMORY_LIMIT_MB}`,
    }),
    fallback: String(DEFAULT_MEMORY_LIMIT_MB),
    help: 'Megabytes of memory beyond which a process stops and is started again; 0 for no limit',
  },
  CMBS_LOG: {
    schema: z.enum(['debug', 'info', 'warn', 'error', 'silent'], {
      error: 'must be debug, info, warn, error or silent',
    }),
    fallback: 'info',
    help: 'Least severity that is logged',
  },
} as const satisfies Record<string, Setting>;

const { CMBS_DATA_DIR: _local, CMBS_ACCEPT_DATA_LOSS: _localToo, ...SHARED_SETTINGS } = SETTINGS;

/** `name=host,name=host`: the shards of a deployment, the first one for members whose sockets are at no other's host. */
const shards = list.pipe(
  z
    .array(
      z.string().regex(/^[a-z][a-z0-9-]{0,30}=[^=\s]{1,253}$/, {
        error: 'must be a list of name=host, names in lower case',
      }),
    )
    .min(1, { error: 'must name at least one shard' }),
);

const audience = z.string().regex(/^\S{1,500}$/, { error: 'must be text without spaces' });
const account = z
  .string()
  .regex(/^[^\s,@]+@[^\s,@]+$/, { error: 'must be the e-mail address of a service account' });

/** What the functions and the companion are told where they run apart, on Google Cloud or on its emulators. */
export const CLOUD_SETTINGS = {
  ...SHARED_SETTINGS,
  GOOGLE_CLOUD_PROJECT: {
    schema: z.string().regex(/^[a-z0-9.:-]{4,100}$/, { error: 'must be the id of a project' }),
    fallback: undefined,
    help: 'Project of Firestore and Pub/Sub; needed unless both are emulators',
  },
  CMBS_FIRESTORE_DATABASE: {
    schema: z
      .string()
      .regex(/^(?:\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$/, { error: 'must be the id of a database' }),
    fallback: '(default)',
    help: 'Database in Firestore; each deployment has one of its own',
  },
  CMBS_TOPIC_PREFIX: {
    schema: z
      .string()
      .regex(/^[a-z][a-z0-9-]{2,30}$/, { error: 'must be 3 to 31 lower-case letters, digits or hyphens' }),
    fallback: 'cmbs',
    help: "Beginning of the names of this deployment's topics and subscriptions in Pub/Sub",
  },
  CMBS_TOPIC_DELIVERY: {
    schema: z.enum(['pull', 'push'], { error: 'must be pull or push' }),
    fallback: 'pull',
    help: 'pull: the companion takes topic messages; push: Pub/Sub sends them to the function topic-push',
  },
  CMBS_PUSH_URL: {
    schema: publicUrl,
    fallback: undefined,
    help: 'URL of the function topic-push, without /push; needed for push',
  },
  CMBS_PUSH_SERVICE_ACCOUNT: {
    schema: account,
    fallback: undefined,
    help: 'Service account that Pub/Sub pushes as; needed for push, except on the emulator',
  },
  CMBS_PUSH_AUDIENCE: {
    schema: audience,
    fallback: undefined,
    help: 'Audience of the tokens of pushes; the URL of topic-push when absent',
  },
  CMBS_SHARDS: {
    schema: shards,
    fallback: 'main=*',
    help: "Shards and the host in their members' sockets: main=203.0.113.1,eu=203.0.113.2; the first takes all others",
  },
  CMBS_SHARD: {
    schema: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, { error: 'must be the name of a shard' }),
    fallback: 'main',
    help: 'Companion: the shard whose members it holds, alone or as a standby',
  },
  CMBS_CONTROL_HOST: {
    schema: host,
    fallback: '127.0.0.1',
    help: 'Companion: address that its control endpoint listens on',
  },
  CMBS_CONTROL_PORT: {
    schema: wholeNumber(0, 65_535),
    fallback: '8095',
    help: 'Companion: port of its control endpoint; 0 takes a free one',
  },
  CMBS_CONTROL_URL: {
    schema: publicUrl,
    fallback: undefined,
    help: 'Companion: URL under which functions reach it; needed when CMBS_CONTROL_HOST is not a loopback address',
  },
  CMBS_CONTROL_AUDIENCE: {
    schema: audience,
    fallback: 'cmbs-companion',
    help: 'Audience of the identity tokens with which functions call the companion',
  },
  CMBS_CONTROL_CALLERS: {
    schema: list,
    fallback: 'functions@cmbs.local',
    help: 'Companion: service accounts that may call its control endpoint',
  },
  CMBS_IDENTITY_KEY: {
    schema: z.string().refine(isKeyFile, { error: 'must name a file with a private key in PEM' }),
    fallback: undefined,
    help: 'File with a private key (PEM) that signs identity tokens instead of Google; for machines without a Google account',
  },
} as const satisfies Record<string, Setting>;

type ConfigOf<S extends Readonly<Record<string, Setting>>> = {
  readonly [N in keyof S]: S[N] extends { fallback: string }
    ? z.output<S[N]['schema']>
    : z.output<S[N]['schema']> | undefined;
};

export type Config = ConfigOf<typeof SETTINGS>;
export type CloudConfig = ConfigOf<typeof CLOUD_SETTINGS> & {
  readonly GOOGLE_CLOUD_PROJECT: string;
  /** Which services are emulators, by the variables of Google's clients. */
  readonly emulators: { readonly firestore: boolean; readonly pubsub: boolean };
  /** Name of the Cloud Run service that the process is an instance of, as the platform says (`K_SERVICE`). */
  readonly service: string | undefined;
};

/** What is wrong with the environment: one line for each bad variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|localhost|::1)$/;

type Environment = Readonly<Record<string, string | undefined>>;

/** The values, and one line for each that is wrong. Unknown `CMBS_` variables are refused, as likely misspelt. */
function read<S extends Readonly<Record<string, Setting>>>(
  settings: S,
  environment: Environment,
): { readonly config: ConfigOf<S>; readonly problems: string[]; readonly notices: readonly string[] } {
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
    const isKnown = Object.hasOwn(SETTINGS, name) || Object.hasOwn(CLOUD_SETTINGS, name);
    if (isKnown) notices.push(`${name} is a setting of another program of CMBS; it is ignored here.`);
    else problems.push(`${name} is not a setting; see --help.`);
  }
  return { config: values as ConfigOf<S>, problems, notices };
}

/** Takes lines about variables that are ignored, one each. */
export type Notice = (line: string) => void;
const ignoreNotice: Notice = () => undefined;

/** Reads the environment of the local stack; throws {@link ConfigError}. */
export function readConfig(environment: Environment, notice: Notice = ignoreNotice): Config {
  const { config, problems, notices } = read(SETTINGS, environment);
  if (problems.length === 0 && config.CMBS_PUBLIC_URL === undefined && !LOOPBACK.test(config.CMBS_HOST)) {
    problems.push(
      `CMBS_HOST=${JSON.stringify(config.CMBS_HOST)} is not a loopback address, so CMBS_PUBLIC_URL is needed.`,
    );
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  notices.forEach(notice);
  return config;
}

/** Reads the environment of a function or of the companion; throws {@link ConfigError}. */
export function readCloudConfig(environment: Environment, notice: Notice = ignoreNotice): CloudConfig {
  const { config, problems, notices } = read(CLOUD_SETTINGS, environment);
  const isSet = (name: string): boolean => (environment[name] ?? '') !== '';
  const emulators = { firestore: isSet('FIRESTORE_EMULATOR_HOST'), pubsub: isSet('PUBSUB_EMULATOR_HOST') };
  const isEmulated = emulators.firestore && emulators.pubsub;
  if (problems.length === 0) {
    const { GOOGLE_CLOUD_PROJECT: project, CMBS_SHARDS: all, CMBS_SHARD: own } = config;
    if (emulators.firestore !== emulators.pubsub) {
      problems.push('FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST go together; set both or none.');
    }
    if (project === undefined && !isEmulated) {
      problems.push('GOOGLE_CLOUD_PROJECT is needed, or emulators: npm run emulators says how to set them.');
    }
    if (config.CMBS_PUBLIC_URL === undefined) problems.push('CMBS_PUBLIC_URL is needed: members are named by it.');
    if (config.CMBS_TOPIC_DELIVERY === 'push') {
      if (config.CMBS_PUSH_URL === undefined) problems.push('CMBS_TOPIC_DELIVERY=push needs CMBS_PUSH_URL.');
      if (config.CMBS_PUSH_SERVICE_ACCOUNT === undefined && !isEmulated) {
        problems.push('CMBS_TOPIC_DELIVERY=push needs CMBS_PUSH_SERVICE_ACCOUNT.');
      }
    }
    if (!all.some((one) => one.startsWith(`${own}=`))) {
      problems.push(`CMBS_SHARD=${JSON.stringify(own)} is none of CMBS_SHARDS.`);
    }
    if (config.CMBS_CONTROL_URL === undefined && !LOOPBACK.test(config.CMBS_CONTROL_HOST)) {
      problems.push(
        `CMBS_CONTROL_HOST=${JSON.stringify(config.CMBS_CONTROL_HOST)} is not a loopback address, ` +
          'so CMBS_CONTROL_URL is needed.',
      );
    }
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  notices.forEach(notice);
  return {
    ...config,
    GOOGLE_CLOUD_PROJECT: config.GOOGLE_CLOUD_PROJECT ?? 'demo-cmbs',
    emulators,
    service: environment.K_SERVICE,
  };
}

/** The lines of `--help`. */
export function settingsHelp(settings: Readonly<Record<string, Setting>> = SETTINGS): string {
  return Object.entries(settings)
    .map(
      ([name, { fallback, help }]) =>
        `  ${name.padEnd(25)} ${help}${fallback === undefined || fallback === '' ? '' : ` (default ${fallback})`}`,
    )
    .join('\n');
}
