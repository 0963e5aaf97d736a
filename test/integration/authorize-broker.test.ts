/** Each way into the broker is authorized with the resolved resource; a denial leaves nothing behind. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Authorize,
  CmbsError,
  silentLog,
  type JsonObject,
  type Log,
  type LogFields,
  type Operation,
  OPERATIONS,
} from '@cmbs/shared';
import { layersOf } from '@cmbs/shared/broker';
import { readConfig } from '@cmbs/shared/config';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { Publisher } from 'zeromq';
import { ask as askPeer, frameOf, ScriptedPeer } from '../e2e/broker-peers';
import { eventually } from '../e2e/harness';
import { PATIENCE_MS } from '../patience';
import { freePort } from './free-port';

const MEMBER_KIND = 'http://houssem.org/cmbs#member';
const MEMBER_ACTION = 'http://houssem.org/cmbs/member/action#';
const PATIENT = { signal: AbortSignal.timeout(PATIENCE_MS) };

const LAYERS = layersOf();

const asked: string[] = [];
/** The denied operation: on every resource, or only on the named one, and not the first times that it is asked. */
let denied:
  | { readonly operation: Operation; readonly path?: string; readonly action?: string; readonly after?: number }
  | undefined;
const authorize: Authorize = (principal, operation, { path, action }) => {
  asked.push(`${principal.kind} ${operation} ${path}`);
  const isDenied =
    operation === denied?.operation &&
    (denied.after === undefined ||
      asked.filter((one) => one.endsWith(`${operation} ${path}`)).length > denied.after) &&
    (denied.path === undefined || denied.path === path) &&
    (denied.action === undefined || denied.action === action);
  return isDenied ? Promise.reject(new CmbsError('forbidden', `No ${operation}.`)) : Promise.resolve();
};
const received: LogFields[] = [];
const log: Log = {
  ...silentLog,
  info: (_message, fields = {}) => {
    if (fields.direction === 'in') received.push(fields);
  },
};

let directory: string;
let stack: Stack;
/** Bob's sockets. */
let socket: string;
let topicSocket: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-authorize-'));
  const config = readConfig({ PORT: '0', CMBS_DATA_DIR: directory, CMBS_PORT_RANGE: '1024-65535' });
  stack = await startStack({ config, log, authorize });
  socket = `tcp://127.0.0.1:${await freePort()}`;
  topicSocket = `tcp://127.0.0.1:${await freePort()}`;
  await put('/cmbs/member/alice', { kind: MEMBER_KIND });
  await put('/cmbs/member/bob', {
    kind: MEMBER_KIND,
    attributes: {
      'cmbs.member.l1_socket': socket,
      'cmbs.member.l32_socket': topicSocket,
      'cmbs.member.start': ['l1', 'l32'],
    },
  });
  const carols = `tcp://127.0.0.1:${await freePort()}`;
  await put('/cmbs/member/carol', {
    kind: MEMBER_KIND,
    attributes: {
      'cmbs.member.l32_socket': carols,
      'cmbs.member.topics': ['weather', 'sport'],
      'cmbs.member.start': ['l32'],
    },
  });
});
afterAll(async () => {
  await stack.close();
  await rm(directory, { recursive: true });
});
beforeEach(() => {
  asked.length = 0;
  received.length = 0;
  denied = undefined;
});

async function ask(method: string, target: string, body?: JsonObject): Promise<[number, JsonObject]> {
  const response = await fetch(stack.url + target, {
    method,
    headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return [response.status, (text === '' ? {} : JSON.parse(text)) as JsonObject];
}
const statusOf = async (answer: Promise<[number, JsonObject]>): Promise<number> => (await answer)[0];
const put = (path: string, body: JsonObject): Promise<[number, JsonObject]> => ask('PUT', path, body);
const message = (id: string, layer: string, attributes: JsonObject): Promise<[number, JsonObject]> =>
  put(`/cmbs/message/${id}`, {
    kind: 'http://houssem.org/cmbs#message',
    mixins: [`http://houssem.org/cmbs#${layer}`],
    attributes,
  });
const send = (id: string, layer: string): Promise<[number, JsonObject]> =>
  ask('POST', `/cmbs/message/${id}?action=send_${layer}`, {
    action: `http://houssem.org/cmbs/message/action#send_${layer}`,
    attributes: { from: 'alice' },
  });
const act = (member: string, action: string): Promise<[number, JsonObject]> =>
  ask('POST', `/cmbs/member/${member}?action=${action}`, { action: MEMBER_ACTION + action });
const call = { 'cmbs.message.message_content': { id: 1, method: 'echo.echo', params: ['x'] } };
const toBob = (): JsonObject => ({ 'cmbs.message.l1_socket_receiver_member': socket, ...call });
const attributesOf = async (path: string): Promise<JsonObject> => {
  const [status, { attributes }] = await ask('GET', path);
  expect(status).toBe(200);
  return attributes as JsonObject;
};
const deliveryOf = async (id: string): Promise<JsonObject> =>
  (await attributesOf(`/cmbs/message/${id}`))['cmbs.message.delivery'] as JsonObject;
const entriesOf = async (member: string, wait = 0): Promise<readonly JsonObject[]> => {
  const [, { entries }] = await ask('GET', `/cmbs/member/${member}/inbox/?lease=0&wait=${wait}`);
  return entries as readonly JsonObject[];
};
const hasReceived = async (member: string, id: string): Promise<boolean> =>
  (await entriesOf(member)).some((entry) => entry.message_id === id);
const forbidden = { error: { code: 'forbidden' } };

/** A description of a member of another deployment. */
const described = (id: string, fields: JsonObject = {}): JsonObject => ({
  kind: MEMBER_KIND,
  id,
  attributes: { cmbs: { member: { l1_socket: 'tcp://127.0.0.1:9', ...fields } } },
});

test('each step of a message is authorized', async () => {
  await message('call', 'l1', toBob());
  expect(await statusOf(send('call', 'l1'))).toBe(200);
  expect(asked).toEqual(
    expect.arrayContaining([
      'anonymous message.send /cmbs/message/call',
      'anonymous message.send_as /cmbs/member/alice',
      'anonymous message.deliver /cmbs/message/call',
      'anonymous message.receive /cmbs/member/bob',
      'anonymous service.call service:echo.echo',
    ]),
  );
});

test('topics are authorized when the message is queued and when it is published', async () => {
  await message('news', 'l32', { 'cmbs.message.topics': ['weather'] });
  expect(await statusOf(send('news', 'l32'))).toBe(200);
  expect(asked.filter((one) => one === 'anonymous topic.publish topic:weather')).toHaveLength(2);
});

test.each(['message.send', 'message.send_as'] as const)('without %s nothing is queued', async (operation) => {
  const id = operation.replace('.', '-');
  await message(id, 'l1', toBob());
  denied = { operation };
  expect(await statusOf(send(id, 'l1'))).toBe(403);
  denied = undefined;
  expect(await deliveryOf(id)).toEqual({ state: 'created' });
});

test('without topic.publish on one of its topics a message is not queued', async () => {
  await message('unpublished', 'l32', { 'cmbs.message.topics': ['sport', 'weather'] });
  denied = { operation: 'topic.publish', path: 'topic:weather' };
  expect(await statusOf(send('unpublished', 'l32'))).toBe(403);
  denied = undefined;
  expect(await deliveryOf('unpublished')).toEqual({ state: 'created' });
  expect(await hasReceived('carol', 'unpublished')).toBe(false);
});

test('a message whose sender may not publish any more when its turn comes fails, and says why', async () => {
  await message('late', 'l32', { 'cmbs.message.topics': ['sport'] });
  denied = { operation: 'topic.publish', path: 'topic:sport', after: 1 };
  expect(await statusOf(send('late', 'l32'))).toBe(409);
  denied = undefined;
  expect(await deliveryOf('late')).toMatchObject({ state: 'failed' });
  expect(JSON.stringify(await deliveryOf('late'))).toContain('No topic.publish.');
  expect(await hasReceived('carol', 'late')).toBe(false);
});

test('without message.deliver nothing arrives', async () => {
  await message('undelivered', 'l1', toBob());
  denied = { operation: 'message.deliver' };
  expect(await statusOf(send('undelivered', 'l1'))).toBe(409);
  denied = undefined;
  expect(await deliveryOf('undelivered')).toMatchObject({ state: 'failed' });
  expect(received).toEqual([]);
  expect(await hasReceived('bob', 'undelivered')).toBe(false);
});

test('without message.receive a message is refused, and its sender and the log get the reason', async () => {
  await message('refused', 'l1', toBob());
  denied = { operation: 'message.receive' };
  expect(await statusOf(send('refused', 'l1'))).toBe(409);
  denied = undefined;
  expect(await deliveryOf('refused')).toMatchObject({ state: 'failed' });
  expect(JSON.stringify(await deliveryOf('refused'))).toContain('No message.receive.');
  expect(received).toMatchObject([{ member: '/cmbs/member/bob', id: 'refused', outcome: 'forbidden' }]);
  expect(await hasReceived('bob', 'refused')).toBe(false);
});

test('without service.call a call is received but not executed, and is answered with a fault', async () => {
  await message('uncalled', 'l1', toBob());
  denied = { operation: 'service.call', path: 'service:echo.echo' };
  expect(await statusOf(send('uncalled', 'l1'))).toBe(200);
  denied = undefined;
  const result = (await attributesOf('/cmbs/message/uncalled'))['cmbs.message.result'] as JsonObject;
  expect(result.result).toEqual({
    id: 1,
    error: { code: -32000, message: 'No service.call.', data: { code: 'forbidden' } },
  });
  const [entry] = (await entriesOf('bob')).filter(({ message_id }) => message_id === 'uncalled');
  expect(entry).toMatchObject({ state: 'executed', answer: result.result });
});

describe('a topic message from another deployment', () => {
  /** Waits until carol has received the message; acknowledges earlier entries. */
  const arrivesAtCarol = async (id: string): Promise<void> => {
    for (;;) {
      const entries = await entriesOf('carol', 30);
      if (entries.some((entry) => entry.message_id === id)) return;
      const ids = entries.map((entry) => entry.id as string);
      if (ids.length > 0) await ask('DELETE', '/cmbs/member/carol/inbox/', { entries: ids });
    }
  };
  /** Sends bob a message for carol's topic, the same message each time. */
  const passOn = (id: string): Promise<JsonObject> => {
    const transfer = { v: 1, send_id: `send-of-${id}`, hops: ['elsewhere/dave'] };
    return askPeer(topicSocket, frameOf(id, { topics: ['weather'], transfer }, 'l32'));
  };

  test.each([
    ['message.forward', '/cmbs/member/bob'],
    ['topic.publish', 'topic:weather'],
  ] as const)('is refused without %s and can be sent again later', async (operation, path) => {
    const id = `passed-${operation}`;
    denied = { operation, path };
    expect(await passOn(id)).toMatchObject(forbidden);
    denied = undefined;
    expect(await hasReceived('carol', id)).toBe(false);
    // If the first attempt had been stored, the second would be a duplicate and not arrive.
    expect(await passOn(id)).not.toHaveProperty('error');
    await arrivesAtCarol(id);
    expect(asked).toContain(`anonymous ${operation} ${path}`);
  });
});

describe('an inbox', () => {
  const inbox = '/cmbs/member/bob/inbox/';
  beforeAll(async () => {
    expect(await askPeer(socket, frameOf('kept'))).not.toHaveProperty('error');
  });

  test('is read with inbox.read', async () => {
    expect(await statusOf(ask('GET', `${inbox}?lease=0`))).toBe(200);
    expect(asked).toContain('anonymous inbox.read /cmbs/member/bob');
  });

  test('is not read without inbox.read, and nothing is leased', async () => {
    denied = { operation: 'inbox.read' };
    expect(await statusOf(ask('GET', inbox))).toBe(403);
    denied = undefined;
    expect(await hasReceived('bob', 'kept')).toBe(true);
  });

  test('makes no reader wait without inbox.read', async () => {
    denied = { operation: 'inbox.read' };
    expect(await statusOf(ask('GET', '/cmbs/member/alice/inbox/?wait=30'))).toBe(403);
  });

  test('begins no stream without inbox.read', async () => {
    denied = { operation: 'inbox.read' };
    const response = await fetch(stack.url + inbox, { headers: { Accept: 'text/event-stream' }, ...PATIENT });
    expect(response.status).toBe(403);
    expect(await response.text()).not.toContain('kept');
  });

  test('keeps its entries without inbox.acknowledge', async () => {
    const [entry] = (await entriesOf('bob')).filter(({ message_id }) => message_id === 'kept');
    const id = entry?.id as string;
    denied = { operation: 'inbox.acknowledge', path: '/cmbs/member/bob' };
    expect(await statusOf(ask('DELETE', inbox + id))).toBe(403);
    expect(await statusOf(ask('DELETE', inbox, { entries: [id] }))).toBe(403);
    denied = undefined;
    expect(await hasReceived('bob', 'kept')).toBe(true);
    expect(await statusOf(ask('DELETE', inbox + id))).toBe(200);
    expect(await hasReceived('bob', 'kept')).toBe(false);
  });
});

describe('a member that a peer describes', () => {
  const tell = (id: string, fields?: JsonObject): Promise<JsonObject> =>
    askPeer(socket, frameOf(`about-${id}-${asked.length}`, { message_content: described(id, fields) }));

  test('is not registered without member.register, but its message is accepted', async () => {
    denied = { operation: 'member.register', path: '/cmbs/member/stranger' };
    expect(await tell('stranger')).not.toHaveProperty('error');
    denied = undefined;
    expect(received).toMatchObject([{ member: '/cmbs/member/bob', outcome: 'accepted' }]);
    expect(await statusOf(ask('GET', '/cmbs/member/stranger'))).toBe(404);
    await tell('stranger');
    expect(await statusOf(ask('GET', '/cmbs/member/stranger'))).toBe(200);
  });

  test('is not registered with a topic whose subscription is denied', async () => {
    denied = { operation: 'topic.subscribe', path: 'topic:secret' };
    await tell('curious', { topics: ['secret'] });
    denied = undefined;
    expect(await statusOf(ask('GET', '/cmbs/member/curious'))).toBe(404);
    expect(asked).toContain('anonymous topic.subscribe topic:secret');
  });
});

describe('check_neighbors', () => {
  let peer: ScriptedPeer;
  let neighbor: string;
  beforeAll(async () => {
    neighbor = `tcp://127.0.0.1:${await freePort()}`;
    peer = await ScriptedPeer.bind(neighbor, () =>
      JSON.stringify({ member_description: described('neighbor', { l1_socket: neighbor }), sockets_l1: [] }),
    );
    await put('/cmbs/member/erin', {
      kind: MEMBER_KIND,
      attributes: { 'cmbs.member.neighbors_socket': [neighbor] },
    });
  });
  afterAll(() => peer.close());

  test('asks no neighbour without the right to the action', async () => {
    denied = { operation: 'action.invoke', path: '/cmbs/member/erin', action: `${MEMBER_ACTION}check_neighbors` };
    expect(await statusOf(act('erin', 'check_neighbors'))).toBe(403);
    expect(peer.bodies).toEqual([]);
  });

  test('registers and links no neighbour without member.register', async () => {
    denied = { operation: 'member.register' };
    const [status, report] = await act('erin', 'check_neighbors');
    expect([status, report.attributes ?? report]).toMatchObject([
      200,
      { found: [], known: [], failed: [{ socket: neighbor }] },
    ]);
    denied = undefined;
    expect(peer.bodies).toHaveLength(1);
    expect(await statusOf(ask('GET', '/cmbs/member/neighbor'))).toBe(404);
    expect(JSON.stringify(await ask('GET', '/cmbs/neighbor/'))).not.toContain('/cmbs/member/neighbor');
  });
});

describe('without topic.subscribe on one of its topics', () => {
  const topics = { 'cmbs.member.topics': ['open', 'secret'] };
  const deny = (): void => void (denied = { operation: 'topic.subscribe', path: 'topic:secret' });

  test('a member is not created', async () => {
    deny();
    expect(await statusOf(put('/cmbs/member/frank', { kind: MEMBER_KIND, attributes: topics }))).toBe(403);
    denied = undefined;
    expect(asked).toContain('anonymous topic.subscribe topic:secret');
    expect(await statusOf(ask('GET', '/cmbs/member/frank'))).toBe(404);
  });

  test('a member keeps its earlier topics, which are not authorized again', async () => {
    await put('/cmbs/member/grace', { kind: MEMBER_KIND, attributes: { 'cmbs.member.topics': ['open'] } });
    asked.length = 0;
    deny();
    const change = { kind: MEMBER_KIND, attributes: topics };
    expect(await statusOf(ask('POST', '/cmbs/member/grace', change))).toBe(403);
    expect(await statusOf(put('/cmbs/member/grace', change))).toBe(403);
    denied = undefined;
    expect((await attributesOf('/cmbs/member/grace'))['cmbs.member.topics']).toEqual(['open']);
    expect(asked).not.toContain('anonymous topic.subscribe topic:open');
  });

  test.each(['l32', 'l4'])('a member does not start %s', async (layer) => {
    const path = `/cmbs/member/heidi-${layer}`;
    const attributes = { ...topics, [`cmbs.member.${layer}_socket`]: `tcp://127.0.0.1:${await freePort()}` };
    await put(path, { kind: MEMBER_KIND, attributes });
    const isStarted = async (): Promise<boolean> =>
      JSON.stringify((await attributesOf(path))['cmbs.member.layers'] ?? {}).includes('started');
    const startedOnChange = { kind: MEMBER_KIND, attributes: { 'cmbs.member.start': [layer] } };
    deny();
    expect(await statusOf(act(`heidi-${layer}`, `start_${layer}`))).toBe(403);
    expect(await statusOf(ask('POST', path, startedOnChange))).toBe(403);
    denied = undefined;
    expect(await isStarted()).toBe(false);
    expect(await statusOf(act(`heidi-${layer}`, `start_${layer}`))).toBe(200);
    expect(await isStarted()).toBe(true);
  });

  test('a member starts L1, which needs no topic', async () => {
    const attributes = { ...topics, 'cmbs.member.l1_socket': `tcp://127.0.0.1:${await freePort()}` };
    await put('/cmbs/member/ivan', { kind: MEMBER_KIND, attributes });
    deny();
    expect(await statusOf(act('ivan', 'start_l1'))).toBe(200);
  });
});

describe('every operation', () => {
  const any = '/cmbs/message/any';
  const tried = { term: 'tried', scheme: 'http://example.com/tried#', location: '/tried/', attributes: {} };
  const mixin = 'http://example.com/tried#tried';
  const compute = 'http://schemas.ogf.org/occi/core#resource';
  const located = { 'X-OCCI-Location': [any] };
  const onTopic = (): Promise<JsonObject> => askPeer(topicSocket, frameOf('on-topic', { topics: ['any'] }, 'l32'));

  /** Requests that ask for each operation, with the path of the resource. */
  const QUESTIONS: Readonly<Record<Operation, readonly [path: string, request: () => Promise<unknown>]>> = {
    'entity.read': [any, () => ask('GET', any)],
    'entity.list': ['/cmbs/message/', () => ask('GET', '/cmbs/message/')],
    'entity.create': ['/cmbs/message/new', () => message('new', 'l1', {})],
    'entity.update': [any, () => ask('POST', any, { title: 'changed' })],
    'entity.replace': [any, () => message('any', 'l1', {})],
    'entity.delete': [any, () => ask('DELETE', any)],
    'entity.hand_over': [
      any,
      () =>
        ask('POST', any, {
          mixins: ['http://houssem.org/cmbs/access#owned'],
          attributes: { 'cmbs.access.owned.by': 'user:bob' },
        }),
    ],
    'entity.tag': [any, () => ask('POST', '/tried/', located)],
    'entity.untag': [any, () => ask('DELETE', '/tried/', located)],
    'action.invoke': ['/cmbs/member/alice', () => act('alice', 'stop_l4')],
    'category.read': ['/-/', () => ask('GET', '/-/')],
    'category.create': [
      'http://example.com/tried#new',
      () => ask('POST', '/-/', { mixins: [{ ...tried, term: 'new' }] }),
    ],
    'category.update': [mixin, () => ask('PUT', '/-/', { mixins: [{ ...tried, title: 'changed' }] })],
    'category.delete': [mixin, () => ask('DELETE', '/-/', { mixins: [tried] })],
    'category.bind': [
      compute,
      () => ask('PUT', '/-/', { providers: [{ OCCI_ID: compute, Provider: { local: ['dummy'], remote: [] } }] }),
    ],
    'inbox.read': ['/cmbs/member/bob', () => ask('GET', '/cmbs/member/bob/inbox/')],
    'inbox.acknowledge': [
      '/cmbs/member/bob',
      () => ask('DELETE', '/cmbs/member/bob/inbox/', { entries: ['none'] }),
    ],
    'message.send': [any, () => send('any', 'l1')],
    'message.send_as': ['/cmbs/member/alice', () => send('any', 'l1')],
    'message.deliver': [any, () => send('any', 'l1')],
    'message.receive': ['/cmbs/member/bob', () => send('any', 'l1')],
    'message.forward': ['/cmbs/member/bob', onTopic],
    'topic.publish': ['topic:any', onTopic],
    'topic.subscribe': [
      'topic:any',
      () => put('/cmbs/member/new', { kind: MEMBER_KIND, attributes: { 'cmbs.member.topics': ['any'] } }),
    ],
    'member.register': [
      '/cmbs/member/new',
      () => askPeer(socket, frameOf('describes', { message_content: described('new') })),
    ],
    'service.call': ['service:echo.echo', () => send('any', 'l1')],
    'metrics.read': ['/metrics', () => fetch(`${stack.url}/metrics`, PATIENT)],
  };

  beforeAll(async () => {
    denied = undefined;
    await ask('POST', '/-/', { mixins: [tried] });
    await message('any', 'l1', toBob());
  });

  test('has a request here', () => {
    const missing = OPERATIONS.filter((operation) => !(operation in QUESTIONS));
    expect(missing.map((operation) => `add a request that asks for ${operation} to QUESTIONS`)).toEqual([]);
  });

  test.each(OPERATIONS)('%s is asked', async (operation) => {
    const [path, request] = QUESTIONS[operation];
    // Denied, so that the next request finds everything as it was.
    denied = { operation, path };
    await request();
    denied = undefined;
    expect(asked).toContain(`anonymous ${operation} ${path}`);
  });
});

describe('an arriving frame', () => {
  const path = '/cmbs/member/frames';
  const sockets: Record<string, string> = {};
  beforeAll(async () => {
    for (const layer of LAYERS.names) sockets[layer] = `tcp://127.0.0.1:${await freePort()}`;
    const addresses = Object.entries(sockets).map(([layer, one]) => [`cmbs.member.${layer}_socket`, one]);
    const attributes = { ...(Object.fromEntries(addresses) as JsonObject), 'cmbs.member.start': LAYERS.names };
    expect(await statusOf(put(path, { kind: MEMBER_KIND, attributes }))).toBe(201);
  });

  /** Sends the frame; resolves when it was answered, or when a broadcast has arrived. */
  async function arrives(layer: string, frame: string): Promise<void> {
    const address = sockets[layer] ?? '';
    if (LAYERS.of(layer).channel !== 'broadcast') {
      await askPeer(address, frame);
      return;
    }
    const publisher = new Publisher({ linger: 0 });
    try {
      publisher.connect(address);
      const send = (): Promise<number> => publisher.send(frame).then(() => asked.length);
      await eventually(send, (questions) => questions > 0, 'the broadcast has arrived');
    } finally {
      publisher.close();
    }
  }

  test.each(LAYERS.names)('on %s is decided, and leaves nothing when it is denied', async (layer) => {
    denied = { operation: 'message.receive' };
    await arrives(layer, frameOf(`arriving-${layer}`, {}, layer));
    expect(asked[0]).toBe(`anonymous message.receive ${path}`);
    expect(await hasReceived('frames', `arriving-${layer}`)).toBe(false);
    expect(await statusOf(ask('GET', `/cmbs/message/arriving-${layer}`))).toBe(404);
  });

  test.each(LAYERS.onBus)('on %s with a topic is decided', async (layer) => {
    denied = { operation: 'message.forward' };
    await arrives(layer, frameOf(`arriving-${layer}`, { topics: ['any'] }, layer));
    expect(asked).toContain(`anonymous message.forward ${path}`);
    expect(asked).not.toContain('anonymous topic.publish topic:any');
  });
});
