/** Finds the first mistake in JSON text. `JSON.parse` reports some positions only, in words that depend on the engine. */

const SPACE = /[ \t\r\n]*/y;
/** RFC 8259 §3, §6. */
const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
/** RFC 8259 §7. */
const STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

type Expected = 'value' | 'value or end' | 'key' | 'key or end' | 'colon' | 'comma or end';

/** Index of the first character that is wrong where it stands; the length of the text if the text ends too early. */
export function jsonErrorAt(text: string): number {
  let at = 0;
  const open: string[] = [];
  let expected: Expected = 'value';
  const takes = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at += found[0].length;
    return found !== null;
  };
  const closes = (): boolean => {
    if (text[at] !== (open.at(-1) === '{' ? '}' : ']')) return false;
    at += 1;
    open.pop();
    expected = 'comma or end';
    return true;
  };
  for (;;) {
    takes(SPACE);
    if (expected === 'comma or end' && open.length === 0) return at;
    const char = text[at];
    switch (expected) {
      case 'value or end':
      case 'key or end':
        if (closes()) continue;
        expected = expected === 'value or end' ? 'value' : 'key';
        continue;
      case 'value':
        if (char === '{' || char === '[') {
          open.push(char);
          at += 1;
          expected = char === '{' ? 'key or end' : 'value or end';
        } else if (takes(STRING) || takes(LITERAL)) expected = 'comma or end';
        else return at;
        continue;
      case 'key':
        if (!takes(STRING)) return at;
        expected = 'colon';
        continue;
      case 'colon':
        if (char !== ':') return at;
        at += 1;
        expected = 'value';
        continue;
      case 'comma or end':
        if (closes()) continue;
        if (char !== ',') return at;
        at += 1;
        expected = open.at(-1) === '{' ? 'key' : 'value';
    }
  }
}
