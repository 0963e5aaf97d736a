/** A second codec, added from outside: calls as a line of text, `call echo.echo a b`. */
import type { JsonObject } from '@cmbs/shared';
import { codecsOf } from '@cmbs/shared/services';
import { line } from '../../examples/extending/line-codec';
import { freePort } from './free-port';
import { LocalStack } from './local-stack';

let stack: LocalStack;
let socket: string;
beforeAll(async () => {
  stack = await LocalStack.start({ codecs: [line] });
  socket = `tcp://127.0.0.1:${await freePort()}`;
  await stack.ask('PUT', '/cmbs/member/alice', { kind: 'http://houssem.org/cmbs#member' });
  await stack.ask('PUT', '/cmbs/member/bob', {
    kind: 'http://houssem.org/cmbs#member',
    attributes: { 'cmbs.member.l1_socket': socket, 'cmbs.member.start': ['l1'] },
  });
});
afterAll(() => stack.close());

/** The result of a message with this content, sent from alice to bob. */
async function resultOf(id: string, content: string | JsonObject): Promise<unknown> {
  await stack.ask('PUT', `/cmbs/message/${id}`, {
    kind: 'http://houssem.org/cmbs#message',
    mixins: ['http://houssem.org/cmbs#l1'],
    attributes: {
      'cmbs.message.l1_socket_receiver_member': socket,
      'cmbs.message.message_content': content,
    },
  });
  const { attributes } = await stack.ask('POST', `/cmbs/message/${id}?action=send_l1`, {
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

test('a call in XML-RPC is executed and answered in XML-RPC, and other XML is data', async () => {
  const call = (method: string): string =>
    `<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params><param><value><base64>AP8=</base64></value></param></params></methodCall>`;
  expect(await resultOf('xml', call('echo.echo'))).toContain(
    '<methodResponse><params><param><value><array><data><value><base64>AP8=</base64></value></data></array></value>',
  );
  expect(await resultOf('xml-fault', call('no.method'))).toContain(
    '<name>faultCode</name><value><int>-32601</int>',
  );
  expect(await resultOf('xml-data', '<p>hello</p>')).toBeUndefined();
});

test('a stored call is answered by the codec that read it', () => {
  const codecs = codecsOf([line]);
  const call = codecs.decode(Buffer.from('call echo.echo a'));
  expect(call).toEqual({ method: 'echo.echo', params: ['a'], codec: 'line' });
  expect(codecs.encode(JSON.parse(JSON.stringify(call)) as NonNullable<typeof call>, ['a'])).toBe('"answer a"');
  expect(codecs.encode({ method: 'echo.echo', params: [] }, ['a'])).toBe('{"result":["a"]}');
  expect(() => codecsOf([line, line])).toThrow('Two codecs have the same name.');
});
