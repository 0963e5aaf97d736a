/**
 * One call, four ways: by JSON-RPC and by XML-RPC over HTTP, by the action `execute`, and in a message that arrives. The
 * method, the decision and the outcome are the same.
 */
import { type JsonObject } from '@cmbs/shared';
import { ExactNumber, type ExactJson, parseExactJson, stringifyExactJson } from '@cmbs/shared/exact-json';
import { Fault, jsonOf, type ServiceModule, type Value } from '@cmbs/shared/services';
import { freePort } from '../integration/free-port';
import { faultIn, valueIn, valueOf } from '../unit/xml-rpc-support';
import { basic, RpcStack, xmlCall } from './rpc-support';

const MESSAGE = 'http://houssem.org/cmbs#message';
const ACCESS = 'http://houssem.org/cmbs/access#';
const BYTES = Uint8Array.of(0, 1, 254, 255);
const TIME = new Date('1998-07-17T14:08:55Z');

/** Calls that reached a method. */
const reached: { readonly name: string; readonly args: readonly Value[] }[] = [];

const returning = (type: string, value: Value): ServiceModule['methods'][string] => ({
  documentation: `Returns ${type}.`,
  signatures: [[type]],
  call: ({ principal, methodName }, args) => {
    reached.push({ name: `${methodName} for ${principal.kind}`, args });
    return value;
  },
});

const trial: ServiceModule = {
  name: 'trial',
  methods: {
    bytes: returning('base64', BYTES),
    time: returning('dateTime.iso8601', TIME),
    large: returning('i8', new ExactNumber('9223372036854775807')),
    double: returning('double', 3),
    nothing: returning('nil', null),
    nested: returning('array', [{ time: TIME, bytes: BYTES, '': 'ü😀', ['__proto__']: [1.5] }]),
    fail: {
      documentation: 'Fails with a fault.',
      signatures: [['nil']],
      call: () => {
        throw new Fault(42, 'No, "because" <of> & ü.', { why: 'because' });
      },
    },
    breaks: {
      documentation: 'Fails without a fault.',
      signatures: [['nil']],
      call: () => {
        throw new TypeError('secret');
      },
    },
    reserved: { ...returning('string', 'for administrators'), flags: { callers: 'administrators' } },
    both: {
      documentation: 'Takes bytes and a time.',
      signatures: [['array', 'base64', 'dateTime.iso8601']],
      call: (_context, args) =>
        args.map((value) => (value instanceof Date ? value.getTime() : (value as Uint8Array).length)),
    },
    open: { ...returning('string', 'for everybody'), flags: { callers: 'everybody' } },
  },
};

interface Row {
  readonly method: string;
  readonly json?: readonly ExactJson[];
  /** The same arguments, each a `<value>`. */
  readonly xml?: readonly string[];
  readonly outcome: unknown;
}

const refused = (code: number, text: RegExp): unknown => ({ code, text: expect.stringMatching(text) as string });

const ROWS: readonly Row[] = [
  {
    method: 'echo.echo',
    json: ['ü <&> 😀', -12, true, [1, ['a']], { a: 'b', '': 1.5 }, new ExactNumber('12345678901234567')],
    xml: [
      '<value>ü &lt;&amp;&gt; 😀</value>',
      '<value><int>-12</int></value>',
      '<value><boolean>1</boolean></value>',
      '<value><array><data><value><int>1</int></value><value><array><data><value>a</value></data></array></value></data></array></value>',
      '<value><struct><member><name>a</name><value>b</value></member><member><name></name><value><double>1.5</double></value></member></struct></value>',
      '<value><i8>12345678901234567</i8></value>',
    ],
    outcome: { result: '["ü <&> 😀",-12,true,[1,["a"]],{"a":"b","":1.5},12345678901234567]' },
  },
  { method: 'trial.bytes', outcome: { result: '"AAH+/w=="' } },
  { method: 'trial.time', outcome: { result: '"1998-07-17T14:08:55Z"' } },
  {
    method: 'trial.both',
    json: ['AAH+/w==', '1998-07-17T14:08:55Z'],
    xml: [
      '<value><base64>AAH+/w==</base64></value>',
      '<value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value>',
    ],
    outcome: { result: '[4,900684535000]' },
  },
  {
    method: 'trial.both',
    json: ['AAH+/w=='],
    xml: ['<value><base64>AAH+/w==</base64></value>'],
    outcome: refused(-32602, /^trial\.both takes \(base64, dateTime\.iso8601\), not \(/),
  },
  { method: 'trial.large', outcome: { result: '9223372036854775807' } },
  { method: 'trial.double', outcome: { result: '3' } },
  {
    method: 'trial.nested',
    outcome: { result: '[{"time":"1998-07-17T14:08:55Z","bytes":"AAH+/w==","":"ü😀","__proto__":[1.5]}]' },
  },
  { method: 'trial.fail', outcome: { code: 42, text: 'No, "because" <of> & ü.' } },
  {
    method: 'trial.breaks',
    outcome: refused(-32603, /^The method trial\.breaks failed; the log has the cause under ID\.$/),
  },
  { method: 'trial.absent', outcome: refused(-32601, /^There is no method "trial\.absent"/) },
  { method: 'trial.__proto__', outcome: refused(-32601, /^There is no method/) },
  {
    method: 'system.methodHelp',
    json: ['trial.fail'],
    xml: ['<value>trial.fail</value>'],
    outcome: { result: '"Fails with a fault."' },
  },
  { method: 'system.methodHelp', json: [1], xml: ['<value><int>1</int></value>'], outcome: refused(-32602, /./) },
  {
    method: 'system.multicall',
    json: [
      [
        { methodName: 'trial.double', params: [] },
        { methodName: 'trial.fail', params: [] },
      ],
    ],
    xml: [
      `<value><array><data>${['trial.double', 'trial.fail'].map((name) => `<value><struct><member><name>methodName</name><value>${name}</value></member><member><name>params</name><value><array><data/></array></value></member></struct></value>`).join('')}</data></array></value>`,
    ],
    outcome: { result: '[[3],{"faultCode":42,"faultString":"No, \\"because\\" <of> & ü."}]' },
  },
  { method: 'rpc.discover', outcome: { result: expect.stringMatching(/^\{"openrpc":"1\.3\.2"/) as string } },
];

/** What came of a call, in one form for all formats. Correlation ids differ from call to call. */
const withoutId = (text: string): string => text.replace(/under [^\s.]+/, 'under ID');

function plain(value: ExactJson): ExactJson {
  if (value instanceof ExactNumber) {
    // A double has a point in XML-RPC.
    const source = value.source.replace(/\.0$/, '');
    return String(Number(source)) === source ? Number(source) : new ExactNumber(source);
  }
  if (Array.isArray(value)) return (value as readonly ExactJson[]).map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)]));
}

function fromJson(text: string): unknown {
  const { result, error } = parseExactJson(text) as Readonly<Record<string, ExactJson>>;
  if (error === undefined) return { result: stringifyExactJson(plain(result ?? null)) };
  const { code, message } = error as { readonly code: number; readonly message: string };
  return { code, text: withoutId(message) };
}

const unescaped = (text: string): string =>
  text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

function fromXml(document: string): unknown {
  const fault = faultIn(document);
  if (fault !== undefined) return { code: fault.code, text: withoutId(unescaped(fault.text)) };
  const value = valueOf(valueIn(document) ?? '');
  if (value === undefined || value instanceof Fault) throw new Error(`not an answer: ${document}`);
  return { result: stringifyExactJson(plain(jsonOf(value))) };
}

type Way = (row: Row, headers: Readonly<Record<string, string>>) => Promise<unknown>;

let serial = 0;
let address = '';
const stack = new RpcStack(trial);

const jsonContent = ({ method, json = [] }: Row): string => stringifyExactJson({ method, params: json, id: 1 });
const xmlContent = ({ method, xml = [] }: Row): string => JSON.stringify(xmlCall(method, xml));

async function executed(content: string, headers: Readonly<Record<string, string>>): Promise<JsonObject> {
  const path = `/cmbs/message/call-${(serial += 1)}`;
  const body = `{"kind":"${MESSAGE}","attributes":{"cmbs.message.executable":true,"cmbs.message.message_content":${content}}}`;
  await send('PUT', path, body, headers);
  return send(
    'POST',
    `${path}?action=execute`,
    '{"action":"http://houssem.org/cmbs/message/action#execute"}',
    headers,
  );
}

function delivered(content: string, headers: Readonly<Record<string, string>>): Promise<JsonObject> {
  const body =
    `{"kind":"${MESSAGE}","mixins":["http://houssem.org/cmbs#l1"],"attributes":{"cmbs.message.executable":true,` +
    `"cmbs.message.l1_socket_receiver_member":"${address}","cmbs.message.message_content":${content}}}`;
  return send('POST', '/cmbs/message/?send', body, headers);
}

let lastText = '';
async function send(
  method: string,
  target: string,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<JsonObject> {
  const response = await fetch(stack.url + target, {
    method,
    headers: { Accept: 'application/json', 'Content-Type': 'application/json', ...headers },
    body,
  });
  lastText = await response.text();
  if (!response.ok) throw new Error(`${method} ${target}: ${response.status} ${lastText}`);
  return JSON.parse(lastText) as JsonObject;
}

/** The answer in a message, with all digits of its numbers. */
function resultText(): string {
  const { attributes } = parseExactJson(lastText) as { readonly attributes: Readonly<Record<string, ExactJson>> };
  const stored = attributes['cmbs.message.result'];
  // On L1, the result is the reply of the receiver, which tells about itself too.
  const isReply = typeof stored === 'object' && stored !== null && 'member_description' in stored;
  const result = isReply ? (stored as Readonly<Record<string, ExactJson>>).result : stored;
  if (result === undefined) throw new Error(`no result: ${lastText}`);
  return typeof result === 'string' ? result : stringifyExactJson(result);
}

const WAYS: Readonly<Record<string, Way>> = {
  'JSON-RPC over HTTP': async (row, headers) => fromJson((await stack.post(jsonContent(row), headers)).text),
  'XML-RPC over HTTP': async ({ method, xml = [] }, headers) =>
    fromXml((await stack.xml(method, xml, headers)).text),
  'the action execute, in JSON': async (row, headers) => {
    await executed(jsonContent(row), headers);
    return fromJson(resultText());
  },
  'the action execute, in XML': async (row, headers) => {
    await executed(xmlContent(row), headers);
    return fromXml(resultText());
  },
  'a message, in JSON': async (row, headers) => {
    await delivered(jsonContent(row), headers);
    return fromJson(resultText());
  },
  'a message, in XML': async (row, headers) => {
    await delivered(xmlContent(row), headers);
    return fromXml(resultText());
  },
};

const member = async (headers: Readonly<Record<string, string>>): Promise<void> => {
  address = `tcp://127.0.0.1:${await freePort()}`;
  await send(
    'PUT',
    '/cmbs/member/one',
    JSON.stringify({
      kind: 'http://houssem.org/cmbs#member',
      attributes: { 'cmbs.member.l1_socket': address, 'cmbs.member.start': ['l1'] },
    }),
    headers,
  );
};

afterAll(() => stack.close());

describe.each(Object.entries(WAYS))('by %s', (_way, call) => {
  beforeAll(async () => {
    await stack.start();
    await member({});
  });
  afterAll(() => stack.stop());

  it.each(ROWS)('$method has the same outcome', async (row) => {
    expect(await call(row, {})).toEqual(row.outcome);
  });
});

describe('in a closed deployment', () => {
  const alice = basic('alice', 'first password of alice');
  beforeAll(async () => {
    await stack.startClosed();
    const attributes = { 'cmbs.access.user.password': 'first password of alice' };
    const root = basic('root', 'password of the administrator');
    await send('PUT', '/cmbs/access/user/alice', JSON.stringify({ kind: `${ACCESS}user`, attributes }), root);
    const rule = {
      'cmbs.access.rule.target': 'method:trial.double',
      'cmbs.access.rule.operations': ['service.call'],
      'cmbs.access.rule.deny': ['user:alice'],
    };
    await send('PUT', '/cmbs/access/rule/one', JSON.stringify({ kind: `${ACCESS}rule`, attributes: rule }), root);
    await send('DELETE', '/cmbs/member/one', '', root);
    await member(alice);
  });
  afterAll(() => stack.stop());

  it.each(Object.entries(WAYS))('the decision is the same by %s', async (_way, call) => {
    reached.length = 0;
    expect(await call({ method: 'trial.open', outcome: {} }, alice)).toEqual({ result: '"for everybody"' });
    const denied = refused(-32000, /^You may not do this \(service\.call of method:trial\.(?:reserved|double)\)/);
    expect(await call({ method: 'trial.reserved', outcome: {} }, alice)).toEqual(denied);
    expect(await call({ method: 'trial.double', outcome: {} }, alice)).toEqual(denied);
    // Each call inside of a multicall is decided too.
    const multicall = ROWS.find(({ method }) => method === 'system.multicall') as Row;
    const { result } = (await call(multicall, alice)) as { readonly result: string };
    expect(JSON.parse(result)).toEqual([
      { faultCode: -32000, faultString: expect.stringContaining('trial.double') as string },
      { faultCode: 42, faultString: expect.any(String) as string },
    ]);
    expect(reached.map(({ name }) => name)).toEqual([expect.stringMatching(/^trial\.open for (?:user|member)$/)]);
  });
});
