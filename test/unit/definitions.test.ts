import type { ErrorCode, JsonObject } from '@cmbs/shared';
import { MAX_NAME_LENGTH } from '@cmbs/shared/limits';
import { MAX_PATH_LENGTH } from '../../shared/occi/limits';
import { attributeSpecs } from '../../shared/occi/categories/attribute-definitions';
import { categoryFrom, checkIdentity, locationPath } from '../../shared/occi/categories/category-input';
import { RESOURCE_KIND } from '@cmbs/shared/occi';
import type { CategoryInput } from '../../shared/occi/payload';
import { refusal } from './refusal';

const SCHEME = 'http://example.com/test#';
const input = (more: Partial<CategoryInput> = {}): CategoryInput => ({
  term: 'thing',
  scheme: SCHEME,
  location: '/thing/',
  dialect: 'strict',
  given: [],
  ...more,
});

describe('attribute definitions', () => {
  it('mean immutable and strict in GFD.226, mutable and lenient in the nested dialect', () => {
    const absent = { type: 'string', required: false };
    expect(attributeSpecs({ 'a.b': {} }, 'strict')).toEqual({
      'a.b': { ...absent, mutable: false, lenient: false },
    });
    expect(attributeSpecs({ a: { b: {} } }, 'nested')).toEqual({
      'a.b': { ...absent, mutable: true, lenient: true },
    });
  });

  it.each<[string, string]>([
    ['string', 'string'],
    ['number', 'number'],
    ['integer', 'number'],
    ['float', 'number'],
    ['boolean', 'boolean'],
    ['array', 'array'],
    ['list', 'array'],
    ['List', 'array'],
    ['object', 'object'],
    ['hash', 'object'],
  ])('of type %s are kept as %s', (type, kept) => {
    expect(attributeSpecs({ a: { type } }, 'strict')).toMatchObject({ a: { type: kept } });
  });

  it('are read with all their properties', () => {
    const given = {
      type: 'number',
      required: true,
      mutable: true,
      default: 3,
      description: 'three',
      pattern: '\\d',
    };
    expect(attributeSpecs({ a: given }, 'strict')).toEqual({
      a: { ...given, pattern: { form: 'regex', source: '\\d' }, lenient: false },
    });
    const schema = { minimum: 1 };
    expect(attributeSpecs({ a: { pattern: schema } }, 'strict')).toMatchObject({
      a: { pattern: { form: 'schema', schema } },
    });
    expect(attributeSpecs({ a: { pattern: null, default: null } }, 'strict')).toEqual({
      a: { type: 'string', required: false, mutable: false, lenient: false },
    });
  });

  it('are distinguished from levels of names by their keys', () => {
    const nested = { a: { type: { type: 'string' }, default: { mutable: true } } };
    expect(Object.keys(attributeSpecs(nested, 'nested'))).toEqual(['a.type', 'a.default']);
    expect(attributeSpecs({ a: { default: { b: 1 } } }, 'nested')).toMatchObject({ a: { default: { b: 1 } } });
  });

  it.each<[string, JsonObject, string]>([
    ['an unknown type', { a: { type: 'date' } }, 'unknown type "date"'],
    ['a type that names a property of every object', { a: { type: 'constructor' } }, 'unknown type'],
    ['a type that is no string', { a: { type: ['string'] } }, 'unknown type ["string"]'],
    ['a definition that is not an object', { a: 'string' }, 'The definition of a must be an object'],
    ['a nested definition that is not an object', { a: { b: [] } }, 'The definition of a.b must be an object'],
    ['a required flag that is not a boolean', { a: { required: 'yes' } }, '"required" of a must be true or false'],
    ['a mutable flag that is not a boolean', { a: { mutable: 1 } }, '"mutable" of a must be true or false'],
    ['a description that is not a string', { a: { description: 1 } }, '"description" of a must be a string'],
    ['a pattern of no form', { a: { pattern: 1 } }, 'The pattern of a must be'],
    ['a pattern that does not compile', { a: { pattern: '(' } }, 'RE2'],
    ['a name with a space', { 'a b': {} }, 'is not an attribute name'],
    ['an empty part of a name', { 'a..b': {} }, 'is not an attribute name'],
    ['a name that is too long', { ['a'.repeat(MAX_NAME_LENGTH + 1)]: {} }, 'is not an attribute name'],
    ['a name that the core does not have', { 'occi.core.colour': {} }, 'is not an attribute of the core model'],
    [
      'a nested name that the core does not have',
      { occi: { core: { colour: {} } } },
      'is not an attribute of the core model',
    ],
  ])('are refused for %s', (_why, attributes, text) => {
    expect(() => attributeSpecs(attributes, 'nested')).toThrow(refusal('bad_request', text));
  });
});

describe('attributes that every entity has from the core', () => {
  it('may be listed, which has no effect', () => {
    const flat = { 'occi.core.id': { required: true }, 'occi.core.summary': {}, 'a.b': {} };
    expect(Object.keys(attributeSpecs(flat, 'strict'))).toEqual(['a.b']);
    const nested = { occi: { core: { title: { mutable: false }, source: {}, target: {} } }, a: { b: {} } };
    expect(Object.keys(attributeSpecs(nested, 'nested'))).toEqual(['a.b']);
  });

  it('may be declared if they are derived, but are never required or set', () => {
    const given = { 'occi.core.source.kind': { required: true, mutable: true } };
    expect(attributeSpecs(given, 'strict')).toMatchObject({
      'occi.core.source.kind': { required: false, mutable: false },
    });
  });
});

describe('the identity of a category', () => {
  it.each([
    ['thing', SCHEME],
    ['3.1-beta_2', 'urn:example:x#'],
    ['a'.repeat(MAX_NAME_LENGTH), 'https://example.com/ä/%20?q=1#'],
  ])('may be %s in %s', (term, scheme) => {
    expect(() => checkIdentity({ term, scheme })).not.toThrow();
  });

  it.each([
    ['', SCHEME],
    ['-a', SCHEME],
    ['a b', SCHEME],
    ['a"b', SCHEME],
    ['ä', SCHEME],
    ['a'.repeat(MAX_NAME_LENGTH + 1), SCHEME],
    ['thing', ''],
    ['thing', '#'],
    ['thing', 'http://example.com/'],
    ['thing', 'no-colon#'],
    ['thing', 'http://exa mple.com#'],
    ['thing', 'http://example.com/"#'],
    ['thing', 'http://example.com/\n#'],
    ['thing', `http://${'a'.repeat(MAX_PATH_LENGTH)}#`],
  ])('may not be %j in %j', (term, scheme) => {
    expect(() => checkIdentity({ term, scheme })).toThrow(refusal('bad_request'));
  });
});

describe('a location', () => {
  it.each([
    ['/thing/', '/thing/'],
    ['/a/b.c/~d/', '/a/b.c/~d/'],
    ['http://example.com/thing/', '/thing/'],
    ['HTTPS://example.com:8080/a/b/?q#f', '/a/b/'],
  ])('%s is stored as %s', (given, path) => {
    expect(locationPath(given)).toBe(path);
  });

  it.each<[string, ErrorCode]>([
    ['thing/', 'bad_request'],
    ['/thing', 'bad_request'],
    ['/', 'bad_request'],
    ['//', 'bad_request'],
    ['/a//b/', 'bad_request'],
    ['/a/./', 'bad_request'],
    ['/../a/', 'bad_request'],
    ['/a b/', 'bad_request'],
    ['/%2e%2e/', 'bad_request'],
    ['http://', 'bad_request'],
    [`/${'a'.repeat(MAX_PATH_LENGTH)}/`, 'bad_request'],
    ['/-/', 'conflict'],
    ['/fn/', 'conflict'],
    ['/.well-known/x/', 'conflict'],
    ['/_ah/x/', 'conflict'],
  ])('%s is refused: %s', (given, code) => {
    expect(() => locationPath(given)).toThrow(refusal(code));
  });
});

describe('a definition', () => {
  it('of a kind descends from resource unless it says otherwise', () => {
    expect(categoryFrom(input({ title: 'Thing', actions: ['x#a', 'x#a'] }), 'kind')).toEqual({
      class: 'kind',
      dialect: 'gfd226',
      term: 'thing',
      scheme: SCHEME,
      title: 'Thing',
      attributes: {},
      parent: RESOURCE_KIND,
      actions: ['x#a'],
      location: '/thing/',
      origin: 'runtime',
    });
    expect(categoryFrom(input({ parent: 'x#y' }), 'kind')).toMatchObject({ parent: 'x#y' });
  });

  it('of a mixin has its dependencies and the kinds to which it applies', () => {
    expect(categoryFrom(input({ depends: ['x#a', 'x#a'], applies: ['x#b'] }), 'mixin')).toEqual({
      class: 'mixin',
      dialect: 'gfd226',
      term: 'thing',
      scheme: SCHEME,
      attributes: {},
      depends: ['x#a'],
      applies: ['x#b'],
      actions: [],
      location: '/thing/',
      origin: 'runtime',
    });
  });

  it('of an action has attributes and no location', () => {
    const action = categoryFrom(input({ attributes: { method: { mutable: true } } }), 'action');
    expect(action).toMatchObject({ class: 'action', attributes: { method: { type: 'string' } } });
    expect(action).not.toHaveProperty('location');
  });

  it.each(['kind', 'mixin'] as const)('of a %s needs a location', (category) => {
    const { location: _location, ...rest } = input();
    expect(() => categoryFrom(rest, category)).toThrow(refusal('bad_request'));
  });
});
