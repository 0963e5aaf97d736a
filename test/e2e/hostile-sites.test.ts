/** Requests that a foreign web page makes a user's browser send, to every endpoint of the local stack. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { contentOf, Fleet, linesOf, MESSAGE, type Deployment } from './harness';
import { PATIENCE_MS } from '../patience';

const CONSOLE = 'https://console.example';
const fleet = new Fleet();
let deployment: Deployment;

beforeAll(async () => {
  deployment = await fleet.start({ env: { CMBS_ALLOWED_ORIGINS: CONSOLE, CMBS_ALLOWED_HOSTS: 'inner.example' } });
});
afterAll(() => fleet.close());

/** The server's output until it closes the connection. */
async function exchange(request: string, headers: readonly string[], body = ''): Promise<string> {
  const { hostname, port } = new URL(deployment.url);
  const socket = connect(Number(port), hostname);
  socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('the server neither answered nor closed')));
  const received: Buffer[] = [];
  socket.on('data', (data) => received.push(data));
  const lines = [`${request} HTTP/1.1`, ...headers, `Content-Length: ${body.length}`, 'Connection: close'];
  // A browser adds the credentials that its user gave for the deployment.
  socket.write(`${lines.join('\r\n')}\r\n${linesOf(deployment.headers)}\r\n${body}`);
  await once(socket, 'close');
  return Buffer.concat(received).toString('utf8');
}

const OWN = 'Host: localhost';
const STRANGER = 'Origin: https://page.example';
const MAKE = `Category: message; scheme="${MESSAGE.slice(0, -'message'.length)}"; class="kind"\nX-OCCI-Attribute: occi.core.title="forged"`;
const PLAIN = 'Content-Type: text/plain';

const messages = async (): Promise<unknown> => (await deployment.get('/cmbs/message/')).json.resources;

describe('a request that a foreign page makes a browser send', () => {
  it.each([
    ['a foreign origin', 403, [OWN, STRANGER, 'Sec-Fetch-Site: cross-site']],
    ['an origin that hides itself', 403, [OWN, 'Origin: null']],
    ['a page of another port', 403, [OWN, 'Origin: http://localhost:3000', 'Sec-Fetch-Site: same-site']],
    ['no origin, from another site', 403, [OWN, 'Sec-Fetch-Site: cross-site']],
    ['a name that was made to lead here', 421, ['Host: rebound.example', 'Origin: http://rebound.example']],
  ])('changes nothing: %s', async (_, status, headers) => {
    const before = await messages();
    for (const at of ['/cmbs/message/', '/fn/message/cmbs/message/', '/', '/fn/occi/']) {
      const answer = await exchange(`POST ${at}`, [...headers, PLAIN], MAKE);
      expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(answer).toMatch(/^X-OCCI-Error: .*CMBS_ALLOWED_(?:ORIGINS|HOSTS)\.\r$/m);
      expect(answer).not.toMatch(/^Access-Control/m);
    }
    expect(await messages()).toEqual(before);
  });

  it('is refused at every endpoint except probes', async () => {
    for (const target of ['/-/', '/metrics', '/cmbs/member/', '/fn/health/readyz', '/push/x', '/nothing']) {
      expect(await exchange(`GET ${target}`, [OWN, STRANGER])).toMatch(/^HTTP\/1\.1 403 /);
      expect(await exchange(`GET ${target}`, ['Host: rebound.example'])).toMatch(/^HTTP\/1\.1 421 /);
      expect(await exchange(`GET http://rebound.example${target}`, [OWN])).toMatch(/^HTTP\/1\.1 421 /);
    }
    expect(await exchange('GET /healthz', ['Host: rebound.example'])).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('neither opens the event stream of an inbox nor leases its entries', async () => {
    const [bob, alice] = [await deployment.member({ start: ['l1'] }), await deployment.member({ start: ['l1'] })];
    const inbox = `${bob.path}/inbox/`;
    const message = await deployment.message('l1', { to: bob.sockets.l1, content: 'for bob' });
    expect((await deployment.act(message, 'send_l1', { from: alice.uri })).status).toBe(200);
    const stream = await exchange(`GET ${inbox}`, [OWN, STRANGER, 'Accept: text/event-stream']);
    expect(stream).toMatch(/^HTTP\/1\.1 403 /);
    const embedded = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image'];
    expect(await exchange(`GET ${inbox}?lease=3600`, [OWN, ...embedded])).toMatch(/^HTTP\/1\.1 403 /);
    const followed = ['Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document'];
    expect(await exchange(`GET ${inbox}?lease=3600`, [OWN, ...followed])).toMatch(/^HTTP\/1\.1 200 /);
    // None of the requests leased the entry.
    expect((await deployment.inbox(bob)).map(contentOf)).toEqual(['for bob']);
  });
});

describe('a request of an allowed page', () => {
  it("is served for the server's own pages without CORS headers", async () => {
    for (const host of ['localhost:1234', 'inner.example']) {
      const own = [`Host: ${host}`, `Origin: http://${host}`, 'Sec-Fetch-Site: same-origin', PLAIN];
      const answer = await exchange('POST /cmbs/message/', own, MAKE);
      expect(answer).toMatch(/^HTTP\/1\.1 201 /);
      expect(answer).not.toMatch(/^Access-Control/m);
    }
  });

  it('is served for the configured origin after a preflight, and the page can read the answer', async () => {
    const from = [OWN, `Origin: ${CONSOLE}`, 'Sec-Fetch-Site: cross-site'];
    const asking = ['Access-Control-Request-Method: DELETE', 'Access-Control-Request-Headers: content-type'];
    const preflight = await exchange('OPTIONS /cmbs/message/', [...from, ...asking]);
    expect(preflight).toMatch(/^HTTP\/1\.1 204 /);
    expect(preflight).toMatch(/^Access-Control-Allow-Methods: .*DELETE/m);
    expect(preflight).toMatch(/^Access-Control-Allow-Headers: content-type\r$/m);
    const made = await exchange('POST /cmbs/message/', [...from, PLAIN], MAKE);
    expect(made).toMatch(/^HTTP\/1\.1 201 /);
    for (const answer of [preflight, made, await exchange('GET /nothing', from)]) {
      expect(answer).toMatch(/^Access-Control-Allow-Origin: https:\/\/console\.example\r$/m);
      expect(answer).toMatch(/^Vary: Accept, Origin\r$/m);
    }
    expect(made).toMatch(/^Access-Control-Expose-Headers: .*Location/m);
  });
});
