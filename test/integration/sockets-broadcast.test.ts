import { Publisher, Subscriber, XSubscriber } from 'zeromq';
import { Broadcaster } from '../../companion/exchanges/zeromq/broadcaster';
import { type BroadcastHandler, Listener, type ListenerOptions } from '../../companion/exchanges/zeromq/listener';
import {
  becomes,
  deferred,
  freePort,
  next,
  recordedEnvironment,
  type RecordedEnvironment,
  within,
} from './sockets-support';

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
  expect(environment.context.size).toBe(0);
  expect(environment.log.errors.filter((message) => message !== 'a broadcast handler failed')).toEqual([]);
  environment.context.close();
});

function broadcaster(address: string): Broadcaster {
  const made = new Broadcaster(address, environment);
  opened.push(() => made.close());
  return made;
}

async function listener(handler: BroadcastHandler, options: Partial<ListenerOptions> = {}, at = LOOPBACK) {
  const made = await Listener.bind(at, handler, { ...environment, ...options });
  opened.push(() => made.close(0));
  return made;
}

function own<S extends { close(): void }>(socket: S): S {
  opened.push(() => socket.close());
  return socket;
}

/** A plain SUB bound as in the original, subscribed to everything, that has not called receive yet. */
async function plainSubscriber(at = LOOPBACK): Promise<{ socket: Subscriber; address: string }> {
  const socket = own(new Subscriber({ linger: 0 }));
  socket.subscribe();
  for (;;) {
    try {
      await socket.bind(at);
      break;
    } catch (error) {
      expect(error).toMatchObject({ code: 'EADDRINUSE' }); // an earlier socket is releasing the port
    }
  }
  return { socket, address: socket.lastEndpoint ?? '' };
}

async function receive(socket: Subscriber, count: number): Promise<string[]> {
  const bodies: string[] = [];
  while (bodies.length < count)
    bodies.push(String((await within(socket.receive(), `message ${bodies.length}`))[0]));
  return bodies;
}

function isSubscribed(peer: Broadcaster, wanted = true): Promise<void> {
  if (peer.subscribed === wanted) return Promise.resolve();
  return next(
    (call) => peer.onSubscription(call),
    (subscribed) => subscribed === wanted,
    `subscribed: ${wanted}`,
  );
}

/** Resolves when a refused message may be sent again. */
function isWritable(peer: Broadcaster): Promise<void> {
  return next(
    (call) => peer.onWritable(() => call(true)),
    () => true,
    'writable',
  );
}

const FIFTY = Array.from({ length: 50 }, (_, index) => `broadcast ${index}`);

describe('a broadcaster', () => {
  it('refuses messages until the subscription is up, then delivers 50 of 50 in order to a plain bound SUB', async () => {
    const { socket, address } = await plainSubscriber();
    const peer = broadcaster(address);
    expect(await peer.send('too early')).toBe(false);
    const received = receive(socket, 50);
    await isSubscribed(peer);
    for (const body of FIFTY) expect(await peer.send(body)).toBe(true);
    expect(await received).toEqual(FIFTY);
  });

  it('delivers 50 of 50 in order when the messages are sent without waiting in between', async () => {
    const { socket, address } = await plainSubscriber();
    const peer = broadcaster(address);
    const received = receive(socket, 50);
    await isSubscribed(peer);
    expect(await Promise.all(FIFTY.map(async (body) => peer.send(Buffer.from(body))))).toEqual(
      FIFTY.map(() => true),
    );
    expect(await received).toEqual(FIFTY);
  });

  it('is up but not subscribed until the peer calls receive', async () => {
    const { socket, address } = await plainSubscriber();
    const peer = broadcaster(address);
    await next(
      (call) => peer.onState(call),
      (state) => state === 'up',
      'the peer is up',
    );
    expect(peer.subscribed).toBe(false);
    const received = receive(socket, 1);
    await isSubscribed(peer);
    expect(await peer.send('now')).toBe(true);
    expect(await received).toEqual(['now']);
  });

  it('reports that no peer listens, and is subscribed when a peer starts', async () => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const peer = broadcaster(address);
    await next(
      (call) => peer.onState(call),
      (state) => state === 'down',
      'the peer is down',
    );
    expect(peer.why).toBe('nobody listens there');
    expect(await peer.send('nobody')).toBe(false);
    const { socket } = await plainSubscriber(address);
    const received = receive(socket, 1);
    await isSubscribed(peer);
    expect(await peer.send('somebody')).toBe(true);
    expect(await received).toEqual(['somebody']);
  });

  it('notices that the peer leaves and returns', async () => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const peer = broadcaster(address);
    for (let time = 0; time < 3; time += 1) {
      const { socket } = await plainSubscriber(address);
      const received = receive(socket, 1);
      await isSubscribed(peer);
      expect(await peer.send(String(time))).toBe(true);
      expect(await received).toEqual([String(time)]);
      socket.close();
      await isSubscribed(peer, false);
      expect(await peer.send('gone')).toBe(false);
    }
  });

  it('notices that a connected peer unsubscribes and subscribes again', async () => {
    const { socket, address } = await plainSubscriber();
    const peer = broadcaster(address);
    const received = receive(socket, 1);
    await isSubscribed(peer);
    socket.unsubscribe();
    await isSubscribed(peer, false);
    expect(await peer.send('unwanted')).toBe(false);
    socket.subscribe();
    await isSubscribed(peer);
    expect(await peer.send('wanted')).toBe(true);
    expect(await received).toEqual(['wanted']);
  });

  it('refuses messages on a full connection, loses no accepted message, and reports when to try again', async () => {
    const { socket, address } = await plainSubscriber();
    socket.receiveHighWaterMark = 10;
    const peer = broadcaster(address);
    const first = socket.receive();
    await isSubscribed(peer);
    const large = Buffer.alloc(64 * 1024);
    const writable = next<undefined>(
      (call) => peer.onWritable(() => call(undefined)),
      () => true,
      'writable again',
    );
    let taken = 0;
    while (await peer.send(large)) taken += 1;
    await writable;
    expect(environment.counters.get('cmbs_broadcasts_refused')).toBe(1);
    await within(first, 'the first message');
    for (let received = 1; received < taken; received += 1) await within(socket.receive(), `message ${received}`);
    expect(await peer.send('last')).toBe(true);
    expect(String((await within(socket.receive(), 'the last message'))[0])).toBe('last');
  });

  it('counts messages of a peer that are not subscriptions, and keeps working', async () => {
    const socket = own(new XSubscriber({ linger: 0 }));
    await socket.bind(LOOPBACK);
    const peer = broadcaster(socket.lastEndpoint ?? '');
    await next(
      (call) => peer.onState(call),
      (state) => state === 'up',
      'the peer is up',
    );
    const received = socket.receive();
    // An XSUB sends only to attached connections; the pending receive attaches this one.
    const stop = setInterval(() => void socket.send(Buffer.from([7, 7])), 10);
    opened.push(() => clearInterval(stop));
    await environment.counters.reaches('cmbs_socket_drops:not_a_subscription', 1);
    clearInterval(stop);
    await socket.send(Buffer.from([1]));
    await isSubscribed(peer);
    expect(await peer.send('fine')).toBe(true);
    expect(String((await within(received, 'the message'))[0])).toBe('fine');
  });

  it('reaches each of 100 peers with 50 of 50', async () => {
    const counts = Array.from({ length: 100 }, () => 0);
    const all = deferred();
    let total = 0;
    const listeners = await Promise.all(
      counts.map((_, index) =>
        listener((body) => {
          if (String(body) === FIFTY[counts[index]!]) counts[index]! += 1;
          if ((total += 1) === 5000) all.resolve();
        }),
      ),
    );
    const peers = listeners.map(({ address }) => broadcaster(address));
    await Promise.all(peers.map((peer) => isSubscribed(peer)));
    for (const body of FIFTY) for (const peer of peers) expect(await peer.send(body)).toBe(true);
    await within(all.promise, '5,000 messages');
    expect(counts).toEqual(peers.map(() => 50));
  });

  it('refuses messages after it is closed', async () => {
    const { socket, address } = await plainSubscriber();
    const peer = broadcaster(address);
    const received = socket.receive();
    await isSubscribed(peer);
    expect(await peer.send('last words')).toBe(true);
    await peer.close();
    expect(peer.subscribed).toBe(false);
    expect(await peer.send('x')).toBe(false);
    expect(String((await within(received, 'what was taken before the close'))[0])).toBe('last words');
  });
});

describe('a listener', () => {
  it('receives messages from a plain PUB that connects to it', async () => {
    const received: string[] = [];
    const all = deferred();
    const bound = await listener((body) => {
      if (received.push(String(body)) === 50) all.resolve();
    });
    const publisher = own(new Publisher());
    // A publisher without XPUB cannot see the subscription; the first message that arrives shows the subscription.
    publisher.connect(bound.address);
    const greeting = setInterval(() => {
      if (received.length === 0) void publisher.send('hello');
    }, 5);
    opened.push(() => clearInterval(greeting));
    await becomes(() => received.length > 0, 'the first message');
    clearInterval(greeting);
    const greetings = received.length;
    for (const body of FIFTY) await publisher.send(body);
    await within(all.promise, '50 messages');
    await becomes(() => received.at(-1) === FIFTY.at(-1), 'the last message');
    expect(received.filter((body) => body !== 'hello')).toEqual(FIFTY);
    expect(greetings).toBeGreaterThan(0);
  });

  it('handles one message at a time, and attaches new peers while a handler is slow', async () => {
    const hold = deferred();
    const handled: string[] = [];
    const started = deferred();
    const done = deferred();
    const bound = await listener(async (body) => {
      started.resolve();
      await hold.promise;
      handled.push(String(body));
      if (handled.length === 51) done.resolve();
    });
    const first = broadcaster(bound.address);
    await isSubscribed(first);
    await first.send('slow');
    await within(started.promise, 'the handler runs');
    const second = broadcaster(bound.address);
    await isSubscribed(second); // while the first message is still being handled
    for (const body of FIFTY) expect(await second.send(body)).toBe(true);
    hold.resolve();
    await within(done.promise, '51 messages');
    expect(handled).toEqual(['slow', ...FIFTY]);
  });

  it('buffers a limited number of messages, refuses more, and loses none', async () => {
    const hold = deferred();
    const handled: number[] = [];
    const bound = await listener(async (body) => {
      await hold.promise;
      handled.push(Number(body));
    });
    const peer = broadcaster(bound.address);
    await isSubscribed(peer);
    const isPaused = (): boolean => environment.counters.get('cmbs_socket_paused') > 0;
    let sent = 0;
    const padding = ' '.repeat(32 * 1024);
    // A refusal alone only means that the sender's own queue is full. When libzmq's thread waits for the processor, that
    // happens before the listener has received any message.
    for (;;) {
      const wasPaused = isPaused();
      if (await peer.send(`${padding}${sent}`)) sent += 1;
      else if (wasPaused) break;
      else await isWritable(peer);
    }
    expect(bound.buffered).toBeLessThanOrEqual(1000);
    expect(bound.buffered * 32 * 1024).toBeLessThanOrEqual(16 * 1024 * 1024);
    hold.resolve();
    await becomes(() => handled.length === sent, 'every message that was taken');
    expect(handled).toEqual(Array.from({ length: sent }, (_, index) => index));
  });

  it('survives handlers that throw, reject or never end', async () => {
    const handled = deferred<string>();
    const bound = await listener(
      (body) => {
        switch (String(body)) {
          case 'throw':
            throw new Error('thrown');
          case 'reject':
            return Promise.reject(new Error('rejected'));
          case 'hang':
            return new Promise(() => undefined);
          default:
            handled.resolve(String(body));
            return undefined;
        }
      },
      { handlerTimeoutMs: 50 },
    );
    const peer = broadcaster(bound.address);
    await isSubscribed(peer);
    for (const body of ['throw', 'reject', 'hang', 'fine']) expect(await peer.send(body)).toBe(true);
    expect(await within(handled.promise, 'the last message')).toBe('fine');
    expect(environment.counters.get('cmbs_handler_failures')).toBe(2);
    expect(environment.counters.get('cmbs_socket_drops:handler_timeout')).toBe(1);
  });

  it('counts and drops multipart messages and bodies over the soft limit', async () => {
    const handled = deferred<number>();
    const bound = await listener((body) => handled.resolve(body.length));
    const publisher = broadcaster(bound.address);
    await isSubscribed(publisher);
    const plain = own(new Publisher());
    plain.connect(bound.address);
    const repeat = setInterval(() => void plain.send(['two', 'frames']), 5);
    opened.push(() => clearInterval(repeat));
    await environment.counters.reaches('cmbs_socket_drops:not_one_frame', 1);
    clearInterval(repeat);
    expect(await publisher.send(Buffer.alloc(1024 * 1024 + 1))).toBe(true);
    await environment.counters.reaches('cmbs_socket_drops:too_large', 1);
    expect(await publisher.send(Buffer.alloc(1024 * 1024))).toBe(true);
    expect(await within(handled.promise, 'the message within the limit')).toBe(1024 * 1024);
  });

  it('starts and stops 20 times on one port with a peer connected', async () => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    for (let time = 0; time < 20; time += 1) {
      const handled = deferred<string>();
      const bound = await listener((body) => handled.resolve(String(body)), {}, address);
      const peer = broadcaster(address);
      await isSubscribed(peer);
      await peer.send(String(time));
      expect(await within(handled.promise, 'the message')).toBe(String(time));
      if (time % 2 === 0) await peer.close();
      await bound.close();
    }
  });

  it('handles its received messages before it stops, or counts them when the time is over', async () => {
    for (const drainMs of [1000, 0]) {
      const hold = deferred();
      const handled: string[] = [];
      const bound = await listener(async (body) => {
        await hold.promise;
        handled.push(String(body));
      });
      const peer = broadcaster(bound.address);
      await isSubscribed(peer);
      for (const body of FIFTY) await peer.send(body);
      await becomes(() => bound.buffered === 49, 'all are received');
      const closed = bound.close(drainMs);
      if (drainMs > 0) hold.resolve();
      await within(closed, 'the close');
      expect(handled).toEqual(drainMs > 0 ? FIFTY : []);
      expect(environment.counters.get('cmbs_socket_drops:unhandled_at_close')).toBe(drainMs > 0 ? 0 : 1);
      hold.resolve();
    }
  });
});
