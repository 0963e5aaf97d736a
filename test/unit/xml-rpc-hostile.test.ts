/** Calls of XML-RPC that are malformed or hostile: each gets a fault, and none takes more than linear time. */
import { READER_LIMITS } from '../../shared/services/codecs/xml-rpc-reader';
import fc from '../property';
import { LINEAR_MS, processorMs } from './processor-time';
import { answeredFault, bytes, callWith, faultCode, outcomeOf, valueOf } from './xml-rpc-support';

/** The code of the fault for a body, which is read in linear time. */
function codeFor(body: Uint8Array | string, contentType?: string): number | undefined {
  let code: number | undefined;
  const document = typeof body === 'string' ? bytes(body) : body;
  const ms = processorMs(() => {
    code = answeredFault(document, contentType)?.code;
  });
  expect(ms).toBeLessThan(LINEAR_MS);
  return code;
}

const repeated = (text: string, count: number): string => text.repeat(count);
const nested = (count: number): string =>
  callWith(repeated('<value><array><data>', count) + repeated('</data></array></value>', count));

describe('a malformed call (-32700)', () => {
  it.each([
    ['', 'an empty body'],
    [' ', 'white space'],
    ['hello', 'text'],
    ['{"method":"a"}', 'JSON'],
    ['<methodCall><methodName>a</methodCall>', 'an element that is not closed'],
    ['<methodCall></methodName>', 'an end of another element'],
    [`${callWith()}${callWith()}`, 'two documents'],
    [`${callWith()}x`, 'text after the document'],
    [` ${callWith()}`, 'a declaration after white space'],
    [callWith('<value>&nbsp;</value>'), 'an entity of HTML'],
    [callWith('<value>&constructor;</value>'), 'an entity named as a property of objects'],
    [callWith('<value>&#0;</value>'), 'a reference to a control character'],
    [callWith('<value>&#xD800;</value>'), 'a reference to half a pair'],
    [
      '<?xml version="1.1"?><methodCall><methodName>&#1;</methodName></methodCall>',
      'XML 1.1 with a control character',
    ],
    [callWith('<value>&#99999999999;</value>'), 'a reference beyond Unicode'],
    [callWith('<value a="1" a="2">x</value>'), 'two attributes of one name'],
    [callWith('<value a=1>x</value>'), 'an attribute without quotes'],
    [callWith('<value>]]></value>'), 'the end of a CDATA section'],
    [callWith('<!-- -- -->'), 'a malformed comment'],
  ])('%s (%s)', (document) => expect(codeFor(document)).toBe(-32700));

  it('is a call that ends too early, at whichever byte', () => {
    const whole = bytes(
      callWith(
        '<value><struct><member><name>ü&amp;</name><value><![CDATA[<x>]]></value></member></struct></value>',
        '<value><array><data><value><int>1</int></value><!-- c --></data></array></value>',
      ),
    );
    expect(faultCode(outcomeOf(whole))).toBeUndefined();
    for (let end = 0; end < whole.length; end++) {
      expect([-32700, -32702]).toContain(codeFor(whole.subarray(0, end)));
    }
  });
});

describe('a hostile call', () => {
  it('cannot define entities, and so none that expand', () => {
    const laughs = Array.from({ length: 9 }, (_, at) => `<!ENTITY l${at + 1} "${repeated(`&l${at};`, 10)}">`).join(
      '',
    );
    const call =
      '<methodCall><methodName>a</methodName><params><param><value>&l9;</value></param></params></methodCall>';
    expect(codeFor(`<!DOCTYPE x [<!ENTITY l0 "lol">${laughs}]>${call}`)).toBe(-32600);
    expect(codeFor(call)).toBe(-32700);
  });

  it.each([
    '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE x PUBLIC "-//X//Y" "http://127.0.0.1/x.dtd" [<!ENTITY % p SYSTEM "http://127.0.0.1/"> %p;]>',
    '<!DOCTYPE methodCall>',
  ])('cannot refer to a file or an address: %s', (doctype) => {
    const fault = answeredFault(bytes(`${doctype}<methodCall><methodName>a</methodName></methodCall>`));
    expect(fault).toEqual({ code: -32600, text: 'A call has no document type declaration.' });
  });

  it('may nest arrays and structs 64 deep, and no deeper', () => {
    expect(
      faultCode(valueOf(repeated('<value><array><data>', 64) + repeated('</data></array></value>', 64))),
    ).toBeUndefined();
    expect(codeFor(nested(65))).toBe(-32600);
    expect(codeFor(nested(100_000))).toBe(-32600);
    expect(codeFor(callWith(repeated('<value><array><data>', 100_000)))).toBe(-32600);
    expect(codeFor(repeated('<a>', 100_000) + repeated('</a>', 100_000))).toBe(-32600);
  });

  it.each<[string, string, number | undefined]>([
    ['an attribute of 1 MB', callWith(`<value a="${repeated('x', 1024 * 1024)}">x</value>`), undefined],
    [
      'an attribute of 1 MB in references',
      callWith(`<value a="${repeated('&amp;', 200_000)}">x</value>`),
      undefined,
    ],
    ['the name of an attribute of 1 MB', callWith(`<value ${repeated('x', 1024 * 1024)}="">x</value>`), undefined],
    [
      '100,000 attributes',
      callWith(`<value ${Array.from({ length: 100_000 }, (_, at) => `a${at}=""`).join(' ')}/>`),
      -32600,
    ],
    ['an element name of 1 MB', callWith(`<${repeated('x', 1024 * 1024)}/>`), -32600],
    ['an entity name of 1 MB', callWith(`<value>&${repeated('x', 1024 * 1024)};</value>`), -32700],
    ['a reference of 1 MB', callWith(`<value>&#${repeated('9', 1024 * 1024)};</value>`), -32700],
    ['a declaration of 1 MB', `<?xml version="1.0" ${repeated(' ', 1024 * 1024)}encoding="latin1"?><a/>`, -32701],
    ['a comment of 1 MB', callWith(`<value/><!--${repeated('- ', 500_000)}-->`), undefined],
    ['200,000 comments', callWith(`<value>${repeated('x<!---->', 200_000)}</value>`), undefined],
    ['200,000 CDATA sections', callWith(`<value>${repeated('<![CDATA[]]]>', 200_000)}</value>`), undefined],
    [
      'a CDATA section of brackets',
      callWith(`<value><![CDATA[${repeated(']', 1024 * 1024)}]]></value>`),
      undefined,
    ],
    ['500,000 line ends', callWith(`<value>${repeated('\r\n', 500_000)}</value>`), undefined],
    ['500,000 references', callWith(`<value>${repeated('&#13;', 500_000)}</value>`), undefined],
    ['a document type of 1 MB', `<!DOCTYPE x [${repeated('<!-- -->', 130_000)}]><a/>`, -32600],
    [
      'a number after 1 MB of white space',
      callWith(`<value><int>${repeated(' x', 500_000)}</int></value>`),
      -32600,
    ],
    ['zeros', callWith(`<value><int>${repeated('0', 1024 * 1024)}x</int></value>`), -32600],
    ['a double of 1 MB', callWith(`<value><double>${repeated('1', 1024 * 1024)}.x</double></value>`), -32600],
    [
      'a base64 of 1 MB with a wrong end',
      callWith(`<value><base64>${repeated('A', 1024 * 1024)}=A==</base64></value>`),
      -32600,
    ],
    [
      '300,000 values',
      callWith(`<value><array><data>${repeated('<value/>', 300_000)}</data></array></value>`),
      -32600,
    ],
    ['300,000 parameters', callWith(repeated('<value/></param><param>', 300_000)), -32600],
  ])('with %s is read in linear time', (_what, document, code) => expect(codeFor(document)).toBe(code));

  it('has a bound on its members and its bytes', () => {
    const members = (count: number): string =>
      `<value><struct>${Array.from({ length: count }, (_, at) => `<member><name>${at}</name><value/></member>`).join('')}</struct></value>`;
    expect(codeFor(callWith(members(80_000)))).toBeUndefined();
    expect(codeFor(callWith(members(90_000)))).toBe(-32600);
    expect(codeFor(new Uint8Array(READER_LIMITS.maxBytes + 1))).toBe(-32600);
  });

  it('of the largest size is read in linear time', () => {
    const text = (unit: string): string =>
      callWith(`<value>${repeated(unit, Math.floor((READER_LIMITS.maxBytes - 200) / unit.length))}</value>`);
    for (const unit of ['x', '&lt;', '<!---->', '\r']) expect(codeFor(text(unit))).toBeUndefined();
  });

  it('of random bytes is a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.option(fc.string(), { nil: undefined }), (body, type) => {
        expect(answeredFault(body, type)).toBeDefined();
      }),
    );
  });

  it('that was damaged is a call or a fault', () => {
    const whole = bytes(
      callWith('<value><struct><member><name>a</name><value><i8>1</i8></value></member></struct></value>'),
    );
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.uint8Array({ maxLength: 5 }), fc.nat(8), (at, change, removed) => {
        const damaged = Buffer.concat([whole.subarray(0, at), change, whole.subarray(at + removed)]);
        const fault = answeredFault(damaged);
        if (fault !== undefined) expect([-32700, -32701, -32702, -32600]).toContain(fault.code);
      }),
      { numRuns: 500 },
    );
  });

  it('made of pieces of XML is a call or a fault', () => {
    const piece = fc.constantFrom(
      ...[
        '<methodCall>',
        '</methodCall>',
        '<methodName>',
        'a',
        '</methodName>',
        '<params>',
        '<param>',
        '<value>',
        '</value>',
      ],
      ...[
        '<struct>',
        '<member>',
        '<name>',
        '</name>',
        '</member>',
        '</struct>',
        '<array>',
        '<data>',
        '<int>',
        '1',
        '</int>',
      ],
      ...[
        '<nil/>',
        '<![CDATA[',
        ']]>',
        '<!--',
        '-->',
        '<?',
        '?>',
        '&',
        ';',
        '<',
        '>',
        '"',
        '\r',
        '\u0000',
        '<!DOCTYPE',
      ],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const outcome = outcomeOf(pieces.join(''));
        if (faultCode(outcome) === undefined) expect(outcome).toHaveProperty('method');
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the encoding of a call', () => {
  const call = (text: string, declared = ''): string =>
    `<?xml version="1.0"${declared === '' ? '' : ` encoding="${declared}"`}?><methodCall><methodName>m</methodName><params><param><value>${text}</value></param></params></methodCall>`;
  const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
  const utf16le = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le');
  const utf16be = (text: string): Buffer => utf16le(text).swap16();
  const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8');

  it.each<[string, Buffer, string | undefined, string]>([
    ['UTF-8 by default', utf8(call('ü中')), undefined, 'ü中'],
    ['UTF-8, as declared', utf8(call('ü中', 'utf-8')), 'text/xml', 'ü中'],
    ['UTF-8 with a byte order mark', utf8(`\ufeff${call('ü', 'UTF-8')}`), 'text/xml; charset=UTF-8', 'ü'],
    ['UTF-8 as Content-Type says', utf8(call('ü')), 'text/xml; charset="utf-8"', 'ü'],
    ['ISO-8859-1, as declared', latin1(call('ü\u0080', 'ISO-8859-1')), 'text/xml', 'ü\u0080'],
    ['ISO-8859-1 in single quotes', latin1(call('ü').replace('?>', " encoding = 'latin1' ?>")), undefined, 'ü'],
    ['ISO-8859-1, as Content-Type says', latin1(call('ü')), 'text/xml;charset=iso-8859-1', 'ü'],
    ['US-ASCII, as declared', latin1(call('u&#252;', 'us-ascii')), undefined, 'uü'],
    ['UTF-16, little-endian', utf16le(call('ü😀')), undefined, 'ü😀'],
    ['UTF-16, big-endian, as declared', utf16be(call('ü😀', 'UTF-16')), 'text/xml; charset=utf-16', 'ü😀'],
  ])('may be %s', (_what, document, contentType, text) => {
    expect(outcomeOf(document, contentType)).toEqual({ method: 'm', params: [text] });
  });

  it.each<[string, Buffer, string | undefined, number]>([
    ['an unknown one', utf8(call('x', 'shift_jis')), undefined, -32701],
    ['an unknown one of Content-Type', utf8(call('x')), 'text/xml; charset=utf-7', -32701],
    ['a name of a property of objects', utf8(call('x', 'constructor')), undefined, -32701],
    ['UTF-16 without a mark', utf16le(call('x')).subarray(2), undefined, -32701],
    ['UTF-16 by Content-Type, but bytes', utf8(call('x')), 'text/xml; charset=utf-16', -32701],
    ['UTF-16 as declared, but bytes', utf8(call('x', 'utf-16')), undefined, -32701],
    ['UTF-32', Buffer.concat([Buffer.from([0xff, 0xfe, 0, 0]), utf16le(call('x'))]), undefined, -32701],
    ['two: the mark and Content-Type', utf16le(call('x')), 'text/xml; charset=utf-8', -32701],
    ['two: the mark and the declaration', utf16le(call('x', 'utf-8')), undefined, -32701],
    ['two: the mark of UTF-8 and the declaration', utf8(`\ufeff${call('x', 'iso-8859-1')}`), undefined, -32701],
    ['two: Content-Type and the declaration', utf8(call('x', 'iso-8859-1')), 'text/xml; charset=utf-8', -32701],
    ['UTF-8, but the bytes are not', latin1(call('ü')), undefined, -32702],
    [
      'UTF-8, but a surrogate is encoded',
      Buffer.concat([utf8('<a>'), Buffer.from([0xed, 0xa0, 0x80])]),
      undefined,
      -32702,
    ],
    ['UTF-8, but overlong', Buffer.concat([utf8('<a>'), Buffer.from([0xc0, 0xbc])]), undefined, -32702],
    ['US-ASCII, but the bytes are not', latin1(call('ü', 'us-ascii')), undefined, -32702],
    ['UTF-16, but half a pair', utf16le(call('\ud83d')), undefined, -32702],
    ['UTF-16, but an odd number of bytes', utf16le(call('x')).subarray(0, -1), undefined, -32702],
    ['any, with a control character', utf8(call('\u0001')), undefined, -32702],
    ['any, with a noncharacter', utf8(call('\uffff')), undefined, -32702],
  ])('may not be %s', (_what, document, contentType, code) => {
    expect(codeFor(document, contentType)).toBe(code);
  });
});
