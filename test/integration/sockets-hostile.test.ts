/** The process and the socket survive any input, and afterwards serve a well-behaved peer. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Dealer, Publisher, Reply, Subscriber } from 'zeromq';
import { Broadcaster } from '../../companion/exchanges/zeromq/broadcaster';
import { Listener } from '../../companion/exchanges/zeromq/listener';
import { Replier } from '../../companion/exchanges/zeromq/replier';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { deferred, next, recordedEnvironment, type RecordedEnvironment, within } from './sockets-support';
import { type Clock, type CmbsError, systemClock } from '@cmbs/shared';
import { COMMAND, frame, handshake, MORE, rawPeer } from './zmtp-client';
import fc from '../property';

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
  expect(environment.log.errors).toEqual([]);
  environment.context.close();
});

/** A replier whose handler records the sizes of the bodies. */
async function replier(sizes: number[] = []): Promise<Replier> {
  const made = await Replier.bind(
    LOOPBACK,
    (body) => {
      sizes.push(body.length);
      return body;
    },
    { ...environment, errorReply: (error) => `${error.code}: ${error.message}` },
  );
  opened.push(() => made.close(0));
  return made;
}

async function listener(handler: (body: Buffer) => void): Promise<Listener> {
  const made = await Listener.bind(LOOPBACK, handler, environment);
  opened.push(() => made.close(0));
  return made;
}

async function isServedBy(address: string): Promise<void> {
  const peer = new Requester(address, environment);
  opened.push(() => peer.close());
  expect(String(await within(peer.request('still there'), 'a reply'))).toBe('still there');
  await peer.close();
}

function isSubscribed(peer: Broadcaster): Promise<void> {
  if (peer.subscribed) return Promise.resolve();
  return next<boolean>(
    (call) => peer.onSubscription(call),
    (subscribed) => subscribed,
    'the subscription',
  );
}

/** Sends `body` to a listener from a new peer. */
async function broadcastTo(address: string, body: string): Promise<void> {
  const peer = new Broadcaster(address, environment);
  opened.push(() => peer.close());
  await isSubscribed(peer);
  expect(await peer.send(body)).toBe(true);
  await peer.close();
}

function plainDealer(address: string): Dealer {
  const dealer = new Dealer({ linger: 0 });
  dealer.connect(address);
  opened.push(() => dealer.close());
  return dealer;
}

async function isDisconnected(socket: Dealer): Promise<void> {
  const { events } = socket;
  while ((await events.receive()).type !== 'disconnect');
}

/** Bytes that a TCP peer sends at once, and after our side has completed the handshake. */
interface Attack {
  readonly first: Buffer;
  readonly then: Buffer;
}

const NOTHING = Buffer.alloc(0);
const FRAME_OF_8_EIB = Buffer.from('027fffffffffffffff', 'hex');
const FRAME_OF_4_GIB = Buffer.from('0200000000ffffffff', 'hex');
const FRAME_BEGUN = Buffer.from([0, 10, 65]);
const SUBSCRIBE = frame('\x09SUBSCRIBEtopic', COMMAND);
const PINGS = Buffer.concat(Array.from({ length: 400 }, () => frame(`\x04PING\0\0${'x'.repeat(4000)}`, COMMAND)));
const HEADER_BEGUN = Buffer.from([2, 0, 0]);
const GREETING = handshake('DEALER').subarray(0, 64);
const EMPTY_FRAMES_WITHOUT_END = Buffer.alloc(4096, 1).fill(Buffer.from([1, 0]));

/** Random bytes, and adversarial bytes after a correct beginning. */
function attacks(type: string): fc.Arbitrary<Attack> {
  const random = fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes));
  const correct = handshake(type);
  const then = fc.oneof(random, fc.constantFrom(FRAME_OF_8_EIB, FRAME_OF_4_GIB, EMPTY_FRAMES_WITHOUT_END));
  return fc.oneof(
    random.map((first) => ({ first, then: NOTHING })),
    fc.nat(correct.length).map((length) => ({ first: correct.subarray(0, length), then: NOTHING })),
    random.map((bytes) => ({ first: Buffer.concat([correct, bytes]), then: NOTHING })),
    then.map((bytes) => ({ first: correct, then: bytes })),
    fc
      .constantFrom(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), Buffer.from('160301020001', 'hex')) // and TLS
      .map((first) => ({ first, then: NOTHING })),
  );
}

/** Carries out an attack over a TCP connection; resolves when the connection is closed. */
function attack(socket: Socket, { first, then }: Attack): Promise<void> {
  let received = 0;
  socket.on('error', () => undefined); // the other side may close the connection
  socket.on('data', (data) => {
    received += data.length;
    if (received > 64) socket.end(then); // the greeting has 64 bytes; further bytes are the READY command
  });
  if (then.length > 0) socket.write(first);
  else socket.end(first);
  return within(new Promise((resolve) => socket.once('close', () => resolve())), 'the connection is closed');
}

async function attackOver(address: string, bytes: Attack): Promise<void> {
  await attack(connect(Number(new URL(address).port), '127.0.0.1'), bytes);
}

describe('a replier', () => {
  it('answers a malformed message with one error reply if it has an envelope, and counts it otherwise', async () => {
    const sizes: number[] = [];
    const bound = await replier(sizes);
    const dealer = plainDealer(bound.address);
    const answered: (readonly [string[], string[]])[] = [
      [
        ['', 'one', 'two'],
        ['', 'bad_request'],
      ],
      [
        ['id', '', 'one', 'two', 'three'],
        ['id', '', 'bad_request'],
      ],
      [
        ['id', ''],
        ['id', '', 'bad_request'],
      ],
      [
        ['', '', ''],
        ['', 'bad_request'],
      ],
      [Array.from({ length: 1000 }, (_, index) => (index === 0 ? '' : 'x')), ['', 'bad_request']],
      [
        ['', ''],
        ['', ''],
      ], // an empty body is a body, and its meaning is up to the handler
    ];
    for (const [sent, expected] of answered) {
      await dealer.send(sent);
      const reply = (await within(dealer.receive(), 'a reply')).map(String);
      expect(reply.map((frame) => frame.replace(/:.*/, ''))).toEqual(expected);
    }
    for (const frames of [['x'], ['x', 'y'], [...Array.from({ length: 20 }, () => 'hop'), '', 'x']]) {
      await dealer.send(frames);
    }
    await environment.counters.reaches('cmbs_socket_drops:no_envelope', 3);
    expect(environment.counters.get('cmbs_socket_drops:not_one_frame')).toBe(5);
    expect(sizes).toEqual([0]);
    await isServedBy(bound.address);
  });

  it('accepts a body at the soft limit and refuses one byte more without calling the handler', async () => {
    const sizes: number[] = [];
    const bound = await replier(sizes);
    const peer = new Requester(bound.address, environment);
    opened.push(() => peer.close());
    const limit = 1024 * 1024;
    expect(await peer.request(Buffer.alloc(limit))).toHaveLength(limit);
    expect(String(await peer.request(Buffer.alloc(limit + 1)))).toContain('too_large: ');
    expect(String(await peer.request(Buffer.alloc(1.2 * limit)))).toContain('too_large: ');
    expect(sizes).toEqual([limit]);
  });

  it('drops only the connection of a message above the hard limit', async () => {
    const bound = await replier();
    const good = new Requester(bound.address, environment);
    opened.push(() => good.close());
    await good.request('before');
    const states: string[] = [];
    good.onState((state) => states.push(state));

    const dealer = plainDealer(bound.address);
    // Watches before the frame is sent, because earlier events are not reported.
    const dropped = isDisconnected(dealer);
    await dealer.send(['', Buffer.alloc(1.25 * 1024 * 1024 + 1)]);
    await within(dropped, 'the connection is dropped');
    expect(String(await good.request('after'))).toBe('after');
    expect(states).toEqual([]);
  });

  it('survives random frames', async () => {
    const bound = await replier();
    const dealer = plainDealer(bound.address);
    const frame = fc.oneof(
      fc.constant(''),
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 30 }), async (frames) => {
        await dealer.send(frames);
        await isServedBy(bound.address);
      }),
      { numRuns: 100 },
    );
  });

  it('survives random bytes from TCP clients', async () => {
    const bound = await replier();
    await fc.assert(
      fc.asyncProperty(attacks('DEALER'), (bytes) => attackOver(bound.address, bytes)),
      { numRuns: 100 },
    );
    await isServedBy(bound.address);
  });
});

describe('a listener', () => {
  it('survives random frames', async () => {
    const last = deferred();
    const bound = await listener((body) => {
      if (String(body) === 'the last') last.resolve();
    });
    const publisher = new Publisher({ linger: 0 });
    opened.push(() => publisher.close());
    publisher.connect(bound.address);
    const frame = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 30 }), async (frames) => {
        await publisher.send(frames);
        await new Promise(setImmediate);
      }),
      { numRuns: 200 },
    );
    await broadcastTo(bound.address, 'the last');
    await within(last.promise, 'the last message');
  });

  it('survives random bytes from TCP clients', async () => {
    const last = deferred();
    const bound = await listener((body) => {
      if (String(body) === 'the last') last.resolve();
    });
    await fc.assert(
      fc.asyncProperty(attacks('PUB'), (bytes) => attackOver(bound.address, bytes)),
      { numRuns: 100 },
    );
    await broadcastTo(bound.address, 'the last');
    await within(last.promise, 'the last message');
  });
});

describe('a connection', () => {
  /** A clock on which every wait takes a fiftieth of its time. */
  const hurried: Clock = { ...systemClock, after: (delayMs, task) => systemClock.after(delayMs / 50, task) };

  async function cutAfter(bytes: Buffer): Promise<void> {
    const options = { ...environment, clock: hurried, errorReply: ({ code }: CmbsError) => code };
    const bound = await Replier.bind(LOOPBACK, (body) => body, options);
    opened.push(() => bound.close(0));
    const socket = connect(Number(new URL(bound.address).port), '127.0.0.1');
    opened.push(() => socket.destroy());
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(bytes);
    await within(new Promise<void>((resolve) => socket.once('close', () => resolve())), 'the connection is cut');
  }

  it.each([
    ['says nothing', 'handshake_timeout', NOTHING],
    ['ends within its greeting', 'handshake_timeout', handshake('DEALER').subarray(0, 30)],
    ['begins a message and stops', 'unfinished_message', Buffer.concat([handshake('DEALER'), FRAME_BEGUN])],
    ['begins a header and stops', 'unfinished_message', Buffer.concat([handshake('DEALER'), HEADER_BEGUN])],
    ['subscribes at a ROUTER', 'malformed_frame', Buffer.concat([handshake('DEALER'), SUBSCRIBE])],
    [
      'sends a PING too short',
      'malformed_frame',
      Buffer.concat([handshake('DEALER'), frame('\x04PING\0', COMMAND)]),
    ],
    [
      'subscribes within a message',
      'malformed_frame',
      Buffer.concat([handshake('DEALER'), frame('', MORE), SUBSCRIBE]),
    ],
    [
      'pings endlessly within a message',
      'message_too_large',
      Buffer.concat([handshake('DEALER'), frame('', MORE), PINGS]),
    ],
    ['speaks HTTP', 'not_zmtp', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['speaks ZMTP 2.0', 'zmtp_too_old', Buffer.from('ff00000000000000017f0105', 'hex')],
    ['speaks ZMTP 1.0', 'zmtp_too_old', Buffer.from('ff000000000000000d7e', 'hex')],
    ['has an incompatible socket type', 'socket_does_not_fit', handshake('PUB')],
    ['sends a message before its handshake', 'no_handshake', Buffer.concat([GREETING, FRAME_BEGUN])],
    ['claims a frame of 8 EiB', 'message_too_large', Buffer.concat([handshake('DEALER'), FRAME_OF_8_EIB])],
    ['sets unknown flags', 'malformed_frame', Buffer.concat([handshake('DEALER'), Buffer.from([8, 0])])],
  ])('is cut off when it %s, and counted as %s', async (_what, reason, bytes) => {
    await cutAfter(bytes);
    expect(environment.counters.get(`cmbs_socket_drops:${reason}`)).toBe(1);
    expect(environment.context.received.total).toBe(0);
  });

  it('gets an answer to a ping', async () => {
    const bound = await replier();
    const socket = await rawPeer(bound.address, 'DEALER');
    opened.push(() => socket.destroy());
    const answer = once(socket, 'data') as Promise<[Buffer]>;
    socket.write(frame('\x04PING\0\0context', COMMAND));
    const [pong] = await within(answer, 'a PONG');
    expect(pong.toString('latin1')).toContain('\x04PONGcontext');
  });

  it('is served like any other when its bytes arrive one by one', async () => {
    const bound = await replier();
    const socket = connect(Number(new URL(bound.address).port), '127.0.0.1');
    opened.push(() => socket.destroy());
    const replied = deferred();
    let received = '';
    socket.setNoDelay(true);
    socket.on('data', (data) => {
      received += data.toString('latin1');
      if (received.includes('one by one')) replied.resolve();
    });
    for (const byte of Buffer.concat([handshake('DEALER'), frame('', MORE), frame('one by one')])) {
      socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    await within(replied.promise, 'the reply');
  });
});

describe('peers that send a message right after their handshake', () => {
  it('are served, although libzmq has not answered the handshake yet', async () => {
    const bound = await replier();
    const all = Buffer.concat([handshake('DEALER'), frame('', MORE), frame('early')]);
    for (let peer = 0; peer < 40; peer += 1) {
      const socket = connect(Number(new URL(bound.address).port), '127.0.0.1');
      opened.push(() => socket.destroy());
      let received = '';
      const ended = new Promise<void>((resolve) => {
        socket.on('data', (data) => {
          received += data.toString('latin1');
          if (received.includes('early')) resolve();
        });
        socket.once('close', () => resolve());
      });
      socket.write(all);
      await within(ended, 'the reply');
      expect(received).toContain('early');
      socket.destroy();
    }
  });
});

describe('a connecting socket', () => {
  /** A server that carries out each attack on one connection, then stops and frees its port. */
  async function hostileServer(planned: readonly Attack[]): Promise<{ address: string; done: Promise<void> }> {
    const done = deferred();
    const left = [...planned];
    const server = createServer((socket) => {
      const bytes = left.shift() ?? { first: NOTHING, then: NOTHING };
      attack(socket, bytes).then(
        () => left.length === 0 && server.close(() => done.resolve()),
        () => undefined, // the deadline of `done` reports it
      );
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    opened.push(() => server.close());
    return { address: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, done: done.promise };
  }

  it('of a requester reaches a good peer after peers that violate ZMTP at its address', async () => {
    const { address, done } = await hostileServer([
      { first: Buffer.alloc(300, 0xff), then: NOTHING },
      { first: handshake('ROUTER'), then: FRAME_OF_8_EIB },
      { first: handshake('ROUTER'), then: Buffer.from([0, 1, 65, 0, 1, 66]) }, // frames that answer no request
      { first: handshake('PUB'), then: NOTHING },
    ]);
    const peer = new Requester(address, environment);
    opened.push(() => peer.close());
    await within(done, 'all answers are given');
    const good = new Reply({ linger: 0 });
    opened.push(() => good.close());
    await good.bind(address);
    void good.receive().then(([body]) => good.send(body ?? Buffer.alloc(0)));
    if (peer.state !== 'up')
      await next(
        (call) => peer.onState(call),
        (state) => state === 'up',
        'the peer is up',
      );
    expect(String(await within(peer.request('a'), 'a reply'))).toBe('a');
  });

  it('of a broadcaster reaches a good peer after peers that violate ZMTP at its address', async () => {
    const { address, done } = await hostileServer([
      { first: Buffer.alloc(300, 0xff), then: NOTHING },
      { first: handshake('SUB'), then: FRAME_OF_8_EIB },
      { first: handshake('SUB'), then: Buffer.from([0, 1, 1]) }, // a subscription, and then the end of the connection
      { first: handshake('REP'), then: NOTHING },
    ]);
    const peer = new Broadcaster(address, environment);
    opened.push(() => peer.close());
    await within(done, 'all answers are given');
    const good = new Subscriber();
    opened.push(() => good.close());
    good.subscribe();
    await good.bind(address);
    const received = good.receive();
    await isSubscribed(peer);
    expect(await peer.send('a')).toBe(true);
    expect(String(await within(received, 'the message'))).toBe('a');
  });
});
