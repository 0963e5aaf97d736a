/**
 * The addresses that clients can have bound or connected to, and the result of a port scan through the deployment.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { startStack } from '@cmbs/emulator/stack';
import { silentLog, systemClock, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { UNREACHED_AFTER_MS } from '../../companion/address-policy';
import { ENTITIES } from '@cmbs/shared/occi';
import { ScriptedPeer } from './broker-peers';
import { describeLocal } from './engine';
import { Fleet, freeSocket, MEMBER, unique, type Deployment, type LayerName, type Member } from './harness';

const fleet = new Fleet();
afterAll(() => fleet.close());

/** A TCP server that passes each connection to a handler; `seen` counts connections. */
async function tcpServer(greet: (socket: Socket) => void): Promise<{ address: string; seen: () => number }> {
  const sockets = new Set<Socket>();
  let seen = 0;
  const server = createServer((socket) => {
    seen += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    greet(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  fleet.using(server, () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, seen: () => seen };
}

/** A port whose accept queue is full, so that the kernel drops connection attempts, as a packet filter does. */
async function filteredPort(): Promise<string> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer();
     server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  const [port] = (await once(worker, 'message')) as [number];
  const sockets = Array.from({ length: 4 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  fleet.using(worker, async () => {
    for (const socket of sockets) socket.destroy();
    await worker.terminate();
  });
  await once(sockets[0] as Socket, 'connect');
  return `tcp://127.0.0.1:${port}`;
}

interface Report {
  readonly failed: readonly { readonly socket: string; readonly reason: string }[];
}

async function check(deployment: Deployment, neighbors: readonly string[]): Promise<Report> {
  const { path } = await deployment.member({ neighbors });
  const answer = await deployment.must(200, deployment.act(path, 'check_neighbors'));
  return (answer.json.attributes ?? answer.json) as unknown as Report;
}

const layerOf = async (deployment: Deployment, member: Member, layer: LayerName): Promise<JsonObject> =>
  (await deployment.layer(member, layer)) ?? {};

describe('a deployment on loopback', () => {
  let here: Deployment;
  beforeAll(async () => {
    here = await fleet.start({ env: { CMBS_PORT_RANGE: '6500-6509' } });
  });

  async function refusal(socket: string): Promise<string> {
    const member = await here.member({ sockets: { l1: socket } });
    const { error } = await here.must(409, here.act(member.path, 'start_l1'));
    expect((await layerOf(here, member, 'l1')).state).toBe('failed');
    await here.must(200, here.act(member.path, 'stop_l1'));
    return error;
  }

  test.each(['tcp://0.0.0.0:6500', 'tcp://*:6500', 'tcp://[::]:6500', `ipc:///tmp/${unique('planted')}`])(
    'refuses %s as the address of a member',
    async (socket) => {
      const attributes = { 'cmbs.member.l1_socket': socket };
      const refused = await here.request('PUT', '/cmbs/member/wide', { kind: MEMBER, attributes });
      expect([refused.status, refused.error]).toEqual([
        400,
        expect.stringMatching(/every interface|below CMBS_IPC_DIR/) as string,
      ]);
    },
  );

  test('binds no socket to a network address, to a port outside its range or to a file', async () => {
    expect(await refusal('tcp://192.168.1.5:6500')).toMatch(/CMBS_BIND_HOST.*CMBS_ADDRESS_RANGES/);
    expect(await refusal('tcp://127.0.0.1:6510')).toMatch(/set CMBS_PORT_RANGE/);
    expect(await refusal('ipc://alice')).toMatch(/set CMBS_IPC_DIR/);
  });

  test('connects to no link-local address for a send, a broadcast or a neighbour', async () => {
    const sender = await here.member({ local: true });
    const metadata = 'tcp://169.254.169.254:80';
    const sent = await here.send('l1', { to: metadata, from: sender.id });
    expect([sent.status, sent.error]).toEqual([409, expect.stringMatching(/is a link-local address/)]);
    expect(await here.delivery(sent.path)).toMatchObject({ state: 'failed' });
    expect((await check(here, [metadata, 'tcp://[::ffff:169.254.169.254]:80'])).failed).toEqual([
      { socket: metadata, reason: expect.stringMatching(/is a link-local address/) as string },
      {
        socket: 'tcp://[::ffff:169.254.169.254]:80',
        reason: expect.stringMatching(/is a link-local address/) as string,
      },
    ]);
    const other = await fleet.start();
    await other.member({ local: false, sockets: { l2: metadata, l31: metadata } });
    const from = (await other.member()).id;
    const broadcast = await other.send('l2', { from, prefer: 'wait=5' });
    expect(broadcast.status).toBe(409);
    expect(JSON.stringify((await other.delivery(broadcast.path)).receivers)).toMatch(/is a link-local address/);
  });

  test('reports a closed port at once', async () => {
    const waits: number[] = [];
    const own = await fleet.start({
      clock: {
        ...systemClock,
        after: (ms, task) => {
          waits.push(ms);
          return systemClock.after(ms, task);
        },
      },
    });
    const from = (await own.member()).id;
    const asked = { to: await freeSocket(), from, prefer: 'wait=60' };
    const sent = await own.send('l1', asked);
    expect([sent.status, sent.headers.get('X-OCCI-Reason')]).toEqual([202, `nobody listens at ${asked.to}`]);
    // A failure that is not reported at once waits for this time, less the time already spent.
    expect(waits.filter((ms) => ms > UNREACHED_AFTER_MS * 0.9 && ms <= UNREACHED_AFTER_MS)).toEqual([]);
  });
});

describeLocal('addresses that an older release stored', () => {
  test('are refused with the reason, and the stack starts', async () => {
    const here = await fleet.start();
    const good = await here.member({ start: ['l1'] });
    // Two anonymous requests named the store's journal and a file in a system directory as sockets.
    const path = `/dev/shm/${unique('cmbs-planted')}`;
    const member = await here.member({ start: ['l1', 'l2'] });
    await here.down();
    await here.inStore((store) =>
      store.transact(async (tx) => {
        const { attributes, ...value } = (await tx.get(ENTITIES, member.path))?.value ?? {};
        const planted = {
          'cmbs.member.l1_socket': 'ipc:///proc/self/cwd/.cmbs/cmbs.db-journal',
          'cmbs.member.l2_socket': `ipc://${path}`,
        };
        tx.put(ENTITIES, member.path, { ...value, attributes: { ...(attributes as JsonObject), ...planted } });
      }),
    );
    await here.up();
    for (const layer of ['l1', 'l2'] as const) {
      expect(await layerOf(here, member, layer)).toMatchObject({
        state: 'failed',
        reason: expect.stringContaining('CMBS_IPC_DIR') as string,
      });
    }
    expect(existsSync(path)).toBe(false);
    expect(await layerOf(here, good, 'l1')).toMatchObject({ state: 'started' });
  });
});

describeLocal('a deployment with CMBS_IPC_DIR', () => {
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'cmbs-ipc-'));
  });
  afterAll(() => rm(home, { recursive: true }));

  test('binds ipc sockets there, one member per name, and opens them again after a restart', async () => {
    const directory = join(home, 'sockets');
    const here = await fleet.start({ env: { CMBS_IPC_DIR: directory } });
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    const alice = await here.member({ sockets: { l1: 'ipc://alice' }, start: ['l1'] });
    const members = await Promise.all([0, 1].map(() => here.member({ sockets: { l1: 'ipc://bob' } })));
    const starts = await Promise.all(members.map(({ path }) => here.act(path, 'start_l1')));
    expect(starts.map(({ status }) => status).sort()).toEqual([200, 409]);
    for (const [index, member] of members.entries()) {
      if (starts[index]?.status === 409) await here.must(200, here.act(member.path, 'stop_l1'));
    }
    const send = () => here.send('l1', { to: 'ipc://bob', from: alice.id });
    expect((await send()).delivery.state).toBe('delivered');
    await here.down();
    expect(await readdir(directory)).toEqual([]);
    await here.up();
    expect((await send()).delivery.state).toBe('delivered');
    for (const address of ['ipc://../alice', 'ipc://.alice', `ipc://${directory}/carol`]) {
      const attributes = { 'cmbs.member.l1_socket': address };
      const refused = await here.request('PUT', '/cmbs/member/carol', { kind: MEMBER, attributes });
      expect([refused.status, refused.error]).toEqual([400, expect.stringContaining('CMBS_IPC_DIR') as string]);
    }
  });

  test('does not start if CMBS_IPC_DIR is its data directory or not a directory', async () => {
    const file = join(home, 'file');
    await writeFile(file, '');
    for (const [setting, sentence] of [
      [home, 'is the directory of the data'],
      [file, 'is no directory'],
      [join(home, 'no', 'such'), 'cannot be made'],
    ] as const) {
      const config = readConfig({ PORT: '0', CMBS_DATA_DIR: home, CMBS_IPC_DIR: setting });
      await expect(startStack({ config, log: silentLog })).rejects.toThrow(sentence);
    }
  });
});

describe('a deployment that others reach', () => {
  // A trusted proxy lets other machines in. The address itself is a loopback address, so that the test runs
  // anywhere.
  const OTHERS = { CMBS_TRUST_PROXY: 'true', CMBS_OPEN_TO_EVERYONE: 'yes' };

  test('does not connect to addresses that are not public', async () => {
    const here = await fleet.start({ env: OTHERS });
    const sender = await here.member();
    const inside = await tcpServer(() => undefined);
    const sent = await here.send('l1', { to: inside.address, from: sender.id });
    expect([sent.status, sent.error]).toEqual([409, expect.stringMatching(/list it in CMBS_ADDRESS_RANGES/)]);
    expect((await check(here, [inside.address])).failed[0]?.reason).toMatch(/list it in CMBS_ADDRESS_RANGES/);
    expect(inside.seen()).toBe(0);
  });

  test('reports a name that resolves to such an address like a closed port', async () => {
    const here = await fleet.start({ env: OTHERS });
    const inside = await tcpServer(() => undefined);
    const named = inside.address.replace('127.0.0.1', 'localhost');
    expect(
      (await check(here, [named, 'tcp://no-such-host.invalid:5010'])).failed.map(({ reason }) => reason),
    ).toEqual(['nobody listens there', 'nobody listens there']);
    expect(inside.seen()).toBe(0);
  });

  test('binds sockets of members at configured addresses only', async () => {
    const here = await fleet.start({ env: OTHERS });
    const member = await here.member();
    expect((await here.must(409, here.act(member.path, 'start_l1'))).error).toMatch(/CMBS_ADDRESS_RANGES/);
    const open = await fleet.start({ env: { ...OTHERS, CMBS_ADDRESS_RANGES: '127.0.0.0/8' } });
    const started = await open.member({ start: ['l1'] });
    const sent = await open.send('l1', { to: started.sockets.l1, from: started.id });
    expect(sent.delivery.state).toBe('delivered');
  });

  test('answers a scan of closed, filtered and foreign ports with the same words after the same time', async () => {
    const here = await fleet.start({ env: { ...OTHERS, CMBS_ADDRESS_RANGES: '127.0.0.0/8,192.0.2.0/24' } });
    const ports: Readonly<Record<string, string>> = {
      closed: await freeSocket(),
      filtered: await filteredPort(),
      unrouted: 'tcp://192.0.2.1:5010',
      silent: (await tcpServer(() => undefined)).address,
      rude: (await tcpServer((socket) => socket.destroy())).address,
      foreign: (await tcpServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))).address,
    };
    const sender = await here.member();
    const outcomes = async (ask: (address: string) => Promise<string>): Promise<void> => {
      const answers = await Promise.all(
        Object.entries(ports).map(async ([kind, address]) => {
          const started = performance.now();
          const words = (await ask(address)).replaceAll(address, 'ADDRESS');
          return { kind, words, isLate: performance.now() - started >= UNREACHED_AFTER_MS - 50 };
        }),
      );
      const [{ words } = { words: '' }] = answers;
      expect(answers).toEqual(Object.keys(ports).map((kind) => ({ kind, words, isLate: true })));
    };
    const send = async (address: string): Promise<string> => {
      const sent = await here.send('l1', { to: address, from: sender.id, prefer: 'wait=20' });
      return `${sent.status} ${sent.headers.get('X-OCCI-Reason')} ${sent.delivery.receivers[0]?.reason}`;
    };
    await outcomes(send);
    await outcomes(async (address) => JSON.stringify(await check(here, [address])));
  });

  test('reports an answering peer, and applies the address rules to discovered sockets', async () => {
    const here = await fleet.start({ env: { ...OTHERS, CMBS_ADDRESS_RANGES: '127.0.0.1/32' } });
    const inside = await tcpServer(() => undefined);
    const refusedSocket = inside.address.replace('127.0.0.1', '127.0.0.2');
    const description = {
      kind: MEMBER,
      id: unique('discovered'),
      attributes: { cmbs: { member: { l1_socket: refusedSocket } } },
    };
    const reply = JSON.stringify({ member_description: description, sockets_l1: [refusedSocket] });
    const address = await freeSocket();
    fleet.using(await ScriptedPeer.bind(address, () => reply), (peer) => peer.close());
    const { failed } = await check(here, [address]);
    expect(failed.find(({ socket }) => socket === refusedSocket)?.reason).toMatch(/CMBS_ADDRESS_RANGES/);
    expect(inside.seen()).toBe(0);
  });
});
