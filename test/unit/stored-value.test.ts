import fc from '../property';
import { ExactNumber } from '../../shared/exact-json';
import { decodedText, encode, encodedText } from '../../shared/services/stored-value';
import type { Value } from '@cmbs/shared/services';

it('Any value is stored without loss.', () => {
  const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
      fc.string({ unit: 'binary' }),
      fc
        .bigInt()
        .filter((big) => String(Number(big)) !== String(big))
        .map((big) => new ExactNumber(String(big))),
      fc.uint8Array(),
      fc.date({
        min: new Date('0000-01-01T00:00:00Z'),
        max: new Date('9999-12-31T23:59:59Z'),
        noInvalidDate: true,
      }),
      fc.array(tie('value')),
      fc.dictionary(
        fc.oneof(fc.constantFrom('$', '$b', '$d', '$n', '$s', '__proto__'), fc.string()),
        tie('value'),
      ),
    ),
  })).value;
  fc.assert(
    fc.property(value, (one) => {
      expect(decodedText(encodedText(one, 1e6))).toEqual(one);
    }),
  );
});

it('a value beyond the limit is refused, also one that grows when it is written, and one that contains itself', () => {
  const refused = expect.objectContaining({ code: 'too_large' }) as Error;
  expect(encode('x'.repeat(8), 10)).toEqual({ json: 'x'.repeat(8), bytes: 10 });
  expect(() => encode('x'.repeat(9), 10)).toThrow(refused);
  expect(() => encode('é'.repeat(5), 10)).toThrow(refused);
  const large: Value[] = ['x'.repeat(1000)];
  // 2^40 times: a copy would exhaust the memory.
  const repeated = Array.from({ length: 40 }).reduce<Value>((one) => [one, one], large);
  expect(() => encode(repeated, 1e6)).toThrow(refused);
  const itself: Value[] = [];
  itself.push(itself);
  expect(() => encode(itself, 1e6)).toThrow(refused);
});
