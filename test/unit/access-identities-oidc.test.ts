/** Tokens of OpenID Connect issuers, from a real issuer on loopback. */
import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { CryptoKey } from 'jose' with { 'resolution-mode': 'import' };
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CmbsError, silentLog, type Log } from '@cmbs/shared';
import { OidcConfigError, OidcIdentity, parseOidcConfig, type OidcIssuer } from '../../shared/access/identities';
import { ManualClock } from '../contract/manual-clock';
import { basic, credentials } from './access-identities-support';
import { refusal } from './refusal';

interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: Readonly<Record<string, unknown>>;
}

async function newKey(kid: string, alg: string): Promise<SigningKey> {
  const { exportJWK, generateKeyPair } = await import('jose');
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

/** An issuer whose answers a test can change. */
class TestIssuer {
  readonly #server: Server;
  keys: readonly SigningKey[] = [];
  /** How the paths answer. */
  answers: (path: string, response: ServerResponse) => boolean = () => false;
  /** Paths in the order of the requests. */
  asked: string[] = [];

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response));
  }

  static async start(): Promise<TestIssuer> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TestIssuer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Number of times that the keys were fetched. */
  get fetches(): number {
    return this.asked.filter((path) => path === '/jwks').length;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer({ url = '' }: IncomingMessage, response: ServerResponse): void {
    this.asked.push(url);
    if (this.answers(url, response)) return;
    const body =
      url === '/.well-known/openid-configuration'
        ? { issuer: this.url, jwks_uri: `${this.url}/jwks` }
        : { keys: this.keys.map(({ jwk }) => jwk) };
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(body));
  }
}

let issuer: TestIssuer;
let rsa: SigningKey;
let clock: ManualClock;
let identity: OidcIdentity;
/** Everything that was logged. */
let logged: string[];

const log: Log = {
  ...silentLog,
  debug: (...line) => logged.push(JSON.stringify(line)),
  warn: (...line) => logged.push(JSON.stringify(line)),
};

const configured = (more: Readonly<Record<string, unknown>> = {}): readonly OidcIssuer[] =>
  parseOidcConfig(
    JSON.stringify({
      issuers: [{ issuer: issuer.url, audience: ['https://cmbs.example'], prefix: 'test/', ...more }],
    }),
  );
const identityFor = (more?: Readonly<Record<string, unknown>>): OidcIdentity =>
  new OidcIdentity({ issuers: configured(more), clock, log });

beforeAll(async () => {
  issuer = await TestIssuer.start();
  rsa = await newKey('rsa', 'RS256');
});
afterAll(async () => issuer.close());
beforeEach(() => {
  issuer.keys = [rsa];
  issuer.asked = [];
  issuer.answers = () => false;
  logged = [];
  clock = new ManualClock();
  identity = identityFor();
});

const nowS = (): number => Math.floor(clock.now() / 1000);

interface Made {
  readonly key?: SigningKey;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** A valid token, but for what a test changes; a claim that is undefined is left out. */
async function token({ key = rsa, header = {}, claims = {} }: Made = {}): Promise<string> {
  const { SignJWT } = await import('jose');
  const all = {
    iss: issuer.url,
    aud: 'https://cmbs.example',
    sub: 'alice',
    iat: nowS(),
    exp: nowS() + 300,
    ...claims,
  };
  return new SignJWT(JSON.parse(JSON.stringify(all)) as typeof all)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...header })
    .sign(key.privateKey);
}

const use = (text: string, by = identity): Promise<unknown> =>
  by.authenticate(credentials({ authorization: `Bearer ${text}` }));

async function failure(work: Promise<unknown>): Promise<CmbsError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof CmbsError) return error;
  throw new Error('there is no refusal', { cause: error });
}

/** Expects the one answer that every fault of a token gets, and nothing of the token in it or in the log. */
async function expectInvalid(text: string, by = identity): Promise<void> {
  const error = await failure(use(text, by));
  expect([error.code, error.message, error.headers]).toEqual([
    'unauthenticated',
    'The token is not valid here; get another one from its issuer.',
    { 'WWW-Authenticate': 'Bearer realm="cmbs", error="invalid_token"' },
  ]);
  expect(error.cause).toBeUndefined();
  for (const part of text.split('.').filter((one) => one.length > 8)) expect(logged.join()).not.toContain(part);
}

describe('a token of an issuer', () => {
  it.each(['RS256', 'RS512', 'ES256', 'ES384', 'EdDSA'])('signed with %s names the user', async (alg) => {
    const key = await newKey('other', alg);
    issuer.keys = [rsa, key];
    await expect(use(await token({ key }))).resolves.toEqual({ kind: 'user', name: 'test/alice' });
  });

  it('may be for several audiences, and be an access token', async () => {
    const text = await token({ claims: { aud: ['other', 'https://cmbs.example'] }, header: { typ: 'at+jwt' } });
    await expect(use(text)).resolves.toMatchObject({ name: 'test/alice' });
  });

  it('begins with the host of the issuer when no prefix is configured', async () => {
    const { host } = new URL(issuer.url);
    await expect(use(await token(), identityFor({ prefix: undefined }))).resolves.toEqual({
      kind: 'user',
      name: `${host}/alice`,
    });
  });

  it.each(['', 'cmbs_x_y', undefined])('is not Basic, nor a token that CMBS issues (%j)', async (text) => {
    const authorization = text === undefined ? basic('a', 'b') : `Bearer ${text}`;
    const answer = identity.authenticate(credentials({ authorization }));
    if (text === '') await expect(answer).rejects.toThrow(refusal('unauthenticated'));
    else await expect(answer).resolves.toBeUndefined();
  });

  it.each<[string, () => Made]>([
    ['expired', () => ({ claims: { exp: nowS() - 31 } })],
    ['not yet valid', () => ({ claims: { nbf: nowS() + 31 } })],
    ['without an end', () => ({ claims: { exp: undefined } })],
    ['with an end that is no number', () => ({ claims: { exp: 'tomorrow' } })],
    ['for another audience', () => ({ claims: { aud: 'https://other.example' } })],
    ['for several other audiences', () => ({ claims: { aud: ['a', 'b'] } })],
    ['for no audience', () => ({ claims: { aud: undefined } })],
    ['of another issuer', () => ({ claims: { iss: 'https://other.example' } })],
    ['of no issuer', () => ({ claims: { iss: undefined } })],
    ['of an issuer with another spelling', () => ({ claims: { iss: `${issuer.url}/` } })],
    ['without a subject', () => ({ claims: { sub: undefined } })],
    ['with an empty subject', () => ({ claims: { sub: '' } })],
    ['with a subject that is no text', () => ({ claims: { sub: 7 } })],
    ['with a control character', () => ({ claims: { sub: 'a\nb' } })],
    ['with a long subject', () => ({ claims: { sub: 'a'.repeat(256) } })],
    ['for a logout', () => ({ header: { typ: 'logout+jwt' } })],
    ['with an extension that nobody knows', () => ({ header: { crit: ['x'], x: 1 } })],
  ])('%s is refused', async (_, made) => {
    // The library that signs refuses some of these itself, so the header is changed below.
    const { header = {}, claims = {} } = made();
    if (header.crit === undefined) await expectInvalid(await token({ header, claims }));
    else {
      const [, payload, signature] = (await token({ claims })).split('.');
      await expectInvalid(`${encoded({ alg: 'RS256', kid: 'rsa', ...header })}.${payload!}.${signature!}`);
    }
  });

  const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claimsNow = (): object => ({
    iss: issuer.url,
    aud: 'https://cmbs.example',
    sub: 'alice',
    exp: nowS() + 300,
  });

  it('may be late or early by the skew, and no more', async () => {
    await use(await token({ claims: { exp: nowS() - 29, nbf: nowS() + 30 } }));
    const exact = identityFor({ skew_s: 0 });
    await use(await token({ claims: { exp: nowS() + 1, nbf: nowS() } }), exact);
    await expectInvalid(await token({ claims: { exp: nowS() } }), exact);
    await expectInvalid(await token({ claims: { nbf: nowS() + 1 } }), exact);
  });

  it('with the algorithm none is refused, with and without a signature', async () => {
    for (const alg of ['none', 'None', 'NONE']) {
      const unsigned = `${encoded({ alg, kid: 'rsa' })}.${encoded(claimsNow())}.`;
      await expectInvalid(unsigned);
      await expectInvalid(`${unsigned}c2lnbmF0dXJl`);
    }
  });

  it('signed by HS256 with the public key of the issuer is refused', async () => {
    const pem = createPublicKey({ key: rsa.jwk as never, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    for (const secret of [pem.toString(), JSON.stringify(rsa.jwk)]) {
      const text = `${encoded({ alg: 'HS256', kid: 'rsa', typ: 'JWT' })}.${encoded(claimsNow())}`;
      await expectInvalid(`${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`);
    }
  });

  it('signed by HS256 is refused even with a shared secret among the keys of the issuer', async () => {
    const jwk = { kty: 'oct', kid: 'secret', alg: 'HS256', k: Buffer.from('shared').toString('base64url') };
    issuer.keys = [rsa, { ...rsa, kid: 'secret', jwk }];
    const text = `${encoded({ alg: 'HS256', kid: 'secret' })}.${encoded(claimsNow())}`;
    await expectInvalid(`${text}.${createHmac('sha256', 'shared').update(text).digest('base64url')}`);
  });

  it('signed with an algorithm that is not listed is refused, although the key of the issuer can do it', async () => {
    const key = await newKey('pss', 'PS256');
    issuer.keys = [rsa, key];
    await expectInvalid(await token({ key }));
  });

  it('signed with a key of somebody else is refused, and so is one whose claims were changed', async () => {
    await expectInvalid(await token({ key: { ...(await newKey('rsa', 'RS256')) } }));
    const [header, , signature] = (await token()).split('.');
    await expectInvalid(`${header!}.${encoded({ ...claimsNow(), sub: 'root' })}.${signature!}`);
  });

  it('that brings its own key is refused', async () => {
    const own = await newKey('own', 'RS256');
    await expectInvalid(await token({ key: own, header: { jwk: own.jwk } }));
    await expectInvalid(await token({ key: own, header: { jku: `${issuer.url}/own` } }));
    expect(issuer.asked).not.toContain('/own');
  });

  it('signed with a weak key of the issuer is refused', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    issuer.keys = [{ ...rsa, jwk: { ...publicKey.export({ format: 'jwk' }), kid: 'rsa', alg: 'RS256' } }];
    const { sign } = await import('node:crypto');
    const text = `${encoded({ alg: 'RS256', kid: 'rsa' })}.${encoded(claimsNow())}`;
    await expectInvalid(`${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`);
  });

  it.each(['a', 'a.b', 'a.b.c', 'a.b.c.d.e', '..', 'ä.ö.ü', 'e30.e30.e30', `${'a'.repeat(5000)}.e30.x`])(
    'that is none is refused: %s',
    async (text) => expectInvalid(text),
  );

  it('of 1 MiB is refused before it is read', async () => {
    const text = await token({ claims: { more: 'a'.repeat(1024 * 1024) } });
    await expect(use(text)).rejects.toThrow(refusal('headers_too_large'));
  });

  it('is refused beside another Authorization header', async () => {
    const authorization = [`Bearer ${await token()}`, basic('alice', 'right')];
    await expect(identity.authenticate(credentials({ authorization }))).rejects.toThrow(
      refusal('bad_request', 'one Authorization header'),
    );
  });
});

it("Google's identity token may name its issuer without the scheme, and names keys at another host", async () => {
  const keys = 'https://www.googleapis.com/oauth2/v3/certs';
  issuer.answers = (path, response) =>
    path !== '/jwks' &&
    Boolean(response.end(JSON.stringify({ issuer: 'https://accounts.google.com', jwks_uri: keys })));
  const google = new OidcIdentity({
    issuers: parseOidcConfig(
      '{"issuers":[{"issuer":"https://accounts.google.com","audience":["https://cmbs.example"]}]}',
    ),
    clock,
    log,
    // The documents of Google, from the issuer of this test.
    fetch: (url, init) => fetch(issuer.url + (url === keys ? '/jwks' : '/discovery'), init),
  });
  for (const iss of ['https://accounts.google.com', 'accounts.google.com']) {
    await expect(use(await token({ claims: { iss } }), google)).resolves.toEqual({
      kind: 'user',
      name: 'accounts.google.com/alice',
    });
  }
  await expectInvalid(await token({ claims: { iss: 'http://accounts.google.com' } }), google);
});

describe('the configured claims', () => {
  it('name the user by an address that the issuer has verified', async () => {
    const byEmail = identityFor({ claim: 'email' });
    const email = 'alice@example.org';
    await expect(use(await token({ claims: { email, email_verified: true } }), byEmail)).resolves.toEqual({
      kind: 'user',
      name: 'test/alice@example.org',
    });
    for (const email_verified of [false, 'true', undefined]) {
      await expectInvalid(await token({ claims: { email, email_verified } }), byEmail);
    }
    await expectInvalid(await token({ claims: { email_verified: true } }), byEmail);
  });

  it('must have exactly the required values', async () => {
    const ours = identityFor({ require: { hd: 'example.org', admin: true } });
    await use(await token({ claims: { hd: 'example.org', admin: true } }), ours);
    for (const claims of [
      {},
      { hd: 'example.org' },
      { hd: 'example.org', admin: 'true' },
      { hd: ['example.org'], admin: true },
      { hd: 'example.org.evil', admin: true },
    ]) {
      await expectInvalid(await token({ claims }), ours);
    }
    await expectInvalid(await token(), identityFor({ require: { toString: 'x' } }));
  });
});

describe('the keys of an issuer', () => {
  it('need no name while only one can have signed the token', async () => {
    const text = await token({ header: { kid: undefined } });
    await expect(use(text)).resolves.toBeDefined();
    issuer.keys = [rsa, await newKey('second', 'RS256')];
    await expectInvalid(text, identityFor());
  });

  it('are fetched once for requests at the same time, and cached', async () => {
    const text = await token();
    await Promise.all(Array.from({ length: 20 }, () => use(text)));
    await use(text);
    expect(issuer.asked).toEqual(['/.well-known/openid-configuration', '/jwks']);
  });

  it('are fetched again for an unknown key, so that an issuer can change keys', async () => {
    await use(await token());
    const next = await newKey('next', 'ES256');
    issuer.keys = [rsa, next];
    clock.advance(30_000);
    await expect(use(await token({ key: next }))).resolves.toMatchObject({ name: 'test/alice' });
    expect(issuer.fetches).toBe(2);
  });

  it('are fetched no more often because strangers name unknown keys', async () => {
    await use(await token());
    const stranger = await newKey('stranger', 'ES256');
    for (let at = 0; at < 200; at += 1) {
      await expectInvalid(await token({ key: { ...stranger, kid: `unknown ${at}` } }));
      clock.advance(300);
    }
    // 60 seconds, with 30 between two fetches.
    expect(issuer.fetches).toBe(2);
  });

  it('are fetched anew in the background when they are old, and count until then', async () => {
    const text = await token({ claims: { exp: nowS() + 36_000 } });
    await use(text);
    issuer.answers = (_, response) => {
      response.writeHead(500).end();
      return true;
    };
    clock.advance(10 * 60_000);
    await expect(use(text)).resolves.toBeDefined();
    await expect(use(text)).resolves.toBeDefined();
    clock.advance(50 * 60_000);
    await expect(use(text)).rejects.toThrow(refusal('unavailable'));
  });

  const awayness: readonly (readonly [string, (path: string, response: ServerResponse) => boolean])[] = [
    ['answers 500', (_, response) => Boolean(response.writeHead(500).end('no'))],
    [
      'redirects',
      (path, response) => path === '/jwks' && Boolean(response.writeHead(302, { Location: '/moved' }).end()),
    ],
    ['closes the connection', (_, response) => Boolean(response.destroy())],
    ['answers no JSON', (_, response) => Boolean(response.end('<html>'))],
    [
      'is the document of another issuer',
      (_, response) => Boolean(response.end('{"issuer":"x","jwks_uri":"https://x.example"}')),
    ],
    [
      'names keys at an address that is not safe',
      (_, response) =>
        Boolean(response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: 'http://192.0.2.1/jwks' }))),
    ],
    ['has keys that are none', (path, response) => path === '/jwks' && Boolean(response.end('{"keys":[1]}'))],
    [
      'has huge keys',
      (path, response) => {
        if (path !== '/jwks') return false;
        response.write('{"keys":[');
        const more = (): void => {
          while (!response.destroyed && response.write(`{"kty":"RSA","n":"${'A'.repeat(64 * 1024)}"},`));
          if (!response.destroyed) response.once('drain', more);
        };
        more();
        return true;
      },
    ],
  ];
  it.each(awayness)('that %s are away: 503, and no further fetch for a while', async (_, answers) => {
    issuer.answers = answers;
    const text = await token();
    const error = await failure(use(text));
    expect([error.code, error.headers]).toEqual(['unavailable', { 'Retry-After': '10' }]);
    expect(error.message).not.toContain(issuer.url);
    const asked = issuer.asked.length;
    clock.advance(7000);
    expect((await failure(use(text))).headers).toEqual({ 'Retry-After': '3' });
    expect(issuer.asked).toHaveLength(asked);
    issuer.answers = () => false;
    clock.advance(3000);
    await expect(use(text)).resolves.toMatchObject({ name: 'test/alice' });
  });

  it('are waited for until the deadline only', async () => {
    const reached = new Promise<void>((resolve) => {
      issuer.answers = (path, response) => {
        if (path !== '/jwks') return false;
        // The head and a part of the body; the rest never comes.
        response.write('{"keys":[', () => resolve());
        return true;
      };
    });
    const waiting = failure(use(await token()));
    await reached;
    clock.advance(5000);
    expect((await waiting).code).toBe('unavailable');
    // The fetch was aborted, and the request waits for nothing more.
    expect(() => clock.runNext()).toThrow('Nothing waits');
  });

  it('are not waited for by a request that was aborted', async () => {
    const leaving = new AbortController();
    const reached = new Promise<void>((resolve) => {
      issuer.answers = (path) => {
        if (path === '/jwks') resolve();
        return path === '/jwks';
      };
    });
    const authorization = `Bearer ${await token()}`;
    const waiting = identity.authenticate(credentials({ authorization, signal: leaving.signal }));
    await reached;
    leaving.abort();
    await expect(waiting).rejects.toThrow(refusal('request_timeout'));
    clock.advance(5000);
  });

  it('that cannot be fetched leave open whether an unknown key exists: 503', async () => {
    await use(await token());
    issuer.answers = awayness[0]![1];
    clock.advance(30_000);
    const other = await token({ key: await newKey('other', 'ES256') });
    await expect(use(other)).rejects.toThrow(refusal('unavailable'));
    await expect(use(other)).rejects.toThrow(refusal('unavailable'));
    await expect(use(await token())).resolves.toBeDefined();
  });
});

describe('the file of issuers', () => {
  const google = { issuer: 'https://accounts.google.com', audience: ['https://cmbs.example'] };
  const parse = (...issuers: readonly unknown[]): readonly OidcIssuer[] =>
    parseOidcConfig(JSON.stringify({ issuers }));

  it('has defaults for everything but the issuer and the audience', () => {
    expect(parse(google)).toEqual([
      { ...google, claim: 'sub', prefix: 'accounts.google.com/', require: {}, skewS: 30 },
    ]);
  });

  it.each<[string, unknown]>([
    ['issuers.0.issuer: must be an https URL', { ...google, issuer: 'http://accounts.google.com' }],
    ['issuers.0.issuer: must be an https URL', { ...google, issuer: 'https://a.example?x=1' }],
    ['issuers.0.issuer: must be an https URL', { ...google, issuer: 'https://a:b@c.example' }],
    ['issuers.0.issuer: must be an https URL', { ...google, issuer: 'accounts.google.com' }],
    ['issuers.0.issuer: ', { audience: ['a'] }],
    ['issuers.0.audience: ', { ...google, audience: [] }],
    ['issuers.0.audience: ', { ...google, audience: 'a' }],
    ['issuers.0.claim: ', { ...google, claim: 'name' }],
    ['issuers.0.prefix: must be letters', { ...google, prefix: '' }],
    ['issuers.0.prefix: must be letters', { ...google, prefix: 'google' }],
    ['issuers.0.prefix: must be letters', { ...google, prefix: 'CN=/' }],
    ['issuers.0.prefix: must be letters', { ...google, prefix: '/' }],
    ['issuers.0.skew_s: ', { ...google, skew_s: 301 }],
    ['issuers.0.require.hd: ', { ...google, require: { hd: ['a'] } }],
    ['issuers.0: Unrecognized key: "audiences"', { ...google, audiences: [] }],
  ])('is refused with the name of the field: %s', (says, one) => {
    expect(() => parse(one)).toThrow(OidcConfigError);
    expect(() => parse(one)).toThrow(says);
  });

  it('is refused when two issuers could name the same user', () => {
    const realm = (name: string, more: object = {}): object => ({
      issuer: `https://login.example/realms/${name}`,
      audience: ['a'],
      ...more,
    });
    expect(() => parse(realm('a'), realm('a'))).toThrow('issuers.1.issuer: must not be named twice.');
    expect(() => parse(realm('a'), realm('b'))).toThrow('issuers.1.prefix: must differ');
    expect(() => parse(realm('a'), realm('b', { prefix: 'login.example/b/' }))).toThrow('issuers.1.prefix');
    expect(parse(realm('a', { prefix: 'a/' }), realm('b', { prefix: 'b/' }))).toHaveLength(2);
  });

  it.each(['', '[]', '{}', '{"issuers":[]}', '{"issuers":{}}'])('is refused when it is %j', (text) => {
    expect(() => parseOidcConfig(text)).toThrow('The file of OpenID Connect issuers is not');
  });
});
