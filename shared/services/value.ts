/**
 * Values of calls and answers, which are the same in every format (docs/services.md, "Types"). They are JSON values and
 * two more: bytes and times. JSON writes bytes as text in base64, and times as in RFC 3339.
 */
import { isDate, isUint8Array } from 'node:util/types';
import { ExactNumber, type ExactJson } from '../exact-json';
import { parseRfc3339 } from '../rfc3339';
import { Fault, FAULT } from './fault';

/** An argument or a result. */
export type Value = ExactJson | Uint8Array | Date | readonly Value[] | Struct;
export interface Struct {
  readonly [name: string]: Value;
}

/** Levels of arrays and structs in an answer: twice those of a call (`MAX_JSON_DEPTH`). A result that contains itself ends there. */
export const MAX_ANSWER_DEPTH = 128;
/** Characters of an answer: several bodies of calls. A small result can repeat one large part many times. */
export const MAX_ANSWER_CHARS = 16 * 1024 * 1024;
/** Digits that a number may have in plain decimals: more than any double has. */
const MAX_DIGITS = 2048;

const INT_MIN = -(2n ** 31n);
const INT_MAX = 2n ** 31n - 1n;
const I8_MIN = -(2n ** 63n);
const I8_MAX = 2n ** 63n - 1n;

/** Whether an `int` of XML-RPC has the value. */
export const fitsInt = (value: bigint): boolean => value >= INT_MIN && value <= INT_MAX;
/** Whether an `i8` of XML-RPC has the value. */
export const fitsI8 = (value: bigint): boolean => value >= I8_MIN && value <= I8_MAX;

/** The fault for a result that cannot be written. */
export const unwritable = (why: string): Fault =>
  new Fault(FAULT.internalError, `The result cannot be written: ${why}.`);

/** What is left of the size of an answer. */
export class AnswerSize {
  #left: number;

  constructor(readonly limit: number) {
    this.#left = limit;
  }

  /** @throws Fault for an answer that is too large */
  spend(chars: number): void {
    this.#left -= chars;
    if (this.#left < 0) throw unwritable(`it has more than ${this.limit} characters`);
  }
}

/** A value by its form. */
export type Form =
  | { readonly is: 'nil' }
  | { readonly is: 'boolean'; readonly value: boolean }
  | { readonly is: 'number'; readonly value: number | bigint | ExactNumber }
  | { readonly is: 'string'; readonly value: string }
  | { readonly is: 'bytes'; readonly value: Uint8Array }
  | { readonly is: 'date'; readonly value: Date }
  | { readonly is: 'array'; readonly value: readonly unknown[] }
  | { readonly is: 'struct'; readonly value: Readonly<Record<string, unknown>> };

/**
 * The form of a result. Modules in JavaScript can return anything, so the type is not relied upon.
 * @throws Fault for what is no value: a function, a map, an instance of a class
 */
export function formOf(value: unknown): Form {
  switch (typeof value) {
    case 'undefined':
      return { is: 'nil' };
    case 'boolean':
      return { is: 'boolean', value };
    case 'number':
    case 'bigint':
      return { is: 'number', value };
    case 'string':
      return { is: 'string', value };
    case 'object':
      return formOfObject(value);
    case 'function':
    case 'symbol':
      throw unwritable(`it contains a ${typeof value}`);
  }
}

function formOfObject(value: object | null): Form {
  if (value === null) return { is: 'nil' };
  if (Array.isArray(value)) return { is: 'array', value };
  if (value instanceof ExactNumber) return { is: 'number', value };
  if (isUint8Array(value)) return { is: 'bytes', value };
  if (isDate(value)) return { is: 'date', value };
  // The prototype of a plain object has no prototype itself, whichever thread or context made the object.
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) {
    return { is: 'struct', value: value as Readonly<Record<string, unknown>> };
  }
  throw unwritable('it contains an object that is not a plain object; return a plain object');
}

/**
 * A value as JSON: bytes as text in base64, times as in RFC 3339. A member that is undefined is left out.
 * @throws Fault for a value that JSON cannot carry
 */
export function jsonOf(value: unknown, size = new AnswerSize(MAX_ANSWER_CHARS)): ExactJson {
  return jsonAt(value, 0, size);
}

function jsonAt(value: unknown, depth: number, size: AnswerSize): ExactJson {
  const form = formOf(value);
  size.spend(8);
  switch (form.is) {
    case 'nil':
      return null;
    case 'boolean':
      return form.value;
    case 'number':
      return jsonNumber(form.value);
    case 'string':
      size.spend(form.value.length);
      return form.value;
    case 'bytes':
      size.spend((form.value.length * 4) / 3);
      return base64Of(form.value);
    case 'date':
      return rfc3339Of(form.value);
    case 'array':
      checkDepth(depth);
      return Array.from(form.value, (item) => jsonAt(item, depth + 1, size));
    case 'struct': {
      checkDepth(depth);
      const members: [string, ExactJson][] = [];
      for (const [name, member] of Object.entries(form.value)) {
        if (member === undefined) continue;
        size.spend(name.length);
        members.push([name, jsonAt(member, depth + 1, size)]);
      }
      return Object.fromEntries(members);
    }
  }
}

/**
 * Counts a value in the size of an answer, about as {@link jsonOf} does.
 * @throws Fault for a value that does not fit any more, or that JSON cannot carry
 */
export function spendOn(value: unknown, size: AnswerSize, depth = 0): void {
  const form = formOf(value);
  size.spend(8);
  switch (form.is) {
    case 'string':
      size.spend(form.value.length);
      return;
    case 'bytes':
      size.spend((form.value.length * 4) / 3);
      return;
    case 'array':
      checkDepth(depth);
      for (const item of form.value) spendOn(item, size, depth + 1);
      return;
    case 'struct':
      checkDepth(depth);
      for (const [name, member] of Object.entries(form.value)) {
        size.spend(name.length);
        spendOn(member, size, depth + 1);
      }
      return;
    case 'nil':
    case 'boolean':
    case 'number':
    case 'date':
      return;
  }
}

/** @param depth of the arrays and structs around an array or a struct */
export function checkDepth(depth: number): void {
  if (depth >= MAX_ANSWER_DEPTH) throw unwritable(`it is nested deeper than ${MAX_ANSWER_DEPTH} levels`);
}

function jsonNumber(value: number | bigint | ExactNumber): number | ExactNumber {
  if (value instanceof ExactNumber) return value;
  if (typeof value === 'bigint') return exactOf(value);
  if (!Number.isFinite(value)) throw unwritable(`it contains ${value}, which is no number of JSON`);
  return value;
}

/** A whole number as a JavaScript number, or exactly where JavaScript would round the number. */
export function exactOf(value: bigint): number | ExactNumber {
  const rounded = Number(value);
  return String(rounded) === String(value) ? rounded : new ExactNumber(String(value));
}

/** Text in base64 (RFC 4648 §4). */
export const base64Of = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

/** The bytes of a text in base64, with padding; undefined for other text. */
export function base64Bytes(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  return Uint8Array.from(Buffer.from(text, 'base64'));
}

/** @throws Fault for a date that is invalid, or whose year does not have four digits */
export function rfc3339Of(date: Date): string {
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) throw unwritable('it contains a time outside the years 0000 to 9999');
  return date.toISOString().replace(/\.000Z$/, 'Z');
}

/**
 * A number in plain decimals, without exponent, such as `-0.001` and `100`; undefined for one with very many digits.
 * @param source JSON text of the number
 */
export function plainDecimal(source: string): string | undefined {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(source) ?? [];
  const power = Number(exponent);
  if (whole.length + fraction.length + Math.abs(power) > MAX_DIGITS) return undefined;
  const digits = `${'0'.repeat(Math.max(0, -power))}${whole}${fraction}${'0'.repeat(Math.max(0, power))}`;
  const point = Math.max(0, -power) + whole.length + power;
  const [before, after] = [digits.slice(0, point), digits.slice(point)];
  const [integer, decimals] = [before.replace(/^0+(?=\d)/, '') || '0', after.replace(/0+$/, '')];
  return `${sign}${integer}${decimals === '' ? '' : `.${decimals}`}`;
}

/**
 * The whole number that a value is; undefined for any other value. An exact number whose source has a point or an
 * exponent is not whole: a module returns `new ExactNumber('3.0')` for a double.
 */
export function wholeOf(value: number | bigint | ExactNumber): bigint | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return BigInt(value);
    // The shortest digits, as in JSON: a double beyond 2^53 has others too.
    return Number.isInteger(value) ? BigInt(plainDecimal(String(value)) ?? value) : undefined;
  }
  // BigInt takes quadratic time for very many digits.
  return value.source.length <= MAX_DIGITS && /^-?\d+$/.test(value.source) ? BigInt(value.source) : undefined;
}

/** The type of a value, as in signatures. @throws Fault for what is no value */
export function typeOf(value: unknown): string {
  const form = formOf(value);
  switch (form.is) {
    case 'bytes':
      return 'base64';
    case 'date':
      return 'dateTime.iso8601';
    case 'number':
      if (isWhole(form, fitsInt)) return 'int';
      return isWhole(form, fitsI8) ? 'i8' : 'double';
    case 'nil':
    case 'boolean':
    case 'string':
    case 'array':
    case 'struct':
      return form.is;
  }
}

/**
 * The value as a value of a type of a signature; undefined for a value that is none. A caller of JSON-RPC writes bytes as
 * text in base64 and times as in RFC 3339, so that such text becomes bytes or a time where the signature says so.
 * @param type such as `double`; every value is of a type that XML-RPC does not have, such as `any`
 */
export function asType(type: string, value: Value): Value | undefined {
  const form = formOf(value);
  switch (type) {
    case 'int':
    case 'i4':
      return isWhole(form, fitsInt) ? value : undefined;
    case 'i8':
      return isWhole(form, fitsI8) ? value : undefined;
    case 'double':
      return form.is === 'number' ? value : undefined;
    case 'boolean':
    case 'string':
    case 'array':
    case 'struct':
    case 'nil':
      return form.is === type ? value : undefined;
    case 'base64':
      if (form.is === 'string') return base64Bytes(form.value);
      return form.is === 'bytes' ? value : undefined;
    case 'dateTime.iso8601': {
      if (form.is !== 'string') return form.is === 'date' ? value : undefined;
      const time = parseRfc3339(form.value);
      return time === undefined ? undefined : new Date(time);
    }
    default:
      return value;
  }
}

function isWhole(form: Form, fits: (value: bigint) => boolean): boolean {
  const whole = form.is === 'number' ? wholeOf(form.value) : undefined;
  return whole !== undefined && fits(whole);
}
