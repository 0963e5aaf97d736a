/**
 * How values are stored, those of key-value databases and those of schedules: as JSON, with marked objects for what JSON does not have. `{"$b": base64}`
 * is bytes, `{"$d": milliseconds}` a time, `{"$n": digits}` a number that a JavaScript number cannot represent, and
 * `{"$s": members}` a struct that has a member whose name begins with `$`. Such members appear nowhere else, so that
 * every value is read as it was written.
 */
import { badRequest, CmbsError } from '../errors';
import { ExactNumber } from '../exact-json';
import type { Json, JsonObject } from '../json';
import { base64Of, charsOf, exactOf, formOf, MAX_ANSWER_DEPTH, type Value } from './value';

/** Digits of an exact number: more than any double has. */
const MAX_NUMBER_CHARS = 2048;

/** A value as it is stored. */
export interface Encoded {
  readonly json: Json;
  /** Bytes of the JSON in UTF-8. */
  readonly bytes: number;
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/**
 * @param maxBytes of the value as JSON, in which bytes are base64
 * @throws CmbsError `bad_request` for a value that cannot be stored, `too_large` beyond the limit; Fault for what is no value
 */
export function encode(value: unknown, maxBytes: number): Encoded {
  // A value that is much too large is not copied.
  if (charsOf(value, maxBytes) === undefined) throw tooLarge(maxBytes);
  const json = encodeAt(value, 0);
  const bytes = Buffer.byteLength(JSON.stringify(json));
  if (bytes > maxBytes) throw tooLarge(maxBytes);
  return { json, bytes };
}

const tooLarge = (maxBytes: number): CmbsError =>
  new CmbsError('too_large', `The value has more than ${maxBytes} bytes as JSON, which cannot be stored.`);

/** As {@link encode}, as text. */
export const encodedText = (value: unknown, maxBytes: number): string =>
  JSON.stringify(encode(value, maxBytes).json);

/** The value of a text of {@link encodedText}. */
export const decodedText = (text: string): Value => decode(JSON.parse(text) as Json);

function encodeAt(value: unknown, depth: number): Json {
  const form = formOf(value);
  switch (form.is) {
    case 'nil':
      return null;
    case 'boolean':
    case 'string':
      return form.value;
    case 'number':
      return encodeNumber(typeof form.value === 'bigint' ? exactOf(form.value) : form.value);
    case 'bytes':
      return { $b: base64Of(form.value) };
    case 'date':
      if (Number.isNaN(form.value.getTime())) throw badRequest('The value contains an invalid time.');
      return { $d: form.value.getTime() };
    case 'array':
      checkDepth(depth);
      return Array.from(form.value, (item) => encodeAt(item, depth + 1));
    case 'struct': {
      checkDepth(depth);
      const members = Object.entries(form.value)
        .filter(([, member]) => member !== undefined)
        .map(([name, member]) => [name, encodeAt(member, depth + 1)] as const);
      const encoded: JsonObject = Object.fromEntries(members);
      return members.some(([name]) => name.startsWith('$')) ? { $s: encoded } : encoded;
    }
  }
}

function checkDepth(depth: number): void {
  if (depth < MAX_ANSWER_DEPTH) return;
  throw badRequest(`The value is nested deeper than ${MAX_ANSWER_DEPTH} levels.`);
}

function encodeNumber(value: number | ExactNumber): Json {
  if (value instanceof ExactNumber) {
    const { source } = value;
    if (source.length > MAX_NUMBER_CHARS || !NUMBER.test(source)) {
      throw badRequest(
        `The value contains an exact number that is none, or has over ${MAX_NUMBER_CHARS} characters.`,
      );
    }
    return { $n: source };
  }
  if (!Number.isFinite(value)) throw badRequest(`The value contains ${value}, which is no number of JSON.`);
  // JSON.stringify writes it as 0.
  return Object.is(value, -0) ? { $n: '-0' } : value;
}

/** The value of a stored one. */
export function decode(stored: Json): Value {
  if (typeof stored !== 'object' || stored === null) return stored;
  if (Array.isArray(stored)) return (stored as readonly Json[]).map(decode);
  const object = stored as JsonObject;
  const [first] = Object.entries(object);
  switch (first?.[0]) {
    case '$b':
      return Uint8Array.from(Buffer.from(first[1] as string, 'base64'));
    case '$d':
      return new Date(Number(first[1]));
    case '$n':
      return first[1] === '-0' ? -0 : new ExactNumber(first[1] as string);
    case '$s':
      return decodeMembers(first[1] as JsonObject);
    default:
      return decodeMembers(object);
  }
}

const decodeMembers = (members: JsonObject): Value =>
  Object.fromEntries(Object.entries(members).map(([name, member]) => [name, decode(member)]));
