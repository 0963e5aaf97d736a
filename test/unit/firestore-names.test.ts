import { encodeId, fieldPath, idOf, idRange, indexKey, placeOf } from '../../shared/store/firestore/names';
import { compareKeys } from '../../shared/store/keys';
import { refusal } from './refusal';
import fc from '../property';

/** Any text that can be an id, with many characters that must be encoded. */
const ids = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }),
    fc.string({ unit: fc.constantFrom('.', '/', '_', '0', '1', 'a', '-'), minLength: 1, maxLength: 12 }),
  )
  .filter((id) => !/[\0\p{Surrogate}]/u.test(id));

describe('A document id in Firestore', () => {
  it('is valid in Firestore', () => {
    fc.assert(
      fc.property(ids, (id) => {
        const encoded = encodeId(id);
        expect(encoded).not.toMatch(/\/|^\.{1,2}$|^__.*__$/);
      }),
    );
  });

  it('is read back from the name of the document', () => {
    fc.assert(
      fc.property(ids, (id) => {
        expect(idOf(`projects/p/databases/d/documents/things/${encodeId(id)}`)).toBe(id);
      }),
    );
  });

  it('keeps the order of ids', () => {
    fc.assert(
      fc.property(ids, ids, (a, b) => {
        expect(Math.sign(compareKeys(encodeId(a), encodeId(b)))).toBe(Math.sign(compareKeys(a, b)));
      }),
    );
  });

  it('is in the range of each of its prefixes, and of no other text', () => {
    fc.assert(
      fc.property(ids, ids, (prefix, id) => {
        const { from, to } = idRange(prefix);
        for (const each of [id, prefix + id]) {
          const encoded = encodeId(each);
          const isWithin = compareKeys(encoded, from) >= 0 && (to === undefined || compareKeys(encoded, to) < 0);
          expect(isWithin).toBe(each.startsWith(prefix));
        }
      }),
    );
  });

  it.each(['__x__', '.', '..', '/', '//', '_', '__', 'a/b.c', '\u{10ffff}'])('may be %j', (id) => {
    expect(idOf(`x/${encodeId(id)}`)).toBe(id);
  });

  it.each([
    ['nothing', ''],
    ['half a surrogate pair', 'x\ud800'],
    ['NUL', 'a\0b'],
    ['more than 1,500 bytes', 'ä'.repeat(751)],
    ['more than 1,500 bytes as it is encoded', '/'.repeat(751)],
  ])('is refused when it is %s', (_, id) => {
    expect(() => encodeId(id)).toThrow(refusal('bad_request'));
  });
});

describe('An index entry', () => {
  const entries = fc.tuple(fc.string(), fc.string({ unit: 'binary' }));

  it('has a unique key', () => {
    fc.assert(
      fc.property(entries, entries, ([field, value], [otherField, otherValue]) => {
        const isSame = field === otherField && value === otherValue;
        expect(indexKey(field, value) === indexKey(otherField, otherValue)).toBe(isSame);
      }),
    );
    expect(indexKey('a', 'b=c')).not.toBe(indexKey('a=b', 'c'));
    expect(indexKey('a', '\ud800')).not.toBe(indexKey('a', '\ud801'));
  });

  it('has a readable key, or a digest where Firestore would refuse the key', () => {
    expect(indexKey('category', 'http://houssem.org/cmbs#member')).toBe('category=http://houssem.org/cmbs#member');
    for (const value of ['x'.repeat(500), 'a\nb', '\ud800', 'ä'.repeat(250)]) {
      expect(indexKey('a', value)).toMatch(/^sha256:[0-9a-f]{64}$/);
    }
    expect(indexKey('__a', 'b__')).toMatch(/^sha256:/);
  });

  it('is quoted with backticks in a query', () => {
    expect(fieldPath('index', 'a.b=`c\\d`')).toBe('`index`.`a.b=\\`c\\\\d\\``');
  });
});

describe('A collection', () => {
  it.each([
    ['entities', 'entities', 'entities'],
    ['inbox:a/b', 'entries', 'inbox/a.1b/entries'],
    ['a:b:c', 'entries', 'a/b:c/entries'],
    [':a', ':a', ':a'],
    ['a:', 'a:', 'a:'],
    ['__x__', '_0_x__', '_0_x__'],
  ])('named %j has the id %j and the path %j', (name, group, path) => {
    expect(placeOf(name)).toMatchObject({ group, path });
  });
});
