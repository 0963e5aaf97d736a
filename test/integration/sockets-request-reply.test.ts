import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Dealer, Publisher, Reply, Request, Router } from 'zeromq';
import type { PeerError } from '../../companion/exchanges/exchange';
import { Requester, type RequesterOptions } from '../../companion/exchanges/zeromq/requester';
import { type Address, parseAddress } from '@cmbs/shared/broker';
import { Replier, type ReplierOptions, type RequestHandler } from '../../companion/exchanges/zeromq/replier';
import { type Clock, CmbsError, systemClock } from '@cmbs/shared';
import {
  becomes,
  deferred,
  freePort,
  next,
  recordedEnvironment,
  type RecordedEnvironment,
  within,
} from './sockets-support';

/** Milliseconds that count as "at once" on a busy machine: half of the time-out of the requests. */
const AT_ONCE_MS = 30_000;

const LOOPBACK = 'tcp://127.0.0.1:*';

let environment: RecordedEnvironment;
/** Resources of a test, closed in reverse order after the test. */
let opened: (() => unknown)[];

beforeEach(() => {
  environment = recordedEnvironment();
  opened = [];
});

afterEach(async () => {
  for (const close of opened.reverse()) await close();
  expect(environment.context.size).toBe(0); // each owner has closed its resources
  environment.context.close();
});

/** The address of a socket at a path, as the address rules derive it from a name. */
const ipc = (path: string): Address => ({ scheme: 'ipc', text: `ipc://${path}`, path });

function requester(address: Address | string, options: Partial<RequesterOptions> = {}): Requester {
  const made = new Requester(address, { ...environment, ...options });
  opened.push(() => made.close());
  return made;
}

async function replier(
  handler: RequestHandler,
  options: Partial<ReplierOptions> = {},
  at: Address | string = LOOPBACK,
) {
  const errorReply = (error: CmbsError): string => `${error.code}: ${error.message}`;
  const made = await Replier.bind(at, handler, { ...environment, errorReply, ...options });
  opened.push(() => made.close(0));
  return made;
}

function own<S extends { close(): void }>(socket: S): S {
  opened.push(() => socket.close());
  return socket;
}

function plain<S extends Request | Dealer>(socket: S, address: string): S {
  socket.connect(address);
  return own(socket);
}

/** A plain `REP` peer that answers each request with the result of `answer`. */
async function plainReply(at = LOOPBACK, answer = (body: string) => `re: ${body}`): Promise<Reply> {
  const socket = own(new Reply({ linger: 0 }));
  await socket.bind(at);
  void (async () => {
    for await (const [body] of socket) await socket.send(answer(String(body)));
  })();
  return socket;
}

/** Binds a plain peer to a port that another plain socket is releasing. */
async function bindWhenFree(address: string): Promise<void> {
  for (;;) {
    try {
      await plainReply(address);
      return;
    } catch (error) {
      expect(error).toMatchObject({ code: 'EADDRINUSE' });
    }
  }
}

function endpointOf(socket: { readonly lastEndpoint: string | null }): string {
  if (socket.lastEndpoint === null) throw new Error('the socket is not bound');
  return socket.lastEndpoint;
}

async function tcpServer(
  onConnection: Parameters<typeof createServer>[1],
): Promise<{ server: Server; address: string }> {
  const server = createServer(onConnection).listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(() => server.close());
  return { server, address: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function failure(promise: Promise<unknown>): Promise<PeerError> {
  const [outcome] = await Promise.allSettled([within(promise, 'an outcome')]);
  if (outcome.status === 'fulfilled') throw new Error('the request did not fail');
  return outcome.reason as PeerError;
}

function isUp(peer: Requester): Promise<void> {
  if (peer.state === 'up') return Promise.resolve();
  return next(
    (listener) => peer.onState(listener),
    (state) => state === 'up',
    'the peer is up',
  );
}

describe('a requester and a plain REP peer', () => {
  it('exchange 128 requests in flight, each with its own reply', async () => {
    const peer = requester(endpointOf(await plainReply()));
    const bodies = Array.from({ length: 128 }, (_, index) => `message ${index}`);
    const replies = await within(Promise.all(bodies.map((body) => peer.request(body))), '128 replies');
    expect(replies.map(String)).toEqual(bodies.map((body) => `re: ${body}`));
    expect(peer.pending).toBe(0);
  });

  it('exchange an empty body and a body of one megabyte', async () => {
    const peer = requester(endpointOf(await plainReply(LOOPBACK, (body) => body)));
    const large = 'ü'.repeat(512 * 1024);
    expect(String(await peer.request(''))).toBe('');
    expect(String(await peer.request(Buffer.from(large)))).toBe(large);
  });

  it('connect over ipc, and notice the loss of the path at once', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cmbs-'));
    opened.push(() => rm(folder, { recursive: true }));
    const address = `ipc://${folder}/l1.sock`;
    const rep = await plainReply(address);
    const peer = requester(ipc(`${folder}/l1.sock`));
    expect(String(await peer.request('a'))).toBe('re: a');
    const down = next(
      (listener) => peer.onState(listener),
      (state) => state === 'down',
      'the peer is down',
    );
    rep.close();
    await down;
    expect(await failure(peer.request('b'))).toMatchObject({ reason: 'no_listener' });
  });

  it('connect by an ipc name', async () => {
    const { port } = new URL(endpointOf(await plainReply()));
    expect(String(await within(requester(`tcp://localhost:${port}`).request('a'), 'a reply'))).toBe('re: a');
  });
});

describe('a request to an address where nobody listens', () => {
  it('fails with no_listener long before its time-out, the first time and later', async () => {
    const peer = requester(`tcp://127.0.0.1:${await freePort()}`);
    for (let time = 0; time < 3; time += 1) {
      const started = performance.now();
      const error = await failure(peer.request('a', { timeoutMs: 60_000 }));
      expect(error).toMatchObject({ name: 'PeerError', reason: 'no_listener', sent: false });
      expect(error.message).toContain('nobody listens there');
      expect(performance.now() - started).toBeLessThan(AT_ONCE_MS);
    }
    expect(peer.state).toBe('down');
  });

  it('fails with no_listener over ipc and for a name that does not exist', async () => {
    expect(await failure(requester(ipc('/tmp/no/such/path.sock')).request('a'))).toMatchObject({
      reason: 'no_listener',
    });
    const named = await failure(requester('tcp://no-such-host.invalid:5010').request('a'));
    expect(named).toMatchObject({ reason: 'no_listener' });
    expect(named.message).toContain('cannot be resolved');
  });

  it('fails with no_listener when the server breaks the connection or does not speak ZMTP', async () => {
    const rude = await tcpServer((socket) => socket.destroy());
    expect(await failure(requester(rude.address).request('a'))).toMatchObject({ reason: 'no_listener' });
    const http = await tcpServer((socket) => {
      socket.on('error', () => undefined);
      socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    const error = await failure(requester(http.address).request('a', { timeoutMs: 20_000 }));
    expect(error).toMatchObject({ reason: 'no_listener' });
    expect(error.message).toContain('does not speak ZMTP');
  });

  it('times out when the server accepts the connection and stays silent', async () => {
    const silent = await tcpServer((socket) => socket.on('error', () => undefined));
    const error = await failure(requester(silent.address).request('a', { timeoutMs: 100 }));
    expect(error).toMatchObject({ reason: 'timeout', sent: false });
  });

  it('succeeds when a peer has started meanwhile, without waiting for the next reconnection', async () => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    let skewMs = 0;
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + skewMs };
    const peer = requester(address, { clock });
    await failure(peer.request('a'));
    await plainReply(address);
    skewMs = 1000; // the earlier refusal no longer counts
    expect(String(await within(peer.request('b'), 'a reply'))).toBe('re: b');
  });
});

describe('a peer', () => {
  it('is noticed when it leaves and returns, and then answers', async () => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const first = await plainReply(address);
    const peer = requester(address);
    expect(String(await peer.request('a'))).toBe('re: a');

    const down = next(
      (listener) => peer.onState(listener),
      (state) => state === 'down',
      'the peer is down',
    );
    first.close();
    await down;
    const up = isUp(peer);
    await bindWhenFree(address);
    await up;
    expect(String(await peer.request('b'))).toBe('re: b');
  });

  it('killed during a request makes the request fail as lost, and waiting requests as no_listener', async () => {
    const script = `const { Reply } = require('zeromq');
      const socket = new Reply();
      socket.bind('tcp://127.0.0.1:*').then(async () => {
        console.log(socket.lastEndpoint);
        await socket.receive();
        console.log('received');
        await socket.receive();
      });`;
    const child = spawn(process.execPath, ['-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: __dirname,
    });
    opened.push(() => child.kill('SIGKILL'));
    const lines = child.stdout.setEncoding('utf8');
    const [address] = (await within(once(lines, 'data'), 'the child listens')) as [string];
    const peer = requester(address.trim(), { maxInFlight: 1 });
    const inFlight = failure(peer.request('a', { timeoutMs: 60_000 }));
    const behind = failure(peer.request('b', { timeoutMs: 60_000 }));
    await within(once(lines, 'data'), 'the child has received');

    const started = performance.now();
    child.kill('SIGKILL');
    expect(await inFlight).toMatchObject({ reason: 'lost', sent: true });
    expect(performance.now() - started).toBeLessThan(AT_ONCE_MS);
    expect(await behind).toMatchObject({ reason: 'no_listener', sent: false });
  });

  it('does not lose its reply when it leaves right afterwards', async () => {
    const router = own(new Router({ linger: 1000 }));
    await router.bind(LOOPBACK);
    const peer = requester(endpointOf(router));
    const replies = Promise.all(Array.from({ length: 100 }, (_, index) => peer.request(String(index))));
    for (let index = 0; index < 100; index += 1) await router.send(await router.receive());
    router.close();
    expect((await within(replies, '100 replies')).map(Number)).toEqual(
      Array.from({ length: 100 }, (_, index) => index),
    );
  });

  it('is reconnected after a protocol violation', async () => {
    // libzmq permanently gives up on a PUB as the peer of a DEALER. Then a REP takes over the address.
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const wrong = own(new Publisher({ linger: 0 }));
    await wrong.bind(address);
    const peer = requester(address);
    expect(await failure(peer.request('a'))).toMatchObject({ reason: 'no_listener' });
    const up = isUp(peer);
    await wrong.unbind(address);
    await within(bindWhenFree(address), 'the port is free');
    await up;
    expect(String(await peer.request('b'))).toBe('re: b');
  });
});

describe('a request', () => {
  it('fails without a reply in time, frees its place, and has its late reply counted and ignored', async () => {
    const router = own(new Router());
    await router.bind(LOOPBACK);
    const peer = requester(endpointOf(router), { maxInFlight: 1 });
    await isUp(peer);
    const late = failure(peer.request('a', { timeoutMs: 50 }));
    const asked = await router.receive();
    expect(await late).toMatchObject({ reason: 'timeout', sent: true });
    expect(peer.pending).toBe(0);

    const second = peer.request('b');
    const askedAgain = await router.receive();
    await router.send(asked);
    await environment.counters.reaches('cmbs_socket_drops:unknown_reply', 1);
    await router.send(askedAgain);
    expect(String(await within(second, 'the second reply'))).toBe('b');
  });

  it('fails at once when its caller aborts it before it is sent, while it waits or in flight', async () => {
    const router = own(new Router());
    await router.bind(LOOPBACK);
    const peer = requester(endpointOf(router), { maxInFlight: 1 });
    expect(await failure(peer.request('a', { signal: AbortSignal.abort() }))).toMatchObject({ reason: 'aborted' });
    const [first, second] = [new AbortController(), new AbortController()];
    const inFlight = failure(peer.request('b', { signal: first.signal }));
    const waiting = failure(peer.request('c', { signal: second.signal }));
    await router.receive();
    second.abort();
    expect(await waiting).toMatchObject({ reason: 'aborted', sent: false });
    first.abort();
    expect(await inFlight).toMatchObject({ reason: 'aborted', sent: true });
    expect(peer.pending).toBe(0);
  });

  it('is refused as queue_full beyond the limits, and as too_large when no peer could accept it', async () => {
    const router = own(new Router());
    await router.bind(LOOPBACK);
    const peer = requester(endpointOf(router), { maxInFlight: 2, maxWaiting: 3 });
    await isUp(peer);
    const held = Array.from({ length: 5 }, () => failure(peer.request('a')));
    expect(await failure(peer.request('b'))).toMatchObject({
      code: 'queue_full',
      headers: { 'Retry-After': '1' },
    });
    expect(await failure(peer.request(Buffer.alloc(16 * 1024 * 1024 + 1)))).toMatchObject({ code: 'too_large' });
    await peer.close();
    for (const error of await Promise.all(held)) expect(error).toMatchObject({ reason: 'closed' });
    expect(await failure(peer.request('c'))).toMatchObject({ reason: 'closed' });
  });

  it('accepts only a reply with its own correlation', async () => {
    const router = own(new Router());
    await router.bind(LOOPBACK);
    const peer = requester(endpointOf(router));
    const reply = peer.request('a');
    const [id, correlation, empty] = await router.receive();
    const nonsense: (Buffer | string)[][] = [
      ['x'],
      ['', 'x'],
      ['', '', 'x'],
      ['bad!', '', 'x'],
      [correlation!, 'x'],
    ];
    for (const frames of nonsense) await router.send([id!, ...frames]);
    await environment.counters.reaches('cmbs_socket_drops', nonsense.length);
    await router.send([id!, correlation!, empty!, 'right', 'second frame']);
    expect(String(await within(reply, 'the reply'))).toBe('right');
    await environment.counters.reaches('cmbs_socket_drops:extra_reply_frames', 1);
  });
});

describe('a replier', () => {
  it('serves plain REQ peers and a DEALER side by side while one handler hangs', async () => {
    const hang = deferred<string>();
    const hanging = deferred();
    const bound = await replier((body) => {
      if (String(body) !== 'hang') return `re: ${String(body)}`;
      hanging.resolve();
      return hang.promise;
    });
    const stuck = plain(new Request(), bound.address);
    await stuck.send('hang');
    await within(hanging.promise, 'the handler hangs');
    const others = Array.from({ length: 5 }, () => plain(new Request(), bound.address));
    for (const [index, other] of others.entries()) await other.send(String(index));
    for (const [index, other] of others.entries()) {
      expect(String((await within(other.receive(), 'a reply'))[0])).toBe(`re: ${index}`);
    }
    const peer = requester(bound.address);
    const replies = await within(Promise.all(Array.from({ length: 128 }, () => peer.request('x'))), '128 replies');
    expect(replies.map(String)).toEqual(Array.from({ length: 128 }, () => 're: x'));
    hang.resolve('at last');
    expect(String((await within(stuck.receive(), 'the stuck reply'))[0])).toBe('at last');
  });

  it('returns every frame up to the empty one', async () => {
    const bound = await replier((body, { hops }) => `${String(body)} over ${hops}`);
    const dealer = plain(new Dealer(), bound.address);
    await dealer.send(['one', 'two', 'three', '', 'body']);
    expect((await within(dealer.receive(), 'a reply')).map(String)).toEqual([
      'one',
      'two',
      'three',
      '',
      'body over 3',
    ]);
  });

  it('answers with the error reply when a handler throws or rejects, and keeps working', async () => {
    const bound = await replier((body) => {
      switch (String(body)) {
        case 'throw':
          throw new Error('secret');
        case 'reject':
          return Promise.reject(new CmbsError('conflict', 'No.'));
        default:
          return 'fine';
      }
    });
    const peer = requester(bound.address);
    const internal = String(await peer.request('throw'));
    expect(internal).toContain('internal: ');
    expect(internal).not.toContain('secret');
    expect(String(await peer.request('reject'))).toBe('conflict: No.');
    expect(String(await peer.request('other'))).toBe('fine');
    expect(environment.log.errors).toEqual(['a request handler failed']);
  });

  it('survives an error reply that cannot be made', async () => {
    const errorReply = (): string => {
      throw new Error('no words');
    };
    const bound = await replier(() => Promise.reject(new Error('x')), { errorReply });
    expect(String(await within(requester(bound.address).request('a'), 'a reply'))).toBe('');
  });

  it('answers for a handler that exceeds its time-out, and drops the late reply', async () => {
    const slow = deferred<string>();
    const bound = await replier((body) => (String(body) === 'slow' ? slow.promise : 'fast'), {
      handlerTimeoutMs: 50,
      maxConcurrent: 1,
    });
    const peer = requester(bound.address);
    const [first, second] = await within(
      Promise.all([peer.request('slow'), peer.request('next')]),
      'both replies',
    );
    expect(String(first)).toContain('deadline_exceeded: ');
    expect(String(second)).toBe('fast');
    slow.resolve('too late');
    await environment.counters.reaches('cmbs_socket_drops:late_reply', 1);
  });

  it('limits the handlers that run at once, and loses no waiting request', async () => {
    let most = 0;
    let now = 0;
    const bound = await replier(
      async (body) => {
        most = Math.max(most, (now += 1));
        await new Promise(setImmediate);
        now -= 1;
        return body;
      },
      { maxConcurrent: 4 },
    );
    const peer = requester(bound.address);
    const bodies = Array.from({ length: 500 }, (_, index) => String(index));
    const replies = await within(Promise.all(bodies.map((body) => peer.request(body))), '500 replies');
    expect(replies.map(String)).toEqual(bodies);
    expect(most).toBe(4);
    expect(environment.counters.get('cmbs_socket_paused')).toBeGreaterThan(0);
  });

  it('counts a reply whose peer has left', async () => {
    const held: ((reply: string) => void)[] = [];
    const all = deferred();
    const bound = await replier((body) => {
      if (String(body) !== 'hold') return body;
      return new Promise<string>((resolve) => {
        if (held.push(resolve) === 200) all.resolve();
      });
    });
    const peer = plain(new Dealer({ linger: 0 }), bound.address);
    for (let index = 0; index < 200; index += 1) await peer.send(['', 'hold']);
    await within(all.promise, '200 requests');
    peer.close();
    // Until the ROUTER notices that the connection has ended, it accepts replies for it and loses them.
    const other = requester(bound.address);
    for (const answer of held) {
      answer('nobody hears');
      await within(other.request('b'), 'a reply');
    }
    await environment.counters.reaches('cmbs_socket_drops:peer_gone', 1);
  });

  it('cuts off a peer that reads no replies when too many wait, and serves the others', async () => {
    const large = Buffer.alloc(512 * 1024);
    const release = deferred();
    const all = deferred();
    let asked = 0;
    const bound = await replier(async (body) => {
      if (String(body) !== 'x') return body;
      if ((asked += 1) === 200) all.resolve();
      await release.promise;
      return large;
    });
    // 100 MB of replies.
    const deaf = plain(new Dealer({ linger: 0, receiveHighWaterMark: 1, receiveBufferSize: 4096 }), bound.address);
    for (let sent = 0; sent < 200; sent += 1) await deaf.send(['id', '', 'x']);
    await within(all.promise, '200 requests');
    release.resolve();
    await environment.counters.reaches('cmbs_socket_drops:peer_does_not_read', 1);
    expect(environment.context.unsent.total).toBeLessThan(5 * 1024 * 1024);
    expect(String(await within(requester(bound.address).request('a'), 'a reply'))).toBe('a');
  });

  it('stops reading requests of a peer that does not read large replies, and resumes when the peer reads', async () => {
    const large = Buffer.alloc(256 * 1024);
    let answered = 0;
    const bound = await replier(() => {
      answered += 1;
      return large;
    });
    const peer = plain(new Dealer({ linger: 0, receiveHighWaterMark: 1, receiveBufferSize: 4096 }), bound.address);
    await peer.send(['id', '', 'x']); // the first reply shows the size of the next replies
    await within(peer.receive(), 'the first reply');
    for (let sent = 0; sent < 200; sent += 1) await peer.send(['id', '', 'x']);
    await becomes(() => answered > 1, 'the second request');
    for (let received = 1; received <= 200; received += 1) {
      expect(answered - received).toBeLessThan(100);
      await within(peer.receive(), `reply ${received}`);
    }
    expect(environment.counters.get('cmbs_socket_drops')).toBe(0);
  });

  it('reports why an address cannot be bound', async () => {
    const bound = await replier((body) => body);
    const folder = await mkdtemp(join(tmpdir(), 'cmbs-'));
    opened.push(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'precious'), 'data');
    await replier((body) => body, {}, ipc(`${folder}/served.sock`));
    for (const [address, reason] of [
      [bound.address, 'address in use'],
      [ipc(`${folder}/served.sock`), 'address in use'],
      [ipc(`${folder}/precious`), 'a file of another program is there'],
      [ipc(`${folder}/no/such.sock`), 'the directory of the path is not there'],
      ['tcp://192.0.2.1:5010', 'not an address of this machine'],
      ['tcp://no-such-host.invalid:5010', 'not an address of this machine'],
    ] as const) {
      const error = await failure(replier((body) => body, {}, address));
      expect(error).toMatchObject({ code: 'conflict', details: { reason } });
      expect(error.message).toContain(reason);
    }
    expect(await failure(replier((body) => body, {}, 'tcp://127.0.0.1:70000'))).toMatchObject({
      code: 'bad_attribute',
    });
    const peer = requester(ipc(`${folder}/served.sock`));
    expect(String(await peer.request('still there'))).toBe('still there');
  });

  it('starts, serves and stops 20 times on one port and on one path', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cmbs-'));
    opened.push(() => rm(folder, { recursive: true }));
    for (const address of [parseAddress(`tcp://127.0.0.1:${await freePort()}`), ipc(`${folder}/l1.sock`)]) {
      for (let time = 0; time < 20; time += 1) {
        const bound = await replier((body) => body, {}, address);
        expect(bound.address).toBe(address.text);
        const peer = requester(address);
        expect(String(await within(peer.request(String(time)), 'a reply'))).toBe(String(time));
        if (time % 2 === 0) await peer.close(); // an open connection must not keep the port
        await bound.close();
      }
    }
    expect(environment.log.errors).toEqual([]);
  });

  it('answers its received requests before it stops, then frees the port', async () => {
    const release = deferred();
    let received = 0;
    const all = deferred();
    const bound = await replier(async (body) => {
      if ((received += 1) === 50) all.resolve();
      await release.promise;
      return body;
    });
    const peer = requester(bound.address);
    const replies = Promise.all(Array.from({ length: 50 }, (_, index) => peer.request(String(index))));
    await within(all.promise, '50 requests');
    const closed = bound.close();
    release.resolve();
    expect((await within(replies, '50 replies')).map(Number)).toEqual(
      Array.from({ length: 50 }, (_, index) => index),
    );
    await within(closed, 'the close');
    await (await replier((body) => body, {}, bound.address)).close();
  });

  it('closes after its drain time when a handler hangs, and counts the request', async () => {
    const received = deferred();
    const bound = await replier(() => {
      received.resolve();
      return new Promise<string>(() => undefined);
    });
    const asked = failure(requester(bound.address).request('a', { timeoutMs: 20_000 }));
    await within(received.promise, 'the request');
    await within(Promise.all([bound.close(100), bound.close()]), 'the close', 2000);
    await environment.counters.reaches('cmbs_socket_drops:unanswered_at_close', 1);
    expect(await asked).toMatchObject({ reason: 'lost' });
  });
});

it('a replier closes without a failure after its context was closed', async () => {
  const failures: unknown[] = [];
  const failed = (reason: unknown): void => void failures.push(reason);
  process.on('unhandledRejection', failed);
  opened.push(() => process.off('unhandledRejection', failed));
  const hanging = deferred<string>();
  const made = await replier(() => hanging.promise);
  const client = plain(new Request({ linger: 0 }), made.address);
  await client.send('x');
  await within(
    new Promise<void>((resolve) => {
      const look = (): void => (made.running > 0 ? resolve() : void setImmediate(look));
      look();
    }),
    'the request arrives',
  );
  const closed = made.close(50);
  environment.context.close();
  await within(closed, 'the replier closes');
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(failures).toEqual([]);
  expect(environment.log.errors).toEqual([]);
});
