/** JSON whose numbers stay as they were written: a JavaScript number holds integers up to 2^53, and nothing above 1.8e308. */
import { randomUUID } from 'node:crypto';
import type { Json } from './json';

/** A number that a JavaScript number does not hold. */
export class ExactNumber {
  /** @param source as JSON text has it */
  constructor(readonly source: string) {}
}

/** JSON in which such numbers may stand. */
export type ExactJson = Json | ExactNumber | readonly ExactJson[] | { readonly [name: string]: ExactJson };

/** Strings, so that what looks like a number in them is passed over, and numbers. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** A text without any has no number that is too large: 16 digits, or an exponent. */
const SUSPICIOUS = /\d{16}|\d[eE]/;

/**
 * Whether a JavaScript number holds a JSON number: printed again it is the same number. Fractions are taken to be
 * approximate.
 */
export function holdsExactly(source: string): boolean {
  const value = Number(source);
  if (!Number.isFinite(value)) return false;
  if (value === 0) return !/[1-9]/.test(source.replace(/[eE].*/, ''));
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER || decimal(source) === decimal(String(value));
}

/** Digits without zeros at the ends, and the power of ten of the last one. */
function decimal(source: string): string {
  const [, sign = '', whole = '', fraction = '', power = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(source) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  // No regular expression: it would look at each run of zeros once for each zero.
  let end = digits.length;
  while (digits[end - 1] === '0') end -= 1;
  const significant = digits.slice(0, end);
  return `${sign}${significant}e${Number(power) - fraction.length + digits.length - significant.length}`;
}

/** The first number in a JSON text that a JavaScript number does not hold. */
export function inexactNumberIn(text: string): string | undefined {
  if (!SUSPICIOUS.test(text)) return undefined;
  for (const [token] of text.matchAll(TOKEN)) if (!token.startsWith('"') && !holdsExactly(token)) return token;
  return undefined;
}

/** Whether a value may have been rounded when it was parsed: its source decides. */
export const mayBeInexact = (value: Json): boolean =>
  hasNumber(value, (number) => number === 0 || Math.abs(number) > Number.MAX_SAFE_INTEGER);

/** Whether a value has a number beyond those of which each is held exactly. */
export const isBeyondExact = (value: Json): boolean =>
  hasNumber(value, (number) => Math.abs(number) > Number.MAX_SAFE_INTEGER);

function hasNumber(value: Json, test: (number: number) => boolean): boolean {
  if (typeof value === 'number') return test(value);
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some((inner: Json) => hasNumber(inner, test));
}

/** Begins the strings that stand for such numbers while a text is parsed; nobody else can know it. */
const MARK = randomUUID();

/** As `JSON.parse`. @throws SyntaxError */
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

/** As `JSON.stringify`. */
export function stringifyExactJson(value: ExactJson): string {
  const numbers: string[] = [];
  const text = JSON.stringify(value, (_name, inner: unknown) => {
    if (!(inner instanceof ExactNumber)) return inner;
    return `${MARK}${numbers.push(inner.source) - 1}`;
  });
  if (numbers.length === 0) return text;
  return text.replace(new RegExp(`"${MARK}(\\d+)"`, 'g'), (_all, at: string) => numbers[Number(at)] ?? 'null');
}
