/**
 * The original's peers against a whole deployment: requests of a REQ client to a member, and our sends to a REP
 * peer and a bound SUB peer. Each case runs with plain zeromq sockets, and with pyzmq if it is installed.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Reply, Request, Subscriber } from 'zeromq';
import { Deployment, eventually, unique, type Member } from './harness';
import { PATIENCE_MS } from '../patience';
import { itNeeding, NO_PYZMQ } from '../skipping';

const PEER = join(__dirname, '../fixtures-python/peer.py');
const FIXTURES = join(__dirname, '../fixtures/pycmbs');

interface Asker {
  ask(frame: string): Promise<string>;
  close(): void;
}

/** A bound peer: its address and the messages received so far. */
interface BoundPeer {
  readonly address: string;
  readonly received: readonly string[];
  close(): void;
}

/** One implementation of the original's sockets. */
interface Sockets {
  asker(address: string): Asker;
  /** A REP peer that always gives the same answer. */
  answering(reply: string): Promise<BoundPeer>;
  /** A bound SUB peer that subscribes to everything. */
  subscribed(): Promise<BoundPeer>;
}

const plain: Sockets = {
  asker(address) {
    const socket = new Request({ receiveTimeout: PATIENCE_MS, linger: 0 });
    socket.connect(address);
    return {
      async ask(frame) {
        await socket.send(frame);
        return String((await socket.receive())[0]);
      },
      close: () => socket.close(),
    };
  },
  async answering(reply) {
    const socket = new Reply({ linger: 0 });
    await socket.bind('tcp://127.0.0.1:*');
    const received: string[] = [];
    const serve = async (): Promise<void> => {
      for await (const [frame] of socket) {
        received.push(String(frame));
        await socket.send(reply);
      }
    };
    const serving = serve().catch((error: unknown) => {
      if (!socket.closed) throw error;
    });
    return { address: socket.lastEndpoint ?? '', received, close: () => (socket.close(), void serving) };
  },
  async subscribed() {
    const socket = new Subscriber({ linger: 0 });
    socket.subscribe();
    await socket.bind('tcp://127.0.0.1:*');
    const received: string[] = [];
    const serve = async (): Promise<void> => {
      for await (const [frame] of socket) received.push(String(frame));
    };
    const serving = serve();
    return { address: socket.lastEndpoint ?? '', received, close: () => (socket.close(), void serving) };
  },
};

/** The first Python that has pyzmq, since a distribution's package serves only its own interpreter. */
const python = ['python3', '/usr/bin/python3'].find(
  (one) => spawnSync(one, ['-c', 'import zmq'], { timeout: PATIENCE_MS, stdio: 'ignore' }).status === 0,
);

function start(...args: readonly string[]): { child: ChildProcess; lines: string[] } {
  const child = spawn(python ?? 'python3', [PEER, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines };
}

async function boundPeer(...args: readonly string[]): Promise<BoundPeer> {
  const { child, lines } = start(...args);
  await eventually(
    () => lines.length,
    (count) => count > 0,
    'the peer is bound',
    PATIENCE_MS,
  );
  const [address = ''] = lines;
  return {
    address,
    get received() {
      return lines.slice(1);
    },
    close: () => void child.kill('SIGKILL'),
  };
}

const pyzmq: Sockets = {
  asker(address) {
    const { child, lines } = start('ask', address);
    let asked = 0;
    return {
      async ask(frame) {
        asked += 1;
        child.stdin?.write(`${frame}\n`);
        await eventually(
          () => lines.length,
          (count) => count >= asked,
          'the reply',
          PATIENCE_MS,
        );
        return lines[asked - 1] ?? '';
      },
      close: () => void child.kill('SIGKILL'),
    };
  },
  answering: (reply) => boundPeer('answer', reply),
  subscribed: () => boundPeer('sub', '1000'),
};

/** A member description in the form of the original. */
const description = (id: string, l1: string): object => ({
  kind: 'http://houssem.org/cmbs#member',
  mixins: [],
  attributes: {
    cmbs: {
      member: {
        state: 'active',
        local: 'false',
        l1_socket: l1,
        l2_socket: 'tcp://127.0.0.1:9',
        neighbors_socket: [],
        topics: [],
      },
    },
  },
  actions: [],
  id,
  title: 'an original member',
  summary: '',
  links: [],
});

/** The original's L1 frame: its message file, one entity, with the sender's description as content. */
function originalFrame(id: string, content: unknown): string {
  const file = JSON.parse(readFileSync(join(FIXTURES, 'post_message_l1.json'), 'utf8')) as {
    resources: [{ attributes: { cmbs: { message: Record<string, unknown> } } }];
  };
  const [entity] = file.resources;
  Object.assign(entity.attributes.cmbs.message, {
    message_content: content,
    path_history: ['http://127.0.0.1:8091/cmbs/member/original'],
  });
  return JSON.stringify({ ...entity, id });
}

interface OriginalReply {
  readonly member_description: {
    readonly id: string;
    readonly attributes: { cmbs: { member: Record<string, unknown> } };
  };
  readonly sockets_l1: readonly string[];
}

describe.each([
  ['plain zeromq sockets', plain, true],
  ['pyzmq', pyzmq, python !== undefined],
] as const)('the original with %s', (_name, sockets, isThere) => {
  const test = itNeeding(isThere ? undefined : NO_PYZMQ);
  let deployment: Deployment;
  let member: Member;
  let opened: { close(): void }[];

  beforeEach(async () => {
    opened = [];
    if (!isThere) return;
    deployment = await Deployment.start();
    member = await deployment.member({ start: ['l1', 'l2'] });
  });

  afterEach(async () => {
    for (const one of opened.reverse()) one.close();
    if (isThere) await deployment.close();
  });

  const keep = <T extends { close(): void }>(one: T): T => {
    opened.push(one);
    return one;
  };

  test('a REQ client is answered in its own form, and its member is known afterwards', async () => {
    const asker = keep(sockets.asker(member.sockets.l1));
    const reply = JSON.parse(
      await asker.ask(originalFrame(unique('m'), description('original', 'tcp://127.0.0.1:7010'))),
    ) as OriginalReply;
    expect(reply.member_description.id).toBe(member.id);
    expect(reply.member_description.attributes.cmbs.member).toMatchObject({
      local: 'false',
      l1_socket: member.sockets.l1,
    });
    expect([...reply.sockets_l1].sort()).toEqual([member.sockets.l1, 'tcp://127.0.0.1:7010'].sort());
    const learnt = await deployment.get('/cmbs/member/original');
    expect(learnt.attributes).toMatchObject({
      'cmbs.member.local': 'false',
      'cmbs.member.l1_socket': 'tcp://127.0.0.1:7010',
    });
  });

  test('a REQ client that sends garbage gets an error reply, and the next request is served', async () => {
    const asker = keep(sockets.asker(member.sockets.l1));
    expect(JSON.parse(await asker.ask('not json'))).toMatchObject({ error: { code: 'bad_request' } });
    expect(JSON.parse(await asker.ask('{"kind":"something else"}'))).toMatchObject({
      error: { code: 'bad_request' },
    });
    expect(JSON.parse(await asker.ask(originalFrame(unique('m'), 'hello')))).toHaveProperty('member_description');
  });

  test('a REP peer gets our message in the original form, and its answer becomes the result', async () => {
    const answer = { member_description: description('answering', 'tcp://127.0.0.1:7020'), sockets_l1: [] };
    const peer = keep(await sockets.answering(JSON.stringify(answer)));
    const sent = await deployment.send('l1', { to: peer.address, content: '' });
    expect(sent.status).toBe(200);
    expect(sent.result).toEqual(answer);
    const frame = JSON.parse(peer.received[0] ?? '') as {
      attributes: { cmbs: { message: { message_content: { id: string }; path_history: string[] } } };
    };
    expect(frame.attributes.cmbs.message.message_content).toMatchObject({
      id: member.id,
      attributes: { cmbs: { member: { local: 'false' } } },
    });
    expect(frame.attributes.cmbs.message.path_history).toEqual([member.uri]);
    expect((await deployment.get('/cmbs/member/answering')).status).toBe(200);
  });

  test('a bound SUB peer receives 50 of 50 broadcasts in order', async () => {
    const peer = keep(await sockets.subscribed());
    await deployment.member({ local: false, sockets: { l2: peer.address } });
    const contents = Array.from({ length: 50 }, (_, index) => `broadcast ${index}`);
    for (const content of contents) {
      await deployment.send('l2', { content });
    }
    await eventually(
      () => peer.received.length,
      (count) => count === 50,
      '50 broadcasts',
      PATIENCE_MS,
    );
    const received = peer.received.map(
      (frame) =>
        (JSON.parse(frame) as { attributes: { cmbs: { message: { message_content: string } } } }).attributes.cmbs
          .message.message_content,
    );
    expect(received).toEqual(contents);
  });
});
