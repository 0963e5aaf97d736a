/** Calls over HTTP in a closed deployment: who may make them, refusals with a status, and sessions. */
import { systemClock, type Clock } from '@cmbs/shared';
import { CmbsError } from '@cmbs/shared';
import { refusalBody } from '@cmbs/functions/rpc-protocols';
import type { ServiceModule } from '@cmbs/shared/services';
import { faultIn } from '../unit/xml-rpc-support';
import { basic, ROOT_PASSWORD, RpcStack } from './rpc-support';

const ACCESS = 'http://houssem.org/cmbs/access#';
const PASSWORD = 'first password of alice';
const HOUR_MS = 60 * 60 * 1000;

let later = 0;
const clock: Clock = {
  now: () => systemClock.now() + later,
  elapsed: () => systemClock.elapsed(),
  after: (ms, run) => systemClock.after(ms, run),
};

const trial: ServiceModule = {
  name: 'trial',
  methods: {
    known: {
      documentation: 'For known callers.',
      signatures: [['string', 'string']],
      call: (_c, [text = '']) => text,
    },
    session: { documentation: 'The session.', signatures: [['string']], call: ({ session }) => session ?? 'none' },
  },
};

const stack = new RpcStack(trial);
const root = basic('root', ROOT_PASSWORD);
const alice = basic('alice', PASSWORD);
const bearer = (token: unknown): Record<string, string> => ({ Authorization: `Bearer ${String(token)}` });

beforeAll(async () => {
  await stack.startClosed({}, { clock });
  const attributes = { 'cmbs.access.user.password': PASSWORD };
  const made = await stack.ask('PUT', '/cmbs/access/user/alice', { kind: `${ACCESS}user`, attributes }, root);
  expect(made.status).toBe(201);
});
afterAll(() => stack.close());
afterEach(() => (later = 0));

const CALL = '{"jsonrpc":"2.0","id":1,"method":"trial.known","params":["x"]}';

describe('a request without credentials', () => {
  it('is answered 401 with a fault when it may do nothing', async () => {
    for (const answer of [
      await stack.post(CALL),
      await stack.post(`[${CALL},${CALL}]`),
      await stack.post('{"jsonrpc":"2.0","method":"trial.known"}'),
      await stack.post(CALL, { 'Idempotency-Key': 'anonymous' }),
    ]) {
      expect(answer.status).toBe(401);
      expect(answer.headers.get('www-authenticate')).toContain('Basic realm="cmbs"');
      expect(JSON.parse(answer.text)).toMatchObject({
        error: { code: -32000, data: { code: 'unauthenticated' } },
      });
    }
    const inXml = await stack.xml('trial.known', ['<value>x</value>']);
    expect(inXml.status).toBe(401);
    expect(faultIn(inXml.text)?.code).toBe(-32000);
  });

  it('may read what there is, also beside a call that is refused', async () => {
    expect(await stack.call('system.list_methods')).toContain('trial.known');
    expect(await stack.call('system.methodHelp', ['trial.known'])).toBe('For known callers.');
    expect(await stack.call('rpc.discover')).toMatchObject({ openrpc: '1.3.2' });
    expect(await stack.call('system.whoami')).toMatchObject({ kind: 'anonymous' });
    const both = await stack.post(`[${CALL},{"jsonrpc":"2.0","id":2,"method":"system.list_modules"}]`);
    expect(both.status).toBe(200);
    expect(JSON.parse(both.text)).toMatchObject([
      { id: 1, error: { code: -32000 } },
      { id: 2, result: [{}, {}, {}] },
    ]);
    const inside = await stack.call('system.multicall', [[{ methodName: 'trial.known', params: ['x'] }]]);
    expect(inside).toMatchObject([{ faultCode: -32000 }]);
    expect(await stack.call('system.auth')).toMatchObject({ data: { code: 'unauthenticated' } });
  });
});

it('wrong credentials are answered 401, and then 429, with a fault', async () => {
  const statuses = new Set<number>();
  for (let n = 0; n < 12; n += 1) {
    const answer = await stack.xml('trial.known', ['<value>x</value>'], basic('nobody', 'wrong'));
    statuses.add(answer.status);
    expect(answer.headers.get('content-type')).toBe('text/xml; charset=utf-8');
    expect(faultIn(answer.text)?.code).toBe(-32000);
    if (answer.status === 429) expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
  }
  expect([...statuses]).toEqual([401, 429]);
});

it('an outage is a fault with its status', () => {
  const outage = new CmbsError('unavailable', 'The store does not answer.');
  expect(outage.status).toBe(503);
  const inJson = refusalBody(outage, { headers: {}, body: Buffer.from('{}') });
  expect(JSON.parse(String(inJson.body))).toEqual({
    jsonrpc: '2.0',
    id: null,
    error: { code: -32000, message: 'The store does not answer.', data: { code: 'unavailable' } },
  });
  const unexpected = new CmbsError('internal', 'The server failed; the cause is in its log.');
  const inXml = refusalBody(unexpected, {
    headers: { 'content-type': ['text/xml'] },
    body: Buffer.from(''),
  });
  expect(faultIn(String(inXml.body))).toEqual({ code: -32603, text: unexpected.message });
});

it('a stranger has nothing kept in the store by a key', async () => {
  const open = '{"jsonrpc":"2.0","id":1,"method":"system.whoami"}';
  expect((await stack.post(open)).status).toBe(200);
  expect((await stack.post(open, { 'Idempotency-Key': 'strange' })).status).toBe(401);
  expect((await stack.post(open, { 'Idempotency-Key': 'strange', ...alice })).status).toBe(200);
});

it('a call with credentials is made', async () => {
  expect(await stack.call('trial.known', ['x'], alice)).toBe('x');
  expect(await stack.call('system.whoami', [], alice)).toEqual({
    principal: 'user:alice',
    kind: 'user',
    name: 'alice',
  });
});

describe('a session', () => {
  const open = async (): Promise<Readonly<Record<string, string>>> =>
    (await stack.call('system.auth', [], alice)) as Readonly<Record<string, string>>;

  it('is an access token, until it is closed', async () => {
    const { session, token, expires, principal } = await open();
    expect(principal).toBe('user:alice');
    expect(Date.parse(expires ?? '') - Date.now()).toBeGreaterThan(11 * HOUR_MS);
    expect(Date.parse(expires ?? '') - Date.now()).toBeLessThan(13 * HOUR_MS);
    expect(await stack.call('trial.session', [], bearer(token))).toBe(session);
    expect(await stack.call('trial.session', [], alice)).toBe('none');
    expect(await stack.call('system.whoami', [], bearer(token))).toMatchObject({ name: 'alice', session });
    // Its user sees it as any token, without the secret.
    const seen = await stack.ask('GET', `/cmbs/access/token/${session}`, undefined, alice);
    expect(seen.status).toBe(200);
    expect(JSON.stringify(seen.json)).not.toContain(token?.split('_')[2]);
    // A token makes no other one.
    expect(await stack.call('system.auth', [], bearer(token))).toMatchObject({ code: -32000 });
    expect(await stack.call('system.logout', [], bearer(token))).toBe(true);
    expect((await stack.post(CALL, bearer(token))).status).toBe(401);
    expect(await stack.call('system.logout', [], alice)).toMatchObject({ code: -32000 });
  });

  it('is not opened in a message, whose answer is stored', async () => {
    const path = '/cmbs/message/auth';
    // The message is executed for a member of alice.
    await stack.ask('PUT', '/cmbs/member/alice', { kind: 'http://houssem.org/cmbs#member' }, alice);
    await stack.ask(
      'PUT',
      path,
      {
        kind: 'http://houssem.org/cmbs#message',
        attributes: {
          'cmbs.message.executable': true,
          'cmbs.message.message_content': { method: 'system.auth', id: 1 },
        },
      },
      alice,
    );
    const { json } = await stack.ask(
      'POST',
      `${path}?action=execute`,
      { action: 'http://houssem.org/cmbs/message/action#execute' },
      alice,
    );
    expect(json).toMatchObject({ attributes: { 'cmbs.message.result': { error: { code: -32000 } } } });
  });

  it('expires, and the next one removes it', async () => {
    const { session, token } = await open();
    later = 13 * HOUR_MS;
    expect((await stack.post(CALL, bearer(token))).status).toBe(401);
    await open();
    expect((await stack.ask('GET', `/cmbs/access/token/${session}`, undefined, alice)).status).toBe(404);
  });

  it('is one of at most 100', async () => {
    let refused: unknown;
    let opened = 0;
    for (; refused === undefined; opened += 1) {
      const answer = await open();
      if (answer.code !== undefined) refused = answer;
    }
    expect(opened).toBeLessThanOrEqual(101);
    expect(refused).toMatchObject({ code: -32000, data: { code: 'conflict' } });
    later = 26 * HOUR_MS;
    expect(await open()).toMatchObject({ principal: 'user:alice' });
  });
});
