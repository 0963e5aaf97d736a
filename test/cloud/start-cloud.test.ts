/**
 * `npm run start:cloud` as a user runs it: all functions behind one endpoint, and the companion, with the log and the
 * metrics of a deployment.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { VERSION, type JsonObject } from '@cmbs/shared';
import { contentOf, eventually, Fleet, freeSocket, unique, type Deployment, type Member } from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEnvironment, type EnvironmentVariables } from './deployment';
import { Outside } from './outside';
import { Program } from './processes';
import { describeOnEmulators, uniqueProject } from './support';
import { notEmpty } from '../not-empty';
import { describeNightly, itNightly } from '../skipping';

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c';
const TRACEPARENT = `00-${TRACE_ID}-b7ad6b7169203331-01`;
const SECRET = 'nobody-may-read-this-in-a-log';

describeOnEmulators('npm run start:cloud', (hosts) => {
  const fleet = new Fleet();
  const projectId = uniqueProject();
  let program: Program;
  let control: string;
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  beforeAll(async () => {
    const engine = async (): Promise<{ url: string; metrics: string[]; close: () => Promise<void> }> => {
      const settings = await cloudEnvironment(hosts, {
        GOOGLE_CLOUD_PROJECT: projectId,
        CMBS_LOG: 'info',
        CMBS_MEMORY_LIMIT_MB: '400',
        NODE_OPTIONS: `--require=${join(__dirname, 'grow.cjs')}`,
      });
      const url = settings.CMBS_PUBLIC_URL ?? '';
      control = `http://127.0.0.1:${settings.CMBS_CONTROL_PORT}`;
      program = new Program('local/cloud.js', [], settings);
      await program.answers(`${url}/readyz`, 200);
      return { url, metrics: [`${url}/metrics`, `${control}/metrics`], close: () => program.kill() };
    };
    here = await fleet.start({ engine });
    alice = await here.member({ title: 'alice', start: ['l1'] });
    bob = await here.member({ title: 'bob', topics: ['traced'], start: ['l1', 'l32'] });
  });
  afterAll(() => fleet.close());

  const act = (
    path: string,
    term: string,
    more: Readonly<Record<string, string>> = {},
  ): ReturnType<Deployment['act']> =>
    here.act(
      path,
      term,
      { from: alice.id },
      { traceparent: TRACEPARENT, Authorization: `Bearer ${SECRET}`, ...more },
    );
  /** Waits until `wanted` accepts the log entries of an event. */
  const entries = (
    event: string,
    wanted: (found: readonly JsonObject[]) => boolean,
    matching: JsonObject = {},
  ): Promise<readonly JsonObject[]> =>
    eventually(
      () =>
        program.entries.filter(
          (entry) =>
            entry.event === event && Object.entries(matching).every(([name, value]) => entry[name] === value),
        ),
      wanted,
      `log entries ${event} ${JSON.stringify(matching)}`,
    );
  const traceOf = (entry: JsonObject | undefined): unknown => entry?.['logging.googleapis.com/trace'];
  const trace = `projects/${projectId}/traces/${TRACE_ID}`;

  test('prints the URL of its endpoint', () => {
    expect(program.lines).toContain(`CMBS ${VERSION}: the OCCI endpoint answers on ${here.url}`);
  });

  test('logs a line for each request and each delivery, in one trace from HTTP over ZeroMQ to the receiver', async () => {
    const path = await here.message('l1', { to: bob.sockets.l1, content: { key: SECRET } });
    await here.must(200, act(path, 'send_l1'));
    const [received] = await entries('delivery', ({ length }) => length === 1, { direction: 'in', layer: 'l1' });
    const [sent] = await entries('delivery', ({ length }) => length === 1, { direction: 'out', layer: 'l1' });
    const [request] = await entries('request', ({ length }) => length === 1, {
      path,
      function: 'message-send-l1',
    });
    expect([request, sent, received].map(traceOf)).toEqual([trace, trace, trace]);
    expect(request).toMatchObject({
      severity: 'INFO',
      message: 'request',
      method: 'POST',
      status: 200,
      client: '127.0.0.1',
      ms: expect.any(Number) as number,
      'logging.googleapis.com/labels': { part: 'functions' },
    });
    expect(sent).toMatchObject({
      message: 'sent',
      member: alice.path,
      id: path,
      receiver: bob.sockets.l1,
      outcome: 'delivered',
      attempts: 1,
      'logging.googleapis.com/labels': { part: 'companion', shard: 'main' },
    });
    expect(received).toMatchObject({ member: bob.path, outcome: 'accepted' });
    const [entry] = await here.receives(bob, 1);
    const transfer = JSON.stringify(entry?.message);
    expect(transfer).toContain(TRACE_ID);
  });

  test('passes the trace through Pub/Sub to members and to outside subscribers', async () => {
    const outside = fleet.using(new Outside(hosts, projectId), (one) => one.close());
    const subscriber = await outside.subscribe('cmbs.l32.traced', unique('subscriber'));
    const path = await here.message('l32', { topics: ['traced'], content: SECRET });
    await here.must(200, act(path, 'send_l32'));
    const [seen] = await subscriber.until(1);
    expect(seen?.attributes).toMatchObject({ traceparent: TRACEPARENT, 'ce-traceparent': TRACEPARENT });
    const [received] = await entries('delivery', ({ length }) => length === 1, { direction: 'in', layer: 'l32' });
    const [sent] = await entries('delivery', ({ length }) => length === 1, { direction: 'out', layer: 'l32' });
    expect([sent, received].map(traceOf)).toEqual([trace, trace]);
    expect((await here.inbox(bob)).map(contentOf)).toContain(SECRET);
  });

  test('logs that the companion holds the lease', async () => {
    await entries('lease_held', ({ length }) => length > 0, { shard: 'main', severity: 'INFO' });
  });

  test('counts requests, deliveries, queued messages and their age, and open sockets', async () => {
    const nobody = await freeSocket();
    const waiting = await here.send('l1', { to: nobody, from: alice.id, content: SECRET });
    expect(waiting.status).toBe(202);
    expect(await here.metric('cmbs_requests', { function: 'message-send-l1', status: '202' })).toBe(1);
    expect(await here.metric('cmbs_deliveries', { layer: 'l1', outcome: 'delivered' })).toBe(1);
    expect(await here.metric('cmbs_deliveries', { layer: 'l32', outcome: 'published' })).toBe(1);
    expect(await here.metric('cmbs_messages_queued')).toBe(1);
    await eventually(
      () => here.metric('cmbs_oldest_queued_seconds'),
      (age) => age > 0,
      'the oldest queued message has an age',
    );
    expect(await here.metric('cmbs_sockets_open', { layer: 'l1' })).toBe(2);
    expect(await here.metric('cmbs_layers_failing')).toBe(0);
    expect(await here.metric('cmbs_shard_held')).toBe(1);
  });

  test('logs an invalid request in one line, without its content', async () => {
    const path = `/cmbs/message/${unique('bad')}`;
    expect((await here.request('PUT', path, `{"attributes":{"${SECRET}"`)).status).toBe(400);
    const [request] = await entries('request', ({ length }) => length === 1, { path });
    expect(request).toMatchObject({ status: 400, severity: 'INFO' });
  });

  test('never logs contents or credentials, and logs only JSON in the form of Cloud Logging', async () => {
    expect(program.lines.filter((line) => line.includes(SECRET))).toEqual([]);
    const others = program.lines.filter((line) => !line.startsWith('{'));
    expect(others).toEqual([expect.stringContaining('the OCCI endpoint answers on')]);
    for (const entry of notEmpty(program.entries)) {
      expect(entry).toMatchObject({
        severity: expect.stringMatching(/^(?:INFO|WARNING|ERROR)$/) as string,
        message: expect.any(String) as string,
        time: expect.stringMatching(/Z$/) as string,
      });
    }
    expect(program.entries.filter(({ severity }) => severity === 'ERROR')).toEqual([]);
  });

  const companionPid = async (): Promise<number> => {
    const [companion] = (await readFile(`/proc/${program.pid}/task/${program.pid}/children`, 'utf8')).split(' ');
    return Number(companion);
  };

  itNightly('restarts a companion that died, and counts the restart', async () => {
    process.kill(await companionPid(), 'SIGABRT');
    await entries('restarted', ({ length }) => length === 1, { reason: 'SIGABRT', severity: 'WARNING' });
    // The lease of the dead companion has to expire first.
    await eventually(
      () => here.metric('cmbs_shard_held').catch(() => 0),
      (held) => held === 1,
      'the shard is held again',
    );
    expect(await here.metric('cmbs_restarts_total', { reason: 'SIGABRT' })).toBe(1);
  });

  test('restarts the companion after a handover when the companion exceeds its memory limit', async () => {
    const before = await here.metric('cmbs_messages_queued');
    expect(before).toBeGreaterThan(0);
    process.kill(await companionPid(), 'SIGUSR2');
    const [exceeded] = await entries('memory_exceeded', ({ length }) => length === 1, { limit_mb: 400 });
    expect(exceeded).toMatchObject({ severity: 'ERROR', used_mb: expect.any(Number) as number });
    // An orderly stop releases the lease and keeps queued messages.
    await entries('stopped', ({ length }) => length === 1);
    await entries('restarted', ({ length }) => length === 1, { reason: 'memory' });
    await eventually(
      () => here.metric('cmbs_shard_held').catch(() => 0),
      (held) => held === 1,
      'the shard is held again',
      60_000,
    );
    expect(await here.metric('cmbs_restarts_total', { reason: 'memory' })).toBe(1);
    expect(await here.metric('cmbs_messages_queued')).toBe(before);
  }, 90_000);

  test('stops both parts within ten seconds, and keeps queued messages', async () => {
    expect(await program.stop()).toBeLessThan(10_000);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.entries.map(({ event }) => event)).toContain('stopped');
    await expect(fetch(`${control}/healthz`)).rejects.toThrow('fetch failed');
  });
});

describeOnEmulators('npm run start:cloud with wrong settings', (hosts) => {
  const run = async (
    args: readonly string[],
    more: EnvironmentVariables = {},
  ): Promise<readonly [number | null, string]> => {
    const program = new Program('local/cloud.js', args, { ...(await cloudEnvironment(hosts)), ...more });
    const { code } = await program.ended;
    return [code, program.lines.join('\n')];
  };

  const refuses = async (args: readonly string[], said: string): Promise<void> => {
    const [code, text] = await run(args);
    expect([code, text]).toEqual([2, expect.stringContaining(said)]);
    expect(text).not.toMatch(/\bat .*:\d+:\d+/);
  };

  test.each<[string[], string]>([
    [['--function', 'nothing', '--port', '1'], 'There is no function nothing; there are: query, member-inbox'],
    [['--function', 'query', '--port', 'x'], '"x" is not a port'],
    [['--shard', 'x'], "Unknown option '--shard'"],
  ])('refuses %j with the reason', refuses);

  describeNightly('and with more of them', () => {
    test.each<[string[], string]>([
      [['--function', 'query'], '--function needs --port PORT.'],
      [['--function', 'query', '--port', '65536'], '"65536" is not a port'],
      [['--function', 'query', '--port', '0'], '"0" is not a port'],
      [['--port', '1'], '--port goes with --function'],
      [['--only', 'store'], '--only takes functions or companion.'],
      [['--only', 'functions', '--function', 'query', '--port', '1'], 'leave --only out'],
    ])('refuses %j with the reason', refuses);
  });

  test('reports a port in use, and leaves no process running', async () => {
    const control = String(await freePort());
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const [code, text] = await run([], { PORT: String(port), CMBS_CONTROL_PORT: control });
      expect([code, text]).toEqual([1, expect.stringContaining(`127.0.0.1:${port}`)]);
      await expect(fetch(`http://127.0.0.1:${control}/healthz`)).rejects.toThrow('fetch failed');
      const alone = await run(['--function', 'query', '--port', String(port)]);
      expect(alone).toEqual([1, expect.stringContaining(`Port ${port} cannot be used: something listens there`)]);
    } finally {
      server.close();
    }
  });

  test('reports all invalid settings at once', async () => {
    const [code, text] = await run([], { CMBS_LOG: 'loud', CMBS_PROT: '1' });
    expect([code, text.split('\n')]).toEqual([
      1,
      [
        expect.stringContaining('CMBS_LOG="loud" must be'),
        'CMBS_PROT is not a setting; the option --help lists them.',
      ],
    ]);
  });

  test('reports a missing project when there are no emulators', async () => {
    const nowhere = { FIRESTORE_EMULATOR_HOST: '', PUBSUB_EMULATOR_HOST: '', GOOGLE_CLOUD_PROJECT: '' };
    const [code, text] = await run([], nowhere);
    expect([code, text]).toEqual([1, expect.stringContaining('GOOGLE_CLOUD_PROJECT')]);
  });
});
