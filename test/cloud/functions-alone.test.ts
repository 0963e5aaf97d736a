/**
 * Every function as a separate process, started through functions-framework as when deployed, and the companion as
 * another process; requests go to the function that the URL map selects, and topic messages are pushed.
 */
import { gzipSync } from 'node:zlib';
import { ROUTES } from '@cmbs/functions/routes';
import { CATEGORIES_MAX_AGE_MS } from '@cmbs/functions/cloud';
import type { Running } from '../e2e/engine';
import {
  CMBS,
  contentOf,
  eventually,
  Fleet,
  MEMBER,
  MESSAGE,
  type Deployment,
  type LayerName,
  type Member,
} from '../e2e/harness';
import { freePort } from '../integration/free-port';
import { cloudEnvironment } from './deployment';
import { CompanionProgram, FunctionProgram, UrlMap } from './processes';
import { describeOnEmulators } from './support';
import { PATIENCE_MS } from '../patience';

const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];

describeOnEmulators('with each function in a process of its own', (hosts) => {
  const fleet = new Fleet();
  const functions = new Map<string, FunctionProgram>();
  let map: UrlMap;
  let companion: CompanionProgram;
  let here: Deployment;
  let alice: Member;
  let bob: Member;

  async function start(): Promise<Running> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const settings = await cloudEnvironment(hosts, {
      CMBS_PUBLIC_URL: url,
      CMBS_TOPIC_DELIVERY: 'push',
      CMBS_PUSH_URL: url,
      CMBS_LOG: 'info',
    });
    companion = await CompanionProgram.start(settings);
    // A start uses both processors for a second, so more starts at a time would not be faster.
    const waiting = ROUTES.map(({ name }) => name);
    const startOne = async (): Promise<void> => {
      for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
        const one = new FunctionProgram(name, await freePort(), settings);
        functions.set(name, one);
        // Any status shows that the function answers.
        await one.answersAnything();
      }
    };
    await Promise.all([startOne(), startOne(), startOne()]);
    map = await UrlMap.listen(port, new Map([...functions].map(([name, one]) => [name, one.port])));
    await companion.holding();
    return {
      url,
      close: async () => {
        await map.close();
        await Promise.all([companion, ...functions.values()].map((one) => one.stop()));
      },
    };
  }

  beforeAll(async () => {
    here = await fleet.start({ engine: start });
    alice = await here.member({ title: 'alice', start: LAYERS });
    bob = await here.member({ title: 'bob', topics: ['news.*'], start: LAYERS });
  }, 300_000);
  afterAll(() => fleet.close(), 60_000);

  test('all functions are alive and ready', async () => {
    await here.must(200, here.get('/healthz'));
    await here.must(200, here.get('/readyz'));
  });

  test.each<[LayerName, object]>([
    ['l2', {}],
    ['l31', { providers: ['bob'] }],
    ['l32', { topics: ['news.today'] }],
    ['l4', { topics: ['news.today'], providers: ['bob'] }],
  ])('%s carries a message from member to member', async (layer, options) => {
    const content = `on ${layer}`;
    const sent = await here.must(200, here.send(layer, { from: alice.id, content, ...options }));
    expect(sent.delivery.state).toMatch(/^(sent|delivered)$/);
    await eventually(
      async () => (await here.inbox(bob)).map(contentOf),
      (received) => received.includes(content),
      `bob receives ${content}`,
    );
  });

  test('l1 carries a message, and its receiver acknowledges the message in the inbox', async () => {
    const sent = await here.send('l1', { to: bob.sockets.l1, from: alice.id, content: 'directly' });
    expect(sent.status).toBe(200);
    const entry = (await here.inbox(bob)).find((one) => contentOf(one) === 'directly');
    await here.must(200, here.request('DELETE', `${bob.path}/inbox/${entry?.id}`));
    expect((await here.inbox(bob)).map(contentOf)).not.toContain('directly');
  });

  test('a message is executed', async () => {
    const path = await here.message('l1', {
      executable: true,
      content: { method: 'echo.echo', params: ['x'] },
    });
    const { text } = await here.must(200, here.act(path, 'execute', { from: bob.id }));
    expect(text).toContain('"x"');
  });

  test('a dead letter is sent again and purged', async () => {
    const mute = await here.member({ local: false, sockets: { l31: '' } });
    const dead = await here.send('l31', { from: alice.id, providers: [mute.id] });
    expect(dead.status).toBe(409);
    await here.must(409, here.act(dead.path, 'resend', { from: alice.id }));
    await here.reaches(dead.path, 'failed');
    await here.must(200, here.act(dead.path, 'purge'));
    expect((await here.get(dead.path)).status).toBe(404);
  });

  test('a message is created and sent in one request', async () => {
    const sent = await here.request('POST', `/cmbs/message/?send&from=${alice.id}`, {
      kind: MESSAGE,
      mixins: [`${CMBS}l1`],
      attributes: {
        'cmbs.message.l1_socket_receiver_member': bob.sockets.l1,
        'cmbs.message.executable': 'false',
        'cmbs.message.message_content': 'in one request',
      },
    });
    expect([sent.status, sent.delivery.state]).toEqual([200, 'delivered']);
    expect((await here.inbox(bob)).map(contentOf)).toContain('in one request');
  });

  test('members are discovered', async () => {
    await here.change(alice.path, { 'cmbs.member.neighbors_socket': [bob.sockets.l1] });
    const { text } = await here.must(200, here.act(alice.path, 'check_neighbors'));
    expect(text).toContain(bob.path);
  });

  test('every function knows a new kind of a client within two seconds', async () => {
    const kind = 'http://example.org/test#thing';
    await here.must(
      200,
      here.request('POST', '/-/', {
        kinds: [
          {
            term: 'thing',
            scheme: 'http://example.org/test#',
            parent: 'http://schemas.ogf.org/occi/core#resource',
            location: '/things/',
          },
        ],
      }),
    );
    await eventually(
      async () => (await here.request('PUT', '/things/one', { kind })).status,
      (status) => status === 201,
      'the function that creates the thing knows its kind',
      // A margin, because 26 processes share two processors.
      CATEGORIES_MAX_AGE_MS + 10_000,
    );
    expect((await here.get('/things/one')).json.kind).toBe(kind);
  });

  test('members stop', async () => {
    for (const layer of LAYERS) {
      await here.must(200, here.act(alice.path, `stop_${layer}`));
      expect((await here.layer(alice, layer))?.state).toBe('stopped');
    }
    expect((await here.get('/cmbs/member/')).text).toContain(MEMBER);
  });

  test('every function received requests and logged each of them in one line', async () => {
    expect([...map.requests.keys()].sort()).toEqual(ROUTES.map(({ name }) => name).sort());
    for (const [name, one] of functions) {
      // Each function also got readiness checks at its own address.
      const pathsOf = (paths: readonly unknown[]): readonly unknown[] =>
        paths.filter((path) => path !== '/healthz').sort();
      const asked = pathsOf(map.requests.get(name) ?? []);
      const told = await eventually(
        () => pathsOf(one.entries.filter(({ event }) => event === 'request').map(({ path }) => path)),
        ({ length }) => length >= asked.length,
        `${name} logs ${asked.length} requests`,
      );
      expect([name, told]).toEqual([name, asked]);
    }
  });

  test('a message of the maximum document size is pushed', async () => {
    const content = 'x'.repeat(1_000_000);
    await here.must(200, here.send('l32', { from: alice.id, topics: ['news.large'], content }));
    await eventually(
      async () => (await here.inbox(bob)).map(contentOf),
      (received) => received.includes(content),
      'bob receives the message',
    );
  });

  test('a function refuses a malformed or compressed body with a CMBS error and does not log the body', async () => {
    const secret = 'nobody-may-read-this';
    const broken = await here.request('POST', '/cmbs/message/', `{"message_content":"${secret}",}`);
    expect([broken.status, broken.headers.get('x-occi-error')]).toEqual([400, expect.any(String)]);
    const small = gzipSync(Buffer.alloc(50_000_000));
    const response = await fetch(`${here.url}/cmbs/message/`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/occi+json', 'Content-Encoding': 'gzip' },
      body: small,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    expect([response.status, response.headers.get('x-occi-error')]).toEqual([415, expect.any(String)]);
    const lines = [...functions.values()].flatMap((one) => one.lines);
    expect(lines.filter((line) => line.includes(secret))).toEqual([]);
  });

  test('a function refuses the requests of another function', async () => {
    const port = functions.get('query')?.port;
    expect((await here.get(`http://127.0.0.1:${port}/cmbs/member/`)).status).toBe(404);
  });
});
