import { ConfigError, readConfig, SETTINGS, settingsHelp } from '@cmbs/shared/config';

const problems = (environment: Record<string, string>): string => {
  try {
    readConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
};

describe('the configuration', () => {
  it('has defaults for everything that does not depend on the place', () => {
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
    ['CMBS_EXTENSIONS', 'infrastructure', ['infrastructure']],
    ['CMBS_EXTENSIONS', ' infrastructure , ', ['infrastructure']],
    ['CMBS_TRUST_PROXY', 'true', 1],
    ['CMBS_TRUST_PROXY', '2', 2],
    ['CMBS_TRUST_PROXY', '0', 0],
    ['CMBS_MAX_BODY_BYTES', '1024', 1024],
    ['CMBS_SEND_WAIT_S', '0', 0],
    ['CMBS_DISCOVERY', 'closed', 'closed'],
    ['CMBS_LOG', 'silent', 'silent'],
  ])('reads %s=%s', (name, text, value) => {
    expect(readConfig({ [name]: text })[name]).toEqual(value);
  });

  it.each<[string, string, string]>([
    ['PORT', '65536', 'at most 65535'],
    ['PORT', '-1', 'a whole number'],
    ['PORT', '8090x', 'a whole number'],
    ['PORT', '', 'a whole number'],
    ['CMBS_HOST', 'no host', 'a host name or address'],
    ['CMBS_DATA_DIR', '', 'not be empty'],
    ['CMBS_PUBLIC_URL', 'broker.example', 'an http or https URL'],
    ['CMBS_PUBLIC_URL', 'https://user@broker.example', 'an http or https URL'],
    ['CMBS_PUBLIC_URL', 'https://broker.example/?a', 'an http or https URL'],
    ['CMBS_EXTENSIONS', 'infrastructure,nonsense', 'a comma-separated list of'],
    ['CMBS_TRUST_PROXY', 'yes', 'true, false or a number'],
    ['CMBS_MAX_BODY_BYTES', '1', 'at least 1024'],
    ['CMBS_QUEUE_LIMIT', '0', 'at least 1'],
    ['CMBS_DISCOVERY', 'maybe', 'open or closed'],
    ['CMBS_LOG', 'loud', 'debug, info'],
    ['CMBS_PROT', '1', 'is not a setting'],
  ])('refuses %s=%s', (name, text, why) => {
    expect(problems({ [name]: text })).toContain(name);
    expect(problems({ [name]: text })).toContain(why);
  });

  it('tells everything that is wrong at once', () => {
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
    expect(problems({ CMBS_HOST: host, CMBS_PUBLIC_URL: 'https://broker.example' })).toBe('');
  });

  it('is explained, every setting and default', () => {
    const help = settingsHelp().split('\n');
    expect(help.map((line) => line.trim().split(' ')[0])).toEqual(Object.keys(SETTINGS));
    expect(help[0]).toContain('(default 8090)');
  });
});
