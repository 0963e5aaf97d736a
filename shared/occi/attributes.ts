/** Attribute rules: names in both dialects, types, patterns, defaults, mutability (occi.md §2.4). */
import { CmbsError } from '../errors';
import { inexactNumberIn, isBeyondExact, mayBeInexact } from '../exact-json';
import { isJsonObject, type Json, type JsonObject } from '../json';
import { CORE_ID, type AttributeSpec, type AttributeSpecs } from './model';
import { matchesPattern } from './pattern';

function refuse(message: string): CmbsError {
  return new CmbsError('bad_attribute', message);
}

/** One attribute found in a client's object: its flat name, its value, and the keys it stood under. */
export interface Leaf {
  readonly name: string;
  readonly value: Json;
  readonly keys: readonly string[];
}

/**
 * Reads an `attributes` object in either form, or both mixed. Descending stops at a declared name, because a value
 * may be an object itself; below an undeclared name every object is taken for nesting.
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

const TYPE_CHECKS: Readonly<Record<AttributeSpec['type'], (value: Json) => boolean>> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number' && Number.isFinite(value),
  boolean: (value) => typeof value === 'boolean',
  array: (value) => Array.isArray(value),
  object: isJsonObject,
  scalar: (value) => typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean',
  any: () => true,
};

/** The original wrote nothing as an empty string, numbers and booleans as strings too, and checked none of it. */
const isNothing = (value: Json): boolean => value === '' || value === null;
const LENIENT_CHECKS: typeof TYPE_CHECKS = {
  ...TYPE_CHECKS,
  string: (value) => value === null || typeof value !== 'object',
  number: (value) => isNothing(value) || TYPE_CHECKS.number(typeof value === 'string' ? Number(value) : value),
  boolean: (value) => isNothing(value) || /^(?:true|false)$/i.test(JSON.stringify(value).replaceAll('"', '')),
  array: (value) => isNothing(value) || TYPE_CHECKS.array(value),
  object: (value) => isNothing(value) || TYPE_CHECKS.object(value),
};

const TYPES_IN_WORDS: Partial<Record<AttributeSpec['type'], string>> = {
  scalar: 'a string, a number, true or false',
};

/**
 * Refuses a value with a number that would be rounded. Texts that are kept as they came have no such bound.
 * @param source gives the value as the client wrote it; where it gives none, every number beyond 2^53 is refused
 * @throws CmbsError `bad_attribute`
 */
export function requireExact(name: string, value: Json, source: () => string | undefined): void {
  if (!mayBeInexact(value)) return;
  const text = source();
  const isExact = text === undefined ? !isBeyondExact(value) : inexactNumberIn(text) === undefined;
  if (!isExact) throw refuse(`${name} has a number that a number here does not hold exactly.`);
}

/** Text renderings carry arrays and objects as a string of JSON; gives the value itself back. */
function decodeStructured(name: string, value: Json, spec: AttributeSpec): Json {
  if (typeof value !== 'string' || (spec.type !== 'array' && spec.type !== 'object')) return value;
  if (value === '') return spec.type === 'array' ? [] : value;
  let decoded: Json;
  try {
    decoded = JSON.parse(value) as Json;
  } catch {
    // Not JSON: the type check that follows says what is wrong with it.
    return value;
  }
  if (!TYPE_CHECKS[spec.type](decoded)) return value;
  requireExact(name, decoded, () => value);
  return decoded;
}

/** The value as it will be stored, or `bad_attribute` (#41, #42). */
export function checkValue(name: string, given: Json, spec: AttributeSpec): Json {
  const value = decodeStructured(name, given, spec);
  const checks = spec.lenient ? LENIENT_CHECKS : TYPE_CHECKS;
  // A schema names the types itself, perhaps several.
  const isBySchema = spec.lenient && spec.pattern?.form === 'schema';
  if (!isBySchema && !checks[spec.type](value)) {
    throw refuse(`${name} takes ${TYPES_IN_WORDS[spec.type] ?? `a value of type ${spec.type}`}.`);
  }
  if (spec.pattern !== undefined && !matchesPattern(value, spec.pattern, spec.lenient)) {
    const shown = spec.pattern.form === 'regex' ? spec.pattern.source : JSON.stringify(spec.pattern.schema);
    throw refuse(`${name} does not match its pattern ${shown}.`);
  }
  return value;
}

export type Values = Readonly<Record<string, Json>>;

export function sameValue(a: Json | undefined, b: Json | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b));
}

export interface CheckOptions {
  /** Values as they are now; absent at creation. */
  readonly before?: Values;
  /** True for a partial update: what is absent stays. Otherwise absent mutable ones vanish or return to default (#30). */
  readonly partial: boolean;
}

/**
 * Applies the rules to what a client gave and returns the complete new set. Immutable attributes may be given with
 * the value they already have, so that a client can put back what it got (#39).
 */
export function checkAttributes(given: Values, specs: AttributeSpecs, options: CheckOptions): Values {
  const before = options.before ?? {};
  const after: Record<string, Json> = {};
  for (const [name, spec] of Object.entries(specs)) {
    const kept = before[name];
    if (kept !== undefined && (options.partial || !spec.mutable)) after[name] = kept;
    else if (spec.default !== undefined) after[name] = spec.default;
  }
  for (const [name, value] of Object.entries(given)) {
    const spec = Object.hasOwn(specs, name) ? specs[name] : undefined;
    if (spec === undefined) throw refuse(`There is no attribute ${name} in the categories of this entity.`);
    if (name === CORE_ID) continue; // compared with the entity's own id by the caller
    if (sameValue(value, before[name])) {
      // What was stored under other rules can be put back.
      after[name] = value;
      continue;
    }
    const checked = checkValue(name, value, spec);
    const isFirst = spec.once === true && before[name] === undefined;
    if (!spec.mutable && !isFirst && !sameValue(checked, after[name])) {
      throw refuse(`${name} cannot be set by a client.`);
    }
    after[name] = checked;
  }
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.required && after[name] === undefined) throw refuse(`${name} is required.`);
  }
  return after;
}
