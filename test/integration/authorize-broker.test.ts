/** Each way into the broker asks who may, with the resolved resource; a denial leaves nothing behind. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authorize, CmbsError, silentLog, type JsonObject, type Operation } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { PATIENCE_MS } from '../patience';
import { freePort } from './free-port';

const asked: string[] = [];
let denied: Operation | undefined;
const authorize: Authorize = (principal, operation, resource) => {
  asked.push(`${principal.kind} ${operation} ${resource.path}`);
  return operation === denied ? Promise.reject(new CmbsError('forbidden', `No ${operation}.`)) : Promise.resolve();
};

let directory: string;
let stack: Stack;
let socket: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-authorize-'));
  const config = readConfig({ PORT: '0', CMBS_DATA_DIR: directory, CMBS_PORT_RANGE: '1024-65535' });
  stack = await startStack({ config, log: silentLog, authorize });
  socket = `tcp://127.0.0.1:${await freePort()}`;
  await put('/cmbs/member/alice', { kind: 'http://houssem.org/cmbs#member' });
  await put('/cmbs/member/bob', {
    kind: 'http://houssem.org/cmbs#member',
    attributes: { 'cmbs.member.l1_socket': socket, 'cmbs.member.start': ['l1'] },
  });
});
afterAll(async () => {
  await stack.close();
  await rm(directory, { recursive: true });
});
beforeEach(() => {
  asked.length = 0;
  denied = undefined;
});

async function ask(method: string, target: string, body?: JsonObject): Promise<[number, JsonObject]> {
  const response = await fetch(stack.url + target, {
    method,
    headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return [response.status, (await response.json()) as JsonObject];
}
const put = (path: string, body: JsonObject): Promise<unknown> => ask('PUT', path, body);
const message = (id: string, layer: string, attributes: JsonObject): Promise<unknown> =>
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
const call = { 'cmbs.message.message_content': { id: 1, method: 'echo.echo', params: ['x'] } };
const toBob = (): JsonObject => ({ 'cmbs.message.l1_socket_receiver_member': socket, ...call });
const deliveryOf = async (id: string): Promise<JsonObject> => {
  const [, { attributes }] = await ask('GET', `/cmbs/message/${id}`);
  return (attributes as JsonObject)['cmbs.message.delivery'] as JsonObject;
};
const inBobsInbox = async (id: string): Promise<boolean> => {
  const [, { entries }] = await ask('GET', '/cmbs/member/bob/inbox/?lease=0');
  return (entries as readonly JsonObject[]).some((entry) => entry.message_id === id);
};

test('a message on its way is decided at each step', async () => {
  await message('call', 'l1', toBob());
  expect((await send('call', 'l1'))[0]).toBe(200);
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

test('topics are decided when the message is queued and when it is published', async () => {
  await message('news', 'l32', { 'cmbs.message.topics': ['weather'] });
  expect((await send('news', 'l32'))[0]).toBe(200);
  expect(asked).toEqual(
    expect.arrayContaining(['anonymous topic.publish topic:weather', 'anonymous message.deliver topic:weather']),
  );
});

test('reading an inbox is decided', async () => {
  expect((await ask('GET', '/cmbs/member/bob/inbox/'))[0]).toBe(200);
  expect(asked).toContain('anonymous inbox.read /cmbs/member/bob');
  denied = 'inbox.read';
  expect((await ask('GET', '/cmbs/member/bob/inbox/'))[0]).toBe(403);
});

test.each(['message.send', 'message.send_as'] as const)('without %s nothing is queued', async (operation) => {
  const id = operation.replace('.', '-');
  await message(id, 'l1', toBob());
  denied = operation;
  expect((await send(id, 'l1'))[0]).toBe(403);
  denied = undefined;
  expect(await deliveryOf(id)).toEqual({ state: 'created' });
});

test.each(['message.deliver', 'message.receive'] as const)('without %s nothing arrives', async (operation) => {
  const id = operation.replace('.', '-');
  await message(id, 'l1', toBob());
  denied = operation;
  expect((await send(id, 'l1'))[0]).toBe(409);
  denied = undefined;
  expect(await deliveryOf(id)).toMatchObject({ state: 'failed' });
  expect(await inBobsInbox(id)).toBe(false);
});
