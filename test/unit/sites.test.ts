import { CmbsError } from '@cmbs/shared';
import { SitePolicy, type SiteOptions } from '@cmbs/shared/sites';

const HERE: SiteOptions = { publicUrl: undefined, hosts: ['10.0.0.7'], origins: [], trustedProxies: 0 };
const CONSOLE = 'https://console.example';

interface Asked {
  readonly options?: Partial<SiteOptions>;
  readonly method?: string;
  readonly target?: string;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
}

/** The status of a refusal, or the headers of an admitted request. */
function asked({ options = {}, method = 'POST', target = '/cmbs/member/', headers }: Asked): unknown {
  const lists = Object.entries(headers).map(([name, value]) => [
    name,
    typeof value === 'string' ? [value] : value,
  ]);
  try {
    const policy = new SitePolicy({ ...HERE, ...options });
    return policy.admit({ method, target, headers: Object.fromEntries(lists) as Record<string, string[]> })
      .headers;
  } catch (error) {
    if (error instanceof CmbsError) return error.status;
    throw error;
  }
}

describe('the host name in a request', () => {
  it.each(['localhost', 'LOCALHOST:8090', '127.0.0.1:1', '127.9.8.7', '127.1', '[::1]:8090', '10.0.0.7:8090'])(
    'may be %s',
    (host) => expect(asked({ headers: { host } })).toEqual({}),
  );

  it.each([
    ...[
      'rebound.example',
      'rebound.example:8090',
      'localhost.rebound.example',
      'evil.localhost',
      '127.0.0.1.nip.io',
    ],
    ...[
      '0.0.0.0:8090',
      '0',
      '[::]',
      '[::ffff:127.0.0.1]',
      '10.0.0.8',
      'localhost@rebound.example',
      'localhost, x',
      '',
    ],
  ])('may not be %s', (host) => expect(asked({ headers: { host } })).toBe(421));

  it('may be a name in the settings, but not a wildcard', () => {
    const options = {
      publicUrl: 'https://broker.example/base',
      hosts: ['inner', '0.0.0.0', '::', 'fe80::1', /^svc-\w+$/],
    };
    for (const host of ['broker.example', 'inner:8090', '[fe80::1]:80', 'svc-1']) {
      expect(asked({ options, headers: { host } })).toEqual({});
    }
    for (const host of ['0.0.0.0', '[::]', 'svc-1.evil']) expect(asked({ options, headers: { host } })).toBe(421);
  });

  it('may be absent in HTTP/1.0, and never occurs twice', () => {
    expect(asked({ headers: {} })).toEqual({});
    expect(asked({ headers: { host: ['localhost', 'localhost'] } })).toBe(400);
  });

  it('is checked in the target of the request too', () => {
    const target = (authority: string): string => `http://${authority}/cmbs/member/`;
    expect(asked({ target: target('localhost:8090'), headers: { host: 'localhost' } })).toEqual({});
    expect(asked({ target: target('rebound.example'), headers: { host: 'localhost' } })).toBe(421);
    expect(asked({ target: target('localhost'), headers: { host: 'rebound.example' } })).toBe(421);
  });

  it('is that of a proxy where proxies are trusted', () => {
    const headers = { host: 'localhost', 'x-forwarded-host': 'rebound.example' };
    expect(asked({ headers })).toEqual({});
    expect(asked({ options: { trustedProxies: 1 }, headers })).toBe(421);
    expect(asked({ options: { trustedProxies: 1, hosts: ['rebound.example'] }, headers })).toEqual({});
    const claimed = { host: 'rebound.example', 'x-forwarded-host': 'localhost' };
    expect(asked({ options: { trustedProxies: 1 }, headers: claimed })).toBe(421);
  });
});

describe('the page that makes a request', () => {
  const host = 'localhost:8090';

  it('may be one of this server', () => {
    expect(asked({ headers: { host, origin: 'http://localhost:8090' } })).toEqual({});
    expect(asked({ headers: { host: '127.0.0.1', origin: 'http://127.0.0.1' } })).toEqual({});
    const secure = { scheme: 'https' } as const;
    expect(asked({ options: secure, headers: { host, origin: 'https://localhost:8090' } })).toEqual({});
    expect(asked({ options: secure, headers: { host, origin: 'http://localhost:8090' } })).toBe(403);
    const options = { publicUrl: 'https://broker.example/base' };
    expect(asked({ options, headers: { host, origin: 'https://broker.example' } })).toEqual({});
    const headers = {
      host,
      origin: 'https://front.example',
      'x-forwarded-host': 'front.example',
      'x-forwarded-proto': 'https',
    };
    expect(asked({ options: { trustedProxies: 1, hosts: ['front.example'] }, headers })).toEqual({});
    expect(asked({ headers })).toBe(403);
  });

  it.each<string | readonly string[]>([
    ...[
      'null',
      '',
      'http://localhost',
      'https://localhost:8090',
      'http://localhost:3000',
      'http://127.0.0.1:8090',
    ],
    ...['https://page.example', `${CONSOLE}.evil.example`, `${CONSOLE}/`, `${CONSOLE} http://localhost:8090`],
    ['http://localhost:8090', 'http://localhost:8090'],
  ])('may not be of %p', (origin) => {
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
      expect(asked({ method, options: { origins: [CONSOLE] }, headers: { host, origin } })).toBe(403);
    }
  });

  it('may have an origin in the settings, and can read the answer', () => {
    const options = { origins: [CONSOLE] };
    const headers = asked({ options, headers: { host, origin: CONSOLE } });
    expect(headers).toMatchObject({ Vary: 'Origin', 'Access-Control-Allow-Origin': CONSOLE });
    expect(headers).toHaveProperty(
      'Access-Control-Expose-Headers',
      expect.stringMatching(/ETag.*Location.*X-OCCI-Error/),
    );
    // A cache must not give this answer to the console.
    expect(asked({ options, headers: { host } })).toEqual({ Vary: 'Origin' });
  });

  it('learns from a preflight what it may send', () => {
    const preflight = new SitePolicy({ ...HERE, origins: [CONSOLE] }).admit({
      method: 'OPTIONS',
      target: '/',
      headers: {
        host: [host],
        origin: [CONSOLE],
        'access-control-request-method': ['PUT'],
        'access-control-request-headers': ['content-type,if-match'],
        'access-control-request-private-network': ['true'],
      },
    });
    expect(preflight.isPreflight).toBe(true);
    expect(preflight.headers).toMatchObject({
      'Access-Control-Allow-Methods': expect.stringContaining('PUT') as string,
      'Access-Control-Allow-Headers': 'content-type,if-match',
      'Access-Control-Allow-Private-Network': 'true',
    });
  });

  it.each(['cross-site', 'same-site'])('may not load resources that it cannot read: %s', (site) => {
    const fetched = { host, 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' };
    expect(asked({ method: 'GET', headers: fetched })).toBe(403);
    const framed = { ...fetched, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' };
    expect(asked({ method: 'GET', headers: framed })).toBe(403);
    const followed = { ...fetched, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    expect(asked({ method: 'GET', headers: followed })).toEqual({});
    expect(asked({ method: 'POST', headers: followed })).toBe(403);
  });

  it.each(['same-origin', 'none'])('is of this server when the browser says %s', (site) =>
    expect(asked({ headers: { host, 'sec-fetch-site': site } })).toEqual({}),
  );
});

it.each(['/healthz', '/livez', '/readyz', '/readyz?verbose'])(
  'a probe of %s is answered for any host name',
  (target) => {
    const headers = { host: '10.9.8.7', origin: 'https://page.example' };
    expect(asked({ method: 'GET', target, headers })).toEqual({});
    expect(asked({ method: 'POST', target, headers })).toBe(421);
  },
);
