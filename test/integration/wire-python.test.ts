/**
 * The wire format with pyzmq, which members of the original use. The same cases always run against plain zeromq sockets in
 * sockets-*.test.ts; these tests show that the result does not depend on our binding.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { Broadcaster } from '../../companion/exchanges/zeromq/broadcaster';
import { Listener } from '../../companion/exchanges/zeromq/listener';
import { Replier } from '../../companion/exchanges/zeromq/replier';
import { Requester } from '../../companion/exchanges/zeromq/requester';
import { deferred, next, recordedEnvironment, type RecordedEnvironment, within } from './sockets-support';
import { PATIENCE_MS } from '../patience';
import { itNeeding, NO_PYZMQ } from '../skipping';

const PEER = join(__dirname, '..', 'fixtures-python', 'peer.py');

/** The first Python that has pyzmq: the package of a distribution belongs to one interpreter. */
function pythonWithZmq(): string | undefined {
  return ['python3', '/usr/bin/python3'].find(
    (python) => spawnSync(python, ['-c', 'import zmq'], { timeout: PATIENCE_MS, stdio: 'ignore' }).status === 0,
  );
}

const python = pythonWithZmq();
const itWithPython = itNeeding(python === undefined ? NO_PYZMQ : undefined);

let environment: RecordedEnvironment;
let opened: (() => unknown)[];

beforeEach(() => {
  environment = recordedEnvironment();
  opened = [];
});

afterEach(async () => {
  for (const close of opened.reverse()) await close();
  expect(environment.log.errors).toEqual([]);
  environment.context.close();
});

/** Starts the peer in a role; it is killed at the end of the test. */
function start(...args: string[]): { child: ChildProcess; lines: Interface } {
  const child = spawn(python ?? 'python3', [PEER, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  opened.push(() => child.kill('SIGKILL'));
  return { child, lines: createInterface({ input: child.stdout }) };
}

async function collect(lines: Interface, count: number): Promise<string[]> {
  const collected: string[] = [];
  const all = deferred();
  lines.on('line', (line) => {
    if (collected.push(line) === count) all.resolve();
  });
  await within(all.promise, `${count} lines`, PATIENCE_MS);
  return collected;
}

describe('with pyzmq', () => {
  itWithPython('a REQ gets replies from a replier', async () => {
    const options = { ...environment, errorReply: () => 'error' };
    const bound = await Replier.bind('tcp://127.0.0.1:*', (body) => `re: ${String(body)}`, options);
    opened.push(() => bound.close(0));
    const { child, lines } = start('req', bound.address, '20');
    const ended = once(child, 'exit');
    expect(await collect(lines, 20)).toEqual(Array.from({ length: 20 }, (_, index) => `re: request ${index}`));
    expect(await within(ended, 'the peer ends')).toEqual([0, null]);
  });

  itWithPython('a REP answers 128 requests in flight, and its end is noticed at once', async () => {
    const { child, lines } = start('rep');
    const [address] = await collect(lines, 1);
    const peer = new Requester(address ?? '', environment);
    opened.push(() => peer.close());
    const bodies = Array.from({ length: 128 }, (_, index) => String(index));
    const replies = await within(Promise.all(bodies.map((body) => peer.request(body))), '128 replies');
    expect(replies.map(String)).toEqual(bodies.map((body) => `re: ${body}`));
    const down = next(
      (call) => peer.onState(call),
      (state) => state === 'down',
      'the peer is down',
    );
    child.kill('SIGKILL');
    await down;
    await expect(peer.request('a')).rejects.toMatchObject({ reason: 'no_listener' });
  });

  itWithPython('a bound SUB receives 50 of 50 messages from a broadcaster', async () => {
    const { lines } = start('sub', '50');
    const [address] = await collect(lines, 1);
    const received = collect(lines, 50);
    const peer = new Broadcaster(address ?? '', environment);
    opened.push(() => peer.close());
    if (!peer.subscribed)
      await next<boolean>(
        (call) => peer.onSubscription(call),
        (up) => up,
        'the subscription',
      );
    const bodies = Array.from({ length: 50 }, (_, index) => `broadcast ${index}`);
    for (const body of bodies) expect(await peer.send(body)).toBe(true);
    expect(await received).toEqual(bodies);
  });

  itWithPython('a connected PUB reaches a listener', async () => {
    const first = deferred();
    const last = deferred();
    const received: string[] = [];
    const bound = await Listener.bind(
      'tcp://127.0.0.1:*',
      (body) => {
        first.resolve();
        if (String(body) !== 'hello' && received.push(String(body)) === 50) last.resolve();
      },
      environment,
    );
    opened.push(() => bound.close(0));
    const { child } = start('pub', bound.address, '50');
    await within(first.promise, 'the first message', PATIENCE_MS);
    child.stdin?.end('go\n');
    await within(last.promise, '50 messages');
    expect(received).toEqual(Array.from({ length: 50 }, (_, index) => `broadcast ${index}`));
  });
});
