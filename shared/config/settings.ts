/** The tables of settings, one for each kind of program. docs/reference/settings.md is generated from the tables. */
import { z } from 'zod';
import { DEFAULT_MEMORY_LIMIT_MB, MAX_WAIT_S } from '../limits';
import type { Settings } from './read';
import {
  addressRanges,
  audience,
  host,
  list,
  names,
  origins,
  path,
  portRanges,
  privateKeyFile,
  proxies,
  publicUrl,
  serviceAccount,
  shardName,
  shards,
  trueOrFalse,
  wholeNumber,
  yesOrNo,
} from './values';

/** Bytes of a request body, by default: a message fits, a flood does not. */
const DEFAULT_MAX_BODY_BYTES = 1024 * 1024;
/** Ports that members' sockets may be bound to, by default: around those of pyCMBS, which are always allowed. */
const DEFAULT_PORT_RANGE = '5000-6999';
/** Entries of one member's inbox, by default. */
const DEFAULT_INBOX_LIMIT = 100_000;
/** Bytes of the entries of one member's inbox, by default: the inboxes of a few members fit on a laptop's disk. */
const DEFAULT_INBOX_BYTES = 256 * 1024 * 1024;
/** Messages queued for one receiver's address, by default. */
const DEFAULT_QUEUE_LIMIT = 10_000;
/** Bytes of all files, by default: they fit on a laptop's disk. */
const DEFAULT_FILES_BYTES = 1024 * 1024 * 1024;
/** Seconds that a send action waits for the outcome when the request has no `Prefer: wait`. */
const DEFAULT_SEND_WAIT_S = 10;
/** Megabytes below which a busy stack would restart again and again. */
export const LEAST_MEMORY_LIMIT_MB = 192;

/** The optional extensions. */
export const EXTENSIONS = ['infrastructure'] as const;
/** How callers can prove who they are. */
const IDENTITY_KINDS = ['basic', 'token', 'oidc', 'proxy'] as const;

/** Names in `CMBS_EXTENSIONS`. */
export type ExtensionName = (typeof EXTENSIONS)[number];

/** Every program has these. */
const COMMON = {
  PORT: {
    schema: wholeNumber(0, 65_535),
    fallback: '8090',
    help: 'Port of the OCCI endpoint; 0 takes a free one',
  },
  CMBS_HOST: { schema: host, fallback: '127.0.0.1', help: 'Address that the OCCI endpoint listens on' },
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
    schema: path,
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
    schema: origins,
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
  CMBS_IDENTITIES: {
    schema: list.pipe(
      z.array(
        z.enum(IDENTITY_KINDS, { error: `must be a comma-separated list of: ${IDENTITY_KINDS.join(', ')}` }),
      ),
    ),
    fallback: '',
    help: `How callers prove who they are: ${IDENTITY_KINDS.join(', ')}; none: everybody may do everything`,
  },
  CMBS_ADMINISTRATORS: {
    schema: names,
    fallback: '',
    help: 'Names of users who may do everything, besides the members of the group admins; a JSON array where a name has commas',
  },
  CMBS_ADMIN_PASSWORD_FILE: {
    schema: path,
    fallback: undefined,
    help: 'File with the password of the first of CMBS_ADMINISTRATORS, who is made a user if there is none; in the cloud, companions read it',
  },
  CMBS_OIDC_FILE: {
    schema: path,
    fallback: undefined,
    help: 'JSON file with the issuers whose tokens are accepted; needed for the identity oidc',
  },
  CMBS_OIDC_ISSUERS: {
    schema: z.string().min(2, { error: 'must be JSON' }),
    fallback: undefined,
    help: 'The content of CMBS_OIDC_FILE, in its place, where a program has no files of its own',
  },
  CMBS_PROXY_HEADER: {
    schema: z
      .string()
      .regex(/^[A-Za-z0-9-]{1,60}$/, { error: 'must be the name of a header' })
      .transform((name) => name.toLowerCase()),
    fallback: undefined,
    help: "Header in which a proxy passes on the name of the client's certificate; needed for the identity proxy",
  },
  CMBS_PROXY_ADDRESSES: {
    schema: addressRanges,
    fallback: '',
    help: 'Addresses of the proxies whose header counts; needed for the identity proxy',
  },
  CMBS_OPEN_TO_EVERYONE: {
    schema: yesOrNo,
    fallback: 'no',
    help: 'yes: everybody who reaches this deployment may do everything, also where others can reach it',
  },
  CMBS_MODULES_DIR: {
    schema: path,
    fallback: undefined,
    help: 'Directory of service modules, a folder for each; for the local stack and companions, not for functions',
  },
  CMBS_MODULE_ERRORS: {
    schema: z.enum(['report', 'log-stack', 'fatal'], { error: 'must be report, log-stack or fatal' }),
    fallback: 'report',
    help: 'A module that cannot be loaded: report names it and the cause in the log, log-stack adds the stack, fatal ends the start',
  },
  CMBS_MODULE_SETTINGS: {
    schema: path,
    fallback: undefined,
    help: 'JSON file with the settings of service modules, an object for each by its name; nothing of it is logged',
  },
  CMBS_FILES_DIR: {
    schema: path,
    fallback: undefined,
    help: 'Directory of the files that callers read and write, made if absent; for the local stack and companions, not for functions',
  },
  CMBS_FILES_BYTES: {
    schema: wholeNumber(0, 1024 ** 4),
    fallback: String(DEFAULT_FILES_BYTES),
    help: 'Bytes of all files in CMBS_FILES_DIR; a put beyond them is refused',
  },
  CMBS_DEBUG_FAULTS: {
    schema: yesOrNo,
    fallback: 'no',
    help: "yes: a fault of an unexpected error shows its stack, the principal and the client's address to the caller",
  },
  CMBS_DEBUG_FAULTS_IN_PRODUCTION: {
    schema: yesOrNo,
    fallback: 'no',
    help: 'yes: allow CMBS_DEBUG_FAULTS where others can reach the deployment, or NODE_ENV is production',
  },
  CMBS_SLOW_CALL_MS: {
    schema: wholeNumber(0, 3_600_000),
    fallback: '1000',
    help: 'Milliseconds from which a call of a service method is logged as slow, at the level warn',
  },
  CMBS_LOG: {
    schema: z.enum(['debug', 'info', 'warn', 'error', 'silent'], {
      error: 'must be debug, info, warn, error or silent',
    }),
    fallback: 'info',
    help: 'Least severity that is logged',
  },
} as const satisfies Settings;

/** The local stack alone has these: a cloud deployment has no data directory. */
const LOCAL = {
  CMBS_DATA_DIR: {
    schema: path,
    fallback: '.cmbs',
    help: 'Directory of the data; one process at a time',
  },
  CMBS_TLS_CERT: {
    schema: path,
    fallback: undefined,
    help: 'PEM file with the certificate, and those of its issuers: the OCCI endpoint answers HTTPS; needs CMBS_TLS_KEY',
  },
  CMBS_TLS_KEY: {
    schema: path,
    fallback: undefined,
    help: 'PEM file with the private key of CMBS_TLS_CERT; both files may be replaced while the stack runs',
  },
  CMBS_ACCEPT_DATA_LOSS: {
    schema: trueOrFalse,
    fallback: 'false',
    help: 'true: start although acknowledged data are missing or damaged; set for one start only',
  },
} as const satisfies Settings;

/** Functions and companions have these where they run apart. All parts of a deployment need the same values. */
const DEPLOYED = {
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
    schema: serviceAccount,
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
  CMBS_CONTROL_AUDIENCE: {
    schema: audience,
    fallback: 'cmbs-companion',
    help: 'Audience of the identity tokens with which functions call the companion',
  },
  CMBS_IDENTITY_KEY: {
    schema: privateKeyFile,
    fallback: undefined,
    help: 'File with a private key (PEM) that signs identity tokens instead of Google; for machines without a Google account',
  },
} as const satisfies Settings;

/** Only a companion uses these; a function reads them too, so that one environment serves every part. */
const COMPANION = {
  CMBS_SHARD: {
    schema: shardName,
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
  CMBS_CONTROL_CALLERS: {
    schema: list,
    fallback: 'functions@cmbs.local',
    help: 'Companion: service accounts that may call its control endpoint',
  },
} as const satisfies Settings;

/** The settings of the local stack. */
export const SETTINGS = { ...COMMON, ...LOCAL };

/** The settings of functions and companions that run apart, on Google Cloud or on its emulators. */
export const CLOUD_SETTINGS = { ...COMMON, ...DEPLOYED, ...COMPANION };
