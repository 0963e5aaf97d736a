/** JSON text as text: finds the exact source of one value. Parsing and printing would change numbers and duplicate keys. */
import { endOfString } from '../json-depth';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * Index after the JSON value at `start`, which is not white space; -1 if the value does not end. Does not check that the
 * value is valid.
 */
export function endOfJson(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === QUOTE) return endOfString(text, start);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return endOfBrackets(text, start);
  let at = start;
  while (at < text.length && !endsScalar(text.charCodeAt(at))) at++;
  return at === start ? -1 : at;
}

function endOfBrackets(text: string, start: number): number {
  const { length } = text;
  let depth = 0;
  let at = start;
  while (at < length) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
      if (at === -1) return -1;
      continue;
    }
    at++;
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
    else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) return at;
  }
  return -1;
}

function endsScalar(code: number): boolean {
  return code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET || isSpace(code);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/**
 * The exact source of the value at a path of member names and array indexes; undefined if there is none. Of members with
 * the same name the last counts, as in `JSON.parse`. Reads the text once, so the time is linear.
 *
 * @param text valid JSON; for invalid JSON the result is some part of the text or undefined
 * @example sourceOf('{"a":[1, 2.50]}', ['a', 1]) // '2.50'
 */
export function sourceOf(text: string, path: readonly (string | number)[]): string | undefined {
  const search = new SourceSearch(text, path);
  const end = search.visit(skipSpace(text, 0), 0);
  return end === -1 || search.from === -1 ? undefined : text.slice(search.from, search.to);
}

class SourceSearch {
  /** Start of the value that was found; -1 for none. */
  from = -1;
  to = -1;
  readonly #text: string;
  readonly #path: readonly (string | number)[];

  constructor(text: string, path: readonly (string | number)[]) {
    this.#text = text;
    this.#path = path;
  }

  /** Visits the value at `start`, to which the first `level` steps of the path lead; returns the index after it. */
  visit(start: number, level: number): number {
    const step = this.#path[level];
    if (step === undefined) {
      this.from = start;
      this.to = endOfJson(this.#text, start);
      return this.to;
    }
    const first = this.#text.charCodeAt(start);
    if (first === OPEN_BRACE && typeof step === 'string') return this.#visitMembers(start, level, step);
    if (first === OPEN_BRACKET && typeof step === 'number') return this.#visitElements(start, level, step);
    return endOfJson(this.#text, start);
  }

  #visitMembers(start: number, level: number, name: string): number {
    const text = this.#text;
    let at = skipSpace(text, start + 1);
    while (text.charCodeAt(at) === QUOTE) {
      const keyEnd = endOfString(text, at);
      if (keyEnd === -1) return -1;
      const hit = isKey(text, at, keyEnd, name);
      at = skipSpace(text, keyEnd);
      if (text.charCodeAt(at) !== COLON) return -1;
      at = skipSpace(text, at + 1);
      if (hit) {
        // This member replaces an earlier one of the same name.
        this.from = -1;
        at = this.visit(at, level + 1);
      } else at = endOfJson(text, at);
      if (at === -1) return -1;
      at = skipSpace(text, at);
      if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
    }
    return text.charCodeAt(at) === CLOSE_BRACE ? at + 1 : -1;
  }

  #visitElements(start: number, level: number, index: number): number {
    const text = this.#text;
    let at = skipSpace(text, start + 1);
    for (let i = 0; at < text.length && text.charCodeAt(at) !== CLOSE_BRACKET; i++) {
      at = i === index ? this.visit(at, level + 1) : endOfJson(text, at);
      if (at === -1) return -1;
      at = skipSpace(text, at);
      if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
    }
    return at < text.length ? at + 1 : -1;
  }
}

/** Whether the quoted key from `start` to `end` spells `name`. */
function isKey(text: string, start: number, end: number, name: string): boolean {
  const length = end - start - 2;
  if (length === name.length && text.startsWith(name, start + 1) && !name.includes('\\')) return true;
  // An escape is never shorter than its character, so only a longer key can be an escaped spelling of the name.
  if (length <= name.length) return false;
  const raw = text.slice(start, end);
  if (!raw.includes('\\')) return false;
  try {
    return JSON.parse(raw) === name;
  } catch {
    // An invalid string is not the key of a value.
    return false;
  }
}
