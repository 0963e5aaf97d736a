/** HTTP from hostile and careless clients, byte by byte: each gets one of our answers, and the next client is served. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Fleet, MEMBER, eventually, linesOf, type Deployment } from './harness';
import { PATIENCE_MS } from '../patience';

const fleet = new Fleet();
let deployment: Deployment;

beforeAll(async () => {
  deployment = await fleet.start();
});
afterAll(() => fleet.close());

const JSON_TYPE = 'Content-Type: application/json\r\n';
const HOST = 'Host: localhost\r\n';
const CLOSE = 'Connection: close\r\n';
/** Credentials, for requests that are answered differently without them. */
const own = (): string => linesOf(deployment.headers);

/** Everything that the server sends until it closes the connection. */
async function exchange(...parts: readonly (string | Buffer)[]): Promise<string> {
  const { hostname, port } = new URL(deployment.url);
  const socket = connect(Number(port), hostname);
  socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('the server neither answered nor closed')));
  const received: Buffer[] = [];
  socket.on('data', (data) => received.push(data));
  const closed = once(socket, 'close');
  for (const part of parts) socket.write(part);
  await closed;
  return Buffer.concat(received).toString('latin1');
}

/** The status, after checking what every answer of ours has. */
function statusOf(response: string): number {
  const [head = ''] = response.split('\r\n\r\n', 1);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
  expect(head).toMatch(/^Server: .*OCCI\/1\.2/m);
  if (status >= 400) expect(head).toMatch(/^X-OCCI-Error: [A-Z].*\.\r?$/m);
  expect(response).not.toMatch(/<html|\n\s+at |node:internal/i);
  return status;
}

const status = async (...parts: readonly (string | Buffer)[]): Promise<number> =>
  statusOf(await exchange(...parts));

/** The same of several answers on one connection. */
const statuses = async (...parts: readonly (string | Buffer)[]): Promise<readonly number[]> =>
  (await exchange(...parts)).split(/(?=HTTP\/1\.1 \d)/).map(statusOf);

const LAST = `GET /healthz HTTP/1.1\r\n${HOST}${CLOSE}\r\n`;

describe('a request that Node itself would refuse or drop', () => {
  it('gets our 400 without a Host header, and with two', async () => {
    expect(await status(`GET /-/ HTTP/1.1\r\n${CLOSE}\r\n`)).toBe(400);
    expect(await status(`GET /-/ HTTP/1.1\r\n${HOST}Host: other\r\n${CLOSE}\r\n`)).toBe(400);
    expect(await status(`GET /-/ HTTP/1.0\r\n${own()}\r\n`)).toBe(200);
  });

  it('gets 417 for an unknown expectation', async () => {
    expect(await status(`POST /-/ HTTP/1.1\r\n${HOST}${CLOSE}Expect: tea\r\nContent-Length: 0\r\n\r\n`)).toBe(417);
  });

  it('gets 405 for CONNECT', async () => {
    expect(await status(`CONNECT example.org:443 HTTP/1.1\r\n${HOST}\r\n`)).toBe(405);
  });
});

describe('a host that only looks well-formed', () => {
  it.each(['x:99999', '1.2.3.4.5', '256.256.256.256', '[::ffff:1.2.3.4.5.6]', '[1:2]:80', 'xn--a'])(
    '%s is refused, and nothing is created',
    async (host) => {
      const body = JSON.stringify({ kind: MEMBER, attributes: { 'cmbs.member.local': 'false' } });
      const response = await exchange(
        `POST /cmbs/member/ HTTP/1.1\r\nHost: ${host}\r\n${CLOSE}${JSON_TYPE}Content-Length: ${body.length}\r\n\r\n${body}`,
      );
      expect(statusOf(response)).toBe(421);
      expect((await deployment.get('/cmbs/member/')).json).toMatchObject({ resources: [] });
    },
  );
});

describe('a body over the limit', () => {
  const chunk = `80000\r\n${'x'.repeat(0x80000)}\r\n`;

  it('gets 413 when it comes in chunks', async () => {
    const head = `POST /cmbs/member/ HTTP/1.1\r\n${HOST}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n`;
    expect(await statuses(head, chunk, chunk, chunk, '0\r\n\r\n', LAST)).toEqual([413, 200]);
  });

  it('gets 413 at once instead of 100 when the client expects 100', async () => {
    const response = await exchange(
      `POST /cmbs/member/ HTTP/1.1\r\n${HOST}${JSON_TYPE}Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n`,
    );
    expect(statusOf(response)).toBe(413);
  });

  it('gets 100 when it is small enough', async () => {
    const response = await exchange(
      `POST /cmbs/member/ HTTP/1.1\r\n${HOST}${own()}${CLOSE}${JSON_TYPE}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`,
      '{}',
    );
    expect(response).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 400 /);
  });

  it('gets an answer that the client can read while it still sends', async () => {
    for (let round = 0; round < 10; round += 1) {
      const head = `POST /cmbs/member/ HTTP/1.1\r\n${HOST}${JSON_TYPE}Content-Length: 16777216\r\n\r\n`;
      expect(await statuses(head, Buffer.alloc(16 * 1024 * 1024, 'x'), LAST)).toEqual([413, 200]);
    }
  });
});

const waiting = (): Promise<number> => deployment.metric('cmbs_requests_in_flight');

describe('a client that hangs up', () => {
  it('in the middle of a body causes no server error', async () => {
    const { hostname, port } = new URL(deployment.url);
    for (const rest of ['Content-Length: 100\r\n\r\n{', 'Transfer-Encoding: chunked\r\n\r\n5\r\nab']) {
      const socket = connect(Number(port), hostname);
      await once(socket, 'connect');
      socket.write(`POST /cmbs/member/ HTTP/1.1\r\n${HOST}${JSON_TYPE}${rest}`);
      socket.destroySoon();
      await once(socket, 'close');
    }
    expect((await deployment.get('/healthz')).status).toBe(200);
    expect(deployment.faults).toEqual([]);
  });

  it('ends all of its pipelined requests', async () => {
    const member = await deployment.member();
    const before = await waiting();
    const { hostname, port } = new URL(deployment.url);
    const socket = connect(Number(port), hostname);
    const target = `GET ${member.path}/inbox/ HTTP/1.1\r\n${HOST}${own()}Accept: text/event-stream\r\n\r\n`;
    socket.write(target.repeat(50));
    await once(socket, 'data');
    await eventually(waiting, (count) => count >= before + 50, 'all of them wait');
    socket.destroy();
    await eventually(waiting, (count) => count <= before, 'none waits any more');
  });
});

describe('clients that do not read', () => {
  it('hold one answer each, and the server still serves other clients', async () => {
    const big = await deployment.message('l1', { content: 'x'.repeat(900_000) });
    const { hostname, port } = new URL(deployment.url);
    const before = process.memoryUsage().external + process.memoryUsage().heapUsed;
    const sockets = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = connect(Number(port), hostname);
        await once(socket, 'connect');
        socket.pause();
        socket.write(`GET ${big} HTTP/1.1\r\n${HOST}${own()}Accept: application/json\r\n\r\n`.repeat(100));
        return socket;
      }),
    );
    await eventually(waiting, (count) => count > 20 * 90, 'all but the first of each wait');
    expect((await deployment.get('/healthz')).status).toBe(200);
    const grown = process.memoryUsage().external + process.memoryUsage().heapUsed - before;
    expect(grown).toBeLessThan(20 * 100 * 900_000 * 0.2); // 2,000 answers would be 1.8 GB
    for (const socket of sockets) socket.destroy();
    await eventually(waiting, (count) => count <= 1, 'none waits any more');
  });

  it('get their pipelined answers in order once they read', async () => {
    const answers = await exchange(
      `GET /healthz HTTP/1.1\r\n${HOST}\r\nGET /nowhere HTTP/1.1\r\n${HOST}${own()}\r\n`.repeat(300) + LAST,
    );
    const found = answers.match(/HTTP\/1\.1 \d{3}/g)?.map((line) => line.slice(-3));
    expect(found).toEqual([...Array.from({ length: 300 }, () => ['200', '404']).flat(), '200']);
  });
});

describe('/metrics', () => {
  it('is served by GET only', async () => {
    expect(await status(`GET /metrics HTTP/1.1\r\n${HOST}${own()}${CLOSE}\r\n`)).toBe(200);
    for (const method of ['POST', 'PUT', 'DELETE']) {
      expect(await status(`${method} /metrics HTTP/1.1\r\n${HOST}${own()}${CLOSE}Content-Length: 0\r\n\r\n`)).toBe(
        405,
      );
    }
  });
});
