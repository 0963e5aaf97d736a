import { ExactNumber } from '@cmbs/shared/exact-json';
import {
  Fault,
  isModuleCode,
  isNotification,
  isReservedMethod,
  jsonRpcProtocol,
  type JsonRpcOptions,
  type Outcome,
  type RpcRequest,
  type Value,
  xmlRpcProtocol,
} from '@cmbs/shared/services';
import { asType, jsonOf } from '../../shared/services/value';
import fc from '../property';
import { LINEAR_MS, processorMs } from './processor-time';
import { bytes, callWith } from './xml-rpc-support';

const read = (body: string | Uint8Array, options?: JsonRpcOptions): RpcRequest =>
  jsonRpcProtocol(options).read(typeof body === 'string' ? bytes(body) : body);

const textOf = (answer: Uint8Array | undefined): string | undefined =>
  answer === undefined ? undefined : new TextDecoder().decode(answer);

/** The answer when each call returns what `run` makes of it. */
function answerTo(
  body: string | Uint8Array,
  run: (method: string, params: readonly Value[]) => Value | Fault = (_method, params) => params,
  options?: JsonRpcOptions,
): string | undefined {
  const request = read(body, options);
  const outcomes = request.calls.map(({ method, params }): Outcome => ({ value: run(method, params) }));
  return textOf(request.answer(outcomes));
}

const parsed = (text: string | undefined): unknown => (text === undefined ? undefined : JSON.parse(text));
const faultWith = (code: number, id: unknown = null): unknown => ({
  jsonrpc: '2.0',
  id,
  error: { code, message: expect.any(String) as string },
});

/** The methods of the examples in the specification. */
function examples(method: string, params: readonly Value[]): Value | Fault {
  switch (method) {
    case 'subtract': {
      const [first, second] = params;
      if (typeof first === 'number') return first - (second as number);
      const { minuend, subtrahend } = first as { minuend: number; subtrahend: number };
      return minuend - subtrahend;
    }
    case 'sum':
      return (params as number[]).reduce((total, one) => total + one, 0);
    case 'get_data':
      return ['hello', 5];
    case 'update':
    case 'notify_hello':
    case 'notify_sum':
      return null;
    default:
      return new Fault(-32601, 'Method not found');
  }
}

describe('the examples of the specification (JSON-RPC 2.0 §7)', () => {
  const notFound = { code: -32601, message: 'Method not found' };
  it.each<[string, string, unknown]>([
    [
      'positional parameters',
      '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
      { jsonrpc: '2.0', result: 19, id: 1 },
    ],
    [
      'named parameters',
      '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
      { jsonrpc: '2.0', result: 19, id: 3 },
    ],
    ['a notification', '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', undefined],
    ['a notification of no method', '{"jsonrpc": "2.0", "method": "foobar"}', undefined],
    [
      'no method',
      '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
      { jsonrpc: '2.0', error: notFound, id: '1' },
    ],
    ['invalid JSON', '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', faultWith(-32700)],
    ['an invalid call', '{"jsonrpc": "2.0", "method": 1, "params": "bar"}', faultWith(-32600)],
    [
      'a batch of invalid JSON',
      '[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method" ]',
      faultWith(-32700),
    ],
    ['an empty batch', '[]', faultWith(-32600)],
    ['an invalid batch', '[1]', [faultWith(-32600)]],
    ['a longer invalid batch', '[1,2,3]', [faultWith(-32600), faultWith(-32600), faultWith(-32600)]],
    [
      'a batch',
      `[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
         {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
         {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
         {"foo": "boo"},
         {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
         {"jsonrpc": "2.0", "method": "get_data", "id": "9"} ]`,
      [
        { jsonrpc: '2.0', result: 7, id: '1' },
        { jsonrpc: '2.0', result: 19, id: '2' },
        faultWith(-32600),
        { jsonrpc: '2.0', error: notFound, id: '5' },
        { jsonrpc: '2.0', result: ['hello', 5], id: '9' },
      ],
    ],
    [
      'a batch of notifications',
      '[ {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]} ]',
      undefined,
    ],
  ])('%s', (_what, body, expected) => {
    expect(parsed(answerTo(body, examples))).toEqual(expected);
  });
});

describe('a request of JSON-RPC', () => {
  it.each(['0', '-1', '"a"', '""', 'null', '12345678901234567890', '1.5', '1e400', '"\\ud800"'])(
    'gets its id %s back',
    (id) => {
      expect(answerTo(`{"jsonrpc":"2.0","method":"m","id":${id}}`)).toBe(
        `{"jsonrpc":"2.0","id":${id},"result":[]}`,
      );
      expect(answerTo(`{"jsonrpc":"2.0","id":${id}}`)).toContain(`"id":${id},"error":`);
    },
  );

  it('of version 1.0, as Clarens and pyCMBS write it, is answered in that version, with and without id', () => {
    expect(answerTo('{"method":"m","params":["x"],"id":7}')).toBe('{"id":7,"result":["x"]}');
    expect(answerTo('{"method":"m","params":["x"],"id":null}')).toBe('{"id":null,"result":["x"]}');
    expect(answerTo('{"method":"m"}')).toBe('{"result":[]}');
    expect(answerTo('{"method":"m","id":1}', () => new Fault(5, 'No.'))).toBe(
      '{"id":1,"error":{"code":5,"message":"No."}}',
    );
    expect(isNotification({})).toBe(false);
    expect(isNotification({ jsonrpc: '2.0' })).toBe(true);
    expect(isNotification({ jsonrpc: '2.0', id: null })).toBe(false);
  });

  it.each<[string, number, unknown]>([
    ['', -32700, null],
    ['hello', -32700, null],
    ['<methodCall/>', -32700, null],
    ['1', -32600, null],
    ['"{}"', -32600, null],
    ['null', -32600, null],
    ['{}', -32600, null],
    ['{"jsonrpc":"1.0","method":"m","id":1}', -32600, 1],
    ['{"jsonrpc":2.0,"method":"m","id":"a"}', -32600, 'a'],
    ['{"jsonrpc":"2.0","method":"m","id":{}}', -32600, null],
    ['{"jsonrpc":"2.0","method":"m","id":true}', -32600, null],
    ['{"jsonrpc":"2.0","method":"m","params":null,"id":1}', -32600, 1],
    ['[[]]', -32600, null],
    [`{"method":"m","params":${'['.repeat(100)}${']'.repeat(100)}}`, -32600, null],
    ['['.repeat(100_000), -32600, null],
    [`[1e5,"${'\\"'.repeat(500_000)}`, -32700, null],
  ])('%s is a fault', (body, code, id) => {
    const ms = processorMs(() => {
      const [answer] = [parsed(answerTo(body))].flat();
      expect(answer).toEqual(faultWith(code, id));
    });
    expect(ms).toBeLessThan(LINEAR_MS);
  });

  it('is in UTF-8, with or without a byte order mark', () => {
    expect(answerTo(Buffer.from([0x22, 0xff, 0x22]))).toContain('-32700');
    expect(answerTo('\ufeff{"method":"m","params":["ü"]}')).toBe('{"result":["ü"]}');
  });

  it('has a bound on the calls of a batch, the bytes, and the characters of the answers', () => {
    const batch = (count: number): string =>
      `[${Array.from({ length: count }, () => '{"method":"m"}').join(',')}]`;
    expect(parsed(answerTo(batch(1000)))).toHaveLength(1000);
    expect(parsed(answerTo(batch(1001)))).toEqual(faultWith(-32600));
    expect(read(batch(10_000)).calls).toEqual([]);
    expect(parsed(answerTo(batch(2), undefined, { maxBytes: 10 }))).toEqual(faultWith(-32600));
    const large = answerTo('[{"method":"a","id":1},{"method":"b","id":2}]', () => 'x'.repeat(60), {
      maxChars: 100,
    });
    expect(parsed(large)).toEqual([
      { id: 1, result: 'x'.repeat(60) },
      { id: 2, error: { code: -32603, message: expect.stringContaining('100 characters') as string } },
    ]);
  });

  it('never throws, whatever the body', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytes), fc.string().map(bytes)), (body) => {
        const text = answerTo(body);
        expect(text === undefined || parsed(text) !== undefined).toBe(true);
      }),
    );
  });

  const circular: unknown[] = [];
  circular.push(circular);
  it.each<[string, unknown]>([
    ['NaN', Number.NaN],
    ['infinity', [Infinity]],
    ['a function', () => 1],
    ['itself', circular],
    ['a map', { a: new Map() }],
    ['too much', Array.from({ length: 40 }).reduce<Value>((part) => [part, part], 'x')],
  ])('gets a fault that says why for a result with %s', (_what, result) => {
    const answer = parsed(answerTo('{"jsonrpc":"2.0","method":"m","id":1}', () => result as Value));
    expect(answer).toEqual(faultWith(-32603, 1));
    const data = new Fault(1, 'No.', result as never);
    expect(parsed(answerTo('{"method":"m"}', () => data))).toEqual({ error: { code: 1, message: 'No.' } });
  });

  it('gets the correlation id of a fault in its data', () => {
    const fault = new Fault(-32603, 'Failed.', { more: 1 }, { correlationId: 'c0ffee' });
    expect(parsed(answerTo('{"method":"m"}', () => fault))).toEqual({
      error: { code: -32603, message: 'Failed.', data: { more: 1, correlationId: 'c0ffee' } },
    });
  });

  it('needs the outcome of each call', () => {
    expect(() => read('{"method":"m"}').answer([])).toThrow(RangeError);
    expect(() => xmlRpcProtocol().read(bytes(callWith())).answer([])).toThrow(RangeError);
  });
});

test('names that begin with rpc. are reserved for the protocol', () => {
  expect(['rpc.discover', 'rpc.', 'rpc', 'rpcs.x', 'RPC.x'].map(isReservedMethod)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});

test('the codes of modules are outside the reserved range', () => {
  expect([0, 42, -1, -31999, -32769, 2147483647, -32602, -32500].every(isModuleCode)).toBe(true);
  expect([-32768, -32000, -32001, -32099, -32400, -32600, -32603, -32700].some(isModuleCode)).toBe(false);
});

describe('a value', () => {
  it.each<[string, Value, Value]>([
    ['base64', 'AP8=', new Uint8Array([0, 255])],
    ['base64', '', new Uint8Array()],
    ['base64', new Uint8Array([1]), new Uint8Array([1])],
    ['dateTime.iso8601', '1998-07-17T14:08:55.5+02:00', new Date('1998-07-17T12:08:55.500Z')],
    ['double', 3, 3],
    ['int', 3, 3],
    ['i8', new ExactNumber('9223372036854775807'), new ExactNumber('9223372036854775807')],
    ['string', '', ''],
    ['struct', {}, {}],
    ['array', [], []],
    ['nil', null, null],
    ['any', 'x', 'x'],
  ])('is of type %s: %p', (type, value, expected) => {
    expect(asType(type, value)).toEqual(expected);
  });

  it.each<[string, Value]>([
    ['base64', 'A'],
    ['base64', 1],
    ['dateTime.iso8601', '19980717T14:08:55'],
    ['dateTime.iso8601', 1],
    ['int', 2147483648],
    ['i4', 0.5],
    ['i8', new ExactNumber('9223372036854775808')],
    ['i8', new ExactNumber('1.0')],
    ['double', '1'],
    ['boolean', 1],
    ['string', null],
    ['struct', []],
    ['struct', new Date(0)],
    ['array', {}],
    ['nil', false],
  ])('is not of type %s: %p', (type, value) => {
    expect(asType(type, value)).toBeUndefined();
  });

  it('is written by JSON with bytes in base64 and times as in RFC 3339', () => {
    const result = {
      bytes: new Uint8Array([0, 255]),
      at: new Date('1998-07-17T14:08:55Z'),
      big: 2n ** 62n,
      no: undefined,
    };
    expect(answerTo('{"method":"m"}', () => result as unknown as Value)).toBe(
      '{"result":{"bytes":"AP8=","at":"1998-07-17T14:08:55Z","big":4611686018427387904}}',
    );
    expect(jsonOf(new Date('1998-07-17T14:08:55.120Z'))).toBe('1998-07-17T14:08:55.120Z');
  });

  it('is the same in both formats, when JSON text is read by type', () => {
    const both = (xml: string, json: string, type: string): [Value | undefined, Value | undefined] => [
      xmlRpcProtocol().read(bytes(callWith(`<value>${xml}</value>`))).calls[0]?.params[0],
      asType(type, read(`{"method":"m","params":[${json}]}`).calls[0]?.params[0] ?? null),
    ];
    for (const [xml, json, type] of [
      ['<i8>9007199254740993</i8>', '9007199254740993', 'i8'],
      ['<i8>1152921504606847000</i8>', '1152921504606847000', 'i8'],
      ['<double>3.0</double>', '3.0', 'double'],
      ['<base64>AP8=</base64>', '"AP8="', 'base64'],
      ['<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>', '"1998-07-17T14:08:55Z"', 'dateTime.iso8601'],
      ['<struct><member><name>__proto__</name><value>x</value></member></struct>', '{"__proto__":"x"}', 'struct'],
      ['<nil/>', 'null', 'nil'],
    ] as const) {
      const [fromXml, fromJson] = both(xml, json, type);
      expect(fromXml).toBeDefined();
      expect(fromXml).toEqual(fromJson);
    }
  });
});
