/**
 * JSON text as text: finding the exact source of one value, and writing objects some of whose members already are
 * JSON text. Attributes that are kept rawJson need both (DESIGN decision 18): parsing and printing again would
 * change large numbers, number spellings and duplicate keys.
 */
import type { Json } from '../json';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Index after the string whose opening quote is at `start`, or -1 when it does not close. */
export function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start + 1);
  while (quote !== -1) {
    let before = quote - 1;
    while (before > start && text.charCodeAt(before) === BACKSLASH) before--;
    // An odd number of backslashes in front makes the quote part of the string.
    if ((quote - before) % 2 === 1) return quote + 1;
    quote = text.indexOf('"', quote + 1);
  }
  return -1;
}

/**
 * Index after the JSON value that begins at `start` (which is not white space), or -1 when it does not end. Finds
 * the extent only: whether it is valid JSON is for `JSON.parse` to say.
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
 * True when no array or object in the text is nested deeper than `limit`. Asked of text from outside before
 * `JSON.parse`, which would spend a long time on a deep nest of brackets, and so that no later walk over the values
 * can exhaust the stack.
 */
export function nestsWithin(text: string, limit: number): boolean {
  // A text with no more brackets than levels, as most are, needs no closer look.
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

/** How often `char` stands in the text; counts no further than one above `limit`. */
function occurrences(text: string, char: string, limit: number): number {
  let count = 0;
  for (let at = text.indexOf(char); at !== -1 && count <= limit; at = text.indexOf(char, at + 1)) count++;
  return count;
}

/**
 * The source of the value at a path of member names and array indexes, exactly as it stands in `text` (which is
 * valid JSON; of invalid JSON, some part of it or nothing). Undefined when nothing is there. Of members with the
 * same name the last counts, as in `JSON.parse`. One pass, no tree: time is linear in the text.
 *
 * @example sourceOf('{"a":[1, 2.50]}', ['a', 1]) // '2.50'
 */
export function sourceOf(text: string, path: readonly (string | number)[]): string | undefined {
  const search = new SourceSearch(text, path);
  const end = search.visit(skipSpace(text, 0), 0);
  return end === -1 || search.from === -1 ? undefined : text.slice(search.from, search.to);
}

class SourceSearch {
  from = -1;
  to = -1;

  constructor(
    private readonly text: string,
    private readonly path: readonly (string | number)[],
  ) {}

  /** Visits the value at `start`, which the first `level` steps of the path lead to; returns the index after it. */
  visit(start: number, level: number): number {
    const step = this.path[level];
    if (step === undefined) {
      this.from = start;
      this.to = endOfJson(this.text, start);
      return this.to;
    }
    const first = this.text.charCodeAt(start);
    if (first === OPEN_BRACE && typeof step === 'string') return this.visitMembers(start, level, step);
    if (first === OPEN_BRACKET && typeof step === 'number') return this.visitElements(start, level, step);
    return endOfJson(this.text, start);
  }

  private visitMembers(start: number, level: number, name: string): number {
    const { text } = this;
    let at = skipSpace(text, start + 1);
    while (text.charCodeAt(at) === QUOTE) {
      const keyEnd = endOfString(text, at);
      if (keyEnd === -1) return -1;
      const hit = isKey(text, at, keyEnd, name);
      at = skipSpace(text, keyEnd);
      if (text.charCodeAt(at) !== COLON) return -1;
      at = skipSpace(text, at + 1);
      if (hit) {
        // A later member of this name replaces whatever an earlier one held.
        this.from = -1;
        at = this.visit(at, level + 1);
      } else at = endOfJson(text, at);
      if (at === -1) return -1;
      at = skipSpace(text, at);
      if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
    }
    return text.charCodeAt(at) === CLOSE_BRACE ? at + 1 : -1;
  }

  private visitElements(start: number, level: number, index: number): number {
    const { text } = this;
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
  // An escape is never shorter than what it stands for, so only a longer key can be an escaped spelling of it.
  if (length <= name.length) return false;
  const raw = text.slice(start, end);
  if (!raw.includes('\\')) return false;
  try {
    return JSON.parse(raw) === name;
  } catch {
    // Not a JSON string, so it is the key of nothing.
    return false;
  }
}

/** JSON text to be written as it is. Its maker vouches that it is valid. */
export class RawJson {
  constructor(readonly text: string) {}
}

/** What {@link stringifyJson} writes: JSON values, raw text among them; a map is an object in the order of its keys. */
export type JsonOutput = Json | RawJson | JsonOutputMap | readonly JsonOutput[] | JsonOutputObject;
export type JsonOutputMap = ReadonlyMap<string, JsonOutput>;
export interface JsonOutputObject {
  readonly [name: string]: JsonOutput | undefined;
}

/** As `JSON.stringify`, with {@link RawJson} as it stands. Members that are undefined are left out. */
export function stringifyJson(value: JsonOutput): string {
  switch (typeof value) {
    case 'string':
      return stringifyString(value);
    case 'number':
    case 'boolean':
      return JSON.stringify(value);
    default:
      if (value === null) return 'null';
      if (value instanceof RawJson) return value.text;
      if (isList(value)) return stringifyList(value);
      return isMap(value) ? stringifyMap(value) : stringifyObject(value);
  }
}

function isList(value: object): value is readonly JsonOutput[] {
  return Array.isArray(value);
}

function isMap(value: object): value is JsonOutputMap {
  return value instanceof Map;
}

function stringifyList(list: readonly JsonOutput[]): string {
  let text = '';
  for (const item of list) text += (text === '' ? '[' : ',') + stringifyJson(item);
  return text === '' ? '[]' : text + ']';
}

function stringifyMap(map: JsonOutputMap): string {
  let text = '';
  for (const [name, value] of map) text += (text === '' ? '{' : ',') + stringifyMember(name, value);
  return text === '' ? '{}' : text + '}';
}

function stringifyObject(object: JsonOutputObject): string {
  let text = '';
  for (const name of Object.keys(object)) {
    const value = object[name];
    if (value !== undefined) text += (text === '' ? '{' : ',') + stringifyMember(name, value);
  }
  return text === '' ? '{}' : text + '}';
}

function stringifyMember(name: string, value: JsonOutput): string {
  return stringifyString(name) + ':' + stringifyJson(value);
}

/** Anything but what stands in a JSON string as it is: no quote, backslash, control character or surrogate. */
const ESCAPED_IN_JSON = /[^ !#-[\]-\ud7ff\ue000-\uffff]/;

/** Most strings need no escape, and testing for that costs a third of `JSON.stringify`. */
function stringifyString(value: string): string {
  return ESCAPED_IN_JSON.test(value) ? JSON.stringify(value) : `"${value}"`;
}
