import {
  ExactNumber,
  holdsExactly,
  inexactNumberIn,
  parseExactJson,
  stringifyExactJson,
} from '@cmbs/shared/exact-json';
import fc from '../property';
import { LINEAR_MS, processorMs } from './processor-time';

describe('a number', () => {
  test.each([
    '0',
    '-0',
    '0.0',
    '0e5',
    '1',
    '1.0',
    '10e2',
    '0.1',
    '9007199254740991',
    '-9007199254740991',
    '9007199254740992',
    '1e22',
    '1E+22',
    '12300000000000000000000',
    '1e300',
    '1.5e300',
    '3.141592653589793238462643',
    '1e-300',
  ])('%s is represented exactly', (source) => expect(holdsExactly(source)).toBe(true));

  test.each([
    '9007199254740993',
    '-9007199254740993',
    '12345678901234567890',
    '1e400',
    '-1e400',
    '1e-400',
    '123456789012345678901234567890e2',
    '9007199254740992.5e3',
  ])('%s is not represented exactly', (source) => expect(holdsExactly(source)).toBe(false));

  test('with very many digits is checked in linear time', () => {
    const zeros = '0'.repeat(1_000_000);
    expect(holdsExactly(`12345678901234567890.1${zeros}1`)).toBe(false);
    expect(holdsExactly(`9007199254740992.${zeros}`)).toBe(true);
    expect(holdsExactly(`0.${zeros}`)).toBe(true);
  });

  test('that JavaScript represents is also represented by its shortest form', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) =>
        holdsExactly(JSON.stringify(value)),
      ),
    );
    fc.assert(fc.property(fc.maxSafeInteger(), (value) => holdsExactly(String(value))));
    const beyond = fc.bigInt({ min: 2n ** 53n, max: 10n ** 40n });
    fc.assert(
      fc.property(beyond, (value) => {
        const printed = BigInt(Number(value).toLocaleString('fullwide', { useGrouping: false }));
        return !holdsExactly(String(value)) || printed === value || BigInt(Number(value)) === value;
      }),
    );
  });
});

describe('JSON with numbers that JavaScript rounds', () => {
  test('is written exactly as it was read', () => {
    const text = '{"id":12345678901234567890,"params":[1e400,{"a":[-1E-999,1]},"1e400 \\" 12345678901234567890"]}';
    expect(inexactNumberIn(text)).toBe('12345678901234567890');
    expect(parseExactJson(text)).toMatchObject({ id: new ExactNumber('12345678901234567890') });
    expect(stringifyExactJson(parseExactJson(text))).toBe(text);
  });

  test('is read as by JSON.parse when every number is exact', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(JSON.parse(stringifyExactJson(parseExactJson(text)))).toEqual(JSON.parse(text));
      }),
    );
  });

  test('keeps digits in strings unchanged', () => {
    const text = JSON.stringify(['12345678901234567890', '\\', '"1e999', 'a\\"1e999']);
    expect(inexactNumberIn(text)).toBeUndefined();
    expect(parseExactJson(text)).toEqual(JSON.parse(text));
  });

  test.each(['', '{', '[1e400', '[12345678901234567890,]'])('that is not valid (%s) is a SyntaxError', (text) => {
    expect(() => parseExactJson(text)).toThrow(SyntaxError);
  });

  test('that has a string without an end is refused in linear time', () => {
    const quotes = '\\"'.repeat(500_000);
    expect(processorMs(() => expect(() => parseExactJson(`[1e400,"${quotes}`)).toThrow(SyntaxError))).toBeLessThan(
      LINEAR_MS,
    );
    expect(() => parseExactJson('[1e400,"\\')).toThrow(SyntaxError);
  });
});
