/** Calls of methods over HTTP: protocols, batches, codings, idempotency, introspection. */
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { Fault, type ServiceModule } from '@cmbs/shared/services';
import metaSchema from '@open-rpc/meta-schema';
import Ajv from 'ajv';
import { silentLog, VERSION, type Json, type JsonObject, type Log, type LogFields } from '@cmbs/shared';
import { PATIENCE_MS } from '../patience';
import { becomes } from '../waits';
import { MEMBER, MESSAGE } from './harness';
import { faultIn, valueIn, valueOf } from '../unit/xml-rpc-support';
import { RpcStack, xmlCall } from './rpc-support';

let runs = 0;
let release = (): void => undefined;
let running = 0;
let most = 0;
let stopped = 0;

const trial: ServiceModule = {
  name: 'trial',
  methods: {
    count: {
      documentation: 'Counts its calls. Later sentences are in the description.',
      signatures: [['int'], ['int', 'string']],
      call: () => (runs += 1),
    },
    million: {
      documentation: 'Returns a million characters.',
      signatures: [['string']],
      call: () => 'x'.repeat(1_000_000),
    },
    wait: {
      documentation: 'Answers when the test says so.',
      signatures: [['int']],
      call: async ({ signal }) => {
        runs += 1;
        running += 1;
        most = Math.max(most, running);
        signal.addEventListener('abort', () => (stopped += 1), { once: true });
        await new Promise<void>((resolve) => {
          const before = release;
          release = () => {
            before();
            resolve();
          };
        });
        running -= 1;
        return runs;
      },
    },
    large_later: {
      documentation: 'Returns text when the test says so.',
      signatures: [['string', 'int']],
      call: async (_c, [n]) => {
        running += 1;
        await new Promise<void>((resolve) => {
          const before = release;
          release = () => {
            before();
            resolve();
          };
        });
        running -= 1;
        return 'x'.repeat(Number(n));
      },
    },
    fail: {
      documentation: 'Fails.',
      signatures: [['string']],
      call: () => {
        throw new Fault(42, 'No.', { why: 'because' });
      },
    },
    large: {
      documentation: 'Returns text.',
      signatures: [['string', 'int']],
      call: (_c, [n]) => 'x'.repeat(Number(n)),
    },
    many: {
      documentation: 'Has several signatures.',
      signatures: [
        ['int', 'int'],
        ['double', 'double'],
        ['array', 'string', 'string'],
        ['base64', 'nil'],
      ],
      call: () => null,
    },
    any: { documentation: 'Takes anything.', signatures: [['any', 'any']], call: (_c, [value = null]) => value },
    double: { documentation: 'Returns 3.', signatures: [['double']], call: () => 3 },
    nothing: { documentation: 'Returns nil.', signatures: [['nil']], call: () => null },
  },
};

const stack = new RpcStack(trial);
const lines: LogFields[] = [];
const info: Log['info'] = (message, fields = {}) => {
  if (message === 'call') lines.push(fields);
};
beforeAll(() => stack.start({}, { log: { ...silentLog, info } }));
afterAll(() => stack.close());
beforeEach(() => {
  runs = running = most = stopped = 0;
  release = () => undefined;
});

/** The part of the meta-schema of JSON Schema (draft 7) that the meta-schema of OpenRPC refers to. */
const JSON_SCHEMA = {
  allOf: [{ $ref: 'http://json-schema.org/draft-07/schema#' }],
  definitions: { JSONSchemaObject: { properties: { $ref: { type: 'string' } } } },
};

const JSON_CALL = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'echo.echo', params: ['a'] });
const JSON_ANSWER = '{"jsonrpc":"2.0","id":1,"result":["a"]}';
const XML_CALL = xmlCall('echo.echo', ['<value>a</value>']);
const XML_ANSWER =
  '<?xml version="1.0" encoding="UTF-8"?>\n<methodResponse><params><param><value><array><data><value><string>a</string></value></data></array></value></param></params></methodResponse>\n';

describe('the protocol', () => {
  it.each<[string, string | undefined, string | Uint8Array, string]>([
    ['application/json', 'application/json', JSON_CALL, JSON_ANSWER],
    ['application/json with a charset', 'application/json; charset=UTF-8', JSON_CALL, JSON_ANSWER],
    ['application/json-rpc', 'Application/JSON-RPC', JSON_CALL, JSON_ANSWER],
    ['application/jsonrequest', 'application/jsonrequest', JSON_CALL, JSON_ANSWER],
    ['the type of curl', 'application/x-www-form-urlencoded', ` \n${JSON_CALL}`, JSON_ANSWER],
    ['no type', undefined, Buffer.from(JSON_CALL), JSON_ANSWER],
    // The dialect of Clarens.
    ['text/json', 'text/json', '{"method":"echo.echo","params":["a"],"id":7}', '{"id":7,"result":["a"]}'],
    ['text/xml', 'text/xml', XML_CALL, XML_ANSWER],
    ['application/xml', 'application/xml', XML_CALL, XML_ANSWER],
    ['another type', 'text/plain', XML_CALL, XML_ANSWER],
    [
      'no type and XML',
      undefined,
      Buffer.from(` ${xmlCall('echo.echo', ['<value>a</value>']).slice(21)}`),
      XML_ANSWER,
    ],
    ['UTF-16', undefined, Buffer.from(`\ufeff${XML_CALL}`, 'utf16le'), XML_ANSWER],
  ])('is that of %s', async (_name, type, body, expected) => {
    for (const path of ['/rpc', '/RPC2', '/fn/rpc/rpc']) {
      const { status, text, headers } = await stack.post(
        body,
        type === undefined ? {} : { 'Content-Type': type },
        path,
      );
      expect(text).toBe(expected);
      expect(status).toBe(200);
      expect(headers.get('content-type')).toBe(
        expected === XML_ANSWER ? 'text/xml; charset=utf-8' : 'application/json',
      );
    }
  });

  it('is POST, and says so in its own format', async () => {
    const got = await fetch(`${stack.url}/rpc`);
    expect(got.status).toBe(405);
    expect(got.headers.get('allow')).toBe('POST, OPTIONS');
    expect(await got.json()).toMatchObject({ jsonrpc: '2.0', id: null, error: { code: -32600 } });
    const asked = await fetch(`${stack.url}/RPC2`, { headers: { Accept: 'text/xml' } });
    expect(faultIn(await asked.text())?.code).toBe(-32600);
    const options = await fetch(`${stack.url}/RPC2`, { method: 'OPTIONS' });
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, OPTIONS']);
  });
});

describe('refusals', () => {
  const large = 'x'.repeat(1_100_000);
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, ' '));
  it.each<[string, string | Uint8Array, Record<string, string>, number, number]>([
    ['an unknown type', 'call', { 'Content-Type': 'application/octet-stream' }, 415, -32600],
    ['an empty body', '', {}, 415, -32600],
    ['an unknown coding', JSON_CALL, { 'Content-Encoding': 'br' }, 415, -32600],
    ['two codings', JSON_CALL, { 'Content-Encoding': 'gzip, gzip' }, 415, -32600],
    ['a body that is not gzip', JSON_CALL, { 'Content-Encoding': 'gzip' }, 400, -32600],
    ['a large body', JSON.stringify(large), { 'Content-Type': 'application/json' }, 413, -32600],
    ['a gzip bomb', bomb, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }, 413, -32600],
    ['a page of another origin', JSON_CALL, { Origin: 'https://evil.example' }, 403, -32000],
    ['a key that is too long', JSON_CALL, { 'Idempotency-Key': 'k'.repeat(300) }, 400, -32600],
  ])('of %s are faults with a status', async (_name, body, headers, status, code) => {
    const inJson = await stack.post(body, headers);
    expect(inJson.headers.get('content-type')).toBe('application/json');
    expect(JSON.parse(inJson.text)).toMatchObject({ jsonrpc: '2.0', id: null, error: { code } });
    expect(inJson.status).toBe(status);
    const inXml = await stack.post(body, { ...headers, 'Content-Type': 'text/xml' });
    // With its type, the body of any request is XML-RPC.
    if (Object.keys(headers).length === 0 || headers['Content-Type'] === 'application/octet-stream') {
      expect(faultIn(inXml.text)?.code).toBe(-32700);
    } else expect([inXml.status, faultIn(inXml.text)?.code]).toEqual([status, code]);
    expect(await stack.call('echo.echo', [1])).toEqual([1]);
  });
});

describe('codings', () => {
  it.each([
    ['gzip', gzipSync(JSON_CALL)],
    ['x-gzip', gzipSync(JSON_CALL)],
    ['deflate', deflateSync(JSON_CALL)],
    ['deflate', deflateRawSync(JSON_CALL)],
    ['identity', Buffer.from(JSON_CALL)],
  ])('%s of a request are read', async (coding, body) => {
    const headers = { 'Content-Type': 'application/json', 'Content-Encoding': coding };
    expect((await stack.post(body, headers)).text).toBe(JSON_ANSWER);
  });

  it.each([
    ['gzip', 'gzip'],
    ['gzip;q=0.5, br;q=1.0', 'br'],
    ['deflate', 'deflate'],
    ['*', 'br'],
    ['br;q=0, gzip;q=0.001', 'gzip'],
    ['identity', null],
    ['gzip;q=0', null],
    ['zstd', null],
  ])('of an answer to Accept-Encoding: %s', async (accepted, coding) => {
    const large = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'trial.large', params: [10_000] });
    const headers = { 'Content-Type': 'application/json', 'Accept-Encoding': accepted };
    const answer = await stack.post(large, headers);
    expect(answer.headers.get('content-encoding')).toBe(coding);
    expect(answer.headers.get('vary')).toContain('Accept-Encoding');
    // fetch inflates.
    expect((JSON.parse(answer.text) as JsonObject).result).toBe('x'.repeat(10_000));
    if (coding !== null) expect(Number(answer.headers.get('content-length'))).toBeLessThan(1000);
    expect((await stack.post(JSON_CALL, headers)).headers.get('content-encoding')).toBeNull();
  });
});

describe('batches', () => {
  it('answer each call, and run a few at a time', async () => {
    const answered = stack.json(
      Array.from({ length: 20 }, (_, id): Json => ({ jsonrpc: '2.0', id, method: 'trial.wait' })),
    );
    await becomes(() => running === 8, 'eight calls run');
    const go = setInterval(() => release(), 1);
    const answers = (await answered.finally(() => clearInterval(go))) as unknown as readonly JsonObject[];
    expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: 20 }, (_, id) => id));
    expect(most).toBe(8);
  });

  it('have faults of their own, and no answer to notifications', async () => {
    expect(
      await stack.json([
        { jsonrpc: '2.0', id: 1, method: 'trial.fail' },
        { jsonrpc: '2.0', method: 'trial.count' },
        { jsonrpc: '2.0', id: 2, method: 'trial.absent' },
        7,
        { jsonrpc: '2.0', id: 3, method: 'echo.echo', params: ['a'] },
      ]),
    ).toMatchObject([
      { id: 1, error: { code: 42, message: 'No.', data: { why: 'because' } } },
      { id: 2, error: { code: -32601 } },
      { id: null, error: { code: -32600 } },
      { id: 3, result: ['a'] },
    ]);
    expect(runs).toBe(1);
    const silent = await stack.post('{"jsonrpc":"2.0","method":"trial.count"}');
    expect([silent.status, silent.text, runs]).toEqual([204, '', 2]);
  });

  it('have at most 1000 calls', async () => {
    const batch = Array.from({ length: 1001 }, () => ({ jsonrpc: '2.0', id: 1, method: 'trial.count' }));
    expect(await stack.json(batch)).toMatchObject({ error: { code: -32600 } });
    expect(runs).toBe(0);
    expect(await stack.json(batch.slice(1))).toHaveLength(1000);
  });
});

describe('system.multicall', () => {
  const call = (methodName: string, ...params: Json[]): Json => ({ methodName, params });

  it('answers each call in order', async () => {
    expect(
      await stack.call('system.multicall', [
        [
          call('trial.count'),
          call('trial.fail'),
          call('trial.absent'),
          { methodName: 'trial.count' },
          call('system.multicall', []),
          7,
          { methodName: 'trial.count', params: 7 },
          { methodName: 7, params: [] },
          call('trial.double'),
        ],
      ]),
    ).toEqual([
      [1],
      { faultCode: 42, faultString: 'No.' },
      { faultCode: -32601, faultString: expect.any(String) as string },
      [2],
      { faultCode: -32600, faultString: expect.any(String) as string },
      { faultCode: -32600, faultString: expect.any(String) as string },
      { faultCode: -32600, faultString: expect.any(String) as string },
      { faultCode: -32600, faultString: expect.any(String) as string },
      [3],
    ]);
  });

  it('gives a fault for a result that XML-RPC cannot carry, and the type of each result', async () => {
    const struct = (method: string): string =>
      `<value><struct><member><name>methodName</name><value>${method}</value></member></struct></value>`;
    const calls = ['trial.nothing', 'trial.double', 'trial.count'].map(struct).join('');
    const { text } = await stack.xml('system.multicall', [`<value><array><data>${calls}</data></array></value>`]);
    expect(valueOf(valueIn(text) ?? '')).toEqual([
      { faultCode: -32603, faultString: expect.any(String) as string },
      [expect.anything()],
      [1],
    ]);
    expect(text).toContain('<double>3.0</double>');
  });

  it('has at most 1000 calls, and an array of them', async () => {
    const calls = Array.from({ length: 10_000 }, () => call('trial.count'));
    expect(await stack.call('system.multicall', [calls])).toMatchObject({ code: -32602 });
    expect(await stack.call('system.multicall', [])).toMatchObject({ code: -32602 });
    expect(await stack.call('system.multicall', ['x'])).toMatchObject({ code: -32602 });
    expect(runs).toBe(0);
    expect(await stack.call('system.multicall', [calls.slice(0, 1000)])).toHaveLength(1000);
  });
});

describe('the calls of one request', () => {
  const multicall = (methodName: string, count: number, params: Json[] = []): Json => ({
    jsonrpc: '2.0',
    id: 1,
    method: 'system.multicall',
    params: [Array.from({ length: count }, () => ({ methodName, params }))],
  });

  it('are at most 1000, with those of its multicalls', async () => {
    const answers = (await stack.json([
      multicall('trial.count', 600),
      multicall('trial.count', 600),
      { method: 'trial.count', id: 2 },
    ])) as unknown as { readonly result: Json[] }[];
    expect(runs).toBe(1000);
    expect(answers[0]?.result).toHaveLength(600);
    const all = answers.flatMap(({ result }) => result);
    expect(all.filter((one) => JSON.stringify(one).includes('"faultCode":-32600'))).toHaveLength(201);
  });

  it('keep no more results than an answer can have', async () => {
    // Each result alone fits; all of them would be gigabytes.
    const [answer] = (await stack.json([multicall('trial.million', 1000)])) as unknown as [
      { readonly result: Json[] },
    ];
    const { result } = answer;
    expect(result).toHaveLength(1000);
    expect(result[0]).toEqual([expect.any(String)]);
    expect(result.at(-1)).toMatchObject({ faultCode: -32603 });
  });
});

describe('text where a method takes bytes', () => {
  const asXml = ['<value><string>a</string></value>', '<value><string>dGV4dA==</string></value>'];

  it('is base64 in JSON-RPC, and stays text in XML-RPC, which has bytes', async () => {
    // The stack has no files; the arguments are checked before.
    expect(await stack.call('file.put', ['a', 'dGV4dA=='])).toMatchObject({ code: -32000 });
    expect((await stack.xml('file.put', asXml)).text).toContain('<int>-32602</int>');
  });

  it('stays text in a message with XML-RPC too', async () => {
    await stack.ask('PUT', '/cmbs/member/one', { kind: MEMBER, attributes: { 'cmbs.member.state': 'active' } });
    await stack.ask('PUT', '/cmbs/message/text', {
      kind: MESSAGE,
      attributes: { 'cmbs.message.message_content': xmlCall('file.put', asXml) },
    });
    const { json } = await stack.ask('POST', '/cmbs/message/text?action=execute', { attributes: { from: 'one' } });
    expect(JSON.stringify(json)).toContain('<int>-32602</int>');
  });
});

describe('large results of many requests', () => {
  it('have a bound together, and give the room back', async () => {
    const size = 8 * 1024 * 1024;
    const answers = Array.from({ length: 12 }, () => stack.call('trial.large_later', [size]));
    await becomes(() => running === answers.length, 'all calls run');
    release();
    const outcomes = (await Promise.all(answers)).map((answer) =>
      typeof answer === 'string' ? answer.length : answer,
    );
    const refused = outcomes.filter((outcome) => outcome !== size);
    expect(refused.length).toBeGreaterThanOrEqual(4);
    expect(refused.length).toBeLessThan(answers.length);
    for (const fault of refused) expect(fault).toMatchObject({ code: -32000, data: { code: 'queue_full' } });
    for (let n = 0; n < 20; n += 1) expect(await stack.call('trial.large', [size])).toHaveLength(size);
  });
});

describe('Idempotency-Key', () => {
  const body = (...params: Json[]): string =>
    JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'trial.count', params });
  const keyed = (key: string): Record<string, string> => ({ 'Idempotency-Key': key });

  it('makes a repeated request one run with one answer', async () => {
    const first = await stack.post(body(), keyed('one'));
    expect(JSON.parse(first.text)).toMatchObject({ result: 1 });
    expect((await stack.post(body(), keyed('one'), '/RPC2')).text).toBe(first.text);
    expect(runs).toBe(1);
    const other = await stack.post(body('x'), keyed('one'));
    expect(other.status).toBe(422);
    expect(JSON.parse(other.text)).toMatchObject({
      error: { code: -32000, data: { code: 'idempotency_mismatch' } },
    });
    // A key of an OCCI request is another one.
    const kind = 'http://houssem.org/cmbs#message';
    expect((await stack.ask('PUT', '/cmbs/message/one', { kind }, keyed('one'))).status).toBe(201);
    expect(runs).toBe(1);
  });

  it('keeps faults and the answer to notifications', async () => {
    const fails = '{"jsonrpc":"2.0","id":1,"method":"trial.fail"}';
    const first = await stack.post(fails, keyed('fault'));
    expect((await stack.post(fails, keyed('fault'))).text).toBe(first.text);
    const notifies = '{"jsonrpc":"2.0","method":"trial.count"}';
    for (const times of [1, 2])
      expect([times, (await stack.post(notifies, keyed('silent'))).status]).toEqual([times, 204]);
    expect(runs).toBe(1);
  });

  it('waits for a run that has not ended', async () => {
    const waits = '{"jsonrpc":"2.0","id":1,"method":"trial.wait"}';
    const first = stack.post(waits, keyed('waiting'));
    await becomes(() => running === 1, 'the call runs');
    const second = stack.post(waits, keyed('waiting'));
    expect((await stack.post(body(), keyed('waiting'))).status).toBe(422);
    release();
    expect((await first).text).toBe((await second).text);
    expect(runs).toBe(1);
  });

  it('lets the run go on when the caller leaves', async () => {
    const waits = '{"jsonrpc":"2.0","id":1,"method":"trial.wait"}';
    const gone = new AbortController();
    const first = fetch(`${stack.url}/rpc`, {
      method: 'POST',
      headers: keyed('left'),
      body: waits,
      signal: gone.signal,
    });
    await becomes(() => running === 1, 'the call runs');
    gone.abort();
    await expect(first).rejects.toThrow();
    const second = stack.post(waits, keyed('left'));
    release();
    expect(JSON.parse((await second).text)).toMatchObject({ result: 1 });
    expect(stopped).toBe(0);
  });

  it('is not for secrets', async () => {
    for (const call of [
      { method: 'system.auth', id: 1 },
      { method: 'system.multicall', params: [[{ methodName: 'system.auth' }]], id: 1 },
    ]) {
      const { status, text } = await stack.post(JSON.stringify(call), keyed(`secret of ${call.method}`));
      expect([status, text]).toEqual([
        200,
        expect.stringContaining('the answer has a secret and would be stored'),
      ]);
    }
  });
});

it('each call has a line in the log, with its way and its trace', async () => {
  lines.length = 0;
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  await stack.call('trial.count', [], { traceparent: trace });
  await stack.xml('trial.fail');
  await stack.call('system.multicall', [[{ methodName: 'trial.count' }]]);
  expect(lines).toMatchObject([
    {
      method: 'trial.count',
      outcome: 'answer',
      way: 'json-rpc',
      client: '127.0.0.1',
      principal: 'anonymous:anonymous',
    },
    { method: 'trial.fail', outcome: 'fault', code: 42, way: 'xml-rpc' },
    { method: 'trial.count', way: 'method' },
    { method: 'system.multicall', way: 'json-rpc' },
  ]);
  expect(JSON.stringify(lines[0])).toContain('0af7651916cd43dd8448eb211c80319c');
});

it('ends a call whose caller leaves', async () => {
  const gone = new AbortController();
  const first = fetch(`${stack.url}/rpc`, {
    method: 'POST',
    body: '{"jsonrpc":"2.0","id":1,"method":"trial.wait"}',
    signal: gone.signal,
  });
  await becomes(() => running === 1, 'the call runs');
  gone.abort();
  await expect(first).rejects.toThrow();
  await becomes(() => stopped === 1, 'the call is cancelled');
  release();
});

describe('introspection', () => {
  it('has both spellings', async () => {
    for (const [one, other, params] of [
      ['list_methods', 'listMethods', []],
      ['method_help', 'methodHelp', ['trial.count']],
      ['method_signature', 'methodSignature', ['trial.count']],
      ['get_capabilities', 'getCapabilities', []],
    ] as const) {
      const answer = await stack.call(`system.${one}`, params);
      expect(answer).toBeDefined();
      expect(await stack.call(`system.${other}`, params)).toEqual(answer);
    }
    expect(await stack.call('system.method_signature', ['trial.count'])).toEqual([['int'], ['int', 'string']]);
    expect(await stack.call('system.methodHelp', ['trial.absent'])).toMatchObject({ code: -32601 });
    expect(await stack.call('system.methodSignature', ['trial.absent'])).toMatchObject({ code: -32601 });
    expect(await stack.call('system.getCapabilities')).toMatchObject({
      xmlrpc: { specVersion: 1 },
      faults_interop: { specVersion: 20010516 },
      'system.multicall': { specVersion: 1 },
      introspection: { specVersion: 1 },
    });
  });

  it('lists modules', async () => {
    const modules = (await stack.call('system.list_modules')) as unknown as readonly JsonObject[];
    expect(modules).toContainEqual({ name: 'echo', version: VERSION, built_in: true, methods: 1 });
    expect(modules).toContainEqual({ name: 'trial', version: VERSION, built_in: true, methods: 10 });
    const names = (await stack.call('system.list_methods')) as readonly string[];
    expect(modules.reduce((sum, { methods }) => sum + Number(methods), 0)).toBe(names.length);
  });

  it('describes all methods in OpenRPC, by rpc.discover', async () => {
    const document = (await stack.call('rpc.discover')) as JsonObject;
    const ajv = new Ajv({ strict: false, validateFormats: false });
    for (const id of ['https://meta.json-schema.tools', 'https://meta.json-schema.tools/'])
      ajv.addSchema(JSON_SCHEMA, id);
    const { $schema: _unknownToAjv, ...schema } = metaSchema as JsonObject;
    const isValid = ajv.compile(schema);
    expect(isValid(document) || isValid.errors).toBe(true);
    expect(isValid({ ...document, methods: [{}] })).toBe(false);
    expect(document.info).toMatchObject({ title: 'CMBS', version: VERSION });
    const methods = document.methods as unknown as readonly JsonObject[];
    expect(methods.map(({ name }) => name)).toEqual(await stack.call('system.list_methods'));
    const described = (name: string): JsonObject | undefined => methods.find((method) => method.name === name);
    expect(described('trial.count')).toMatchObject({
      summary: 'Counts its calls.',
      params: [{ required: false, schema: { type: 'string' } }],
      result: { schema: { type: 'integer' } },
      'x-signatures': [['int'], ['int', 'string']],
    });
    expect(described('trial.many')).toMatchObject({
      params: [
        { required: true, schema: { oneOf: [{ type: 'number' }, { type: 'string' }, { type: 'null' }] } },
        { required: false, schema: { type: 'string' } },
      ],
      result: {
        schema: { oneOf: [{ type: 'number' }, { type: 'array' }, { type: 'string', contentEncoding: 'base64' }] },
      },
    });
    expect(described('trial.any')).toMatchObject({ params: [{ schema: {} }], result: { schema: {} } });
  });

  it('says who the caller is', async () => {
    expect(await stack.call('system.whoami')).toEqual({
      principal: 'anonymous:anonymous',
      kind: 'anonymous',
      name: 'anonymous',
    });
    expect(await stack.call('system.auth')).toMatchObject({ code: -32000, data: { code: 'not_implemented' } });
    expect(await stack.call('system.logout')).toMatchObject({ code: -32000 });
  });
});

describe('hostile input', () => {
  const value = (text: string): string => xmlCall('echo.echo', [text]);
  const deep = (n: number): string => `${'<value><array><data>'.repeat(n)}${'</data></array></value>'.repeat(n)}`;
  const attributes = Array.from({ length: 20_000 }, (_, n) => ` a${n}="1"`).join('');
  it.each<[string, string | Uint8Array, string, number]>([
    ['a document type', `<!DOCTYPE a [<!ENTITY b "c">]>${xmlCall('echo.echo')}`, 'text/xml', -32600],
    ['an entity', value('<value>&b;</value>'), 'text/xml', -32700],
    ['deep nesting', value(deep(20_000)), 'text/xml', -32600],
    ['many attributes', value(`<value${attributes}>1</value>`), 'text/xml', -32600],
    ['an unknown encoding', Buffer.from('<?xml version="1.0" encoding="x-mac"?><a/>'), 'text/xml', -32701],
    ['encodings that differ', '<?xml version="1.0" encoding="us-ascii"?><a/>', 'text/xml; charset=utf-16', -32701],
    ['bytes that are no text', Buffer.from([0x3c, 0xff, 0xff]), 'text/xml', -32702],
    ['no XML', 'call', 'text/xml', -32700],
    ['HTML', '<html><body>call</body></html>', 'text/html', -32600],
    ['no JSON', '{"method":', 'application/json', -32700],
    [
      'deep JSON',
      `{"method":"echo.echo","params":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      'text/json',
      -32600,
    ],
    ['JSON that is not in UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'application/json', -32700],
    ['a number', '7', 'application/json', -32600],
    ['an empty batch', '[]', 'application/json', -32600],
    ...[
      'constructor',
      'echo.constructor',
      'echo.__proto__',
      '__proto__.echo',
      'echo._x',
      '_x.y',
      'rpc.x',
      'echo',
      '',
    ].map((method): [string, string, string, number] => [
      `the name ${JSON.stringify(method)}`,
      JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: [] }),
      'application/json',
      -32601,
    ]),
    ['a name with a path', xmlCall('../echo.echo'), 'text/xml', -32601],
    ['too many arguments', xmlCall('system.list_methods', ['<value>1</value>']), 'text/xml', -32602],
    ['a wrong type', xmlCall('system.methodHelp', ['<value><int>1</int></value>']), 'text/xml', -32602],
  ])('%s is a fault, and the next call is answered', async (_name, body, type, code) => {
    const { status, text, headers } = await stack.post(body, { 'Content-Type': type });
    expect(headers.get('content-type')).not.toContain('html');
    expect(status).toBe(200);
    const found = text.startsWith('<')
      ? faultIn(text)?.code
      : ((JSON.parse(text) as JsonObject).error as JsonObject).code;
    expect({ found, text }).toEqual({ found: code, text });
    expect(await stack.call('echo.echo', ['next'])).toEqual(['next']);
  });

  it('a member named __proto__ arrives as a member', async () => {
    const { text } = await stack.post('{"method":"echo.echo","params":[{"__proto__":{"a":1}}],"id":1}');
    expect(text).toBe('{"id":1,"result":[{"__proto__":{"a":1}}]}');
  });
});

it(
  'a run that a crash cuts off is answered, and not run again',
  async () => {
    const own = new RpcStack(trial);
    try {
      await own.start();
      const waits = '{"jsonrpc":"2.0","id":1,"method":"trial.wait"}';
      const headers = { 'Idempotency-Key': 'cut off' };
      const first = fetch(`${own.url}/rpc`, { method: 'POST', headers, body: waits });
      first.catch(() => undefined);
      await becomes(() => running === 1, 'the call runs');
      // The stack closes within its grace, while the call still runs: its answer is never stored.
      await own.stop();
      await own.start();
      const second = await own.post(waits, headers);
      expect(JSON.parse(second.text)).toMatchObject({ id: 1, error: { code: -32002 } });
      expect((await own.post(waits, headers)).text).toBe(second.text);
      expect(runs).toBe(1);
    } finally {
      release();
      await own.close();
    }
  },
  PATIENCE_MS,
);
