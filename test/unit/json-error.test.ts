import { jsonErrorAt } from '../../shared/occi/renderings/json/error-position';
import fc from '../property';

it.each([
  ['{"a": }', 6],
  ['{"a": 1,}', 8],
  ['{"a" 1}', 5],
  ['{a: 1}', 1],
  ['[1, 2', 5],
  ['[1 2]', 3],
  ['[01]', 2],
  ['"a', 0],
  ['{"a": [}', 7],
  ['[]]', 2],
  ['', 0],
  ['{"a": tru}', 6],
  ["{'a': 1}", 1],
])('%s stops being JSON at %i', (text, at) => {
  expect(jsonErrorAt(text)).toBe(at);
});

it('finds no mistake in JSON, and the end of truncated text', () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), (text, cut) => {
      expect(jsonErrorAt(text)).toBe(text.length);
      const short = text.slice(0, cut % (text.length + 1));
      let isWhole = true;
      try {
        JSON.parse(short);
      } catch {
        isWhole = false;
      }
      // Truncated text is wrong at the start of the token, or where the end is missing.
      if (!isWhole) expect(short.slice(jsonErrorAt(short))).toMatch(/^(?:"[^]*|[a-zA-Z+.-]*)$/);
    }),
  );
});
