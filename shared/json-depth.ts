/** How deep JSON text is nested, found without parsing it. */
const QUOTE = 0x22;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Index after the string whose opening quote is at `start`; -1 if the string is not closed. */
export function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start + 1);
  while (quote !== -1) {
    let before = quote - 1;
    while (before > start && text.charCodeAt(before) === BACKSLASH) before--;
    // After an odd number of backslashes the quote is part of the string.
    if ((quote - before) % 2 === 1) return quote + 1;
    quote = text.indexOf('"', quote + 1);
  }
  return -1;
}

/**
 * Whether no array or object in the text is nested deeper than `limit`. To be checked before `JSON.parse` for text from
 * outside: deep nests take long to parse, and recursion over their values can exhaust the stack.
 */
export function nestsWithin(text: string, limit: number): boolean {
  // Most texts have fewer brackets than `limit` and need no closer look.
  if (occurrences(text, '{', limit) + occurrences(text, '[', limit) <= limit) return true;
  let depth = 0;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
      if (at === -1) return true;
      continue;
    }
    at++;
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (++depth > limit) return false;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--;
  }
  return true;
}

/** How often the text contains `char`, counted up to `limit` + 1. */
function occurrences(text: string, char: string, limit: number): number {
  let count = 0;
  for (let at = text.indexOf(char); at !== -1 && count <= limit; at = text.indexOf(char, at + 1)) count++;
  return count;
}
