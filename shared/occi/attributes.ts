/** Checks attributes against their definitions: type, pattern, default, mutability (GFD.183 §4.3, §4.4). */
import { CmbsError } from '../errors';
import { isJsonObject, type Json } from '../json';
import { requireExact } from './attribute-input';
import { CORE_ID, type AttributeSpec, type AttributeSpecs } from './model';
import { matchesPattern } from './pattern';

function refuse(message: string): CmbsError {
  return new CmbsError('bad_attribute', message);
}

/** The refusal of a change to an attribute that only the server sets. */
export function refuseImmutable(name: string): CmbsError {
  return refuse(`Clients cannot set ${name}; leave it out.`);
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

/** The original writes empty values as empty strings, and numbers and booleans as strings, and checks no types. */
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

/** The array or object that a text rendering carried as a string of JSON. Other values stay as they are. */
function decodeStructured(name: string, value: Json, spec: AttributeSpec): Json {
  if (typeof value !== 'string' || (spec.type !== 'array' && spec.type !== 'object')) return value;
  if (value === '') return spec.type === 'array' ? [] : value;
  let decoded: Json;
  try {
    decoded = JSON.parse(value) as Json;
  } catch {
    // The type check that follows refuses the string.
    return value;
  }
  if (!TYPE_CHECKS[spec.type](decoded)) return value;
  requireExact(name, decoded, () => value);
  return decoded;
}

/**
 * The value as it will be stored.
 * @throws CmbsError `bad_attribute` for a value of another type, or one that does not match the pattern
 */
export function checkValue(name: string, given: Json, spec: AttributeSpec): Json {
  const value = decodeStructured(name, given, spec);
  const checks = spec.lenient ? LENIENT_CHECKS : TYPE_CHECKS;
  // A JSON Schema names its own types, perhaps several.
  const isBySchema = spec.lenient && spec.pattern?.form === 'schema';
  if (!isBySchema && !checks[spec.type](value)) {
    throw refuse(
      `${name} takes ${TYPES_IN_WORDS[spec.type] ?? `a value of type ${spec.type}`}; correct the value.`,
    );
  }
  if (spec.pattern !== undefined && !matchesPattern(value, spec.pattern, spec.lenient)) {
    const shown = spec.pattern.form === 'regex' ? spec.pattern.source : JSON.stringify(spec.pattern.schema);
    throw refuse(`${name} does not match its pattern ${shown}; correct the value.`);
  }
  return value;
}

/** Values by flat attribute name. */
export type Values = Readonly<Record<string, Json>>;

/** Whether two values have the same JSON text. */
export function sameValue(a: Json | undefined, b: Json | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b));
}

export interface CheckOptions {
  /** The present values; absent at creation. */
  readonly before?: Values;
  /**
   * True for a partial update (GFD.223 §10.3.1): absent attributes stay. Otherwise absent mutable attributes return to their
   * defaults or are removed (§10.2.2).
   */
  readonly partial: boolean;
}

/**
 * Checks the attributes that a client gave, and completes them. A client may send an immutable attribute with the value that
 * it has, so that clients can PUT what they read.
 * @returns all attributes of the entity after the change
 * @throws CmbsError `bad_attribute`
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
    if (spec === undefined)
      throw refuse(`The categories of this entity have no attribute ${name}; GET /-/ shows what they have.`);
    if (name === CORE_ID) continue; // The caller compares it with the entity's id.
    if (sameValue(value, before[name])) {
      // A value that was stored under other rules may stay.
      after[name] = value;
      continue;
    }
    const checked = checkValue(name, value, spec);
    const isFirst = spec.once === true && before[name] === undefined;
    if (!spec.mutable && !isFirst && !sameValue(checked, after[name])) {
      throw refuseImmutable(name);
    }
    after[name] = checked;
  }
  for (const [name, spec] of Object.entries(specs)) {
    if (spec.required && after[name] === undefined) throw refuse(`${name} is required; send a value for it.`);
  }
  return after;
}
