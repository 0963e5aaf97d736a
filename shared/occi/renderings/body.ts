/** What the readers of request bodies share. */
import { isUtf8 } from 'node:buffer';
import { badRequest } from '../../errors';

/** A payload while a reader fills it in. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * The text of a body, without a byte order mark.
 * @throws CmbsError `bad_request` for a body that is not UTF-8
 */
export function decodeBody(body: Buffer): string {
  if (!isUtf8(body)) throw badRequest('The body is not valid UTF-8; send it in that encoding.');
  const text = body.toString('utf8');
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Splits text into lines, which end with LF or CRLF. */
export function linesOf(text: string): string[] {
  return text.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}

/**
 * Refuses the one attribute name that would set the prototype of an object instead of a member.
 * @throws CmbsError `bad_request`
 */
export function checkMemberName(name: string): string {
  if (name === '__proto__') throw badRequest('An attribute cannot be named __proto__; choose another name.');
  return name;
}

/** Splits text at white space. */
export function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
