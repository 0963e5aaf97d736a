/** Hostile documents of devices: each is refused or read in linear time, within the bounds. */
import {
  DeviceFormatError,
  DeviceFormats,
  DeviceObjects,
  FORMAT_LIMITS,
  standardFormats,
} from '@cmbs/shared/devices';
import { UNEXPECTED } from '../../../shared/devices/formats/format';
import { LINEAR_MS, processorMs } from '../processor-time';

const formats = new DeviceFormats(standardFormats(new DeviceObjects()));
const MEGABYTE = 1024 * 1024;

/** The text of the refusal; undefined for a document that is read. */
function refusalOf(name: string, document: string | Uint8Array): string | undefined {
  const bytes = typeof document === 'string' ? Buffer.from(document) : document;
  let text: string | undefined;
  const ms = processorMs(() => {
    try {
      formats.named(name)!.parse(bytes);
    } catch (thrown) {
      if (!(thrown instanceof DeviceFormatError) || thrown.message === UNEXPECTED) throw thrown;
      text = thrown.message;
    }
  });
  expect(ms).toBeLessThan(LINEAR_MS);
  return text;
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const repeated = (text: string, count: number): string => text.repeat(count);
const links = repeated('</a>,', 99_000);

describe('a hostile document', () => {
  it.each(formats.names)('in %s has 4 MiB at most', (name) => {
    const bytes = new Uint8Array(FORMAT_LIMITS.maxBytes + 1);
    expect(refusalOf(name, bytes)).toBe('A document has at most 4194304 bytes.');
  });

  it.each<[why: string, format: string, document: string | Uint8Array, refusal: RegExp | undefined]>([
    ['elements 64 deep', 'obix-xml', repeated('<obj>', 64) + repeated('</obj>', 64), undefined],
    ['elements 65 deep', 'obix-xml', repeated('<obj>', 65) + repeated('</obj>', 65), /64 levels/],
    ['unknown elements 100,000 deep', 'obix-xml', `<obj>${repeated('<x>', 100_000)}`, /64 levels/],
    ['200,000 elements', 'obix-xml', `<obj>${repeated('<obj/>', 200_000)}</obj>`, /100000 objects/],
    ['200,000 unknown elements', 'obix-xml', `<obj>${repeated('<x/>', 200_000)}</obj>`, /100000 objects/],
    ['an attribute of 1 MB', 'obix-xml', `<str val="${repeated('x', MEGABYTE)}"/>`, undefined],
    ['an attribute of 1 MB in references', 'obix-xml', `<str val="${repeated('&amp;', 200_000)}"/>`, undefined],
    ['an integer of 1 MB', 'obix-xml', `<int val="${repeated('9', MEGABYTE)}"/>`, /no integer/],
    ['zeros of 1 MB before an integer', 'obix-xml', `<int val="${repeated('0', MEGABYTE)}1"/>`, undefined],
    [
      'white space of 1 MB around an integer',
      'obix-xml',
      `<int val="${repeated(' ', MEGABYTE)}1 x"/>`,
      /no integer/,
    ],
    ['a real of 1 MB', 'obix-xml', `<real val="${repeated('1', MEGABYTE)}"/>`, /no real/],
    ['a duration of 1 MB', 'obix-xml', `<reltime val="PT${repeated('9', MEGABYTE)}"/>`, /no duration/],
    [
      'a fraction of 1 MB',
      'obix-xml',
      `<abstime val="2000-01-01T00:00:00.${repeated('0', MEGABYTE)}Z"/>`,
      undefined,
    ],
    ['a list of 500,000 contracts', 'obix-xml', `<obj is="${repeated('a ', 500_000)}"/>`, undefined],
    [
      '100,000 attributes',
      'obix-xml',
      `<obj ${Array.from({ length: 100_000 }, (_, at) => `a${at}=""`).join(' ')}/>`,
      /64 attributes/,
    ],
    [
      'entities that expand',
      'obix-xml',
      `<!DOCTYPE obj [<!ENTITY a "${repeated('x', 1000)}"><!ENTITY b "${repeated('&a;', 1000)}">]><str val="&b;"/>`,
      /document type/,
    ],
    [
      'an external entity',
      'obix-xml',
      '<!DOCTYPE obj [<!ENTITY a SYSTEM "file:///etc/passwd">]><str val="&a;"/>',
      /document type/,
    ],
    ['children 64 deep', 'obix-binary', hex(`${repeated('8404', 63)}04${repeated('44', 63)}`), undefined],
    ['children 65 deep', 'obix-binary', hex(`${repeated('8404', 64)}04${repeated('44', 64)}`), /64 levels/],
    ['children 500,000 deep', 'obix-binary', hex(repeated('8404', 500_000)), /64 levels/],
    ['200,000 children', 'obix-binary', hex(`8404${repeated('04', 200_000)}44`), /100000 objects/],
    ['a text of 1 MB without end', 'obix-binary', hex(`14${repeated('61', MEGABYTE)}`), /does not end/],
    ['a million facets', 'obix-binary', hex(`84${repeated('b1', MEGABYTE)}`), /too early/],
    [
      'a text of 64 KB that 50,000 children repeat',
      'obix-binary',
      hex(`b00414${repeated('61', 65_536)}00${repeated('150000', 50_000)}44`),
      /16777216 characters/,
    ],
    ['90,000 statuses without MORE', 'obix-binary', hex(`8404${repeated('844c', 90_000)}`), /too early/],
    ['arrays 100,000 deep', 'obix-json', repeated('[', 100_000), /64 levels/],
    ['nodes 100,000 deep', 'obix-json', repeated('{"tag":"obj","nodes":[', 100_000), /64 levels/],
    [
      '200,000 nodes',
      'obix-json',
      `{"tag":"obj","nodes":[${repeated('{"tag":"obj"},', 199_999)}{"tag":"obj"}]}`,
      /100000 objects/,
    ],
    ['a number of 1 MB', 'obix-json', `{"tag":"int","val":${repeated('9', MEGABYTE)}}`, /no integer/],
    ['quotes of 1 MB', 'obix-json', `{"tag":"${repeated('\\"', MEGABYTE)}`, /no JSON/],
    ['99,000 links', 'link-format', links, undefined],
    ['200,000 links without commas', 'link-format', repeated('</a>', 200_000), /100000 objects/],
    ['100,000 attributes of a link', 'link-format', `</a>${repeated(';x', 100_000)}`, /64 attributes/],
    ['a title of 1 MB', 'link-format', `</a>;title="${repeated('\\"', MEGABYTE)}"`, undefined],
    ['a title of 1 MB without end', 'link-format', `</a>;title="${repeated('\\"', MEGABYTE)}`, /quote at the end/],
    ['semicolons of 1 MB', 'link-format', `</a>${repeated(';', MEGABYTE)}`, /name of an attribute/],
    ['white space of 1 MB', 'link-format', `</a>${repeated(' ', MEGABYTE)};x`, undefined],
    ['an href of 1 MB', 'link-format', `<${repeated('a', MEGABYTE)}>`, undefined],
    ['opening brackets of 1 MB', 'link-format', repeated('<', MEGABYTE), /">" of a link/],
    [
      'a base name of 1 MB for 100 records',
      'senml-json',
      `[{"bn":"${repeated('a', MEGABYTE)}","v":1}${repeated(',{"v":1}', 100)}]`,
      /16777216 characters/,
    ],
    ['200,000 records', 'senml-json', `[{"n":"a"}${repeated(',{}', 200_000)}]`, /100000 records/],
    ['a time of 1 MB', 'senml-json', `[{"n":"a","v":1,"t":${repeated('9', MEGABYTE)}}]`, /no time/],
    ['a value of 1 MB', 'senml-json', `[{"n":"a","v":${repeated('9', MEGABYTE)}}]`, /too large/],
    ['arrays 100,000 deep', 'senml-cbor', hex(repeated('81', 100_000)), /16 levels/],
    ['tags 100,000 deep', 'senml-cbor', hex(repeated('c1', 100_000)), /16 levels/],
    ['200,000 empty maps', 'senml-cbor', hex(`9f${repeated('a0', 200_000)}ff`), /arrays and maps/],
    ['an array that claims 2^63 items', 'senml-cbor', hex('9b8000000000000000'), /too early/],
    ['a text that claims 2^64 bytes', 'senml-cbor', hex('81a1007bffffffffffffffff'), /too early/],
    ['a map with a million labels', 'senml-cbor', hex(`bf${repeated('2000', MEGABYTE)}ff`), /label twice/],
    [
      'a decimal fraction with a large exponent',
      'senml-cbor',
      hex('81a2006161 02c4821b7fffffffffffffff01'.replace(' ', '')),
      /too large/,
    ],
    [
      'a time with a large exponent',
      'senml-cbor',
      hex('81a30061610201 06c4821b7fffffffffffffff01'.replace(' ', '')),
      /no time/,
    ],
  ])('with %s in %s', (_why, format, document, refusal) => {
    const text = refusalOf(format, document);
    if (refusal === undefined) expect(text).toBeUndefined();
    else expect(text).toMatch(refusal);
  });

  it('cannot add properties to all objects', () => {
    refusalOf(
      'obix-json',
      '{"tag":"obj","__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}',
    );
    refusalOf('senml-json', '[{"n":"a","v":1,"__proto__":{"polluted":true}}]');
    refusalOf(
      'senml-cbor',
      hex(`81a3006161020169${Buffer.from('__proto__').toString('hex')}a168706f6c6c75746564f5`),
    );
    expect({}).not.toHaveProperty('polluted');
  });
});
