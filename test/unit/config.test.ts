import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ConfigError,
  readCloudConfig,
  readConfig,
  readFunctionConfig,
  SETTINGS,
  settingsHelp,
} from '@cmbs/shared/config';

const problems = (
  environment: Record<string, string>,
  read: (env: typeof environment) => unknown = readConfig,
): string => {
  try {
    read(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
};

describe('the configuration', () => {
  it('has a default for every setting that does not depend on the machine', () => {
    const config = readConfig({ PATH: '/bin', HOME: '/root' });
    expect(config).toMatchObject({
      PORT: 8090,
      CMBS_HOST: '127.0.0.1',
      CMBS_EXTENSIONS: [],
      CMBS_TRUST_PROXY: 0,
    });
    expect(config.CMBS_PUBLIC_URL).toBeUndefined();
  });

  it.each<[keyof typeof SETTINGS, string, unknown]>([
    ['PORT', '0', 0],
    ['PORT', '65535', 65535],
    ['CMBS_HOST', '::1', '::1'],
    ['CMBS_PUBLIC_URL', 'https://broker.example/base//', 'https://broker.example/base'],
    ['CMBS_BIND_HOST', '0.0.0.0', '0.0.0.0'],
    [
      'CMBS_ADDRESS_RANGES',
      '10.0.0.0/8, fd00::/8,192.168.1.7,::1',
      ['10.0.0.0/8', 'fd00::/8', '192.168.1.7', '::1'],
    ],
    ['CMBS_ADDRESS_RANGES', '', []],
    [
      'CMBS_PORT_RANGE',
      '5000-6999, 7100',
      [
        [5000, 6999],
        [7100, 7100],
      ],
    ],
    ['CMBS_EXTENSIONS', 'infrastructure', ['infrastructure']],
    ['CMBS_EXTENSIONS', ' infrastructure , ', ['infrastructure']],
    ['CMBS_TRUST_PROXY', 'true', 1],
    ['CMBS_TRUST_PROXY', '2', 2],
    ['CMBS_TRUST_PROXY', '0', 0],
    ['CMBS_MAX_BODY_BYTES', '1024', 1024],
    ['CMBS_SEND_WAIT_S', '0', 0],
    ['CMBS_DISCOVERY', 'closed', 'closed'],
    ['CMBS_LOG', 'silent', 'silent'],
    ['CMBS_MODULES_DIR', 'modules', 'modules'],
    ['CMBS_MODULE_ERRORS', 'log-stack', 'log-stack'],
    ['CMBS_DEBUG_FAULTS', 'yes', true],
  ])('reads %s=%s', (name, text, value) => {
    expect(readConfig({ CMBS_OPEN_TO_EVERYONE: 'yes', [name]: text })[name]).toEqual(value);
  });

  it.each<[string, string, string]>([
    ['PORT', 'http', 'a whole number'],
    ['PORT', '65536', 'at most 65535'],
    ['PORT', '-1', 'a whole number'],
    ['PORT', '8090x', 'a whole number'],
    ['PORT', '', 'a whole number'],
    ['CMBS_HOST', 'no host', 'a host name or address'],
    ['CMBS_HOST', '0.0.0.0', 'so CMBS_PUBLIC_URL is needed'],
    ['CMBS_BIND_HOST', '%', 'a host name or address'],
    ['CMBS_DATA_DIR', '', 'not be empty'],
    ['CMBS_PUBLIC_URL', 'ftp://example.com', 'an http or https URL without query'],
    ['CMBS_PUBLIC_URL', 'broker.example', 'an http or https URL'],
    ['CMBS_ADDRESS_RANGES', '10.0.0.0/8,localhost', 'a comma-separated list of address ranges'],
    ['CMBS_ADDRESS_RANGES', '10.0.0.0/33', 'a comma-separated list of address ranges'],
    ['CMBS_ADDRESS_RANGES', '::/129', 'a comma-separated list of address ranges'],
    ['CMBS_PORT_RANGE', '', 'at least one port'],
    ['CMBS_PORT_RANGE', '0-10', 'a list of ports and ranges'],
    ['CMBS_PORT_RANGE', '10-9', 'a list of ports and ranges'],
    ['CMBS_PORT_RANGE', '65536', 'a list of ports and ranges'],
    ['CMBS_PORT_RANGE', 'all', 'a list of ports and ranges'],
    ['CMBS_PUBLIC_URL', 'https://user@broker.example', 'an http or https URL'],
    ['CMBS_PUBLIC_URL', 'https://broker.example/?a', 'an http or https URL'],
    ['CMBS_EXTENSIONS', 'infrastructure,nonsense', 'a comma-separated list of'],
    ['CMBS_TRUST_PROXY', 'yes', 'true, false or a number'],
    ['CMBS_TRUST_PROXY', '10', 'true, false or a number up to 9'],
    ['CMBS_MAX_BODY_BYTES', '1', 'at least 1024'],
    ['CMBS_QUEUE_LIMIT', '0', 'at least 1'],
    ['CMBS_SEND_WAIT_S', '61', 'at most 60'],
    ['CMBS_SEND_WAIT_S', '-1', 'a whole number'],
    ['CMBS_PUBLIC_URL', 'https://example.com/%zz', 'percent'],
    ['CMBS_DISCOVERY', 'maybe', 'open or closed'],
    ['CMBS_LOG', 'loud', 'debug, info'],
    ['CMBS_PROT', '1', 'is not a setting'],
  ])('refuses %s=%s', (name, text, why) => {
    expect(problems({ [name]: text })).toContain(name);
    expect(problems({ [name]: text })).toContain(why);
  });

  it('reports all problems at once', () => {
    expect(problems({ PORT: 'a', CMBS_LOG: 'b', CMBS_X: 'c' }).split('\n')).toHaveLength(3);
  });

  it.each([
    ['0.0.0.0', true],
    ['192.0.2.1', true],
    ['127.0.0.2', false],
    ['localhost', false],
    ['::1', false],
  ])('needs a public URL when it listens on %s: %s', (host, needed) => {
    expect(problems({ CMBS_HOST: host }).includes('CMBS_PUBLIC_URL is needed')).toBe(needed);
    const OPEN = { CMBS_OPEN_TO_EVERYONE: 'yes' };
    expect(problems({ CMBS_HOST: host, CMBS_PUBLIC_URL: 'https://broker.example', ...OPEN })).toBe('');
  });

  it.each<[string, Record<string, string>]>([
    ['another address', { CMBS_HOST: '0.0.0.0', CMBS_PUBLIC_URL: 'http://127.0.0.1' }],
    ['another URL', { CMBS_PUBLIC_URL: 'https://broker.example' }],
    ['sockets at another address', { CMBS_BIND_HOST: '0.0.0.0' }],
    ['a proxy in front', { CMBS_TRUST_PROXY: '1' }],
  ])('needs identities, or the word that there are none, with %s', (_how, env) => {
    expect(problems(env)).toContain('CMBS_IDENTITIES is needed');
    expect(problems({ ...env, CMBS_OPEN_TO_EVERYONE: 'yes' })).toBe('');
    const [CMBS_PROXY_HEADER, CMBS_PROXY_ADDRESSES] = ['X-Name', '10.0.0.7'];
    const closed = { CMBS_IDENTITIES: 'proxy', CMBS_PROXY_HEADER, CMBS_PROXY_ADDRESSES };
    expect(problems({ ...env, ...closed, CMBS_ADMINISTRATORS: 'root' })).toBe('');
  });

  describe('with secrets in requests', () => {
    const REACHED = {
      CMBS_HOST: '0.0.0.0',
      CMBS_PUBLIC_URL: 'https://broker.example',
      CMBS_ADMINISTRATORS: 'root',
    };
    const OIDC = { CMBS_OIDC_ISSUERS: '[]' };

    it.each<[Record<string, string>, string]>([
      [{ CMBS_IDENTITIES: 'basic' }, 'CMBS_IDENTITIES=basic would'],
      [{ CMBS_IDENTITIES: 'token' }, 'CMBS_IDENTITIES=token would'],
      [{ CMBS_IDENTITIES: 'basic,oidc', ...OIDC }, 'CMBS_IDENTITIES=basic,oidc would'],
    ])('does not send them unencrypted to other machines: %j', (identities, says) => {
      const said = problems({ ...REACHED, ...identities });
      expect(said.split('\n')).toEqual([expect.stringContaining(says)]);
      expect(said).toContain(
        'send secrets unencrypted to CMBS_HOST="0.0.0.0"; set CMBS_TLS_CERT and CMBS_TLS_KEY, or CMBS_TRUST_PROXY',
      );
      // A proxy in front encrypts; on loopback nobody else listens.
      expect(problems({ ...REACHED, ...identities, CMBS_TRUST_PROXY: '1' })).toBe('');
      expect(problems({ ...REACHED, ...identities, CMBS_HOST: '127.0.0.1' })).toBe('');
    });
  });

  it.each<[Record<string, string>, string]>([
    [{ CMBS_TLS_CERT: __filename }, 'CMBS_TLS_CERT and CMBS_TLS_KEY go together'],
    [{ CMBS_TLS_KEY: __filename }, 'CMBS_TLS_CERT and CMBS_TLS_KEY go together'],
    [
      { CMBS_TLS_CERT: '/none', CMBS_TLS_KEY: __filename },
      'CMBS_TLS_CERT names a file that cannot be read (ENOENT)',
    ],
    [
      { CMBS_TLS_CERT: __filename, CMBS_TLS_KEY: '/none' },
      'CMBS_TLS_KEY names a file that cannot be read (ENOENT)',
    ],
    [{ CMBS_TLS_CERT: __filename, CMBS_TLS_KEY: __filename }, 'CMBS_TLS_CERT must name a file with a certificate'],
    [
      { CMBS_TLS_CERT: __filename, CMBS_TLS_KEY: __filename, CMBS_PUBLIC_URL: 'http://127.0.0.1' },
      'CMBS_PUBLIC_URL="http://127.0.0.1" must begin with https',
    ],
  ])('refuses settings of a certificate that cannot be used: %j', (env, says) => {
    expect(problems(env)).toContain(says);
  });

  it.each<[Record<string, string>, string]>([
    [{ CMBS_IDENTITIES: 'basic' }, 'CMBS_ADMINISTRATORS'],
    [{ CMBS_IDENTITIES: 'oidc', CMBS_ADMINISTRATORS: 'root' }, 'CMBS_OIDC_FILE'],
    [
      { CMBS_IDENTITIES: 'proxy', CMBS_ADMINISTRATORS: 'root', CMBS_PROXY_HEADER: 'X-Name' },
      'CMBS_PROXY_ADDRESSES',
    ],
    [
      { CMBS_IDENTITIES: 'basic', CMBS_ADMINISTRATORS: 'root', CMBS_OPEN_TO_EVERYONE: 'yes' },
      'exclude each other',
    ],
    [{ CMBS_ADMIN_PASSWORD_FILE: 'file' }, 'CMBS_IDENTITIES=basic'],
    [{ CMBS_IDENTITIES: 'kerberos' }, 'basic, token, oidc, proxy'],
    [{ CMBS_ADMINISTRATORS: '["root"' }, 'CMBS_ADMINISTRATORS="[\\"root\\"" begins with [ and is not JSON'],
    [{ CMBS_ADMINISTRATORS: '["root", 7]' }, 'must have only texts that are not empty in its JSON array'],
    [{ CMBS_ADMINISTRATORS: '["root", " "]' }, 'must have only texts that are not empty in its JSON array'],
  ])('refuses access settings that do not fit together: %j', (env, says) => {
    expect(problems(env)).toContain(says);
  });

  it.each([
    ['root, CN=bob ,', ['root', 'CN=bob']],
    ['["CN=alice,O=Example","root"]', ['CN=alice,O=Example', 'root']],
    [' [ "/O=Example, Inc./CN=alice" ]', ['/O=Example, Inc./CN=alice']],
  ])('takes administrators between commas, or as a JSON array: %s', (CMBS_ADMINISTRATORS, administrators) => {
    const config = readConfig({ CMBS_IDENTITIES: 'basic', CMBS_ADMINISTRATORS });
    expect(config.CMBS_ADMINISTRATORS).toEqual(administrators);
  });

  it('treats an empty JSON array as no administrators', () => {
    expect(problems({ CMBS_IDENTITIES: 'basic', CMBS_ADMINISTRATORS: '[]' })).toContain('CMBS_ADMINISTRATORS');
  });

  it.each<[Record<string, string>, string]>([
    [{ CMBS_MODULE_SETTINGS: 'settings.json' }, 'CMBS_MODULE_SETTINGS needs CMBS_MODULES_DIR.'],
    [{ CMBS_FILES_DIR: '.cmbs' }, 'CMBS_FILES_DIR and CMBS_DATA_DIR must be apart'],
    [{ CMBS_FILES_DIR: '/' }, 'CMBS_FILES_DIR and CMBS_DATA_DIR must be apart'],
    [{ CMBS_FILES_DIR: '.' }, 'CMBS_FILES_DIR and CMBS_DATA_DIR must be apart'],
    [{ CMBS_FILES_DIR: 'a/b', CMBS_MODULES_DIR: './a' }, 'CMBS_FILES_DIR and CMBS_MODULES_DIR must be apart'],
    [{ CMBS_MODULE_ERRORS: 'ignore' }, 'must be report, log-stack or fatal'],
    [{ CMBS_DEBUG_FAULTS: 'true' }, 'must be yes or no'],
    [
      { CMBS_DEBUG_FAULTS: 'yes', NODE_ENV: 'production' },
      'NODE_ENV is production; unset it, or set CMBS_DEBUG_FAULTS_IN_PRODUCTION=yes too.',
    ],
    [
      { CMBS_DEBUG_FAULTS: 'yes', CMBS_OPEN_TO_EVERYONE: 'yes', CMBS_PUBLIC_URL: 'http://broker.example' },
      'others can reach this deployment',
    ],
  ])('refuses settings of modules and faults that do not fit together: %j', (env, says) => {
    expect(problems(env)).toContain(says);
  });

  it('refuses files in the data directory, also through a link', () => {
    const directory = mkdtempSync(join(tmpdir(), 'cmbs-config-'));
    try {
      mkdirSync(join(directory, 'data', 'files'), { recursive: true });
      symlinkSync(join(directory, 'data', 'files'), join(directory, 'link'));
      const env = { CMBS_DATA_DIR: join(directory, 'data') };
      for (const files of ['link', 'link/later', 'data/later']) {
        expect(problems({ ...env, CMBS_FILES_DIR: join(directory, files) })).toContain('must be apart');
      }
      expect(readConfig({ ...env, CMBS_FILES_DIR: join(directory, 'files') }).CMBS_FILES_DIR).toBeDefined();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('shows stacks in production only with a second setting', () => {
    const env = { CMBS_DEBUG_FAULTS: 'yes', CMBS_DEBUG_FAULTS_IN_PRODUCTION: 'yes', NODE_ENV: 'production' };
    expect(readConfig(env).CMBS_DEBUG_FAULTS).toBe(true);
    expect(readConfig({ CMBS_DEBUG_FAULTS_IN_PRODUCTION: 'yes' }).CMBS_DEBUG_FAULTS).toBe(false);
  });

  it('is explained by --help, with every setting and default', () => {
    const help = settingsHelp().split('\n');
    expect(help.map((line) => line.trim().split(' ')[0])).toEqual(Object.keys(SETTINGS));
    expect(help[0]).toContain('(default 8090)');
  });
});

describe("the configuration of the cloud's parts", () => {
  const EMULATED = { FIRESTORE_EMULATOR_HOST: '127.0.0.1:8080', PUBSUB_EMULATOR_HOST: '127.0.0.1:8085' };
  const PUBLIC = { CMBS_PUBLIC_URL: 'https://broker.example' };

  it('has a directory of modules for companions, and not for functions', () => {
    const env = { ...EMULATED, ...PUBLIC, CMBS_MODULES_DIR: 'modules' };
    expect(readCloudConfig(env).CMBS_MODULES_DIR).toBe('modules');
    expect(() => readFunctionConfig(env)).toThrow('a function has no directory of modules; unset it here.');
    expect(readFunctionConfig({ ...EMULATED, ...PUBLIC }).CMBS_MODULES_DIR).toBeUndefined();
  });
  const PUSH = { CMBS_TOPIC_DELIVERY: 'push', CMBS_PUSH_URL: 'https://push.example' };

  it('needs no project when both services are emulators', () => {
    expect(readCloudConfig({ ...EMULATED, ...PUBLIC })).toMatchObject({
      GOOGLE_CLOUD_PROJECT: 'demo-cmbs',
      CMBS_SHARDS: ['main=*'],
      emulators: { firestore: true, pubsub: true },
    });
    expect(
      readCloudConfig({ ...PUBLIC, GOOGLE_CLOUD_PROJECT: 'some-project', CMBS_OPEN_TO_EVERYONE: 'yes' }).emulators,
    ).toEqual({
      firestore: false,
      pubsub: false,
    });
  });

  it.each<[string, Record<string, string>, string]>([
    ['no project', PUBLIC, 'GOOGLE_CLOUD_PROJECT is needed'],
    ['one emulator', { ...PUBLIC, PUBSUB_EMULATOR_HOST: 'x:1' }, 'set both or none'],
    ['no public URL', EMULATED, 'CMBS_PUBLIC_URL is needed'],
    ['push without URL', { ...EMULATED, ...PUBLIC, CMBS_TOPIC_DELIVERY: 'push' }, 'needs CMBS_PUSH_URL'],
    [
      'push without account',
      { ...PUBLIC, ...PUSH, GOOGLE_CLOUD_PROJECT: 'some-project' },
      'needs CMBS_PUSH_SERVICE_ACCOUNT',
    ],
    ['a shard of no list', { ...EMULATED, ...PUBLIC, CMBS_SHARD: 'eu' }, 'CMBS_SHARD="eu" is none of CMBS_SHARDS'],
    ['shards without hosts', { ...EMULATED, ...PUBLIC, CMBS_SHARDS: 'main' }, 'a list of name=host'],
    ['no shards', { ...EMULATED, ...PUBLIC, CMBS_SHARDS: ' , ' }, 'at least one shard'],
    ['an unknown delivery', { ...EMULATED, ...PUBLIC, CMBS_TOPIC_DELIVERY: 'post' }, 'pull or push'],
    ['a bad database', { ...EMULATED, ...PUBLIC, CMBS_FIRESTORE_DATABASE: '../x' }, 'the id of a database'],
    ['a bad prefix', { ...EMULATED, ...PUBLIC, CMBS_TOPIC_PREFIX: 'a.b' }, 'CMBS_TOPIC_PREFIX'],
    ['a key that is not there', { ...EMULATED, ...PUBLIC, CMBS_IDENTITY_KEY: 'no.pem' }, 'a private key in PEM'],
    ['a key that is none', { ...EMULATED, ...PUBLIC, CMBS_IDENTITY_KEY: __filename }, 'a private key in PEM'],
    ['a control endpoint for all', { ...EMULATED, ...PUBLIC, CMBS_CONTROL_HOST: '0.0.0.0' }, 'CMBS_CONTROL_URL'],
  ])('refuses %s', (_, environment, why) => {
    expect(problems(environment, readCloudConfig)).toContain(why);
  });
});

describe('a setting of another program of CMBS', () => {
  it('is reported and ignored', () => {
    const notices: string[] = [];
    const emulated = {
      FIRESTORE_EMULATOR_HOST: '127.0.0.1:1',
      PUBSUB_EMULATOR_HOST: '127.0.0.1:2',
      CMBS_PUBLIC_URL: 'http://127.0.0.1:3',
    };
    readCloudConfig({ ...emulated, CMBS_DATA_DIR: '.cmbs' }, (line) => notices.push(line));
    expect(notices).toEqual(['CMBS_DATA_DIR is a setting of another program of CMBS; it is ignored here.']);
    readConfig({ CMBS_SHARD: 'main' }, (line) => notices.push(line));
    expect(notices).toHaveLength(2);
  });
});
