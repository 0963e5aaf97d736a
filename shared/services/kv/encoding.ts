/**
 * How values of key-value databases are stored: as JSON, with marked objects for what JSON does not have. `{"$b": base64}`
 * is bytes, `{"$d": milliseconds}` a time, `{"$n": digits}` a number that a JavaScript number cannot represent, and
 * `{"$s": members}` a struct that has a member whose name begins with `$`. Such members appear nowhere else, so that
 * every value is read as it was written.
 */
import { badRequest, CmbsError } from '../../errors';
import { ExactNumber } from '../../exact-json';
import type { Json, JsonObject } from '../../json';
import { base64Of, exactOf, formOf, type Value } from '../value';
import { MAX_NUMBER_CHARS, MAX_VALUE_BYTES, MAX_VALUE_DEPTH } from './limits';

/** A value as it is stored. */
export interface Encoded {
  readonly json: Json;
  /** Bytes of the JSON in UTF-8. */
  readonly bytes: number;
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** @throws CmbsError `bad_request` for what is no value, `too_large` beyond the limits */
export function encode(value: unknown): Encoded {
  const json = encodeAt(value, 0);
  const bytes = Buffer.byteLength(JSON.stringify(json));
  if (bytes > MAX_VALUE_BYTES) {
    throw new CmbsError(
      'too_large',
      `The value has ${bytes} bytes as JSON; at most ${MAX_VALUE_BYTES} are stored.`,
    );
  }
  return { json, bytes };
}

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
      // Base64 takes a third more, so that the text of larger ones need not be made.
      if (form.value.byteLength > MAX_VALUE_BYTES) throw tooManyBytes(form.value.byteLength);
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

const tooManyBytes = (bytes: number): CmbsError =>
  new CmbsError(
    'too_large',
    `The value contains ${bytes} bytes; at most ${MAX_VALUE_BYTES} are stored, as base64.`,
  );

function checkDepth(depth: number): void {
  if (depth < MAX_VALUE_DEPTH) return;
  throw badRequest(`The value is nested deeper than ${MAX_VALUE_DEPTH} levels.`);
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
