import { ExactNumber } from '@cmbs/shared/exact-json';
import { codecsOf, Fault, type Value, xmlRpcProtocol } from '@cmbs/shared/services';
import { writeAnswer } from '../../shared/services/codecs/xml-rpc-writer';
import fc from '../property';
import { bytes, callWith, faultCode, faultIn, outcomeOf, readBack, valueOf, written } from './xml-rpc-support';

const exact = (digits: string): ExactNumber => new ExactNumber(digits);

describe('a call of XML-RPC', () => {
  it('is read as in the example of the specification', () => {
    const example = `<?xml version="1.0"?>
<methodCall>
   <methodName>examples.getStateName</methodName>
   <params>
      <param>
         <value><i4>41</i4></value>
         </param>
      </params>
   </methodCall>`;
    expect(outcomeOf(example)).toEqual({ method: 'examples.getStateName', params: [41] });
  });

  it('has no parameters without params, and none with empty params', () => {
    const call = { method: 'a', params: [] };
    expect(outcomeOf('<methodCall><methodName>a</methodName></methodCall>')).toEqual(call);
    expect(outcomeOf('<methodCall><methodName>a</methodName><params/></methodCall>')).toEqual(call);
  });

  it.each(['a', 'A.b_C:1/2', '.', 'x'.repeat(255)])('may have the method name %s', (name) => {
    expect(outcomeOf(`<methodCall><methodName> ${name}\n</methodName></methodCall>`)).toMatchObject({
      method: name,
    });
  });

  it.each(['', 'a b', 'é', 'a-b', 'x'.repeat(256)])('may not have the method name %s', (name) => {
    expect(faultCode(outcomeOf(`<methodCall><methodName>${name}</methodName></methodCall>`))).toBe(-32600);
  });

  it.each<[string, Value]>([
    // The examples of the specification come first.
    ['<i4>-12</i4>', -12],
    ['<int>-12</int>', -12],
    ['<boolean>1</boolean>', true],
    ['<boolean>0</boolean>', false],
    ['<string>hello world</string>', 'hello world'],
    ['<double>-12.214</double>', -12.214],
    ['<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>', new Date('1998-07-17T14:08:55Z')],
    ['<base64>eW91IGNhbid0IHJlYWQgdGhpcyE=</base64>', bytes("you can't read this!")],
    [
      '<struct><member><name>lowerBound</name><value><i4>18</i4></value></member><member><name>upperBound</name><value><i4>139</i4></value></member></struct>',
      { lowerBound: 18, upperBound: 139 },
    ],
    [
      '<array><data><value><i4>12</i4></value><value><string>Egypt</string></value><value><boolean>0</boolean></value><value><i4>-31</i4></value></data></array>',
      [12, 'Egypt', false, -31],
    ],
    ['', ''],
    ['  two  ', '  two  '],
    ['<string/>', ''],
    ['<string> a\n b </string>', ' a\n b '],
    ['a&lt;b&#62;&amp;&quot;&apos;&#x41;', 'a<b>&"\'A'],
    ['a&#13;&#10;b', 'a\r\nb'],
    ['a\r\nb\rc', 'a\nb\nc'],
    ['<![CDATA[<i>&amp;]]>!<!-- not this -->x', '<i>&amp;!x'],
    ['<string>😀 ü 中</string>', '😀 ü 中'],
    ['<int>+007</int>', 7],
    ['<int>-0</int>', 0],
    ['<int>\n 5\t</int>', 5],
    ['<i4>2147483647</i4>', 2147483647],
    ['<int>-2147483648</int>', -2147483648],
    ['<i8>2147483648</i8>', 2147483648],
    ['<i8>9007199254740991</i8>', 9007199254740991],
    ['<i8>9007199254740993</i8>', exact('9007199254740993')],
    ['<ex:i8>-9223372036854775808</ex:i8>', exact('-9223372036854775808')],
    ['<i8>9223372036854775807</i8>', exact('9223372036854775807')],
    ['<double>3</double>', 3],
    ['<double>.5</double>', 0.5],
    ['<double>+5.</double>', 5],
    ['<double>-0.0</double>', -0],
    ['<double>1e+100</double>', 1e100],
    ['<dateTime.iso8601>1998-07-17T14:08:55</dateTime.iso8601>', new Date('1998-07-17T14:08:55Z')],
    ['<dateTime.iso8601>19980717T140855Z</dateTime.iso8601>', new Date('1998-07-17T14:08:55Z')],
    ['<dateTime.iso8601>19980717T14:08:55.123456</dateTime.iso8601>', new Date('1998-07-17T14:08:55.123Z')],
    ['<dateTime.iso8601>19980717T14:08:55+0200</dateTime.iso8601>', new Date('1998-07-17T12:08:55Z')],
    ['<dateTime.iso8601>19980717T14:08:55-05:30</dateTime.iso8601>', new Date('1998-07-17T19:38:55Z')],
    ['<base64>\n AAEC\r\n /w==\n</base64>', new Uint8Array([0, 1, 2, 255])],
    ['<base64/>', new Uint8Array()],
    ['<struct/>', {}],
    ['<array><data/></array>', []],
    ['<nil/>', null],
    ['<ex:nil/>', null],
    ['\n <i4>1</i4> \n', 1],
  ])('may contain <value>%s</value>', (value, expected) => {
    expect(valueOf(`<value>${value}</value>`)).toEqual(expected);
  });

  it.each([
    '<i4>2147483648</i4>',
    '<int>-2147483649</int>',
    '<int></int>',
    '<int>1.0</int>',
    '<int>0x10</int>',
    '<int>1 2</int>',
    '<int>١</int>',
    '<i8>9223372036854775808</i8>',
    '<ex:i8>-9223372036854775809</ex:i8>',
    `<int>${'0'.repeat(100_000)}x</int>`,
    `<i8>${'9'.repeat(100_000)}</i8>`,
    '<boolean>true</boolean>',
    '<boolean>2</boolean>',
    '<boolean/>',
    '<double>nan</double>',
    '<double>inf</double>',
    '<double>1e400</double>',
    '<double>0x1p3</double>',
    '<double>1,5</double>',
    '<double>.</double>',
    '<double></double>',
    `<double>${'1'.repeat(100_000)}x</double>`,
    '<dateTime.iso8601>19980230T14:08:55</dateTime.iso8601>',
    '<dateTime.iso8601>19980717T24:08:55</dateTime.iso8601>',
    '<dateTime.iso8601>19980717</dateTime.iso8601>',
    '<dateTime.iso8601></dateTime.iso8601>',
    '<base64>AAE</base64>',
    '<base64>AA=A</base64>',
    '<base64>A-_=</base64>',
    'text<int>1</int>',
    '<int>1</int>text',
    '<int>1</int><int>1</int>',
    '<int>1<b/></int>',
    '<float>1</float>',
    '<INT>1</INT>',
    '<int xmlns="">1</int><!-- --><nil/>',
    '<nil>0</nil>',
    '<array/>',
    '<array><data/><data/></array>',
    '<array>text<data/></array>',
    '<array><data>text</data></array>',
    '<array><value/></array>',
    '<struct>text</struct>',
    '<struct><value/></struct>',
    '<struct><member/></struct>',
    '<struct><member><name>a</name></member></struct>',
    '<struct><member><value/></member></struct>',
    '<struct><member><name>a</name><name>b</name><value/></member></struct>',
    '<struct><member><name>a</name><value/><value/></member></struct>',
    '<struct><member><name>a</name><value/></member><member><name>a</name><value/></member></struct>',
    '<?x y?>text',
    '<?x?y?>text',
    '<constructor/>',
    '<__proto__/>',
  ])('may not contain <value>%s</value>', (value) => {
    expect(faultCode(valueOf(`<value>${value}</value>`))).toBe(-32600);
  });

  it.each([
    '<methodCall/>',
    '<methodCall><params/></methodCall>',
    '<methodCall><params/><methodName>a</methodName></methodCall>',
    '<methodCall><methodName>a</methodName><methodName>a</methodName></methodCall>',
    '<methodCall><methodName>a</methodName><params/><params/></methodCall>',
    '<methodCall><methodName>a</methodName><params><param/></params></methodCall>',
    '<methodCall><methodName>a</methodName><params><param><value/><value/></param></params></methodCall>',
    '<methodCall><methodName>a</methodName>text</methodCall>',
    '<methodResponse/>',
    '<html><body>no</body></html>',
    '<value/>',
  ])('is not %s', (document) => {
    expect(faultCode(outcomeOf(document))).toBe(-32600);
  });

  it('keeps members of any name, in a struct without prototype', () => {
    const names = ['__proto__', 'constructor', 'toString', '', ' a ', 'a<b', '0', 'ü'];
    const members = names.map(
      (name, at) => `<member><name>${name.replace('<', '&lt;')}</name><value>${at}</value></member>`,
    );
    const struct = valueOf(`<value><struct>${members.join('')}</struct></value>`) as Record<string, Value>;
    expect(Object.getPrototypeOf(struct)).toBeNull();
    expect(new Map(Object.entries(struct))).toEqual(new Map(names.map((name, at) => [name, String(at)])));
    expect(readBack(struct)).toEqual(struct);
    expect(Object.keys(readBack(struct) as object).sort()).toEqual([...names].sort());
  });

  it('may declare name spaces, and tells how its client spells nil', () => {
    const nil = '<value><ex:nil xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions"/></value>';
    expect(outcomeOf(callWith(nil, '<value><nil/></value>'))).toEqual({
      method: 'trial.m',
      params: [null, null],
      nil: 'ex:nil',
    });
  });

  it('is found in the content of a message, and answered as text', () => {
    const codecs = codecsOf();
    const text = `\ufeff${callWith('<value><int>1</int></value>')}`;
    const call = { method: 'trial.m', params: [1], codec: 'xml-rpc' };
    expect(codecs.decode(text.slice(1))).toEqual(call);
    expect(codecs.decode(bytes(text))).toEqual(call);
    expect(JSON.parse(codecs.encode(call, 3, 'double'))).toContain('<double>3.0</double>');
    for (const data of ['<html/>', '<', 'text', '<methodCall>', '', '{"a":1}']) {
      expect(codecs.decode(data)).toBeUndefined();
    }
  });
});

describe('an answer of XML-RPC', () => {
  it('is a document in UTF-8', () => {
    expect(writeAnswer('South Dakota')).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<methodResponse><params><param><value><string>South Dakota</string></value></param></params></methodResponse>\n',
    );
  });

  it.each<[string | undefined, Value, string]>([
    [undefined, 3, '<int>3</int>'],
    [undefined, -2147483648, '<int>-2147483648</int>'],
    [undefined, 2147483648, '<i8>2147483648</i8>'],
    [undefined, exact('9223372036854775807'), '<i8>9223372036854775807</i8>'],
    [undefined, 1152921504606847000, '<i8>1152921504606847000</i8>'],
    [undefined, 1e19, '<double>10000000000000000000.0</double>'],
    [undefined, exact('3.0'), '<double>3.0</double>'],
    [undefined, 0.5, '<double>0.5</double>'],
    [undefined, 1e-7, '<double>0.0000001</double>'],
    [undefined, -1.5e21, '<double>-1500000000000000000000.0</double>'],
    [undefined, -0, '<double>-0.0</double>'],
    [undefined, 'a<b>&c\r\n"\']]>', '<string>a&lt;b&gt;&amp;c&#13;\n"\']]&gt;</string>'],
    [undefined, '', '<string></string>'],
    [undefined, true, '<boolean>1</boolean>'],
    [undefined, new Uint8Array([0, 255]), '<base64>AP8=</base64>'],
    [undefined, new Date('1998-07-17T14:08:55.999Z'), '<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>'],
    [undefined, new Date('0001-01-01T00:00:00Z'), '<dateTime.iso8601>00010101T00:00:00</dateTime.iso8601>'],
    ['double', 3, '<double>3.0</double>'],
    ['double', exact('9007199254740993'), '<double>9007199254740993.0</double>'],
    ['i8', 3, '<i8>3</i8>'],
    ['int', 3, '<int>3</int>'],
    ['int', 3.5, '<double>3.5</double>'],
    ['i4', 2147483648, '<i8>2147483648</i8>'],
    ['dateTime.iso8601', '1998-07-17T14:08:55+02:00', '<dateTime.iso8601>19980717T12:08:55</dateTime.iso8601>'],
    ['dateTime.iso8601', 'soon', '<string>soon</string>'],
    ['base64', 'AP8=', '<base64>AP8=</base64>'],
    ['base64', 'not base64', '<string>not base64</string>'],
    ['string', 3, '<int>3</int>'],
    [
      'any',
      [1, [2]],
      '<array><data><value><int>1</int></value><value><array><data><value><int>2</int></value></data></array></value></data></array>',
    ],
    ['struct', { a: 1.5 }, '<struct><member><name>a</name><value><double>1.5</double></value></member></struct>'],
  ])('of type %s is written for %p as %s', (type, result, expected) => {
    expect(written(result, { type })).toBe(`<value>${expected}</value>`);
  });

  it('has nil only when asked for, in the spelling of the caller', () => {
    expect(faultIn(writeAnswer([null]))).toMatchObject({
      code: -32603,
      text: expect.stringContaining('null') as string,
    });
    expect(written(null, { nil: 'nil' })).toBe('<value><nil/></value>');
    const apache = writeAnswer([null, 2 ** 40], { nil: 'ex:nil' });
    expect(apache).toContain('<methodResponse xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions">');
    expect(apache).toContain('<value><ex:nil/></value><value><ex:i8>1099511627776</ex:i8></value>');
    const answer = (call: string): string => {
      const request = xmlRpcProtocol().read(bytes(call));
      return new TextDecoder().decode(request.answer([{ value: null }]));
    };
    expect(answer(callWith('<value><nil/></value>'))).toContain('<nil/>');
    expect(faultIn(answer(callWith()))?.code).toBe(-32603);
  });

  it('leaves out members that are undefined, and takes other undefined values for nil', () => {
    const result = { a: undefined, b: 1 } as unknown as Value;
    expect(written(result)).toBe(
      '<value><struct><member><name>b</name><value><int>1</int></value></member></struct></value>',
    );
    expect(written(undefined as unknown as Value, { nil: 'nil' })).toBe('<value><nil/></value>');
  });

  const circular: unknown[] = [];
  circular.push(circular);
  const repeated = Array.from({ length: 40 }).reduce<Value>((part) => [part, part], 'x'.repeat(100));
  it.each<[string, unknown]>([
    ['a control character', 'a\u0000b'],
    ['a noncharacter', '\uffff'],
    ['half a surrogate pair', ['\ud83d']],
    ['a control character in a name', { 'a\u001b': 1 }],
    ['NaN', Number.NaN],
    ['infinity', [Infinity]],
    ['an integer of more than 64 bits', exact('9223372036854775808')],
    ['a very long integer', 10n ** 1000n],
    ['a number that no double has', exact('1e400')],
    ['a number that a double rounds to 0', exact('1e-400')],
    ['a number with a huge exponent', exact('1e999999999')],
    ['an invalid date', new Date(Number.NaN)],
    ['a date with a year of 5 digits', new Date('+010000-01-01T00:00:00Z')],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a map', new Map()],
    ['an instance of a class', new Error('x')],
    ['itself', circular],
    ['one part very often', repeated],
  ])('is a fault that says why for a result with %s', (_what, result) => {
    const fault = faultIn(writeAnswer(result as Value));
    expect(fault?.code).toBe(-32603);
    expect(fault?.text).toMatch(/^The result cannot be written: it .+\.$/);
  });

  it('can always be a fault, of exactly two members', () => {
    expect(faultIn(writeAnswer(new Fault(4, 'Too many parameters.', { more: 1 })))).toEqual({
      code: 4,
      text: 'Too many parameters.',
    });
    expect(faultIn(writeAnswer(new Fault(1, 'a\u0000\ud800<&>\r')))?.text).toBe('a\ufffd\ufffd&lt;&amp;&gt;&#13;');
    const hidden = new Fault(-32603, 'Failed.', undefined, { correlationId: 'c0ffee' });
    expect(faultIn(writeAnswer(hidden))?.text).toBe('Failed. (c0ffee)');
    expect(hidden.data).toEqual({ correlationId: 'c0ffee' });
  });
});

describe('every value', () => {
  const text = fc
    .string({ unit: 'binary' })
    .filter((string) => !/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.test(string));
  const date = fc
    .date({ min: new Date('0000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
    .map((time) => new Date(Math.floor(time.getTime() / 1000) * 1000));
  const whole = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const { value } = fc.letrec<{ value: Value }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array(),
      date,
      fc.array(tie('value')),
      fc.dictionary(fc.oneof(text, fc.constant('__proto__')), tie('value')),
    ),
  }));

  it('is read by XML-RPC as it was written', () => {
    fc.assert(fc.property(value, (result) => expect(readBack(result, { nil: 'nil' })).toEqual(result)));
  });

  it('of type double is read as it was written, bit by bit', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
        const document = written(number, { type: 'double' });
        expect(document).toMatch(/^<value><double>-?\d+\.\d+<\/double><\/value>$/);
        expect(Object.is(valueOf(document ?? ''), number)).toBe(true);
      }),
    );
  });

  it('of type i8 keeps all its digits', () => {
    fc.assert(
      fc.property(whole, (number) => {
        const read = valueOf(`<value><i8>${number}</i8></value>`) as Value;
        expect(written(read, { type: 'i8' })).toBe(`<value><i8>${number}</i8></value>`);
      }),
    );
  });
});
