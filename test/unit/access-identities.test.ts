/** Who a caller is: passwords, access tokens, certificates passed by proxies, and the bounds on failed logins. */
import { createHash } from 'node:crypto';
import { ANONYMOUS, CmbsError, type Counters, systemClock } from '@cmbs/shared';
import { AddressRanges, clientKey } from '../../shared/access/identities/addresses';
import {
  Authentication,
  BasicIdentity,
  hashPassword,
  LoginAttempts,
  newToken,
  parseToken,
  ProxyIdentity,
  ScryptRuns,
  TokenIdentity,
  verifyPassword,
  type Identity,
  type Scrypt,
  type StoredPassword,
  type StoredToken,
} from '../../shared/access/identities';
import { ManualClock } from '../contract/manual-clock';
import { randomFrom } from '../seed';
import type { Credentials } from '../../shared/access/identities';
import { basic, credentials, type Shown } from './access-identities-support';
import { refusal } from './refusal';

/** Work that takes no time; `scrypt` itself is tested once. */
const quick: Scrypt = (password, salt, { N, r, p, bytes }) =>
  Promise.resolve(
    createHash('sha256')
      .update(JSON.stringify([password.toString('hex'), salt.toString('hex'), N, r, p]))
      .digest()
      .subarray(0, bytes),
  );

let clock: ManualClock;
let attempts: LoginAttempts;
let users: Map<string, StoredPassword>;
/** Parameters of each run of scrypt. */
let runs: unknown[];
let runScrypt: Scrypt;
let identity: BasicIdentity;

beforeEach(async () => {
  clock = new ManualClock();
  attempts = new LoginAttempts({ clock });
  users = new Map([['alice', await hashPassword('right', quick)]]);
  runs = [];
  runScrypt = quick;
  identity = new BasicIdentity({
    users: { password: (name) => Promise.resolve(users.get(name)) },
    clock,
    attempts,
    scryptRuns: new ScryptRuns({
      clock,
      scrypt: (password, salt, parameters) => {
        runs.push({ ...parameters, salt: salt.length });
        return runScrypt(password, salt, parameters);
      },
    }),
  });
});

const login = (name: string, password: string, from?: string): Promise<unknown> =>
  identity.authenticate(
    credentials({ authorization: basic(name, password), ...(from === undefined ? {} : { from }) }),
  );

async function failure(work: Promise<unknown>): Promise<CmbsError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof CmbsError) return error;
  throw new Error('there is no refusal', { cause: error });
}

/** 401, or the other status that a login gets. */
const statusOf = async (work: Promise<unknown>): Promise<number> =>
  work.then(
    () => 200,
    (error: unknown) => (error instanceof CmbsError ? error.status : 0),
  );

describe('a password', () => {
  it('is stored as a hash by scrypt with its parameters, and verified', async () => {
    const { run } = new ScryptRuns({ clock: systemClock });
    const stored = await hashPassword('pässword', run);
    expect(stored).toMatchObject({ algorithm: 'scrypt', N: 32_768, r: 8, p: 1 });
    expect(JSON.stringify(stored)).not.toContain('pässword');
    await expect(verifyPassword('pässword', stored, run)).resolves.toBe(true);
    await expect(verifyPassword('password', stored, run)).resolves.toBe(false);
  });

  it('is the same in every Unicode form', async () => {
    const stored = await hashPassword('é'.normalize('NFD'), quick);
    await expect(verifyPassword('é'.normalize('NFC'), stored, quick)).resolves.toBe(true);
  });

  it('has a salt of its own', async () => {
    const [one, other] = [await hashPassword('same', quick), await hashPassword('same', quick)];
    expect(one.hash).not.toBe(other.hash);
  });

  it.each([
    ['is empty', ''],
    ['has more than 1024 bytes', 'é'.repeat(513)],
    ['has a NUL', 'a\0b'],
    ['has a lone surrogate', 'a\ud800'],
  ])('is refused when it %s', async (_, password) => {
    await expect(hashPassword(password, quick)).rejects.toThrow(refusal('bad_request', '1 to 1024 bytes'));
    await expect(verifyPassword(password, await hashPassword('right', quick), quick)).resolves.toBe(false);
  });

  it('is not checked with parameters that would take all memory', async () => {
    const stored = { ...(await hashPassword('right', quick)), N: 2 ** 25 };
    await expect(verifyPassword('right', stored, quick)).rejects.toThrow();
  });
});

describe('HTTP Basic', () => {
  it('knows a user by the right password', async () => {
    await expect(login('alice', 'right')).resolves.toEqual({ kind: 'user', name: 'alice' });
  });

  it('takes the scheme in any case, and a password with colons', async () => {
    users.set('bob', await hashPassword('a:b:', quick));
    const authorization = basic('bob', 'a:b:').replace('Basic', 'bAsIc');
    await expect(identity.authenticate(credentials({ authorization }))).resolves.toEqual({
      kind: 'user',
      name: 'bob',
    });
  });

  it.each([undefined, 'Bearer abc', 'Digest username="alice"'])('leaves %s to others', async (authorization) => {
    await expect(
      identity.authenticate(credentials(authorization === undefined ? {} : { authorization })),
    ).resolves.toBeUndefined();
  });

  it('refuses a wrong password and an unknown name in the same way, after the same work', async () => {
    const wrong = await failure(login('alice', 'wrong'));
    const [first] = runs.splice(0);
    const unknown = await failure(login('nobody', 'wrong'));
    const others = runs.splice(0);
    expect([wrong.code, wrong.message, wrong.headers]).toEqual([unknown.code, unknown.message, unknown.headers]);
    expect(wrong.headers).toEqual({ 'WWW-Authenticate': 'Basic realm="cmbs", charset="UTF-8"' });
    expect(others).toEqual([first]);
  });

  it('says nothing of the credentials in a refusal', async () => {
    const error = await failure(login('alice', 'hunter2'));
    expect(`${error.message} ${JSON.stringify(error.headers)} ${String(error.cause)}`).not.toMatch(
      /hunter2|alice/,
    );
  });

  const encoded = (bytes: string | Buffer): string => Buffer.from(bytes).toString('base64');
  it.each([
    ['without a colon', encoded('alice')],
    ['with a NUL', encoded('alice:ri\0ght')],
    ['with a line break', encoded('alice:right\n')],
    ['in Latin-1', encoded(Buffer.from('alice:é', 'latin1'))],
    ['with overlong UTF-8', encoded(Buffer.from([0x61, 0x3a, 0xc0, 0x80]))],
    ['that is not base64', 'alice:right'],
    ['that is empty', ''],
    ['of two values in one', `${encoded('alice:right')}, Basic ${encoded('bob:right')}`],
  ])('refuses a value %s', async (_, value) => {
    await expect(identity.authenticate(credentials({ authorization: `Basic ${value}` }))).rejects.toThrow(
      refusal('bad_request', 'base64 of name:password'),
    );
    expect(runs).toEqual([]);
  });

  it('refuses several Authorization headers', async () => {
    const authorization = [basic('alice', 'right'), basic('alice', 'wrong')];
    await expect(identity.authenticate(credentials({ authorization }))).rejects.toThrow(
      refusal('bad_request', 'one Authorization header'),
    );
  });

  it('refuses 1 MiB of Authorization header', async () => {
    const authorization = basic('alice', 'a'.repeat(1024 * 1024));
    await expect(identity.authenticate(credentials({ authorization }))).rejects.toThrow(
      refusal('headers_too_large'),
    );
  });

  it.each([
    ['accounts.example/alice', 'right'],
    ['CN=alice', 'right'],
    ['', 'right'],
    ['a'.repeat(65), 'right'],
    ['alice', ''],
    ['alice', 'x'.repeat(1025)],
  ])('refuses the name %j without any work when nobody can have it or the password', async (name, password) => {
    await expect(login(name, password)).rejects.toThrow(refusal('unauthenticated'));
    expect(runs).toEqual([]);
  });

  it('checks the same login once, for several requests at a time and for a minute', async () => {
    await Promise.all(Array.from({ length: 40 }, () => login('alice', 'right')));
    clock.advance(59_999);
    await login('alice', 'right');
    expect(runs).toHaveLength(1);
    clock.advance(1);
    await login('alice', 'right');
    expect(runs).toHaveLength(2);
  });

  it('checks another password again while the right one is remembered', async () => {
    await login('alice', 'right');
    await expect(login('alice', 'wrong')).rejects.toThrow(refusal('unauthenticated'));
    expect(runs).toHaveLength(2);
  });

  it('refuses a changed password and a deleted user at once', async () => {
    await login('alice', 'right');
    users.set('alice', await hashPassword('new', quick));
    await expect(login('alice', 'right')).rejects.toThrow(refusal('unauthenticated'));
    await login('alice', 'new');
    users.delete('alice');
    await expect(login('alice', 'new')).rejects.toThrow(refusal('unauthenticated'));
  });

  it('lets a request leave, and finishes the check for the others', async () => {
    let finish = (): void => undefined;
    const held = new Promise<void>((resolve) => (finish = resolve));
    runScrypt = async (...call) => {
      await held;
      return quick(...call);
    };
    const leaving = new AbortController();
    const authorization = basic('alice', 'right');
    const first = identity.authenticate(credentials({ authorization, signal: leaving.signal }));
    const second = identity.authenticate(credentials({ authorization }));
    leaving.abort();
    await expect(first).rejects.toThrow(refusal('request_timeout'));
    finish();
    await expect(second).resolves.toEqual({ kind: 'user', name: 'alice' });
    expect(runs).toHaveLength(1);
  });

  it('counts no failed login when the password could not be checked', async () => {
    runScrypt = () => Promise.reject(new CmbsError('unavailable', 'Nothing can be checked now.'));
    for (let at = 0; at < 50; at += 1) {
      await expect(login('alice', 'right')).rejects.toThrow(refusal('unavailable'));
    }
    expect(attempts.size).toBe(0);
  });
});

describe('runs of scrypt', () => {
  const call = [Buffer.from('a'), Buffer.from('b'), { N: 2, r: 1, p: 1, bytes: 32 }] as const;

  it('happen a few at a time, in order; a queue that is full refuses', async () => {
    const started: (() => void)[] = [];
    const { run } = new ScryptRuns({
      clock,
      concurrency: 2,
      maxWaiting: 3,
      scrypt: () => new Promise((resolve) => started.push(() => resolve(Buffer.alloc(32)))),
    });
    const done: number[] = [];
    const all = [0, 1, 2, 3, 4].map((at) => run(...call).then(() => done.push(at)));
    await expect(run(...call)).rejects.toThrow(refusal('queue_full'));
    for (let at = 0; at < 5; at += 1) {
      expect(started.length).toBe(Math.min(5, at + 2));
      started[at]?.();
      await all[at];
    }
    expect(done).toEqual([0, 1, 2, 3, 4]);
  });

  it('wait no longer than their deadline', async () => {
    const { run } = new ScryptRuns({
      clock,
      concurrency: 1,
      maxWaitMs: 5000,
      scrypt: () => new Promise(() => undefined),
    });
    void run(...call);
    const waiting = run(...call);
    expect(clock.runNext()).toBe(5000);
    const error = await failure(waiting);
    expect([error.code, error.headers]).toEqual(['queue_full', { 'Retry-After': '2' }]);
  });

  it('give their turn on when they fail', async () => {
    let calls = 0;
    const { run } = new ScryptRuns({
      clock,
      concurrency: 1,
      scrypt: () => (++calls === 1 ? Promise.reject(new Error('broken')) : Promise.resolve(Buffer.alloc(32))),
    });
    const [first, second] = [run(...call), run(...call)];
    await expect(first).rejects.toThrow('broken');
    await expect(second).resolves.toHaveLength(32);
  });
});

describe('failed logins', () => {
  const guess = async (
    times: number,
    name: (at: number) => string,
    from: (at: number) => string,
  ): Promise<number[]> => {
    const statuses: number[] = [];
    for (let at = 0; at < times; at += 1) {
      statuses.push(await statusOf(login(name(at), `wrong ${at}`, from(at))));
    }
    return statuses;
  };

  it('are bounded for a name from an address, whether the name exists or not', async () => {
    for (const name of ['alice', 'nobody']) {
      const statuses = await guess(
        12,
        () => name,
        () => '192.0.2.1',
      );
      expect(statuses).toEqual([...Array<number>(10).fill(401), 429, 429]);
    }
    expect(runs).toHaveLength(20);
    const error = await failure(login('alice', 'right'));
    expect([error.code, error.headers]).toEqual(['too_many_attempts', { 'Retry-After': '60' }]);
  });

  it('are bounded for an address, whatever the names', async () => {
    const statuses = await guess(
      40,
      (at) => `user${at}`,
      () => '192.0.2.1',
    );
    expect(statuses).toEqual([...Array<number>(30).fill(401), ...Array<number>(10).fill(429)]);
    await expect(login('alice', 'right', '192.0.2.2')).resolves.toBeDefined();
  });

  it('of strangers elsewhere never lock out the right login', async () => {
    await guess(
      2000,
      () => 'alice',
      (at) => `198.51.${at >> 8}.${at & 255}`,
    );
    await expect(login('alice', 'right', '192.0.2.1')).resolves.toBeDefined();
  });

  it('are forgotten with time, one after the other', async () => {
    await guess(
      10,
      () => 'alice',
      () => '192.0.2.1',
    );
    clock.advance(60_000);
    const statuses = await guess(
      2,
      () => 'alice',
      () => '192.0.2.1',
    );
    expect(statuses).toEqual([401, 429]);
    clock.advance(60_000);
    await expect(login('alice', 'right')).resolves.toBeDefined();
  });

  it('are not forgotten because of a right login in between', async () => {
    users.set('mallory', await hashPassword('mine', quick));
    const statuses: number[] = [];
    for (let at = 0; at < 12; at += 1) {
      statuses.push(await statusOf(login('alice', `wrong ${at}`)));
      await login('mallory', 'mine').catch(() => undefined);
    }
    expect(statuses.filter((status) => status === 401)).toHaveLength(10);
  });

  it('are bounded for guesses at the same time', async () => {
    const guesses = Array.from({ length: 100 }, (_, at) => statusOf(login('alice', `wrong ${at}`)));
    const statuses = await Promise.all(guesses);
    expect(statuses.filter((status) => status === 401)).toHaveLength(10);
    expect(runs).toHaveLength(10);
  });

  it('tell nothing about a remembered login: the right password is refused as well', async () => {
    await login('alice', 'right');
    await guess(
      10,
      () => 'alice',
      () => '192.0.2.1',
    );
    expect(await statusOf(login('alice', 'right'))).toBe(429);
  });

  it('take a bounded amount of memory, however many names and addresses there are', async () => {
    const few = new LoginAttempts({ clock, maxCounters: 100 });
    const random = randomFrom();
    for (let at = 0; at < 5000; at += 1) {
      const address = Array.from({ length: 4 }, () => Math.floor(random() * 256)).join('.');
      few.begin(address, `user${at}`);
      few.refused(address);
    }
    expect(few.size).toBeLessThanOrEqual(300);
  });

  it('are counted together for the 2^64 IPv6 addresses of one client, and for texts that are no address', async () => {
    const statuses = await guess(
      11,
      () => 'alice',
      (at) => `2001:db8:1:2::${at.toString(16)}`,
    );
    expect(statuses.at(-1)).toBe(429);
    expect(await statusOf(login('alice', 'wrong', '2001:db8:1:3::1'))).toBe(401);
    expect(
      (
        await guess(
          11,
          () => 'alice',
          (at) => `made up ${at}`,
        )
      ).at(-1),
    ).toBe(429);
  });
});

describe('an address', () => {
  it.each([
    ['192.0.2.1', '::ffff:192.0.2.1'],
    ['192.0.2.1', '::FFFF:c000:201'],
    ['192.0.2.1', '192.0.2.1:4711'],
    ['2001:db8::1', '[2001:db8::2]:4711'],
    ['2001:db8::1', '2001:db8:0:0:ffff:ffff:ffff:ffff'],
    ['fe80::1', 'fe80::1%eth0'],
    ['unknown', '256.0.0.1'],
    ['unknown', ':::'],
    ['unknown', '1.2.3'],
  ])('%s and %s are counted as one', (one, other) => {
    expect(clientKey(one)).toBe(clientKey(other));
  });

  it('is in a range by its first bits', () => {
    const ranges = new AddressRanges(['10.1.0.0/16', '192.0.2.7', 'fd00::/8', '2001:db8::5']);
    const inside = ['10.1.255.255', '192.0.2.7', '::ffff:10.1.0.1', 'fdff::1', '2001:db8::5'];
    const outside = ['10.2.0.0', '192.0.2.8', 'fe00::1', '2001:db8::6', '::10.1.0.1', '', 'localhost'];
    expect(inside.map((ip) => ranges.has(ip))).toEqual(inside.map(() => true));
    expect(outside.map((ip) => ranges.has(ip))).toEqual(outside.map(() => false));
    expect(new AddressRanges(['0.0.0.0/0']).has('203.0.113.9')).toBe(true);
    expect(new AddressRanges(['0.0.0.0/0']).has('::1')).toBe(false);
  });

  it.each(['10.0.0.0/33', 'fd00::/129', 'localhost', '', '10.0.0/8', '1.2.3.4/', '[::1]'])(
    '%j is no range',
    (range) => {
      expect(() => new AddressRanges([range])).toThrow('is not an address range');
    },
  );
});

describe('an access token', () => {
  let stored: Map<string, StoredToken>;
  let tokens: TokenIdentity;
  let text: string;

  beforeEach(() => {
    const made = newToken('4f7d-1');
    text = made.text;
    stored = new Map([
      [
        '4f7d-1',
        {
          path: '/cmbs/access/token/4f7d-1',
          secretHash: made.secretHash,
          expiresAt: clock.now() + 1000,
          owner: 'alice',
        },
      ],
    ]);
    tokens = new TokenIdentity({ tokens: { find: (id) => Promise.resolve(stored.get(id)) }, clock });
  });
  const use = (token: string): Promise<unknown> =>
    tokens.authenticate(credentials({ authorization: `Bearer ${token}` }));

  it('names its entity as the principal', async () => {
    await expect(use(text)).resolves.toEqual({ kind: 'user', name: 'alice', token: '/cmbs/access/token/4f7d-1' });
  });

  it('has 256 random bits, of which only a hash is stored', () => {
    expect(text).toMatch(/^cmbs_4f7d-1_[A-Za-z0-9_-]{43}$/);
    expect(JSON.stringify([...stored.values()])).not.toContain(parseToken(text)?.secret);
    expect(newToken('4f7d-1').text).not.toBe(text);
    expect(() => newToken('a_b')).toThrow('letters, digits and hyphens');
  });

  it('is refused in the same way when it is wrong, expired, deleted, unknown or malformed', async () => {
    const refusals = [
      await failure(use(newToken('4f7d-1').text)),
      await failure(use(newToken('other').text)),
      await failure(use('cmbs_')),
      await failure(use(`${text}x`)),
      await failure(use(text.slice(0, -1))),
      await failure(use(`cmbs_${'a'.repeat(65)}_${'b'.repeat(43)}`)),
    ];
    clock.advance(1000);
    refusals.push(await failure(use(text)));
    stored.clear();
    refusals.push(await failure(use(text)));
    expect(
      new Set(refusals.map(({ code, message, headers }) => JSON.stringify([code, message, headers]))),
    ).toEqual(
      new Set([
        JSON.stringify([
          'unauthenticated',
          'The access token is not valid, or no longer; create another one.',
          { 'WWW-Authenticate': 'Bearer realm="cmbs", error="invalid_token"' },
        ]),
      ]),
    );
    expect(refusals.some(({ message }) => message.includes(text))).toBe(false);
  });

  it('is refused at once after it was deleted', async () => {
    await use(text);
    stored.clear();
    await expect(use(text)).rejects.toThrow(refusal('unauthenticated'));
  });

  it('without an expiry stays valid', async () => {
    const [[id, token] = []] = stored;
    stored.set(id!, { ...token!, expiresAt: undefined });
    clock.advance(1e12);
    await expect(use(text)).resolves.toBeDefined();
  });

  it('is no other bearer token, and no Basic', async () => {
    await expect(use('eyJ.e30.c2ln')).resolves.toBeUndefined();
    await expect(tokens.authenticate(credentials({ authorization: basic('a', 'b') }))).resolves.toBeUndefined();
  });
});

describe("a certificate's name", () => {
  const proxy = new ProxyIdentity({ header: 'X-Client-DN', proxies: ['10.1.0.0/16', '::1'] });
  const show = (value: string | readonly string[], peer?: string): Promise<unknown> =>
    proxy.authenticate(
      credentials({ headers: { 'x-client-dn': [value].flat() }, ...(peer === undefined ? {} : { peer }) }),
    );

  it.each(['CN=alice,O=Example', '/O=Example/CN=alice', 'CN=a/b'])(
    '%s from a trusted proxy is the user',
    async (name) => {
      await expect(show(name, '::ffff:10.1.2.3')).resolves.toEqual({ kind: 'user', name });
    },
  );

  it.each(['192.0.2.1', '10.2.0.1', undefined, ''])('from the address %s is refused', async (peer) => {
    await expect(show('CN=alice', peer)).rejects.toThrow(refusal('forbidden', 'trusted proxies only'));
  });

  it('that the client address claims to pass is refused', async () => {
    const shown: Shown = { headers: { 'x-client-dn': ['CN=alice'] }, from: '10.1.2.3', peer: '192.0.2.1' };
    await expect(proxy.authenticate(credentials(shown))).rejects.toThrow(refusal('forbidden'));
  });

  it.each([
    ['with a control character', 'CN=al\u0001ice'],
    ['that is not ASCII', 'CN=älice'],
    ['that is too long', `CN=${'a'.repeat(500)}`],
    ['that a user of the store could have', 'alice'],
    ['that an issuer could give', 'accounts.example/sub=alice'],
    ['that is repeated', ['CN=alice', 'CN=bob']],
  ])('%s is refused', async (_, value) => {
    await expect(show(value, '10.1.2.3')).rejects.toThrow(refusal('bad_request', 'one distinguished name'));
  });

  it('that is absent or empty is no credential', async () => {
    await expect(show('', '10.1.2.3')).resolves.toBeUndefined();
    await expect(proxy.authenticate(credentials())).resolves.toBeUndefined();
  });

  it('needs a header and proxies', () => {
    expect(() => new ProxyIdentity({ header: 'x-dn', proxies: [] })).toThrow('Name the proxies');
    expect(() => new ProxyIdentity({ header: 'x dn', proxies: ['::1'] })).toThrow('not the name of a header');
    expect(() => new ProxyIdentity({ header: 'Authorization', proxies: ['::1'] })).toThrow('not the name');
    expect(() => new ProxyIdentity({ header: 'x-dn', proxies: ['proxy'] })).toThrow('is not an address range');
  });
});

describe('authentication', () => {
  const BASIC = 'Basic realm="cmbs", charset="UTF-8"';
  const proxy = new ProxyIdentity({ header: 'x-dn', proxies: ['10.0.0.1'] });
  let tokens: TokenIdentity;
  let text: string;
  beforeEach(() => {
    const made = newToken('t');
    text = made.text;
    const token = {
      path: '/cmbs/access/token/t',
      secretHash: made.secretHash,
      expiresAt: undefined,
      owner: 'alice',
    };
    tokens = new TokenIdentity({
      tokens: { find: (id) => Promise.resolve(id === 't' ? token : undefined) },
      clock,
    });
  });
  const by = (...identities: readonly Identity[]): Authentication => new Authentication(identities, { attempts });

  it('finds the principal by any of its identities, and nobody without credentials', async () => {
    const all = by(identity, tokens, proxy);
    const found = [
      await all.authenticate(credentials({ authorization: basic('alice', 'right') })),
      await all.authenticate(credentials({ authorization: `bearer ${text}` })),
      await all.authenticate(credentials({ headers: { 'x-dn': ['CN=bob'] }, peer: '10.0.0.1' })),
      await all.authenticate(credentials()),
    ];
    expect(found).toEqual([
      { kind: 'user', name: 'alice' },
      { kind: 'user', name: 'alice', token: '/cmbs/access/token/t' },
      { kind: 'user', name: 'CN=bob' },
      ANONYMOUS,
    ]);
  });

  it('names in its challenges what is accepted, once for each scheme', () => {
    const other = {
      name: 'oidc',
      challenge: 'Bearer realm="cmbs"',
      authenticate: () => Promise.resolve(undefined),
    } as const;
    expect(by(identity, tokens, other, proxy).challenges).toEqual([BASIC, 'Bearer realm="cmbs"']);
    const error = by(identity, tokens).unauthenticated();
    expect([error.status, error.headers]).toEqual([401, { 'WWW-Authenticate': `${BASIC}, Bearer realm="cmbs"` }]);
  });

  it('names them when it refuses credentials, and says that the token was not valid', async () => {
    const both = by(identity, tokens);
    const headersFor = async (authorization: string): Promise<unknown> =>
      (await failure(both.authenticate(credentials({ authorization })))).headers['WWW-Authenticate'];
    expect(await headersFor(basic('alice', 'wrong'))).toBe(`${BASIC}, Bearer realm="cmbs"`);
    expect(await headersFor(`Bearer ${text}x`)).toBe(`${BASIC}, Bearer realm="cmbs", error="invalid_token"`);
    expect(await headersFor('Bearer a.b.c')).toBe(`${BASIC}, Bearer realm="cmbs", error="invalid_token"`);
  });

  it.each(['Digest username="alice"', 'Negotiate abc', 'Bearer abc', 'nonsense', ''])(
    'refuses credentials that no identity takes: %s',
    async (authorization) => {
      await expect(by(identity, proxy).authenticate(credentials({ authorization }))).rejects.toThrow(
        refusal('unauthenticated', 'not accepted here'),
      );
      await expect(
        by(identity, proxy).authenticate(
          credentials({ authorization, headers: { 'x-dn': ['CN=bob'] }, peer: '10.0.0.1' }),
        ),
      ).rejects.toThrow(refusal('unauthenticated'));
    },
  );

  it('refuses the header of a proxy from anybody else even with the right password', async () => {
    const shown = { authorization: basic('alice', 'right'), headers: { 'x-dn': ['CN=root'] }, peer: '192.0.2.1' };
    await expect(by(identity, proxy).authenticate(credentials(shown))).rejects.toThrow(refusal('forbidden'));
  });

  it('takes the Authorization header before the certificate', async () => {
    const shown = { authorization: basic('alice', 'right'), headers: { 'x-dn': ['CN=root'] }, peer: '10.0.0.1' };
    await expect(by(identity, proxy).authenticate(credentials(shown))).resolves.toMatchObject({ name: 'alice' });
  });

  it('bounds refused tokens of an address, while right ones stay valid there', async () => {
    const only = by(tokens);
    const statuses: number[] = [];
    for (let at = 0; at < 70; at += 1) {
      statuses.push(await statusOf(only.authenticate(credentials({ authorization: `Bearer cmbs_${at}` }))));
    }
    expect(statuses).toEqual([...Array<number>(60).fill(401), ...Array<number>(10).fill(429)]);
    await expect(only.authenticate(credentials({ authorization: `Bearer ${text}` }))).resolves.toMatchObject({
      kind: 'user',
    });
  });

  it('counts logins by identity and outcome, without a name or an address', async () => {
    const counted: string[] = [];
    const counters: Counters = {
      add: (name, labels) => void counted.push(`${name} ${Object.values(labels ?? {}).join(' ')}`),
    };
    const broken = {
      name: 'oidc',
      challenge: undefined,
      authenticate: ({ headers }: Credentials) =>
        headers['x-broken'] === undefined
          ? Promise.resolve(undefined)
          : Promise.reject(new CmbsError('unavailable', 'The keys cannot be fetched.')),
    } as const;
    const all = new Authentication([identity, tokens, broken, proxy], { attempts, counters });
    const outcome = async (shown: Shown): Promise<string> => {
      await all.authenticate(credentials(shown)).catch(() => undefined);
      return counted.splice(0).join();
    };
    const [fromProxy, fromOthers] = [
      { headers: { 'x-dn': ['CN=bob'] }, peer: '10.0.0.1' },
      { headers: { 'x-dn': ['CN=bob'] }, peer: '192.0.2.1' },
    ];
    expect(await outcome({})).toBe('');
    expect(await outcome({ authorization: basic('alice', 'right') })).toBe('cmbs_logins basic accepted');
    expect(await outcome({ authorization: basic('alice', 'wrong') })).toBe('cmbs_logins basic refused');
    expect(await outcome({ authorization: 'Basic !' })).toBe('cmbs_logins basic refused');
    expect(await outcome({ authorization: `Bearer ${text}` })).toBe('cmbs_logins token accepted');
    expect(await outcome({ authorization: `Bearer ${text}x` })).toBe('cmbs_logins token refused');
    expect(await outcome({ authorization: 'Bearer a.b.c' })).toBe('cmbs_logins other refused');
    expect(await outcome({ headers: { 'x-broken': ['1'] } })).toBe('cmbs_logins oidc failed');
    expect(await outcome(fromProxy)).toBe('cmbs_logins proxy accepted');
    expect(await outcome(fromOthers)).toBe('cmbs_logins proxy refused');
    expect(await outcome({ authorization: basic('alice', 'right'), ...fromProxy })).toBe(
      'cmbs_logins basic accepted',
    );
    for (let at = 0; at < 10; at += 1) await outcome({ authorization: basic('alice', 'wrong') });
    expect(await outcome({ authorization: basic('alice', 'right') })).toBe('cmbs_logins basic limited');
    for (let at = 0; at < 60; at += 1) await outcome({ authorization: 'Bearer cmbs_none' });
    expect(await outcome({ authorization: 'Bearer cmbs_none' })).toBe('cmbs_logins token limited');
  });

  it('without identities takes everybody as nobody', async () => {
    await expect(by().authenticate(credentials({ authorization: basic('alice', 'right') }))).resolves.toBe(
      ANONYMOUS,
    );
    expect(by().unauthenticated().status).toBe(403);
  });
});
