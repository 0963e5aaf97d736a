import { differenceOf, isShownAs } from '../documents/answers';

describe('an answer that a document shows', () => {
  it.each([
    [{ a: 1 }, { a: 1 }],
    [
      { a: 1, '…': '…' },
      { a: 1, b: 2 },
    ],
    [
      ['a', '…'],
      ['a', 'b', 'c'],
    ],
    ['tcp://127.0.0.1:…', 'tcp://127.0.0.1:5010'],
    ['…', { any: 'thing' }],
    [[], []],
    [null, null],
  ])('%j shows %j', (shown, real) => {
    expect(differenceOf(shown, real)).toBeUndefined();
  });

  it.each([
    [{ a: 1 }, { a: 2 }, 'the answer.a is 2, not 1'],
    [{ a: 1 }, { a: 1, b: 2 }, 'the answer also has b'],
    [{ a: 1, '…': '…' }, { b: 2 }, 'the answer.a is absent, not 1'],
    [['a'], ['a', 'b'], 'the answer is ["a","b"], not ["a"]'],
    [['a', 'b', '…'], ['a'], 'the answer is ["a"], not ["a","b","…"]'],
    ['tcp://…', 'ipc://name', 'the answer is "ipc://name", not "tcp://…"'],
    [[], {}, 'the answer is {}, not []'],
    [null, {}, 'the answer is {}, not null'],
  ])('%j does not show %j', (shown, real, difference) => {
    expect(differenceOf(shown, real)).toBe(difference);
  });

  it('in text may leave parts out, marked with …', () => {
    expect(
      isShownAs(
        'HTTP/1.1 200 OK\n…\nContent-Type: text/plain\n…',
        'HTTP/1.1 200 OK\nA: b\nContent-Type: text/plain\n\nOK\n',
      ),
    ).toBe(true);
    expect(isShownAs('HTTP/1.1 200 OK', 'HTTP/1.1 200 OK\nA: b')).toBe(false);
  });
});
