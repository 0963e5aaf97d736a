import type { Json, JsonObject } from '@cmbs/shared';
import { leaves } from '../../shared/occi/attribute-input';
import { checkAttributes, checkValue, sameValue } from '../../shared/occi/attributes';
import { CORE_ID } from '../../shared/occi/model';
import type { AttributeSpec, AttributeSpecs } from '@cmbs/shared/occi';
import { refusal } from './refusal';

const spec = (more: Partial<AttributeSpec> = {}): AttributeSpec => ({
  type: 'string',
  required: false,
  mutable: true,
  lenient: false,
  ...more,
});

const badAttribute = (text: string): Error => refusal('bad_attribute', text);

describe('the leaves of an attributes object', () => {
  const declared = new Set(['a.b', 'a.object', 'x.y.z']);
  const found = (attributes: JsonObject): unknown =>
    leaves(attributes, (name) => declared.has(name)).map(({ name, value, keys }) => [name, value, keys]);

  it.each<[string, JsonObject, unknown]>([
    ['a flat name', { 'a.b': 1 }, [['a.b', 1, ['a.b']]]],
    ['nested names', { a: { b: 1 } }, [['a.b', 1, ['a', 'b']]]],
    [
      'both mixed',
      { x: { 'y.z': 1 }, 'x.y': { z: 2 } },
      [
        ['x.y.z', 1, ['x', 'y.z']],
        ['x.y.z', 2, ['x.y', 'z']],
      ],
    ],
    ['an object that is a value', { a: { object: { c: 1 } } }, [['a.object', { c: 1 }, ['a', 'object']]]],
    ['an undeclared name, read as nesting', { a: { c: { d: null } } }, [['a.c.d', null, ['a', 'c', 'd']]]],
    ['an array, which is a value', { a: { c: [{ d: 1 }] } }, [['a.c', [{ d: 1 }], ['a', 'c']]]],
    ['nothing in an empty object', { a: {} }, []],
  ])('are %s', (_what, attributes, expected) => {
    expect(found(attributes)).toEqual(expected);
  });
});

describe('a value', () => {
  it.each<[AttributeSpec['type'], Json, Json]>([
    ['string', 'a', 'a'],
    ['string', '', ''],
    ['number', 1.5, 1.5],
    ['boolean', false, false],
    ['array', ['a'], ['a']],
    ['array', '["a"]', ['a']],
    ['array', '', []],
    ['object', { a: 1 }, { a: 1 }],
    ['object', '{"a":1}', { a: 1 }],
    ['any', null, null],
    ['any', '["a"]', '["a"]'],
  ])('of type %s accepts %j as %j', (type, given, stored) => {
    expect(checkValue('a', given, spec({ type }))).toEqual(stored);
  });

  it.each<[AttributeSpec['type'], Json]>([
    ['string', 1],
    ['string', null],
    ['number', '1'],
    ['number', true],
    ['boolean', 'true'],
    ['array', 'a'],
    ['array', '{"a":1}'],
    ['array', {}],
    ['object', ''],
    ['object', '[1]'],
    ['object', [1]],
    ['object', null],
  ])('of type %s refuses %j', (type, given) => {
    expect(() => checkValue('a', given, spec({ type }))).toThrow(badAttribute(`a value of type ${type}`));
  });

  it.each<[AttributeSpec['type'], Json]>([
    ['string', 1],
    ['string', true],
    ['number', '1'],
    ['number', '-1.5e3'],
    ['number', ''],
    ['boolean', 'True'],
    ['boolean', ''],
    ['array', ''],
    ['array', '["a"]'],
    ['object', ''],
    ['object', null],
  ])('of type %s accepts %j in the dialect of the original', (type, given) => {
    expect(checkValue('a', given, spec({ type, lenient: true }))).toBeDefined();
  });

  it.each<[AttributeSpec['type'], Json]>([
    ['string', { a: 1 }],
    ['string', ['a']],
    ['number', 'one'],
    ['number', '1x'],
    ['number', true],
    ['boolean', 'yes'],
    ['boolean', 1],
    ['array', 'a'],
    ['array', 1],
    ['array', { a: 1 }],
    ['object', 'a'],
    ['object', '[1]'],
    ['object', [1]],
  ])('of type %s refuses %j in every dialect', (type, given) => {
    expect(() => checkValue('a', given, spec({ type, lenient: true }))).toThrow(badAttribute(`of type ${type}`));
  });

  it('without a type is a string, a number or a boolean', () => {
    for (const given of ['a', 1.5, false]) expect(checkValue('a', given, spec({ type: 'scalar' }))).toBe(given);
    for (const given of [null, ['a'], { a: 1 }]) {
      expect(() => checkValue('a', given, spec({ type: 'scalar' }))).toThrow(
        badAttribute('a number, true or false'),
      );
    }
  });

  it('must match the pattern, which the refusal shows', () => {
    const regex = spec({ pattern: { form: 'regex', source: 'a+' } });
    expect(checkValue('a', 'aa', regex)).toBe('aa');
    expect(() => checkValue('a', 'ab', regex)).toThrow(badAttribute('its pattern a+;'));
    const schema = spec({ pattern: { form: 'schema', schema: { minLength: 2 } } });
    expect(() => checkValue('a', 'b', schema)).toThrow(badAttribute('its pattern {"minLength":2};'));
  });
});

describe('the check of attributes', () => {
  const specs: AttributeSpecs = {
    [CORE_ID]: spec({ mutable: false }),
    free: spec(),
    preset: spec({ default: 'preset' }),
    fixed: spec({ mutable: false }),
    fixedPreset: spec({ mutable: false, default: 'fixed' }),
    once: spec({ mutable: false, once: true }),
    list: spec({ type: 'array' }),
  };
  const before = { free: 'was', preset: 'was', fixed: 'was', once: 'was' };

  it.each<[string, JsonObject, { before?: JsonObject; partial: boolean }, unknown]>([
    [
      'on creation, with defaults',
      { free: 'a' },
      { partial: false },
      { free: 'a', preset: 'preset', fixedPreset: 'fixed' },
    ],
    [
      'on creation, of an attribute that can be set once',
      { once: 'a' },
      { partial: false },
      { once: 'a', preset: 'preset', fixedPreset: 'fixed' },
    ],
    [
      'on replacement, with defaults for absent attributes',
      {},
      { before, partial: false },
      { preset: 'preset', fixed: 'was', fixedPreset: 'fixed', once: 'was' },
    ],
    [
      'on update, without a change of absent attributes',
      { list: ['a'] },
      { before, partial: true },
      { ...before, fixedPreset: 'fixed', list: ['a'] },
    ],
    [
      'on replacement with the same values',
      before,
      { before, partial: false },
      { ...before, fixedPreset: 'fixed' },
    ],
    [
      'on update, without the id, which the caller compares',
      { [CORE_ID]: 'any' },
      { before: {}, partial: true },
      { preset: 'preset', fixedPreset: 'fixed' },
    ],
  ])('accepts attributes %s', (_when, given, options, after) => {
    expect(checkAttributes(given, specs, options)).toEqual(after);
  });

  it.each<[string, JsonObject, { before?: JsonObject; partial: boolean }, string]>([
    ['an unknown attribute', { unknown: 1 }, { partial: true }, 'no attribute unknown'],
    ['a property of every object', { constructor: 1 }, { partial: true }, 'no attribute constructor'],
    ['an immutable attribute on creation', { fixed: 'a' }, { partial: false }, 'cannot set fixed'],
    ['another value of an immutable attribute', { fixed: 'a' }, { before, partial: true }, 'cannot set fixed'],
    [
      'a second value of an attribute that can be set once',
      { once: 'a' },
      { before, partial: true },
      'cannot set once',
    ],
    ['a wrong type', { list: 1 }, { partial: true }, 'list takes a value of type array'],
  ])('refuses %s', (_why, given, options, text) => {
    expect(() => checkAttributes(given, specs, options)).toThrow(badAttribute(text));
  });

  it('requires a value of each required attribute, given, stored or default', () => {
    const required = { must: spec({ required: true }) };
    expect(() => checkAttributes({}, required, { partial: false })).toThrow(badAttribute('must is required'));
    expect(checkAttributes({}, required, { partial: true, before: { must: 'a' } })).toEqual({ must: 'a' });
    expect(() => checkAttributes({}, required, { partial: false, before: { must: 'a' } })).toThrow(
      badAttribute('must is required'),
    );
    expect(checkAttributes({}, { must: spec({ required: true, default: 'd' }) }, { partial: false })).toEqual({
      must: 'd',
    });
  });
});

it.each<[Json | undefined, Json | undefined, boolean]>([
  [1, 1, true],
  [[1, { a: 2 }], [1, { a: 2 }], true],
  ['1', 1, false],
  [undefined, undefined, true],
  [undefined, null, false],
])('%j is the same value as %j: %s', (a, b, same) => {
  expect(sameValue(a, b)).toBe(same);
});
