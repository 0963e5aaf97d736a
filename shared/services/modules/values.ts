/**
 * Values between threads. A message port copies plain data and loses classes, so an exact number crosses as a `String`
 * object, which no other value is. Bytes, times and big integers cross as they are.
 */
import { isBigIntObject, isDate, isStringObject, isUint8Array } from 'node:util/types';
import { ExactNumber } from '../../exact-json';
import type { Value } from './kit';
import { MAX_VALUE_BYTES, MAX_VALUE_DEPTH } from './limits';

/** A value that cannot cross, with the reason. */
export class ValueError extends Error {
  override readonly name = 'ValueError';
}

/** Approximate bytes of a value besides its texts. */
const VALUE_BYTES = 8;

/**
 * The form of a value that a port can copy. Modules in JavaScript can return anything, so the type is not relied upon;
 * undefined counts as null, and a member that is undefined is left out.
 * @throws ValueError for a function, an instance of a class, a value that is too large or nested too deeply
 */
export const toPort = (value: unknown, maxBytes = MAX_VALUE_BYTES): unknown => toPortSized(value, maxBytes).copied;

/** As {@link toPort}, with the approximate bytes of the value. */
export function toPortSized(
  value: unknown,
  maxBytes = MAX_VALUE_BYTES,
): { readonly copied: unknown; readonly bytes: number } {
  let left = maxBytes;
  const spend = (bytes: number): void => {
    left -= bytes;
    if (left < 0) throw new ValueError(`larger than ${maxBytes} bytes`);
  };
  const at = (inner: unknown, depth: number): unknown => {
    spend(VALUE_BYTES);
    switch (typeof inner) {
      case 'undefined':
        return null;
      case 'string':
        spend(inner.length);
        return inner;
      case 'boolean':
      case 'number':
      case 'bigint':
        return inner;
      case 'object':
        return inner === null ? null : ofObject(inner, depth);
      case 'function':
      case 'symbol':
        throw new ValueError(`not a value: it contains a ${typeof inner}`);
    }
  };
  const ofObject = (inner: object, depth: number): unknown => {
    if (inner instanceof ExactNumber) {
      spend(inner.source.length);
      return Object(inner.source);
    }
    if (isUint8Array(inner)) {
      spend(inner.byteLength);
      // A copy: a view would take its whole buffer along.
      return Uint8Array.from(inner);
    }
    if (isDate(inner)) return inner;
    if (depth >= MAX_VALUE_DEPTH) throw new ValueError(`nested deeper than ${MAX_VALUE_DEPTH} levels`);
    if (Array.isArray(inner)) return Array.from(inner as readonly unknown[], (item) => at(item, depth + 1));
    if (!isPlain(inner)) throw new ValueError('not a value: it contains an object that is not a plain object');
    const members: [string, unknown][] = [];
    for (const [name, member] of Object.entries(inner)) {
      if (member === undefined) continue;
      spend(name.length);
      members.push([name, at(member, depth + 1)]);
    }
    return Object.fromEntries(members);
  };
  const copied = at(value, 0);
  return { copied, bytes: maxBytes - left };
}

/** The value that another thread sent. */
export function fromPort(copied: unknown): Value {
  if (typeof copied !== 'object' || copied === null) return copied as Value;
  if (isStringObject(copied)) return new ExactNumber(String(copied));
  if (isUint8Array(copied) || isDate(copied) || isBigIntObject(copied)) return copied as Value;
  if (Array.isArray(copied)) return (copied as readonly unknown[]).map(fromPort);
  return Object.fromEntries(Object.entries(copied).map(([name, member]) => [name, fromPort(member)]));
}

/** The prototype of a plain object has no prototype itself, whichever thread or context made the object. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
