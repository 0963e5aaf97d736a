/** A second codec, added from outside: calls as a line of text, `call echo.echo a b`. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, type JsonObject } from '@cmbs/shared';
import { readConfig } from '@cmbs/shared/config';
import { codecsOf } from '@cmbs/shared/services';
import { startStack, type Stack } from '@cmbs/emulator/stack';
import { line } from '../../examples/extending/line-codec';
import { PATIENCE_MS } from '../patience';
import { freePort } from './free-port';

let directory: string;
let stack: Stack;
let socket: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cmbs-codec-'));
  const config = readConfig({ PORT: '0', CMBS_DATA_DIR: directory, CMBS_PORT_RANGE: '1024-65535' });
  stack = await startStack({ config, log: silentLog, codecs: [line] });
  socket = `tcp://127.0.0.1:${await freePort()}`;
  await ask('PUT', '/cmbs/member/alice', { kind: 'http://houssem.org/cmbs#member' });
  await ask('PUT', '/cmbs/member/bob', {
    kind: 'http://houssem.org/cmbs#member',
    attributes: { 'cmbs.member.l1_socket': socket, 'cmbs.member.start': ['l1'] },
  });
});
afterAll(async () => {
  await stack.close();
  await rm(directory, { recursive: true });
});

async function ask(method: string, target: string, body?: JsonObject): Promise<JsonObject> {
  const response = await fetch(stack.url + target, {
    method,
    headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
    signal: AbortSignal.timeout(PATIENCE_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as JsonObject;
  if (!response.ok) throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
  return answer;
}

/** The result of a message with this content, sent from alice to bob. */
async function resultOf(id: string, content: string | JsonObject): Promise<unknown> {
  await ask('PUT', `/cmbs/message/${id}`, {
    kind: 'http://houssem.org/cmbs#message',
    mixins: ['http://houssem.org/cmbs#l1'],
    attributes: {
      'cmbs.message.l1_socket_receiver_member': socket,
      'cmbs.message.message_content': content,
    },
  });
  const { attributes } = await ask('POST', `/cmbs/message/${id}?action=send_l1`, {
    action: 'http://houssem.org/cmbs/message/action#send_l1',
    attributes: { from: 'alice' },
  });
  const { result } = (attributes as JsonObject)['cmbs.message.result'] as JsonObject;
  return result;
}

test('a call in the format of the codec is executed by the receiver and answered in the same format', async () => {
  expect(await resultOf('text', 'call echo.echo good morning')).toBe('answer good morning');
  expect(await resultOf('wrong', 'call no.method')).toBe('fault -32601');
});

test('calls in JSON-RPC are still answered in JSON-RPC', async () => {
  const call = { jsonrpc: '2.0', id: 1, method: 'echo.echo', params: ['hello'] };
  expect(await resultOf('json', call)).toEqual({ jsonrpc: '2.0', id: 1, result: ['hello'] });
});

test('a stored call is answered by the codec that read it', () => {
  const codecs = codecsOf([line]);
  const call = codecs.decode(Buffer.from('call echo.echo a'));
  expect(call).toEqual({ method: 'echo.echo', params: ['a'], codec: 'line' });
  expect(codecs.encode(JSON.parse(JSON.stringify(call)) as NonNullable<typeof call>, ['a'])).toBe('"answer a"');
  expect(codecs.encode({ method: 'echo.echo', params: [] }, ['a'])).toBe('{"result":["a"]}');
  expect(() => codecsOf([line, line])).toThrow('Two codecs have the same name.');
});
