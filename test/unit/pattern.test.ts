import type { Json, JsonObject } from '@cmbs/shared';
import { checkPattern, matchesPattern } from '../../shared/occi/pattern';
import { MAX_PATTERN_LENGTH } from '../../shared/occi/regular-expression';
import { refusal } from './refusal';
import { LINEAR_MS, processorMs } from './processor-time';

const regex = (source: string): { form: 'regex'; source: string } => ({ form: 'regex', source });
const schema = (given: JsonObject): { form: 'schema'; schema: JsonObject } => ({ form: 'schema', schema: given });

describe('a strict regular expression', () => {
  it.each<[string, Json, boolean]>([
    ['[a-z]+', 'abc', true],
    ['[a-z]+', 'abc1', false],
    ['[a-z]+', '', false],
    ['\\d+', 42, true],
    ['\\d+', 4.2, false],
    ['true|false', true, true],
    ['true|false', 'TRUE', false],
    ['\\[1,2\\]', [1, 2], true],
    ['null', null, true],
    ['ä.', 'äö', true],
  ])('%s takes %j: %s', (source, value, fits) => {
    expect(matchesPattern(value, regex(source), false)).toBe(fits);
  });
});

describe('a lenient regular expression', () => {
  it.each<[string, Json, boolean]>([
    ['[a-z]+', 'abc1', true],
    ['[a-z]+', '1abc', false],
    ['true$', 'True', true],
    ['true$', 'TRUE', true],
    ['true$', 'truely', false],
    ['active$', 'Active', false],
    ['\\d+', ['a'], true],
    ['\\d+', false, true],
  ])('%s takes %j: %s', (source, value, fits) => {
    expect(matchesPattern(value, regex(source), true)).toBe(fits);
  });

  it('matches in linear time, whatever the pattern', () => {
    const ms = processorMs(() => {
      expect(matchesPattern('a'.repeat(50_000), regex('(a+)+b'), true)).toBe(false);
    });
    expect(ms).toBeLessThan(LINEAR_MS);
  });
});

describe('a JSON Schema', () => {
  it.each<[JsonObject, Json, boolean]>([
    [{ type: 'string' }, 'a', true],
    [{ type: 'string' }, 1, false],
    [{ type: 'null' }, null, true],
    [{ type: 'array' }, {}, false],
    [{ type: 'object' }, {}, true],
    [{ type: 'object' }, [], false],
    [{ type: 'object' }, null, false],
    [{ type: 'integer' }, 2, true],
    [{ type: 'integer' }, 2.5, false],
    [{ type: ['number', 'null'] }, null, true],
    [{ type: ['number', 'null'] }, '1', false],
    [{ enum: ['a', { b: 1 }] }, { b: 1 }, true],
    [{ enum: ['a'] }, 'b', false],
    [{ enum: 'a' }, 'a', false],
    [{ const: [1] }, [1], true],
    [{ const: [1] }, [2], false],
    [{ pattern: 'b' }, 'abc', true],
    [{ pattern: '^b' }, 'abc', false],
    [{ pattern: '^b' }, 7, true],
    [{ minLength: 2 }, '🎈🎈', true],
    [{ minLength: 3 }, '🎈🎈', false],
    [{ maxLength: 2 }, '🎈🎈', true],
    [{ maxLength: 1 }, 'ab', false],
    [{ maxLength: 'x' }, 'ab', false],
    [{ minimum: 1 }, 1, true],
    [{ minimum: 1 }, 0, false],
    [{ minimum: 1 }, 'x', true],
    [{ maximum: 1 }, 2, false],
    [{ exclusiveMinimum: 1 }, 1, false],
    [{ exclusiveMinimum: 1 }, 1.5, true],
    [{ exclusiveMaximum: 1 }, 1, false],
    [{ exclusiveMaximum: 1 }, 'x', true],
    [{ multipleOf: 3 }, 9, true],
    [{ multipleOf: 3 }, 10, false],
    [{ minItems: 1 }, [], false],
    [{ maxItems: 1 }, [1], true],
    [{ maxItems: 1 }, [1, 2], false],
    [{ items: { type: 'string' } }, ['a'], true],
    [{ items: { type: 'string' } }, ['a', 1], false],
    [{ items: { type: 'string' } }, 'a', true],
    [{ type: 'string', minLength: 2 }, 'a', false],
    [{ $schema: 'x', title: 'x', description: 'x', default: 1, examples: [] }, 'anything', true],
    [{}, null, true],
  ])('%j takes %j: %s', (given, value, fits) => {
    checkPattern(schema(given));
    for (const lenient of [true, false]) expect(matchesPattern(value, schema(given), lenient)).toBe(fits);
  });
});

describe('a pattern', () => {
  it.each([
    ['a regular expression that does not end', regex('(')],
    ['a back-reference, which RE2 lacks', regex('(a)\\1')],
    ['a look-ahead, which RE2 lacks', regex('a(?=b)')],
    ['a regular expression that is too long', regex('a'.repeat(MAX_PATTERN_LENGTH + 1))],
    ['a schema that is too long', schema({ const: 'a'.repeat(MAX_PATTERN_LENGTH) })],
    ['a schema with an unknown keyword', schema({ $ref: '#' })],
    ['a schema with a keyword that every object has', schema({ constructor: 1 })],
    ['a schema with an unknown keyword inside items', schema({ items: { allOf: [] } })],
    ['a schema with items that are not an object', schema({ items: [] })],
    ['a schema with a regular expression that is not a string', schema({ pattern: 1 })],
    ['a schema with a regular expression that does not end', schema({ items: { pattern: '(' } })],
  ])('is refused if it is %s', (_why, pattern) => {
    expect(() => checkPattern(pattern)).toThrow(refusal('bad_request'));
  });

  it('may have the maximum length', () => {
    expect(() => checkPattern(regex('a'.repeat(MAX_PATTERN_LENGTH)))).not.toThrow();
  });
});
