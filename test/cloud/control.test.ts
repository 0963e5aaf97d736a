/** The companion's control endpoint: authentication, answers, and invalid requests. */
import { connect } from 'node:net';
import { LOCAL_FUNCTIONS_ACCOUNT } from '../../shared/rpc/identity/local';
import { MAX_CONTROL_BODY_BYTES } from '../../companion/control';
import { startCloudCompanion, type CloudCompanion } from '../../companion/cloud';
import { silentLog, type JsonObject } from '@cmbs/shared';
import { eventually, Fleet, type Answer, type Deployment, type Member } from '../e2e/harness';
import { isListening } from './balancer';
import { cloudEngine, cloudEnvironment, configOf } from './deployment';
import { describeOnEmulators, uniqueProject } from './support';
import { Tokens, type Fields } from './tokens';
import { PATIENCE_MS } from '../patience';

describeOnEmulators('the control endpoint', (hosts) => {
  const fleet = new Fleet();
  const tokens = new Tokens(LOCAL_FUNCTIONS_ACCOUNT, 'cmbs-companion');
  const projectId = uniqueProject();
  let here: Deployment;
  let url: string;
  let member: Member;
  let standby: CloudCompanion;

  beforeAll(async () => {
    const cloud = cloudEngine(hosts, { GOOGLE_CLOUD_PROJECT: projectId });
    here = await fleet.start({ engine: cloud.engine });
    url = cloud.parts().companion?.url ?? '';
    member = await here.member({ title: 'bob' });
    const settings = await cloudEnvironment(hosts, { GOOGLE_CLOUD_PROJECT: projectId });
    standby = await startCloudCompanion({ config: configOf(settings), log: silentLog });
    fleet.using(standby, (one) => one.close());
  });
  afterAll(() => fleet.close());

  const startL1 = (): JsonObject => ({ member: member.path, action: 'reconcile', args: { layer: 'l1' } });
  const perform = (body: string | JsonObject, fields: Fields = tokens.good(), at = url): Promise<Answer> =>
    here.request('POST', `${at}/perform`, body, fields);

  test('performs calls of functions that have a valid token', async () => {
    const { status, json } = await perform(startL1());
    expect([status, json]).toEqual([200, { reply: { state: 'stopped' } }]);
  });

  describe('with the socket of a member open', () => {
    const release = (fields: Fields): Promise<Answer> =>
      perform({ member: member.path, action: 'release', args: {} }, fields);
    const isOpen = (): Promise<boolean> => {
      const { hostname, port } = new URL(member.sockets.l1);
      return isListening(hostname, Number(port));
    };
    beforeAll(async () => {
      await here.must(200, here.act(member.path, 'start_l1'));
      expect(await isOpen()).toBe(true);
    });

    test.each(tokens.forgeries())('refuses %s with %i, and does nothing', async (_, status, fields) => {
      const answer = await release(fields());
      expect(answer.status).toBe(status);
      if (status === 401) expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      // The answer must not help an attacker.
      expect(answer.text).not.toMatch(/at .*\.ts|stack|cmbs\.member/);
      expect(await isOpen()).toBe(true);
    });

    test('closes the socket for an authorized caller', async () => {
      expect((await release(tokens.good())).status).toBe(200);
      expect(await isOpen()).toBe(false);
    });
  });

  test('checks the token before it reads the call', async () => {
    expect((await perform('no JSON', {})).status).toBe(401);
    expect((await perform('x'.repeat(MAX_CONTROL_BODY_BYTES * 2), {})).status).toBe(401);
  });

  test.each<[string, number, string | JsonObject]>([
    ['a body that is not JSON', 400, '{"member":'],
    ['an empty body', 400, ''],
    ['a body that is not an object', 400, '[]'],
    ['an unknown action', 400, { member: '/x', action: 'shutdown', args: {} }],
    ['an inherited name for an action', 400, { member: '/x', action: 'constructor', args: {} }],
    ['arguments of another form', 400, { member: '/x', action: 'reconcile', args: { layer: 'l9' } }],
    ['unknown arguments', 400, { member: '/x', action: 'release', args: { all: true } }],
    ['an unknown member', 404, { member: '/cmbs/member/none', action: 'check_neighbors', args: {} }],
  ])('answers %s with %i', async (_, status, body) => {
    const answer = await perform(body);
    expect([answer.status, answer.error]).toEqual([status, expect.stringMatching(/\.$/)]);
  });

  test('refuses a body above the limit, with and without a length', async () => {
    const long = JSON.stringify({ ...startL1(), more: 'x'.repeat(MAX_CONTROL_BODY_BYTES) });
    expect((await perform(long)).status).toBe(413);
    const chunks = new ReadableStream({
      start(controller) {
        for (let at = 0; at < 4; at += 1) controller.enqueue(Buffer.alloc(MAX_CONTROL_BODY_BYTES / 2, 'x'));
        controller.close();
      },
    });
    const streamed = fetch(`${url}/perform`, {
      method: 'POST',
      headers: tokens.good(),
      body: chunks,
      ...{ duplex: 'half' },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    expect((await streamed).status).toBe(413);
  });

  test.each([
    ['GET', '/perform', 405, 'POST'],
    ['POST', '/healthz', 405, 'GET, HEAD'],
    ['DELETE', '/metrics', 405, 'GET, HEAD'],
    ['GET', '/', 404, null],
  ])('answers %s %s with %i', async (method, path, status, allow) => {
    const answer = await here.request(method, url + path);
    expect([answer.status, answer.headers.get('allow')]).toEqual([status, allow]);
  });

  test.each([
    '/../etc/passwd',
    '/healthz/../../../etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '//etc/passwd',
    'file:///etc/passwd',
  ])('answers GET %s with 404, without normalizing the path', async (target) => {
    const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  });

  /** The whole answer of the endpoint to a request that no HTTP client would send. */
  async function raw(text: string): Promise<string> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    socket.setEncoding('utf8').setTimeout(PATIENCE_MS, () => socket.destroy(new Error('no answer in time')));
    socket.write(text);
    let answer = '';
    for await (const chunk of socket as AsyncIterable<string>) answer += chunk;
    return answer;
  }

  test.each([
    ['another host name', 'GET /metrics', 'Host: rebound.example', 421],
    ['a web page', 'GET /metrics', 'Host: localhost\r\nOrigin: https://page.example', 403],
    ['a cross-site request', 'POST /perform', 'Host: localhost\r\nSec-Fetch-Site: cross-site', 403],
    ['a probe with another host name', 'GET /healthz', 'Host: rebound.example', 200],
  ])('answers %s with the expected status', async (_, request, headers, status) => {
    const answer = await raw(`${request} HTTP/1.1\r\n${headers}\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  test('reports that it is alive and ready, and shows its metrics', async () => {
    expect((await here.get(`${url}/healthz`)).status).toBe(200);
    expect((await here.get(`${url}/readyz`)).json).toEqual({ status: 'ok' });
    const { headers, text } = await here.get(`${url}/metrics`);
    expect(headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toMatch(/^cmbs_shard_held 1$/m);
    for (const name of [
      'cmbs_messages_queued',
      'cmbs_oldest_queued_seconds',
      'cmbs_layers_failing',
      'cmbs_sockets_open',
    ]) {
      expect(text).toMatch(new RegExp(`^# TYPE ${name} gauge$`, 'm'));
    }
  });

  test('reports a standby as alive but not ready, and sends callers to the other companion', async () => {
    expect((await here.get(`${standby.url}/healthz`)).status).toBe(200);
    const ready = await here.get(`${standby.url}/readyz`);
    expect([ready.status, ready.json]).toEqual([503, { status: 'standby' }]);
    expect((await here.get(`${standby.url}/metrics`)).text).toMatch(/^cmbs_shard_held 0$/m);
    const answer = await perform(startL1(), tokens.good(), standby.url);
    expect([answer.status, answer.json]).toEqual([
      503,
      { error: { code: 'unavailable', message: expect.any(String) as string, details: { standby: true } } },
    ]);
  });

  test('keeps serving after callers that disconnect or do not speak HTTP', async () => {
    const { hostname, port } = new URL(url);
    for (const text of [
      '\0\x01\x02',
      'POST /perform HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{',
      'GET',
    ]) {
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined);
      socket.write(text, () => socket.resetAndDestroy());
      await new Promise((resolve) => socket.once('close', resolve));
    }
    expect((await perform(startL1())).status).toBe(200);
  });
});

describeOnEmulators('a companion with wrong settings', (hosts) => {
  test('reports that its control port is in use', async () => {
    const settings = await cloudEnvironment(hosts);
    const first = await startCloudCompanion({ config: configOf(settings), log: silentLog });
    try {
      await eventually(
        async () => (await fetch(`${first.url}/readyz`)).status,
        (status) => status === 200,
        'the first companion is ready',
      );
      const second = startCloudCompanion({ config: configOf(settings), log: silentLog });
      await expect(second).rejects.toThrow(`Cannot listen on 127.0.0.1:${settings.CMBS_CONTROL_PORT}`);
    } finally {
      await first.close();
    }
  });
});
