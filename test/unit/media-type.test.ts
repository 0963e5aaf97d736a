import { CmbsError } from '@cmbs/shared';
import { parseAccept } from '../../shared/occi/renderings/media-type';
import { parseMediaType, RENDERINGS, STANDARD_RENDERINGS, TEXT_PLAIN } from '@cmbs/shared/occi';
import { refusalOf } from './occi-rendering-samples';
import fc from '../property';

const chosen = (accept: string | undefined, fallback = 'text/plain'): string | undefined =>
  RENDERINGS.negotiate(accept, () => RENDERINGS.named(fallback)!)?.mediaTypes[0];

describe('a Content-Type', () => {
  test('is read without regard to case, with its parameters', () => {
    const { type, parameters } = parseMediaType('Text/OCCI ; Charset="UTF-8";a=b;');
    expect(type).toBe('text/occi');
    expect([...parameters]).toEqual([
      ['charset', 'UTF-8'],
      ['a', 'b'],
    ]);
  });

  test('with several types counts as the first known type, or as the first', () => {
    expect(parseMediaType('a/b, c/d').type).toBe('a/b');
    expect(parseMediaType('a/b;x="1,2", c/d', (type) => type === 'c/d').type).toBe('c/d');
    expect(parseMediaType('nonsense, c/d', (type) => type === 'c/d').type).toBe('c/d');
  });

  test.each(['', 'text', 'text/', '/plain', 'text/plain; charset', 'text/plain charset=utf-8'])(
    'that is malformed (%j) is refused with 415',
    (header) => {
      expect(refusalOf(() => parseMediaType(header)).status).toBe(415);
    },
  );

  test('is refused for a charset other than utf-8', () => {
    expect(parseMediaType('application/json; charset=utf8').type).toBe('application/json');
    const refusal = refusalOf(() => parseMediaType('text/plain; charset=iso-8859-1'));
    expect(refusal.status).toBe(415);
    expect(refusal.message).toContain('utf-8');
  });
});

describe('each rendering', () => {
  test('is found by all of its names', () => {
    expect(STANDARD_RENDERINGS.map(({ mediaTypes }) => mediaTypes[0])).toEqual([
      'text/plain',
      'application/occi+json',
      'application/json',
      'text/occi',
      'text/uri-list',
    ]);
    expect(RENDERINGS.named('text/occi+plain')).toBe(TEXT_PLAIN);
    expect(RENDERINGS.named('image/png')).toBeUndefined();
  });
});

describe('an Accept header', () => {
  test.each([
    [undefined, 'text/plain'],
    ['', 'text/plain'],
    ['*/*', 'text/plain'],
    ['*', 'text/plain'],
    ['application/json', 'application/json'],
    ['APPLICATION/OCCI+JSON', 'application/occi+json'],
    ['text/occi+plain', 'text/plain'],
    ['application/*', 'application/occi+json'],
    ['text/*', 'text/plain'],
    // The order of the header decides among equals.
    ['text/occi, text/plain', 'text/occi'],
    ['text/plain,text/occi', 'text/plain'],
    ['application/json, text/plain, */*', 'application/json'],
    ['*/*, text/uri-list', 'text/uri-list'],
    // Quality comes before order.
    ['text/plain;q=0.5, application/json', 'application/json'],
    ['text/plain;q=0.5, application/json;q=0.4, image/png', 'text/plain'],
    ['text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2', 'text/plain'],
    // The most specific range decides, even if it refuses the type.
    ['text/plain;q=0, */*', 'application/occi+json'],
    ['text/*;q=0, */*;q=0.1', 'application/occi+json'],
    ['text/plain;q=0, text/*', 'text/occi'],
    ['text/plain;charset=utf-8', 'text/plain'],
    ['nonsense, text/occi', 'text/occi'],
    ['application/json;q=2, text/occi;q=0.1', 'text/occi'],
    ['image/png', undefined],
    ['text/plain;q=0', undefined],
  ])('%j chooses %s', (accept, expected) => {
    expect(chosen(accept)).toBe(expected);
  });

  test('that leaves the choice open yields the fallback, and only then calls for it', () => {
    expect(chosen('*/*', 'application/json')).toBe('application/json');
    expect(chosen('application/*', 'application/json')).toBe('application/json');
    expect(chosen('text/*', 'application/json')).toBe('text/plain');
    expect(chosen(undefined, 'text/uri-list')).toBe('text/uri-list');
    const never = (): never => {
      throw new Error('no fallback was needed');
    };
    expect(RENDERINGS.negotiate('text/occi, text/plain', never)?.mediaTypes[0]).toBe('text/occi');
  });

  test('is refused with 400 if every element is malformed', () => {
    expect(refusalOf(() => parseAccept('nonsense')).status).toBe(400);
    expect(refusalOf(() => parseAccept('*/plain, text/plain;q=x')).status).toBe(400);
    expect(parseAccept(' , ,')).toEqual([]);
  });

  test('always leads to a choice, to no choice or to a refusal', () => {
    const part = fc.constantFrom(
      'text/plain',
      '*/*',
      '*',
      ';',
      'q=',
      '0.5',
      ',',
      '"',
      '\\',
      ' ',
      'charset=',
      'é',
      '/',
    );
    const header = fc.oneof(
      fc.array(part).map((parts) => parts.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(header, (accept) => {
        for (const run of [() => chosen(accept), () => parseMediaType(accept)]) {
          try {
            run();
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(CmbsError);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});
