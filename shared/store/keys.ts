/** Ids, orders, collection names and index values: which texts are allowed, and how they compare. */
import { badRequest } from '../errors';

/** Characters of a document id, an order or a collection name: Firestore refuses ids above 1,500 bytes. */
const MAX_KEY_LENGTH = 1500;

const PRINTABLE_ASCII = /^[\x20-\x7e]+$/;
/** SQLite's binding ends texts at NUL, and a lone surrogate has no UTF-8: with either, two keys could become one. */
const NOT_STORABLE = /[\0\p{Surrogate}]/u;

/** @throws CmbsError `bad_request` unless `text` can be a document id, an order or a collection name */
export function checkKey(kind: string, text: string): void {
  if (text.length <= MAX_KEY_LENGTH && (PRINTABLE_ASCII.test(text) || (text !== '' && !NOT_STORABLE.test(text)))) {
    return;
  }
  throw badRequest(
    `The ${kind} ${JSON.stringify(text.slice(0, 100))} cannot be stored; ` +
      `use 1 to ${MAX_KEY_LENGTH} Unicode characters other than NUL.`,
  );
}

/** An index value as it is stored. Values with characters that cannot be stored become JSON; only equality matters. */
export function indexable(value: string): string {
  return PRINTABLE_ASCII.test(value) || (!NOT_STORABLE.test(value) && !value.startsWith('\u0001'))
    ? value
    : `\u0001${JSON.stringify(value)}`;
}

/** The least string above every string that starts with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last >= 0x10ffff) continue;
    // U+D800 to U+DFFF are surrogates, not code points.
    const next = last + 1 === 0xd800 ? 0xe000 : last + 1;
    return points.map((point) => String.fromCodePoint(point)).join('') + String.fromCodePoint(next);
  }
  return undefined;
}

/** Compares by code point, as SQLite and Firestore compare UTF-8. Negative, zero or positive. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates encode the highest code points, although they are less than U+E000.
    const xSurrogate = x >= 0xd800 && x <= 0xdfff;
    const ySurrogate = y >= 0xd800 && y <= 0xdfff;
    if (xSurrogate !== ySurrogate) return xSurrogate ? 1 : -1;
    return x - y;
  }
  return a.length - b.length;
}
