/** The formats of devices: what each reads and writes, by examples of the standards and of gateways. */
import {
  binaryFormat,
  type DeviceFormat,
  DeviceFormatError,
  DeviceFormats,
  type DeviceObject,
  DeviceObjects,
  type Draft,
  jsonFormat,
  linkFormat,
  MAX_REPORTED,
  parseAbsoluteTime,
  type ParseOptions,
  senmlCbor,
  senmlJson,
  standardFormats,
  type Unknown,
  xmlFormat,
} from '@cmbs/shared/devices';
import { type Cbor, readCbor, writeCbor } from '../../../shared/devices/formats/cbor';
import { Allowance } from '../../../shared/devices/formats/format';
import { ExactNumber } from '@cmbs/shared/exact-json';
import { VECTORS } from './vectors';

const objects = new DeviceObjects();
const [xml, binary, json] = [xmlFormat(objects), binaryFormat(objects), jsonFormat(objects)];
const [links, senml, cbor] = [linkFormat(objects), senmlJson(objects), senmlCbor(objects)];

const bytesOf = (document: string | Uint8Array): Uint8Array =>
  typeof document === 'string' ? Buffer.from(document) : document;
const parse = (format: DeviceFormat, document: string | Uint8Array, options?: ParseOptions): DeviceObject =>
  format.parse(bytesOf(document), options);
const textOf = (format: DeviceFormat, object: DeviceObject): string =>
  Buffer.from(format.render!(object)).toString();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const unhex = (text: string): Uint8Array => Buffer.from(text.replace(/\s/g, ''), 'hex');
/** What a parser left out. */
function leftOut(format: DeviceFormat, document: string): readonly Unknown[] {
  const unknown: Unknown[] = [];
  parse(format, document, { onUnknown: (one) => unknown.push(one) });
  return unknown;
}

describe('the registry of formats', () => {
  const formats = new DeviceFormats(standardFormats(objects));

  it.each<[name: string, types: readonly string[], numbers: readonly number[]]>([
    ['obix-xml', ['text/xml', 'application/xml', 'application/obix+xml', 'Text/XML; charset=utf-8'], [1, 41]],
    ['obix-binary', ['application/x-obix-binary'], [51]],
    ['link-format', ['application/link-format'], [40]],
    ['obix-json', ['application/json'], [50]],
    ['senml-json', ['application/senml+json'], [110]],
    ['senml-cbor', ['application/senml+cbor'], [112]],
  ])('finds %s by name, by %j and by %j', (name, types, numbers) => {
    const format = formats.named(name);
    expect(format?.name).toBe(name);
    for (const type of types) expect(formats.ofMediaType(type)).toBe(format);
    for (const number of numbers) expect(formats.ofNumber(number)).toBe(format);
  });

  it('knows no others, and no two with one key', () => {
    expect(formats.ofMediaType('text/plain')).toBeUndefined();
    expect(formats.ofMediaType('')).toBeUndefined();
    expect(formats.ofNumber(0)).toBeUndefined();
    expect(formats.named('constructor')).toBeUndefined();
    expect(() => new DeviceFormats([xml, xmlFormat(objects)])).toThrow(RangeError);
  });

  it('takes a format that is only received', () => {
    const csv: DeviceFormat = {
      name: 'csv',
      mediaTypes: ['text/csv'],
      numbers: [],
      parse: (bytes) => objects.make({ element: 'str', value: Buffer.from(bytes).toString() }),
    };
    const found = new DeviceFormats([...standardFormats(objects), csv]).ofMediaType('text/csv');
    expect(found).not.toHaveProperty('render');
    expect(found && parse(found, '1;2')).toMatchObject({ value: '1;2' });
  });
});

describe('oBIX in XML', () => {
  /** Documents of gateways, which are written as they were read. */
  it.each([
    '<real name="value" href="value/" val="0.0" unit="obix:units/celsius"/>\n',
    '<bool name="value" href="value/" val="true" displayName="On/Off" writable="true"/>\n',
    '<err name="Object not found" is="obix:BadUriErr"/>\n',
    '<int name="value" href="value" val="30" writable="true" min="0" max="100" unit="obix:units/percent"/>\n',
    '<real name="value" href="value" val="21.5" unit="obix:units/celsius" precision="2"/>\n',
    '<op name="make" href="make" in="obix:Nil" out="obix:Watch"/>\n',
    '<feed name="feed" href="feed" in="obix:HistoryFilter" of="obix:HistoryRecord"/>\n',
    '<ref name="value history" href="value/history" is="obix:History"/>\n',
    '<abstime val="2013-03-31T15:37:22.076+02:00" tz="Europe/Berlin"/>\n',
    '<abstime name="start" null="true"/>\n',
    '<reltime name="lease" href="lease" val="PT60S" writable="true"/>\n',
    '<date val="2013-09-13"/>\n',
    '<time val="13:30:15"/>\n',
    '<enum val="slow" range="/enums/x"/>\n',
    '<str name="tz" href="tz" val="Europe/Vienna"/>\n',
    '<uri name="vendorUrl" val="http://example.com/"/>\n',
    '<obj href="/d/x/" is="iot:A iot:B" display="X" displayName="Y" location="Z" icon="i.png" status="unackedAlarm"/>\n',
    '<obj href="/VirtualDevices/virtualTemperatureSensor/" is="iot:TemperatureSensor">\n  <real name="value" href="value" val="0.0" unit="obix:units/celsius"/>\n</obj>\n',
    '<list of="obix:int" min="1" max="3">\n  <int val="1"/>\n  <list>\n    <int val="2"/>\n  </list>\n</list>\n',
    '<str val="&lt;&amp;&quot;&gt;&#x9;&#xA;&#xD;&#xFC;&#x1F600;\'"/>\n',
    '<real val="NaN" min="-1e-7"/>\n',
  ])('%s', (document) => expect(textOf(xml, parse(xml, document))).toBe(document));

  it('may be written without a line feed at the end', () => {
    expect(textOf(xmlFormat(objects, { newline: false }), objects.make({ element: 'obj' }))).toBe('<obj/>');
  });

  it.each<[document: string, expected: Partial<DeviceObject>]>([
    ['<?xml version="1.0" encoding="UTF-8"?>\n<!-- x --><bool val="1"/>', { value: true }],
    ['<int val=" +007 "/>', { value: 7n }],
    ['<int val="-9223372036854775808"/>', { value: -(2n ** 63n) }],
    ['<int val="9223372036854775807"/>', { value: 2n ** 63n - 1n }],
    ['<real val="1.5E3"/>', { value: 1500 }],
    ['<real val="Infinity"/>', { value: Infinity }],
    ['<str val=" a "/>', { value: ' a ' }],
    ['<str val="a&#10;b"/>', { value: 'a\nb' }],
    // A gateway writes 1970 where there is no time.
    ['<abstime val="1970-01-01T01:00:00.000+01:00" null="true"/>', { isNull: true }],
    ['<int val="5" null="false"/>', { isNull: false, value: 5n }],
    ['<obj is=" a  b "/>', { is: ['a', 'b'] }],
    ['<str val="ü"/>', { value: 'ü' }],
  ])('reads %s', (document, expected) => expect(parse(xml, document)).toMatchObject(expected));

  it('reads the encoding that is declared', () => {
    const latin = Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><str val="ü"/>', 'latin1');
    expect(parse(xml, latin)).toMatchObject({ value: 'ü' });
    const text = Buffer.from('<str val="ü"/>', 'latin1');
    expect(parse(xml, text, { contentType: 'text/xml; charset=iso-8859-1' })).toMatchObject({ value: 'ü' });
    expect(() => parse(xml, text)).toThrow(DeviceFormatError);
  });

  it('leaves out what oBIX does not have, and reports it', () => {
    const document =
      '<obj xmlns="http://obix.org/ns/schema/1.1" xmlns:xsi="x" xsi:schemaLocation="y" foo="1" val="2">text' +
      '<thing name="x"><int val="not read"/></thing><int val="1" tz="UTC"/></obj>';
    expect(parse(xml, document).children).toHaveLength(1);
    expect(leftOut(xml, document)).toEqual([
      { kind: 'attribute', name: 'foo', within: 'obj' },
      { kind: 'attribute', name: 'val', within: 'obj' },
      { kind: 'text', name: 'text', within: 'obj' },
      { kind: 'element', name: 'thing', within: 'obj' },
      { kind: 'attribute', name: 'tz', within: 'int' },
    ]);
    expect(leftOut(xml, `<obj>${'<x/>'.repeat(1000)}</obj>`)).toHaveLength(MAX_REPORTED);
  });

  it.each([
    ['', 'no document'],
    ['<thing/>', 'another root'],
    ['<int val="abc"/>', 'an integer that is text'],
    ['<int val="1.0"/>', 'an integer with a point'],
    ['<int val="9223372036854775808"/>', 'an integer of 65 bits'],
    ['<int val=""/>', 'an empty integer'],
    ['<int min="x"/>', 'a limit that is text'],
    ['<real val="1e999"/>', 'a real that is too large'],
    ['<real val="0x10"/>', 'a real in hexadecimal'],
    ['<bool val="yes"/>', 'another boolean'],
    ['<abstime val="2013-03-31T15:37:22"/>', 'a time without zone'],
    ['<reltime val="60"/>', 'a duration without unit'],
    ['<obj status="broken"/>', 'another status'],
    ['<obj writable="maybe"/>', 'another boolean'],
    ['<obj><int></obj>', 'an element that is not closed'],
    ['<obj/><obj/>', 'two documents'],
    ['<!DOCTYPE obj><obj/>', 'a document type'],
    ['<?php x?><obj/>', 'a processing instruction'],
    ['<str val="&nbsp;"/>', 'an entity'],
    ['<str val="&#0;"/>', 'a control character'],
    ['<?xml version="1.0" encoding="ISO-8859-1"?>\ufeff<obj/>', 'a mark in the middle'],
  ])('does not read %s (%s)', (document) => expect(() => parse(xml, document)).toThrow(DeviceFormatError));

  it('does not write characters that XML does not have', () => {
    for (const value of ['\0', '\ud800', '\uffff']) {
      expect(() => textOf(xml, objects.make({ element: 'str', value }))).toThrow(DeviceFormatError);
    }
  });
});

describe('oBIX in binary', () => {
  it.each(VECTORS)('$xml', ({ xml: document, hex: expected }) => {
    const object = parse(xml, document);
    expect(hex(binary.render!(object))).toBe(expected);
    expect(parse(binary, unhex(expected))).toEqual(object);
  });

  it('says that facets follow a status', () => {
    const object = parse(xml, '<int val="1" status="fault" writable="true"/>');
    expect(hex(binary.render!(object))).toBe('8c01cd31');
    expect(parse(binary, unhex('8c01cd31'))).toEqual(object);
  });

  it.each([
    ['8c014d31', '<int val="1" status="fault" writable="true"/>'],
    ['8c0150a87800 31', '<int val="1" status="alarm" displayName="x" writable="true"/>'],
    ['844c 04 0c01 44', '<obj status="disabled"><int val="1"/></obj>'],
    ['84 04 8c01 4e 31 0c02 44', '<obj><int val="1" status="down" writable="true"/><int val="2"/></obj>'],
    ['84 04 8c01 4e 21 0c02 44', '<obj><int status="down" null="true"/><int val="2"/></obj>'],
    ['84 04 84 4e 04 0c01 44 44', '<obj><obj status="down"><int val="1"/></obj></obj>'],
    // Where the document can be read as it stands, the status is the last facet.
    ['84 04 8c01 4e 0c02 44', '<obj><int val="1" status="down"/><int val="2"/></obj>'],
    [
      '84 04 8c01 4e 2000000000 44',
      '<obj><int val="1" status="down"/><abstime val="2000-01-01T00:00:00Z"/></obj>',
    ],
  ])('reads facets after a status that does not say so: %s', (bytes, document) => {
    expect(parse(binary, unhex(bytes))).toEqual(parse(xml, document));
  });

  it.each<[bytes: string, document: string]>([
    // Forms that this encoder does not choose.
    ['0d0001', '<int val="1"/>'],
    ['0e00000001', '<int val="1"/>'],
    ['0f0000000000000001', '<int val="1"/>'],
    ['10 41a80000', '<real val="21.0"/>'],
    ['21 0000000000000001', '<abstime val="2000-01-01T00:00:00.000000001Z"/>'],
    ['25 000000003b9aca00', '<reltime val="PT1S"/>'],
    ['2c 0000bde7', '<time val="13:30:15"/>'],
    ['28 07dd 09 0d', '<date val="2013-09-13"/>'],
    ['24 ffffffff', '<reltime val="-PT1S"/>'],
    ['88 24 2000', '<bool val="false" icon=" "/>'],
  ])('reads %s', (bytes, document) => {
    expect(parse(binary, unhex(bytes))).toEqual(parse(xml, document));
  });

  it('counts every text once, and names it by its number then', () => {
    const names = ['a', 'b', 'a', 'b', 'c', 'a'];
    const list = objects.make({
      element: 'list',
      children: names.map((name): Draft => ({ element: 'obj', name })),
    });
    const expected = 'b004' + '84086100' + '84086200' + '84090000' + '84090001' + '84086300' + '84090000' + '44';
    expect(hex(binary.render!(list))).toBe(expected);
    expect(parse(binary, unhex(expected))).toEqual(list);
  });

  it('has 65,536 texts in its table, and sends the others as they are', () => {
    const names = Array.from({ length: 65_538 }, (_, at) => `n${at}`);
    const children = [...names, 'n65535', 'n65537', 'n65537'].map((name): Draft => ({ element: 'obj', name }));
    const list = objects.make({ element: 'list', children });
    const bytes = binary.render!(list);
    expect(parse(binary, bytes)).toEqual(list);
    expect(hex(bytes).slice(-46)).toBe('8409ffff' + '84086e363535333700'.repeat(2) + '44');
  });

  it('has texts beyond ASCII only where both sides say so', () => {
    const object = objects.make({ element: 'str', value: 'Küche 😀' });
    expect(() => binary.render!(object)).toThrow('"Küche 😀" has characters beyond ASCII.');
    const extended = binaryFormat(objects, { utf8: true });
    const bytes = extended.render!(object);
    expect(parse(extended, bytes)).toEqual(object);
    expect(() => parse(binary, bytes)).toThrow(DeviceFormatError);
    expect(() => parse(extended, unhex('14ff00'))).toThrow(DeviceFormatError);
  });

  it.each<[why: string, draft: Draft]>([
    ['a time far from 2000', { element: 'abstime', value: parseAbsoluteTime('2300-01-01T00:00:00.5Z') }],
    ['a text with U+0000', { element: 'str', value: 'a\0b' }],
  ])('does not write %s', (_why, draft) => {
    expect(() => binary.render!(objects.make(draft))).toThrow(DeviceFormatError);
  });

  it('loses the location, and the offsets of times', () => {
    const full = parse(xml, '<abstime val="2013-03-31T15:37:22.076+02:00" tz="Europe/Berlin" location="roof"/>');
    const kept = parse(xml, '<abstime val="2013-03-31T13:37:22.076Z" tz="Europe/Berlin"/>');
    expect(parse(binary, binary.render!(full))).toEqual(kept);
  });

  it.each([
    ['', 'nothing'],
    ['00', 'code 0'],
    ['44', 'an end'],
    ['48', 'a code above'],
    ['05', 'a value where there is none'],
    ['8c01', 'MORE without another byte'],
    ['0a', 'a third boolean'],
    ['12', 'a third form of a real'],
    ['2600000000', 'a third form of a time'],
    ['16', 'a third form of a text'],
    ['150000', 'an index of an empty table'],
    ['9461000d0001', 'an index beyond the table'],
    ['1461', 'a text without end'],
    ['8404', 'children without end'],
    ['840484', 'a child that ends too early'],
    ['8484', 'MORE after the children'],
    ['840544', 'another form of children'],
    ['8453', 'a status that does not exist'],
    ['843400', 'a limit of an object'],
    ['0901', 'bytes after the object'],
    ['1480 00', 'a byte beyond ASCII'],
    ['2807dd0d01', 'month 13'],
    ['2c00015180', 'a time of 24 hours'],
    ['b437ffffffffffffffff', 'a negative length'],
  ])('does not read %s (%s)', (bytes) => {
    expect(() => parse(binary, unhex(bytes))).toThrow(DeviceFormatError);
  });

  it('says at which byte a document is wrong', () => {
    expect(() => parse(binary, unhex('84040c'))).toThrow('The document ends too early (byte 3).');
  });
});

describe('oBIX in JSON', () => {
  it('is as gateways write it', () => {
    const document =
      '{"tag":"obj","href":"/VirtualDevices/virtualLight/","is":"iot:LightSwitchActuator","nodes":[{"tag":"bool","name":"value","href":"value","val":false,"displayName":"On/Off","writable":true}]}';
    expect(textOf(json, parse(json, document))).toBe(document);
    expect(parse(json, document)).toEqual(parse(xml, VECTORS.at(-1)!.xml));
  });

  it.each<[document: string, expected: Partial<DeviceObject>, written: string | undefined]>([
    ['{"tag":"int","val":9223372036854775807}', { value: 2n ** 63n - 1n }, undefined],
    ['{"tag":"int","val":9007199254740993,"min":-9223372036854775807}', { value: 9007199254740993n }, undefined],
    ['{"tag":"int","val":"12"}', { value: 12n }, '{"tag":"int","val":12}'],
    ['{"tag":"real","val":21}', { value: 21 }, '{"tag":"real","val":21.0}'],
    ['{"tag":"real","val":-0.0}', { value: -0 }, undefined],
    ['{"tag":"real","val":"NaN","max":"INF"}', { value: Number.NaN }, '{"tag":"real","val":"NaN"}'],
    ['{"tag":"str","val":"\\u0000\\ud800","max":3}', { value: '\0\ud800' }, undefined],
    ['{"tag":"bool","null":true}', { isNull: true }, undefined],
    ['{"tag":"bool","val":true,"unit":null,"range":null}', { value: true }, '{"tag":"bool","val":true}'],
    ['{"tag":"list","of":"a b","min":1,"nodes":[]}', { of: ['a', 'b'] }, '{"tag":"list","of":"a b","min":1}'],
  ])('%s', (document, expected, written = document) => {
    expect(parse(json, document)).toMatchObject(expected);
    expect(textOf(json, parse(json, document))).toBe(written);
  });

  it('reports members that oBIX does not have', () => {
    expect(leftOut(json, '{"tag":"obj","foo":{"a":[1]},"__proto__":1,"val":2}')).toEqual(
      ['foo', '__proto__', 'val'].map((name) => ({ kind: 'attribute', name, within: 'obj' })),
    );
    expect(Object.getPrototypeOf({})).not.toHaveProperty('a');
  });

  it.each([
    '',
    '{',
    '[]',
    'null',
    '1',
    '"obj"',
    '{}',
    '{"tag":"thing"}',
    '{"tag":1}',
    '{"tag":"__proto__"}',
    '{"tag":"int","val":1.5}',
    '{"tag":"int","val":true}',
    '{"tag":"int","val":[1]}',
    '{"tag":"int","val":9223372036854775808}',
    '{"tag":"real","val":1e400}',
    '{"tag":"bool","val":2}',
    '{"tag":"obj","nodes":{}}',
    '{"tag":"obj","nodes":[1]}',
  ])('does not read %s', (document) => expect(() => parse(json, document)).toThrow(DeviceFormatError));
});

describe('link-format', () => {
  const link = (href: string, facets: object = {}): object => ({ element: 'ref', href, ...facets });
  const str = (name: string, value: string): object => ({ element: 'str', name, value });

  it.each<[document: string, expected: readonly object[]]>([
    ['', []],
    [
      // RFC 6690 §5.
      '</sensors>;ct=40;title="Sensor Index",</sensors/temp>;rt="temperature-c";if="sensor",<http://www.example.com/sensors/t123>;anchor="/sensors/temp";rel="describedby"',
      [
        link('/sensors', { displayName: 'Sensor Index', children: [expect.objectContaining(str('ct', '40'))] }),
        link('/sensors/temp', { is: ['temperature-c'], children: [expect.objectContaining(str('if', 'sensor'))] }),
        link('http://www.example.com/sensors/t123', {
          children: [
            expect.objectContaining(str('anchor', '/sensors/temp')),
            expect.objectContaining(str('rel', 'describedby')),
          ],
        }),
      ],
    ],
    [
      '</firmware/v2.1>;rt="firmware";sz=262144',
      [link('/firmware/v2.1', { is: ['firmware'], children: [expect.objectContaining(str('sz', '262144'))] })],
    ],
    ['</light>;rt="light-lux core.sen-light"', [link('/light', { is: ['light-lux', 'core.sen-light'] })]],
    [
      '</obs>;obs',
      [link('/obs', { children: [expect.objectContaining({ element: 'bool', name: 'obs', value: true })] })],
    ],
    // The gateways of IoTSyS leave out the commas.
    [
      '</alarmdb>;rt="obix:list";if="obix"</enums>;rt="obix:list";if="obix"</a-b_c.d%20e>',
      [link('/alarmdb', { is: ['obix:list'] }), link('/enums', { is: ['obix:list'] }), link('/a-b_c.d%20e')],
    ],
    ['</a></b>', [link('/a'), link('/b')]],
    // Quotes, commas, semicolons and angle brackets in texts.
    ['</a>;title="a\\"b\\\\c,;<d>=",</b>', [link('/a', { displayName: 'a"b\\c,;<d>=' }), link('/b')]],
    ['</a>;title="Küche"', [link('/a', { displayName: 'Küche' })]],
    // Only the first of two counts.
    ['</a>;rt="one";rt="two";RT="three"', [link('/a', { is: ['one'] })]],
    // White space, and empty elements of a list (RFC 9110 §5.6.1).
    [' </a> ; rt = "x" ,\r\n</b>,', [link('/a', { is: ['x'] }), link('/b')]],
    ['<>', [link('')]],
  ])('%s', (document, expected) => {
    const list = parse(links, document);
    expect(list).toMatchObject({ class: 'list', of: ['obix:ref'] });
    expect(list.children).toMatchObject(expected);
    // What was read is written as RFC 6690 says, and read again as it was.
    expect(parse(links, links.render!(list))).toEqual(list);
  });

  it('is written with commas and quotes', () => {
    const list = parse(links, '</a>;rt="x y";title="q\\"";sz=3;obs</b>;ct="0 41"');
    expect(textOf(links, list)).toBe('</a>;rt="x y";title="q\\"";sz=3;obs,</b>;ct="0 41"');
  });

  it.each([
    '/a',
    '<a',
    '</a>;',
    '</a>;=x',
    '</a>;rt=',
    '</a>;rt="x',
    '</a>;rt="x\\',
    '</a>x',
    '</a b>',
    ',</a>',
    '</a>;rt="x";;',
    '\u00fc',
  ])('does not read %s', (document) => expect(() => parse(links, document)).toThrow(DeviceFormatError));

  it.each<[why: string, draft: Draft]>([
    ['an object that is no list', { element: 'obj' }],
    ['a child that is no reference', { element: 'list', children: [{ element: 'int' }] }],
    ['a reference without href', { element: 'list', children: [{ element: 'ref' }] }],
    ['an href that is no URI', { element: 'list', children: [{ element: 'ref', href: 'a>b' }] }],
    ['a status', { element: 'list', children: [{ element: 'ref', href: '/a', status: 'fault' }] }],
    ['a name', { element: 'list', children: [{ element: 'ref', href: '/a', name: 'x' }] }],
    [
      'an attribute whose name is no token',
      { element: 'list', children: [{ element: 'ref', href: '/a', children: [{ element: 'str', name: 'a b' }] }] },
    ],
    [
      'an attribute that is a number',
      { element: 'list', children: [{ element: 'ref', href: '/a', children: [{ element: 'int', name: 'a' }] }] },
    ],
    [
      'a size that is no token',
      {
        element: 'list',
        children: [{ element: 'ref', href: '/a', children: [{ element: 'str', name: 'sz', value: '1 2' }] }],
      },
    ],
  ])('does not write %s', (_why, draft) => {
    expect(() => links.render!(objects.make(draft))).toThrow(DeviceFormatError);
  });
});

describe('SenML', () => {
  const time = (iso: string): object => ({ element: 'abstime', name: 'time', value: parseAbsoluteTime(iso) });
  const children = (...all: readonly object[]): object => ({
    children: all.map((one) => expect.objectContaining(one) as object),
  });

  /** RFC 8428 §5.1 and others. */
  it.each<[document: string, expected: readonly object[]]>([
    ['[]', []],
    [
      '[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]',
      [
        {
          element: 'real',
          name: 'urn:dev:ow:10e2073a01080063',
          unit: 'senml:units/Cel',
          value: 23.1,
          children: [],
        },
      ],
    ],
    [
      '[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.320067464e+09,"bu":"%RH","v":21.2},{"t":10,"v":21.3}]',
      [
        {
          name: 'urn:dev:ow:10e2073a01080063:',
          unit: 'senml:units/%RH',
          value: 21.2,
          ...children(time('2011-10-31T13:24:24Z')),
        },
        {
          name: 'urn:dev:ow:10e2073a01080063:',
          unit: 'senml:units/%RH',
          value: 21.3,
          ...children(time('2011-10-31T13:24:34Z')),
        },
      ],
    ],
    [
      '[{"bn":"d/","n":"door","vb":true},{"n":"label","vs":"Küche"},{"n":"nfc","vd":"aGkgCg"}]',
      [
        { element: 'bool', name: 'd/door', value: true },
        { element: 'str', name: 'd/label', value: 'Küche' },
        { element: 'str', name: 'd/nfc', is: ['senml:data'], value: 'aGkgCg' },
      ],
    ],
    // Base values and sums are added; records with base fields only say nothing by themselves.
    [
      '[{"bver":5},{"bn":"m","bv":20,"bs":100,"bu":"W"},{"v":1.5,"s":0.5},{"s":1}]',
      [
        { value: 21.5, unit: 'senml:units/W', ...children({ name: 'sum', value: 100.5 }) },
        { isNull: true, unit: 'senml:units/W', ...children({ name: 'sum', value: 101 }) },
      ],
    ],
    ['[{"n":"a","v":9007199254740993}]', [{ element: 'int', value: 9007199254740993n }]],
    ['[{"n":"a","bv":9007199254740992,"v":1}]', [{ element: 'int', value: 9007199254740993n }]],
    ['[{"n":"a","v":42}]', [{ element: 'real', value: 42 }]],
    ['[{"n":"a","v":9223372036854775808}]', [{ element: 'real', value: 2 ** 63 }]],
    // Without the time of arrival a relative time stays one; 0 is now.
    ['[{"n":"a","v":1,"t":-5.25}]', [children({ element: 'reltime', name: 'time', value: -5_250_000_000n })]],
    [
      '[{"n":"a","v":1,"t":0,"ut":60}]',
      [children({ element: 'reltime', name: 'update', value: 60_000_000_000n })],
    ],
    ['[{"n":"a","vb":false,"u":"x"}]', [children({ element: 'str', name: 'unit', value: 'senml:units/x' })]],
  ])('%s', (document, expected) => {
    const list = parse(senml, document);
    expect(list.class).toBe('list');
    expect(list.children).toMatchObject(expected);
    expect(parse(senml, senml.render!(list))).toEqual(list);
    expect(parse(cbor, cbor.render!(list))).toEqual(list);
  });

  it('counts relative times from the time of arrival', () => {
    const now = parseAbsoluteTime('2020-01-01T00:00:00Z').nanoseconds;
    const list = parse(senml, '[{"n":"a","v":1,"t":-5},{"n":"a","v":2}]', { now });
    expect(list.children).toMatchObject([
      children(time('2019-12-31T23:59:55Z')),
      children(time('2020-01-01T00:00:00Z')),
    ]);
  });

  /** RFC 8428 §6. */
  it('is the same in CBOR', () => {
    const current = (at: string, value: string): string => `a3 00 67 63757272656e74 06 ${at} 02 ${value}`;
    const bytes = unhex(
      `87 a7 21 781b 75726e3a6465763a6f773a3130653230373361303130383030363a 22 fb41d303a15b001062 23 6141 20 05
       00 67 766f6c74616765 01 6156 02 fb405e066666666666
       ${current('24', 'fb3ff3333333333333')} ${current('23', 'fb3ff4cccccccccccd')} ${current('22', 'fb3ff6666666666666')}
       ${current('21', 'f93e00')} ${current('20', 'fb3ff999999999999a')} ${current('00', 'fb3ffb333333333333')}`,
    );
    const document =
      '[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},' +
      '{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","t":-3,"v":1.4},' +
      '{"n":"current","t":-2,"v":1.5},{"n":"current","t":-1,"v":1.6},{"n":"current","v":1.7}]';
    expect(parse(cbor, bytes)).toEqual(parse(senml, document));
    expect(parse(cbor, bytes).children).toHaveLength(7);
  });

  it('is written as resolved records', () => {
    const object = parse(
      xml,
      '<obj name="room"><real name="temp" val="21.0" unit="obix:units/celsius"/><obj name="light"><bool name="on" val="true"/></obj></obj>',
    );
    expect(textOf(senml, object)).toBe('[{"n":"room/temp","u":"Cel","v":21},{"n":"room/light/on","vb":true}]');
    expect(hex(cbor.render!(object))).toBe(
      '82a30069726f6f6d2f74656d70016343656c0215a2006d726f6f6d2f6c696768742f6f6e04f5',
    );
  });

  it('reports fields that are not known, and refuses those that have to be', () => {
    expect(leftOut(senml, '[{"n":"a","v":1,"x":{"y":1}}]')).toEqual([{ kind: 'field', name: 'x' }]);
    expect(() => parse(senml, '[{"n":"a","v":1,"x_":1}]')).toThrow(/has to be understood/);
    expect(() => parse(cbor, unhex('81a3006161020162785f01'))).toThrow(/has to be understood/);
  });

  it.each([
    '',
    '{}',
    '[1]',
    '[[]]',
    '[{"v":1}]',
    '[{"n":"a"}]',
    '[{"n":"","v":1}]',
    '[{"n":"-a","v":1}]',
    '[{"n":"a b","v":1}]',
    '[{"n":"a","v":"1"}]',
    '[{"n":"a","v":true}]',
    '[{"n":"a","v":1,"vb":true}]',
    '[{"n":"a","vb":1}]',
    '[{"n":"a","vs":1}]',
    '[{"n":"a","vd":"a b"}]',
    '[{"n":"a","vd":"aGkgCg=="}]',
    '[{"n":1,"v":1}]',
    '[{"n":"a","v":1,"t":"now"}]',
    '[{"n":"a","v":1,"t":1e300}]',
    '[{"n":"a","v":1,"t":1e99999}]',
    '[{"n":"a","v":1e999}]',
    '[{"bver":11,"n":"a","v":1}]',
    '[{"bver":0,"n":"a","v":1}]',
    '[{"n":"a","v":null}]',
  ])('does not read %s', (document) => expect(() => parse(senml, document)).toThrow(DeviceFormatError));

  it.each<[why: string, draft: Draft]>([
    ['an object without value', { element: 'list', children: [{ element: 'op', name: 'a' }] }],
    ['an error', { element: 'err', name: 'a' }],
    ['a null value', { element: 'real', name: 'a', isNull: true }],
    ['a name that SenML does not allow', { element: 'real', name: 'ü', value: 1 }],
    ['an object without name', { element: 'real', value: 1 }],
    ['NaN', { element: 'real', name: 'a', value: Number.NaN }],
    ['a unit that SenML does not have', { element: 'real', name: 'a', value: 1, unit: 'obix:units/furlong' }],
    [
      'children of a measurement',
      { element: 'real', name: 'a', value: 1, children: [{ element: 'int', name: 'x' }] },
    ],
    [
      'a time before 1978',
      {
        element: 'real',
        name: 'a',
        value: 1,
        children: [{ element: 'abstime', name: 'time', value: parseAbsoluteTime('1970-01-02T00:00:00Z') }],
      },
    ],
  ])('does not write %s', (_why, draft) => {
    for (const format of [senml, cbor])
      expect(() => format.render!(objects.make(draft))).toThrow(DeviceFormatError);
  });
});

describe('CBOR', () => {
  const read = (bytes: Uint8Array): Cbor => readCbor(bytes, new Allowance('senml-cbor', bytes, {}));

  /** RFC 8949, appendix A. */
  it.each<[bytes: string, value: Cbor]>([
    ['00', 0n],
    ['17', 23n],
    ['1818', 24n],
    ['1903e8', 1000n],
    ['1a000f4240', 1_000_000n],
    ['1b000000e8d4a51000', 1_000_000_000_000n],
    ['1bffffffffffffffff', 18_446_744_073_709_551_615n],
    ['3bffffffffffffffff', -18_446_744_073_709_551_616n],
    ['20', -1n],
    ['3863', -100n],
    ['f90000', 0],
    ['f98000', -0],
    ['f93c00', 1],
    ['fb3ff199999999999a', 1.1],
    ['f97bff', 65_504],
    ['fa47c35000', 100_000],
    ['fa7f7fffff', 3.4028234663852886e38],
    ['f90001', 5.960464477539063e-8],
    ['f90400', 0.00006103515625],
    ['f9c400', -4],
    ['f97c00', Infinity],
    ['f97e00', Number.NaN],
    ['f9fc00', -Infinity],
    ['f4', false],
    ['f5', true],
    ['f6', null],
    ['4401020304', Buffer.from([1, 2, 3, 4])],
    ['60', ''],
    ['6449455446', 'IETF'],
    ['62c3bc', 'ü'],
    ['64f0908591', '\ud800\udd51'],
    ['80', []],
    ['8301820203820405', [1n, [2n, 3n], [4n, 5n]]],
    [
      'a201020304',
      new Map([
        [1n, 2n],
        [3n, 4n],
      ]),
    ],
    [
      'a26161016162820203',
      new Map<string, Cbor>([
        ['a', 1n],
        ['b', [2n, 3n]],
      ]),
    ],
    ['5f42010243030405ff', Buffer.from([1, 2, 3, 4, 5])],
    ['7f657374726561646d696e67ff', 'streaming'],
    ['9fff', []],
    ['9f018202039f0405ffff', [1n, [2n, 3n], [4n, 5n]]],
    [
      'bf61610161629f0203ffff',
      new Map<string, Cbor>([
        ['a', 1n],
        ['b', [2n, 3n]],
      ]),
    ],
    ['c48221196ab3', new ExactNumber('27315e-2')],
    ['c11a514b67b0', 1_363_896_240n],
  ])('%s', (bytes, value) => {
    const found = read(unhex(bytes));
    expect(found instanceof Uint8Array ? hex(found) : found).toEqual(
      value instanceof Uint8Array ? hex(value) : value,
    );
    if (value instanceof ExactNumber || Number.isNaN(value)) return;
    expect(read(writeCbor(value))).toEqual(found);
  });

  it('does not write half of a pair of surrogates, which UTF-8 does not have', () => {
    const object = objects.make({ element: 'str', name: 'a', value: '\ud800' });
    expect(() => cbor.render!(object)).toThrow(DeviceFormatError);
    expect(parse(senml, senml.render!(object)).children[0]).toEqual(object);
  });

  it('writes the shortest integers', () => {
    for (const bytes of ['17', '1818', '18ff', '190100', '1a00010000', '1b0000000100000000', '3903e7']) {
      expect(hex(writeCbor(read(unhex(bytes))))).toBe(bytes);
    }
    expect(hex(writeCbor(new ExactNumber('273.15')))).toBe('c48221196ab3');
    expect(hex(writeCbor(new ExactNumber('12')))).toBe('0c');
  });

  it.each([
    '',
    '18',
    '1c',
    '1f',
    '62c3',
    '61ff',
    '5b7fffffffffffffff',
    '9b7fffffffffffffff',
    '9f',
    'bf61',
    'ff',
    '5f6161ff',
    '7f5fffff',
    'a2010201 03',
    'a18001',
    'c4',
    'c401',
    'c48101',
    'f7',
    'f8ff',
    'f97e',
    '0000',
  ])('does not read %s', (bytes) => expect(() => read(unhex(bytes))).toThrow(DeviceFormatError));
});
