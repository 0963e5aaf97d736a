/** Reads attributes from requests: flat or nested names, and values whose numbers are exact. */
import { CmbsError } from '../errors';
import { inexactNumberIn, isBeyondExact, mayBeInexact } from '../exact-json';
import { isJsonObject, type Json, type JsonObject } from '../json';
import type { AttributeSpec } from './model';
import { valueFromText } from './renderings/text/quoted-json';

/** One attribute in a client's object: its flat name, its value, and the keys that lead to the value. */
export interface Leaf {
  readonly name: string;
  readonly value: Json;
  readonly keys: readonly string[];
}

/**
 * The attributes of an object with nested names, flat names, or both. A declared attribute may hold an object; objects under
 * other names are levels of names.
 */
export function leaves(attributes: JsonObject, isDeclared: (name: string) => boolean): readonly Leaf[] {
  const found: Leaf[] = [];
  const visit = (object: JsonObject, prefix: string, keys: readonly string[]): void => {
    for (const [key, value] of Object.entries(object)) {
      const name = prefix === '' ? key : `${prefix}.${key}`;
      const path = [...keys, key];
      if (!isJsonObject(value) || isDeclared(name)) found.push({ name, value, keys: path });
      else visit(value, name, path);
    }
  };
  visit(attributes, '', []);
  return found;
}

/** How a request wrote an attribute. */
export interface WrittenValue {
  /** From a text rendering, where an attribute of any type holds JSON in quotes. */
  readonly isText?: boolean;
  readonly spec?: AttributeSpec | undefined;
  readonly source: () => string | undefined;
}

/**
 * The value of an attribute.
 * @throws CmbsError `bad_attribute` for a number that JavaScript would round
 */
export function exactValue(name: string, given: Json, { isText = false, spec, source }: WrittenValue): Json {
  const value = isText ? valueFromText(given, spec) : given;
  requireExact(name, value, () => (typeof given === 'string' ? given : source()));
  return value;
}

/**
 * Refuses a value with a number that JavaScript would round. Values that are kept as text need no check.
 * @param source gives the value's source text; without a source, every number above 2^53 is refused
 * @throws CmbsError `bad_attribute`
 */
export function requireExact(name: string, value: Json, source: () => string | undefined): void {
  if (!mayBeInexact(value)) return;
  const text = source();
  const isExact = text === undefined ? !isBeyondExact(value) : inexactNumberIn(text) === undefined;
  if (isExact) return;
  throw new CmbsError(
    'bad_attribute',
    `${name} has a number that cannot be stored exactly; send fewer digits, or a string.`,
  );
}
