/** Starting and stopping layers (docs/layers.md, "Members"). */
import { createServer, type Server } from 'node:net';
import { Request } from 'zeromq';
import { Deployment, eventually, freeSocket, type LayerName, type Member } from './harness';
import { PATIENCE_MS } from '../patience';

const LAYERS: readonly LayerName[] = ['l1', 'l2', 'l31', 'l32', 'l4'];

/** Takes a TCP port as another program would. */
async function occupy(socket: string): Promise<Server> {
  const server = createServer().listen(Number(socket.slice(socket.lastIndexOf(':') + 1)), '127.0.0.1');
  await new Promise((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', reject);
  });
  return server;
}

const free = (server: Server): Promise<unknown> => new Promise((resolve) => server.close(resolve));

let here: Deployment;
beforeAll(async () => {
  here = await Deployment.start();
});
afterAll(() => here.close());

/** Fails when the port is taken. */
async function expectFree(socket: string): Promise<void> {
  await free(await occupy(socket));
}

async function expectTaken(socket: string): Promise<void> {
  await expect(occupy(socket)).rejects.toMatchObject({ code: 'EADDRINUSE' });
}

describe.each(LAYERS)('layer %s', (layer) => {
  let member: Member;
  beforeEach(async () => {
    member = await here.member();
  });
  afterEach(async () => {
    await here.request('DELETE', member.path);
  });

  test('opens its socket and reports it; starting again changes nothing', async () => {
    const socket = member.sockets[layer];
    for (let time = 0; time < 2; time += 1) {
      const answer = await here.act(member.path, `start_${layer}`);
      expect(answer.status).toBe(200);
      expect(answer.attributes['cmbs.member.layers']).toEqual({ [layer]: { state: 'started', address: socket } });
      await expectTaken(socket);
    }
  });

  test('closes it, frees the port, and starts again', async () => {
    for (let round = 0; round < 3; round += 1) {
      expect((await here.act(member.path, `start_${layer}`)).status).toBe(200);
      await expectTaken(member.sockets[layer]);
      const stopped = await here.act(member.path, `stop_${layer}`);
      expect(stopped.status).toBe(200);
      expect(stopped.attributes['cmbs.member.layers']).toEqual({ [layer]: { state: 'stopped' } });
      await expectFree(member.sockets[layer]);
    }
    expect((await here.act(member.path, `stop_${layer}`)).status).toBe(200);
  });

  test('reports a port in use, and opens the socket by itself once the port is free', async () => {
    const socket = member.sockets[layer];
    const other = await occupy(socket);
    const refused = await here.act(member.path, `start_${layer}`);
    expect(refused.status).toBe(409);
    expect(refused.error).toBe(
      `The ${layer} socket cannot be opened: ${socket}: address in use; close the other socket or choose another port.`,
    );
    expect(await here.layer(member, layer)).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining('in use') as string,
    });
    await free(other);
    await eventually(
      () => here.layer(member, layer),
      (now) => now?.state === 'started',
      `${layer} is started`,
    );
    await expectTaken(socket);
  });

  test('moves when its address changes', async () => {
    await here.act(member.path, `start_${layer}`);
    const moved = await freeSocket();
    await here.change(member.path, { [`cmbs.member.${layer}_socket`]: moved });
    await eventually(
      () => here.layer(member, layer),
      (now) => now?.address === moved,
      'the new address is open',
    );
    await expectTaken(moved);
    await expectFree(member.sockets[layer]);
  });
});

test('a start at an address that this machine does not have is refused with a sentence', async () => {
  const member = await here.member({ sockets: { l1: 'tcp://192.0.2.1:5010' } });
  const refused = await here.act(member.path, 'start_l1');
  expect(refused.status).toBe(409);
  expect(refused.error).toMatch(/^The l1 socket cannot be opened: .+\.$/);
  expect(await here.layer(member, 'l1')).toMatchObject({ state: 'failed' });
  // The desired state stays, and the layer opens as soon as the address is valid.
  const good = await freeSocket();
  await here.change(member.path, { 'cmbs.member.l1_socket': good });
  await eventually(
    () => here.layer(member, 'l1'),
    (now) => now?.state === 'started' && now.address === good,
    'l1 is started at the corrected address',
  );
  await here.must(200, here.request('DELETE', member.path));
});

test('both spellings of l31 and l32 are accepted', async () => {
  const member = await here.member();
  for (const [dotted, layer] of [
    ['l3.1', 'l31'],
    ['l3.2', 'l32'],
  ] as const) {
    expect((await here.act(member.path, `start_${dotted}`)).status).toBe(200);
    expect(await here.layer(member, layer)).toMatchObject({ state: 'started' });
    await expectTaken(member.sockets[layer]);
    expect((await here.act(member.path, `stop_${dotted}`)).status).toBe(200);
    expect(await here.layer(member, layer)).toEqual({ state: 'stopped' });
    await expectFree(member.sockets[layer]);
  }
});

test('starting the layers of a remote member is refused', async () => {
  const member = await here.member({ local: false });
  const refused = await here.act(member.path, 'start_l1');
  expect(refused.status).toBe(409);
  await expectFree(member.sockets.l1);
  expect((await here.get(member.path)).attributes['cmbs.member.layers']).toBeUndefined();
});

test('a remote member gets no socket that its description lacks', async () => {
  const path = '/cmbs/member/elsewhere';
  await here.must(
    201,
    here.request('PUT', path, {
      kind: 'http://houssem.org/cmbs#member',
      attributes: { 'cmbs.member.local': 'false', 'cmbs.member.l1_socket': 'tcp://127.0.0.1:1' },
    }),
  );
  const { attributes } = await here.get(path);
  expect(
    Object.keys(attributes).filter((name) => name.endsWith('_socket') && !name.includes('neighbors')),
  ).toEqual(['cmbs.member.l1_socket']);
});

test('deleting a started member frees all of its ports', async () => {
  const member = await here.member({ start: LAYERS });
  for (const layer of LAYERS) await expectTaken(member.sockets[layer]);
  await here.must(200, here.request('DELETE', member.path));
  for (const layer of LAYERS) await expectFree(member.sockets[layer]);
  expect((await here.get(member.path)).status).toBe(404);
});

test('a restart opens the sockets that were started, and no others', async () => {
  const own = await Deployment.start();
  try {
    const member = await own.member({ start: ['l1', 'l2', 'l32'] });
    await own.must(200, own.act(member.path, 'stop_l2'));
    await own.down();
    for (const layer of LAYERS) await expectFree(member.sockets[layer]);
    await own.up();
    for (const layer of ['l1', 'l32'] as const) {
      await expectTaken(member.sockets[layer]);
      expect(await own.layer(member, layer)).toMatchObject({ state: 'started' });
    }
    for (const layer of ['l2', 'l31', 'l4'] as const) await expectFree(member.sockets[layer]);
  } finally {
    await own.close();
  }
});

test('a socket whose port another program took during a restart is retried', async () => {
  const own = await Deployment.start();
  try {
    const member = await own.member({ start: ['l1'] });
    await own.down();
    const other = await occupy(member.sockets.l1);
    await own.up();
    expect(await own.layer(member, 'l1')).toMatchObject({ state: 'failed' });
    await free(other);
    await eventually(
      () => own.layer(member, 'l1'),
      (now) => now?.state === 'started',
      'l1 is started',
    );
  } finally {
    await own.close();
  }
});

test('a deployment that stops answers the requests that it has received', async () => {
  const member = await here.member({ start: ['l1'] });
  const peers = Array.from({ length: 20 }, () => new Request({ linger: 0, receiveTimeout: PATIENCE_MS }));
  try {
    for (const peer of peers) peer.connect(member.sockets.l1);
    // One exchange each connects every peer.
    await Promise.all(peers.map((peer) => peer.send('not a message').then(() => peer.receive())));
    await Promise.all(peers.map((peer) => peer.send('not a message')));
    const replies = Promise.allSettled(peers.map((peer) => peer.receive()));
    await here.must(200, here.act(member.path, 'stop_l1'));
    const answered = (await replies).filter(({ status }) => status === 'fulfilled').length;
    expect(answered).toBe(peers.length);
  } finally {
    for (const peer of peers) peer.close();
  }
});
