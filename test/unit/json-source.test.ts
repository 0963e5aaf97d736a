import type { Json } from '@cmbs/shared';
import { endOfJson } from '../../shared/occi/json-source';
import { nestsWithin, RawJson, sourceOf, stringifyJson } from '@cmbs/shared/occi';
import fc from '../property';

describe('sourceOf', () => {
  test('returns the exact text of a value, with the spelling of numbers and white space', () => {
    const text = '{ "a" : [ 1, 2.50 ,{"b": {"n":12345678901234567890, "s" : "x\\u0041"} } ] , "c":true}';
    expect(sourceOf(text, ['a', 1])).toBe('2.50');
    expect(sourceOf(text, ['a', 2, 'b'])).toBe('{"n":12345678901234567890, "s" : "x\\u0041"}');
    expect(sourceOf(text, ['a', 2, 'b', 'n'])).toBe('12345678901234567890');
    expect(sourceOf(text, ['c'])).toBe('true');
    expect(sourceOf('  [1] ', [])).toBe('[1]');
  });

  test('finds nothing if the value is absent or of another type', () => {
    const text = '{"a":[1,{"b":2}]}';
    expect(sourceOf(text, ['b'])).toBeUndefined();
    expect(sourceOf(text, ['a', 2])).toBeUndefined();
    expect(sourceOf(text, ['a', 'b'])).toBeUndefined();
    expect(sourceOf(text, ['a', 0, 'b'])).toBeUndefined();
    expect(sourceOf(text, [0])).toBeUndefined();
    expect(sourceOf('', ['a'])).toBeUndefined();
  });

  test('chooses the last of several members with the same name, as JSON.parse does', () => {
    expect(sourceOf('{"a":1,"b":2,"a":3}', ['a'])).toBe('3');
    expect(sourceOf('{"a":{"b":1},"a":{"b":2}}', ['a', 'b'])).toBe('2');
    expect(sourceOf('{"a":{"b":1},"a":{"c":2}}', ['a', 'b'])).toBeUndefined();
    expect(sourceOf('{"a":{"b":1},"a":7}', ['a', 'b'])).toBeUndefined();
  });

  test('recognizes escaped spellings of a key, and escaped quotes', () => {
    expect(sourceOf('{"\\u0061":1}', ['a'])).toBe('1');
    expect(sourceOf('{"a\\"b":1,"a\\\\":2}', ['a"b'])).toBe('1');
    expect(sourceOf('{"a\\"b":1,"a\\\\":2}', ['a\\'])).toBe('2');
    expect(sourceOf('{"a":"\\\\\\"}","b":1}', ['b'])).toBe('1');
  });

  test('agrees with JSON.parse on any document and any path in it', () => {
    const steps = fc.array(fc.oneof(fc.string(), fc.nat(3)), { maxLength: 4 });
    fc.assert(
      fc.property(fc.json(), fc.nat(3), steps, fc.infiniteStream(fc.nat()), (text, indent, foreign, choices) => {
        const spaced = JSON.stringify(JSON.parse(text), undefined, indent);
        const path: (string | number)[] = [];
        let value: unknown = JSON.parse(spaced);
        while (typeof value === 'object' && value !== null) {
          const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
          const key = keys[choices.next().value! % (keys.length + 1)];
          if (key === undefined) break;
          path.push(key);
          value = (value as Record<string | number, unknown>)[key];
        }
        expect(JSON.parse(sourceOf(spaced, path)!)).toEqual(value);
        // Any other path yields a text or undefined, and never an exception.
        expect(['string', 'undefined']).toContain(typeof sourceOf(spaced, foreign));
      }),
    );
  });

  test('returns for any text, valid or not', () => {
    const scraps = fc.array(fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', ' ', 'a', '1', '"a":'));
    fc.assert(
      fc.property(scraps, fc.array(fc.constantFrom('a', 0, 1)), (parts, path) => {
        expect(['string', 'undefined']).toContain(typeof sourceOf(parts.join(''), path));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('endOfJson', () => {
  test.each([
    ['{"a":"}"},1', 9],
    ['"a\\"",1', 5],
    ['12.5]', 4],
    ['[1,[2]] x', 7],
    ['["a"', -1],
    ['"a', -1],
    [',', -1],
  ])('of %s is %i', (text, end) => {
    expect(endOfJson(text, 0)).toBe(end);
  });
});

describe('nestsWithin', () => {
  const nest = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

  test('counts levels, not brackets', () => {
    expect(nestsWithin(nest(64), 64)).toBe(true);
    expect(nestsWithin(nest(65), 64)).toBe(false);
    expect(nestsWithin(`[${'[],'.repeat(500)}[]]`, 2)).toBe(true);
    expect(nestsWithin(JSON.stringify(['['.repeat(500)]), 1)).toBe(true);
    expect(nestsWithin('{"a":'.repeat(65) + '1' + '}'.repeat(65), 64)).toBe(false);
  });
});

describe('stringifyJson', () => {
  test('writes raw text unchanged beside ordinary values', () => {
    const big = new RawJson('12345678901234567890');
    expect(stringifyJson({ a: [big, 'x'], b: undefined, c: new Map([['d', big]]), e: null })).toBe(
      '{"a":[12345678901234567890,"x"],"c":{"d":12345678901234567890},"e":null}',
    );
    expect(stringifyJson({ a: {}, b: [], c: new Map() })).toBe('{"a":{},"b":[],"c":{}}');
  });

  test('equals JSON.stringify for all other values', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ unit: 'binary' }), (value, text) => {
        const given: Json = [value as Json, text];
        expect(stringifyJson(given)).toBe(JSON.stringify(given));
      }),
    );
    expect(stringifyJson('\ud800"\u0000')).toBe(JSON.stringify('\ud800"\u0000'));
  });
});
