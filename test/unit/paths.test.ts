import type { ErrorCode } from '@cmbs/shared';
import { MAX_NAME_LENGTH } from '@cmbs/shared/limits';
import { MAX_PATH_LENGTH } from '../../shared/occi/limits';
import { checkEntityPath, isReservedPath } from '../../shared/occi/paths';
import { checkId, isCollectionPath, splitLocation } from '@cmbs/shared/occi';
import { refusal } from './refusal';

describe('the path of an entity', () => {
  it.each(['/a', '/cmbs/member/016ad860', '/a/b.c/~d', '/a/x@y:z,(1)', '/a/__b', '/ready/a'])(
    'may be %s',
    (path) => {
      expect(checkEntityPath(path)).toBe(path);
    },
  );

  it.each<[string, ErrorCode]>([
    ['', 'bad_request'],
    ['a', 'bad_request'],
    ['/', 'bad_request'],
    ['/a/', 'bad_request'],
    ['/a//b', 'bad_request'],
    ['/a/.', 'bad_request'],
    ['/a/../b', 'bad_request'],
    ['/a/__b__', 'bad_request'],
    ['/a/b c', 'bad_request'],
    ['/a/%41', 'bad_request'],
    ['/a/b?c', 'bad_request'],
    ['/a/b#c', 'bad_request'],
    ['/a/ä', 'bad_request'],
    ['/a/b\n', 'bad_request'],
    [`/${'a'.repeat(MAX_NAME_LENGTH + 1)}`, 'bad_request'],
    [`/${'a/'.repeat(MAX_PATH_LENGTH / 2)}b`, 'bad_request'],
    ['/-/a', 'forbidden'],
    ['/fn/a', 'forbidden'],
    ['/metrics', 'forbidden'],
    ['/favicon.ico', 'forbidden'],
    ['/quiz', 'forbidden'],
  ])('may not be %s: %s', (path, code) => {
    expect(() => checkEntityPath(path)).toThrow(refusal(code));
  });
});

it.each([
  ['/-/', true],
  ['/healthz', true],
  ['/eventlog', true],
  ['/_ah/warmup', true],
  ['/anythingz', true],
  ['/anythingz/a', false],
  ['/anythingz/', false],
  ['/cmbs/-/', false],
  ['/', false],
])('%s is reserved: %s', (path, reserved) => {
  expect(isReservedPath(path)).toBe(reserved);
});

it.each([
  ['/a/', true],
  ['/', true],
  ['/a', false],
])('%s is a collection: %s', (path, collection) => {
  expect(isCollectionPath(path)).toBe(collection);
});

describe('an id', () => {
  it.each([
    ['016ad860-2a9a-504f-8861-aeafd0b2ae29', '016ad860-2a9a-504f-8861-aeafd0b2ae29'],
    ['urn:uuid:016ad860', '016ad860'],
    ['URN:UUID:016ad860', '016ad860'],
    ['alice', 'alice'],
  ])('%s is kept as %s', (given, id) => {
    expect(checkId(given)).toBe(id);
  });

  it.each(['', 'a/b', '.', '..', '__a__', 'a b', 'urn:uuid:', 'a'.repeat(MAX_NAME_LENGTH + 1)])(
    '%j is refused',
    (given) => {
      expect(() => checkId(given)).toThrow(refusal('bad_request'));
    },
  );
});

it.each([
  ['/a/b', { path: '/a/b' }],
  ['http://example.com/a/b', { authority: 'example.com', path: '/a/b' }],
  ['https://example.com:8090/a?x=1#y', { authority: 'example.com:8090', path: '/a' }],
  ['a/b', undefined],
  ['mailto:a@example.com', undefined],
  ['http://', undefined],
  ['http://[nonsense]/a', undefined],
  ['', undefined],
])('the location %s is split into %j', (given, parts) => {
  expect(splitLocation(given)).toEqual(parts);
});
