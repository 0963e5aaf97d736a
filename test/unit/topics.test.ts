import { isTopic } from '../../shared/bus/topics';
import { parsePattern, parseTopic, patternKey, topicKeys, topicMatches } from '@cmbs/shared/bus';
import fc from '../property';

const matches = (pattern: string, topic: string): boolean =>
  topicMatches(parsePattern(pattern), parseTopic(topic));

describe('topic names', () => {
  it.each(['a', 'a.b.c', 'weather.東京', 'a b', 'ünï.çode', '0', '\u{1f600}', '$', 'a/b'])('may be %j', (name) => {
    expect(parseTopic(name)).toBe(name);
    expect(parsePattern(name)).toBe(name);
    expect(isTopic(parsePattern(name))).toBe(true);
  });

  it.each([
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    '*',
    'a.*',
    'a*',
    '>',
    'a.>',
    'a>',
    'a\nb',
    'a\u0000',
    '\u007f',
    '\u0085',
    '\ud800',
    'x'.repeat(256),
  ])('may not be %j', (name) => {
    expect(() => parseTopic(name)).toThrow(expect.objectContaining({ code: 'bad_attribute' }) as Error);
  });
});

describe('topic patterns', () => {
  it.each(['*', '>', 'a.*', '*.a', 'a.>', '*.>', 'a.*.b', '*.*'])('may be %j', (pattern) => {
    expect(parsePattern(pattern)).toBe(pattern);
    expect(isTopic(parsePattern(pattern))).toBe(false);
  });

  it.each([
    '',
    'a*',
    '*a',
    '**',
    'a.b*',
    '>.a',
    'a.>.b',
    '>>',
    'a>',
    'a..>',
    '>.',
    'a.\t',
    `*.${'x'.repeat(254)}`,
  ])('may not be %j', (pattern) => {
    expect(() => parsePattern(pattern)).toThrow(expect.objectContaining({ code: 'bad_attribute' }) as Error);
  });

  it.each([
    ['a', 'a', true],
    ['a', 'b', false],
    ['a', 'a.b', false],
    ['a.b', 'a', false],
    ['ab', 'a', false],
    ['a', 'ab', false],
    ['*', 'a', true],
    ['*', 'a.b', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['*.b', 'a.b', true],
    ['*.b', 'a.c', false],
    ['a.*.c', 'a.b.c', true],
    ['a.*.c', 'a.b.d', false],
    ['>', 'a', true],
    ['>', 'a.b.c', true],
    ['a.>', 'a', false],
    ['a.>', 'a.b', true],
    ['a.>', 'a.b.c', true],
    ['a.>', 'b.c', false],
    ['*.>', 'a', false],
    ['*.>', 'a.b', true],
    ['A', 'a', false],
    ['東京.*', '東京.雨', true],
  ])('%j for %j: %s', (pattern, topic, expected) => {
    expect(matches(pattern, topic)).toBe(expected);
  });

  const word = fc
    .string({ minLength: 1, maxLength: 4, unit: 'binary' })
    .filter((text) => !/[.*>\p{Control}\p{Surrogate}]/u.test(text));
  const words = fc.array(word, { minLength: 1, maxLength: 8 });

  it('match the same topics as an equivalent regular expression', () => {
    const patternWords = fc.array(fc.oneof(fc.constantFrom('a', 'b', '*')), { minLength: 1, maxLength: 5 });
    const topicWords = fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(patternWords, fc.boolean(), topicWords, (start, open, topic) => {
        const pattern = [...start, ...(open ? ['>'] : [])];
        const meaning = pattern.map((each) => (each === '*' ? '[^.]+' : each === '>' ? '.+' : each)).join('\\.');
        expect(matches(pattern.join('.'), topic.join('.'))).toBe(new RegExp(`^${meaning}$`).test(topic.join('.')));
      }),
    );
  });

  it('without wildcards match their own topic, as do `>` and one `*` for each word', () => {
    fc.assert(
      fc.property(words, (topic) => {
        const name = topic.join('.');
        expect(matches(name, name)).toBe(true);
        expect(matches('>', name)).toBe(true);
        expect(matches(topic.map(() => '*').join('.'), name)).toBe(true);
        expect(matches([...topic.map(() => '*'), '*'].join('.'), name)).toBe(false);
        expect(matches([...topic, '>'].join('.'), name)).toBe(false);
      }),
    );
  });
});

describe('the key of a pattern', () => {
  it.each([
    ['a.b', '=a.b'],
    ['>', '>'],
    ['*.b', '>'],
    ['a.*', '>a'],
    ['a.>', '>a'],
    ['a.*.c.*', '>a'],
    ['a.b.c.d.*', '>a.b.c.d'],
    ['a.b.c.d.e.*', '>a.b.c.d'],
  ])('of %s is %s', (pattern, key) => {
    expect(patternKey(parsePattern(pattern))).toBe(key);
  });

  it('is among the keys of each topic that the pattern matches', () => {
    const word = fc.constantFrom('a', 'b', '*');
    const pattern = fc
      .tuple(fc.array(word, { minLength: 1, maxLength: 7 }), fc.constantFrom('', '.>'))
      .map(([words, end]) => words.join('.') + end);
    const topic = fc
      .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 8 })
      .map((words) => words.join('.'));
    fc.assert(
      fc.property(pattern, topic, (one, other) => {
        const isFound = topicKeys(parseTopic(other)).includes(patternKey(parsePattern(one)));
        expect(isFound || !matches(one, other)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('is one of a few for any topic', () => {
    expect(topicKeys(parseTopic('a'))).toEqual(['=a', '>']);
    expect(topicKeys(parseTopic(Array(100).fill('a').join('.')))).toHaveLength(6);
  });
});
