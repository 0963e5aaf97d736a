/**
 * Neither one connection nor thirty can harm the process behind a socket. The sockets live in a child process, so that
 * the test notices an abort and measures memory from outside.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { bundleProgram, type BundledProgram } from './bundled-program';
import { recordedEnvironment, within } from './sockets-support';
import { COMMAND, flood, frame, handshake, MORE, rawPeer } from './zmtp-client';
import { PATIENCE_MS } from '../patience';
import { itNightly } from '../skipping';

/** Bytes by which the process may grow under an attack, including fragmented memory; without limits it takes gigabytes. */
const MAX_GROWTH = 300 * 1024 * 1024;

let program: BundledProgram;
let opened: (() => unknown)[];

beforeAll(() => {
  program = bundleProgram('test/integration/sockets-child.ts');
});

afterAll(() => program.remove());

beforeEach(() => {
  opened = [];
});

afterEach(async () => {
  for (const close of opened.reverse()) await close();
});

class SocketProcess {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  #initial = 0;
  #address = '';

  private constructor(args: readonly string[]) {
    const child = spawn(process.execPath, [program.path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
    opened.push(() => child.kill('SIGKILL'));
  }

  static async start(...args: readonly string[]): Promise<SocketProcess> {
    const made = new SocketProcess(args);
    const [address] = (await within(once(made.#lines, 'line'), 'the process listens', PATIENCE_MS)) as [string];
    made.#address = address;
    made.#initial = made.#residentBytes();
    return made;
  }

  get address(): string {
    return this.#address;
  }

  /** Bytes by which the process has grown since its start. */
  get growth(): number {
    return this.#residentBytes() - this.#initial;
  }

  /** The counters of the process. */
  async counts(): Promise<Readonly<Record<string, number>>> {
    const line = once(this.#lines, 'line');
    this.#child.stdin?.write('\n');
    const [text] = (await within(line, 'the counts', PATIENCE_MS)) as [string];
    return JSON.parse(text) as Record<string, number>;
  }

  /** Resolves when the process answers a well-behaved peer. */
  async answers(): Promise<void> {
    const environment = recordedEnvironment();
    const peer = new Requester(this.#address, environment);
    try {
      const reply = await peer.request('still there', { timeoutMs: PATIENCE_MS });
      expect(String(reply)).toBe('still there');
    } finally {
      await peer.close();
      environment.context.close();
    }
  }

  #residentBytes(): number {
    const { exitCode, signalCode } = this.#child;
    expect({ exitCode, signalCode }).toEqual({ exitCode: null, signalCode: null });
    const status = readFileSync(`/proc/${String(this.#child.pid)}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }
}

const HANDSHAKES_AT_ONCE = 50;

async function rawPeers(count: number, address: string, type: string): Promise<readonly Socket[]> {
  const peers: Socket[] = [];
  // In batches: on a busy machine the last peers would otherwise exceed the handshake time-out and be cut off.
  while (peers.length < count) {
    const batch = Math.min(HANDSHAKES_AT_ONCE, count - peers.length);
    peers.push(...(await Promise.all(Array.from({ length: batch }, () => rawPeer(address, type)))));
  }
  for (const peer of peers) opened.push(() => peer.destroy());
  return peers;
}

/** A function that is true after `ms` milliseconds. */
function after(ms: number): () => boolean {
  const started = performance.now();
  return () => performance.now() - started > ms;
}

/**
 * A function that is true when no byte of the peers has been sent for half a second: the process no longer reads, so
 * more time would change nothing. True after `ms` in any case.
 */
function blocked(peers: readonly Socket[], ms: number): () => boolean {
  const isLate = after(ms);
  let isStill = (): boolean => false;
  let before = -1;
  return () => {
    const gone = peers.reduce((sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength, 0);
    if (gone !== before) isStill = after(500);
    before = gone;
    return isLate() || isStill();
  };
}

function isClosed(socket: Socket): Promise<unknown> {
  if (socket.closed) return Promise.resolve();
  return within(once(socket, 'close'), 'the connection is cut', PATIENCE_MS);
}

/** Checks the process repeatedly, and fails when it has grown too much or has ended. */
async function staysSmall(attacked: SocketProcess, isOver: () => boolean): Promise<void> {
  do {
    await attacked.counts();
    expect(attacked.growth).toBeLessThan(MAX_GROWTH);
  } while (!isOver());
}

const DROPS = 'cmbs_socket_drops';
const ENVELOPE = frame('', MORE);
const MIB = 1024 * 1024;
/** A mebibyte of frames that all have the flag MORE. */
const ENDLESS = Buffer.concat(Array.from({ length: 16 }, () => frame(Buffer.alloc(65_527), MORE)));

describe.each([
  ['replier', 'DEALER', Buffer.concat([ENVELOPE, frame(Buffer.alloc(1000, 'x'))])],
  ['listener', 'PUB', frame(Buffer.alloc(1000, 'x'))],
])('a %s', (role, type, message) => {
  // Both sockets have the same relay in front. `npm test` floods it for the replier only, the nightly run for both.
  const itDaily = role === 'replier' ? it : itNightly;
  /** Checks that a well-behaved peer is served; for a listener, which does not answer, that the peer can connect. */
  const isUsable = async (attacked: SocketProcess): Promise<void> => {
    if (role === 'replier') await attacked.answers();
    else await rawPeers(1, attacked.address, type);
  };

  itDaily('survives peers that flood and disconnect, and uses little memory', async () => {
    const attacked = await SocketProcess.start(role);
    const peers = await rawPeers(30, attacked.address, type);
    const messages = Buffer.concat(Array.from({ length: 60 }, () => message));
    // libzmq's heartbeats 5 s after the handshake once aborted the process.
    const isOver = after(4600);
    await Promise.all([...peers.map((peer) => flood(peer, messages, isOver)), staysSmall(attacked, isOver)]);
    for (const peer of peers) peer.resetAndDestroy();
    await staysSmall(attacked, after(1000));
    await isUsable(attacked);
  });

  it('cuts off an endless message of few large or many small frames', async () => {
    const attacked = await SocketProcess.start(role);
    const [large, small] = await rawPeers(2, attacked.address, type);
    await flood(large!, ENDLESS, after(10_000));
    await isClosed(large!);
    await flood(small!, Buffer.alloc(4096, Buffer.from([MORE, 0])), after(10_000));
    await isClosed(small!);
    expect(await attacked.counts()).toMatchObject({
      [`${DROPS}:message_too_large`]: 1,
      [`${DROPS}:too_many_frames`]: 1,
    });
    await staysSmall(attacked, after(0));
    await isUsable(attacked);
  });

  it('limits the unfinished messages of all peers together, and cuts off the peers with the most', async () => {
    const attacked = await SocketProcess.start(role);
    const unfinished = frame(Buffer.alloc(MIB), 0, MIB + 1);
    const modest = await rawPeers(1, attacked.address, type);
    modest[0]!.write(unfinished.subarray(0, 1000));
    const peers = await rawPeers(200, attacked.address, type);
    for (const peer of peers) peer.write(unfinished);
    while (((await attacked.counts())[`${DROPS}:too_much_memory`] ?? 0) < 100) {
      await staysSmall(attacked, after(0));
      modest[0]!.write('x'); // a message without progress for 10 s would be cut off
    }
    expect(modest[0]!.closed).toBe(false);
    await isUsable(attacked);
  });

  itDaily('cuts off commands that are too large, and answers any number of small ones', async () => {
    const attacked = await SocketProcess.start(role);
    const [large, small] = await rawPeers(2, attacked.address, type);
    large!.write(frame(`\x04PING\0\0${'x'.repeat(5000)}`, COMMAND));
    await isClosed(large!);
    expect(await attacked.counts()).toMatchObject({ [`${DROPS}:command_too_large`]: 1 });
    small!.pause(); // the answers to this peer are not read
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => frame('\x04PING\0\0context', COMMAND)));
    const isOver = blocked([small!], 2000);
    await Promise.all([flood(small!, pings, isOver), staysSmall(attacked, isOver)]);
    await isUsable(attacked);
  });

  it('accepts a limited number of connections from one address', async () => {
    const attacked = await SocketProcess.start(role);
    await rawPeers(512, attacked.address, type);
    const refused = connect(Number(new URL(attacked.address).port), '127.0.0.1');
    refused.on('error', () => undefined);
    await isClosed(refused);
    expect(await attacked.counts()).toMatchObject({ [`${DROPS}:too_many_peers`]: 1 });
  });
});

it('a replier uses little memory for peers that send many requests and read no replies', async () => {
  const attacked = await SocketProcess.start('replier');
  const peers = await rawPeers(60, attacked.address, 'DEALER');
  for (const peer of peers) peer.pause();
  const request = Buffer.concat([ENVELOPE, frame(Buffer.alloc(MIB))]);
  const isOver = blocked(peers, 5000);
  await Promise.all([...peers.map((peer) => flood(peer, request, isOver)), staysSmall(attacked, isOver)]);
  await attacked.answers();
});

describe('a server that', () => {
  /** Serves each connection with `attack`, after the handshake. */
  async function server(type: string, attack: (socket: Socket) => void): Promise<string> {
    const made = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(handshake(type));
      socket.once('data', () => {
        socket.resume();
        attack(socket);
      });
      opened.push(() => socket.destroy());
    }).listen(0, '127.0.0.1');
    await once(made, 'listening');
    opened.push(() => made.close());
    return `tcp://127.0.0.1:${(made.address() as AddressInfo).port}`;
  }

  it('floods a requester with unrequested replies and disconnects does no harm', async () => {
    let vanished = 0;
    const isOver = (): boolean => vanished >= 4;
    const reply = Buffer.concat([frame('none', MORE), ENVELOPE, frame(Buffer.alloc(1000))]);
    const replies = Buffer.concat(Array.from({ length: 60 }, () => reply));
    const address = await server('ROUTER', (socket) => {
      const isEnough = after(500);
      void flood(socket, replies, isEnough).then(() => {
        vanished += 1;
        socket.resetAndDestroy();
      });
    });
    const attacked = await SocketProcess.start('requester', address);
    await staysSmall(attacked, isOver);
    expect((await attacked.counts())[`${DROPS}:unknown_reply`]).toBeGreaterThan(0);
  });

  it('sends a requester an endless reply is cut off', async () => {
    const address = await server('ROUTER', (socket) => void flood(socket, ENDLESS, after(PATIENCE_MS)));
    const attacked = await SocketProcess.start('requester', address);
    while (((await attacked.counts())[`${DROPS}:message_too_large`] ?? 0) < 3)
      await staysSmall(attacked, after(0));
  });

  it('subscribes without end is cut off', async () => {
    let last = 0;
    const address = await server('SUB', (socket) => {
      const subscribe = (): void => {
        const messages = Array.from({ length: 100 }, () => frame(`\x01topic ${(last += 1)}`));
        if (!socket.destroyed) socket.write(Buffer.concat(messages), () => setImmediate(subscribe));
      };
      subscribe();
    });
    const attacked = await SocketProcess.start('broadcaster', address);
    while (((await attacked.counts())[`${DROPS}:too_many_subscriptions`] ?? 0) < 3)
      await staysSmall(attacked, after(0));
  });

  it('subscribes to everything and reads nothing costs a broadcaster little memory', async () => {
    const address = await server('SUB', (socket) => {
      socket.write(frame('\x01'));
      socket.pause();
    });
    const attacked = await SocketProcess.start('broadcaster', address);
    while (((await attacked.counts()).cmbs_broadcasts_refused ?? 0) < 10) await staysSmall(attacked, after(0));
  });
});
