/** JSON that keeps numbers exactly: a JavaScript number holds integers up to 2^53, and no value above 1.8e308. */
import { randomUUID } from 'node:crypto';
import type { Json } from './json';

/** A number that a JavaScript number cannot represent. */
export class ExactNumber {
  /** @param source the JSON text of the number */
  constructor(readonly source: string) {}
}

/** JSON values that may contain exact numbers. */
export type ExactJson = Json | ExactNumber | readonly ExactJson[] | { readonly [name: string]: ExactJson };

/**
 * Strings and numbers: strings are matched so that digits in them are not taken for numbers. A string that is not closed
 * ends with the text: otherwise each escaped quote in it would be tried as the beginning of a string, in quadratic time.
 */
const TOKEN = /"[^"\\]*(?:\\[^]?[^"\\]*)*(?:"|$)|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Every number that loses precision has 16 digits or an exponent. */
const SUSPICIOUS = /\d{16}|\d[eE]/;

/** Whether a JavaScript number represents a JSON number. Fractions count as approximate, so they always do. */
export function holdsExactly(source: string): boolean {
  const value = Number(source);
  if (!Number.isFinite(value)) return false;
  if (value === 0) return !/[1-9]/.test(source.replace(/[eE].*/, ''));
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER || decimal(source) === decimal(String(value));
}

/** The significant digits of a number, and the power of ten of the last digit. */
function decimal(source: string): string {
  const [, sign = '', whole = '', fraction = '', power = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(source) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  // A regular expression would take quadratic time for a long run of zeros.
  let end = digits.length;
  while (digits[end - 1] === '0') end -= 1;
  const significant = digits.slice(0, end);
  return `${sign}${significant}e${Number(power) - fraction.length + digits.length - significant.length}`;
}

/** The first number in a JSON text that a JavaScript number cannot represent. */
export function inexactNumberIn(text: string): string | undefined {
  if (!SUSPICIOUS.test(text)) return undefined;
  for (const [token] of text.matchAll(TOKEN)) if (!token.startsWith('"') && !holdsExactly(token)) return token;
  return undefined;
}

/** Whether a parsed value may have been rounded; {@link inexactNumberIn} tells from the source. */
export const mayBeInexact = (value: Json): boolean =>
  hasNumber(value, (number) => number === 0 || Math.abs(number) > Number.MAX_SAFE_INTEGER);

/** Whether a value has a number beyond the safe integers. */
export const isBeyondExact = (value: Json): boolean =>
  hasNumber(value, (number) => Math.abs(number) > Number.MAX_SAFE_INTEGER);

function hasNumber(value: Json, test: (number: number) => boolean): boolean {
  if (typeof value === 'number') return test(value);
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some((inner: Json) => hasNumber(inner, test));
}

/** Prefix of the strings that replace exact numbers during parsing. It is random, so no input contains it. */
const MARK = randomUUID();

/** `JSON.parse` that keeps numbers exactly. @throws SyntaxError */
export function parseExactJson(text: string): ExactJson {
  if (inexactNumberIn(text) === undefined) return JSON.parse(text) as Json;
  const marked = text.replace(TOKEN, (token) =>
    token.startsWith('"') || holdsExactly(token) ? token : JSON.stringify(MARK + token),
  );
  return unmarked(JSON.parse(marked) as Json);
}

function unmarked(value: Json): ExactJson {
  if (typeof value === 'string') return value.startsWith(MARK) ? new ExactNumber(value.slice(MARK.length)) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return (value as readonly Json[]).map(unmarked);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, unmarked(inner)]));
}

/** `JSON.stringify` that writes exact numbers. */
export function stringifyExactJson(value: ExactJson): string {
  const numbers: string[] = [];
  const text = JSON.stringify(value, (_name, inner: unknown) => {
    if (!(inner instanceof ExactNumber)) return inner;
    return `${MARK}${numbers.push(inner.source) - 1}`;
  });
  if (numbers.length === 0) return text;
  return text.replace(new RegExp(`"${MARK}(\\d+)"`, 'g'), (_all, at: string) => numbers[Number(at)] ?? 'null');
}
