/** Reads the attributes of a client's definition, in the nested form, in GFD.226's, or from text. */
import { badRequest } from '../../errors';
import { isJsonObject, type Json, type JsonObject } from '../../json';
import { MAX_NAME_LENGTH } from '../../limits';
import { requireExact } from '../attribute-input';
import {
  CORE_ATTRIBUTES,
  DERIVED_NAMES,
  type AttributeSpec,
  type AttributeSpecs,
  type AttributeType,
  type Pattern,
} from '../model';
import { checkPattern } from '../pattern';
import type { CategoryInput } from '../payload';
import { MAX_CATEGORY_ATTRIBUTES, tooManyAttributes } from './definition-size';

const ATTRIBUTE_NAME = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;

const TYPES: Readonly<Record<string, AttributeType>> = {
  string: 'string',
  number: 'number',
  integer: 'number',
  float: 'number',
  boolean: 'boolean',
  array: 'array',
  list: 'array',
  object: 'object',
  hash: 'object',
};

const SPEC_KEYS = new Set(['type', 'required', 'mutable', 'default', 'pattern', 'description', 'unique', 'title']);

/** Whether an object defines an attribute, rather than being a level of names: it has only known keys and no levels. */
function isSpec(value: JsonObject): boolean {
  return Object.entries(value).every(
    ([key, inner]) => SPEC_KEYS.has(key) && (!isJsonObject(inner) || key === 'default' || key === 'pattern'),
  );
}

function patternOf(name: string, value: Json): Pattern {
  if (typeof value === 'string') return { form: 'regex', source: value };
  if (isJsonObject(value)) return { form: 'schema', schema: value };
  throw badRequest(`The pattern of ${name} must be a regular expression or a JSON Schema; correct it.`);
}

function flag(name: string, key: string, value: Json | undefined, absent: boolean): boolean {
  if (value === undefined) return absent;
  if (typeof value === 'boolean') return value;
  throw badRequest(`"${key}" of ${name} must be true or false; correct it.`);
}

function typeNamed(given: Json): AttributeType | undefined {
  const name = typeof given === 'string' ? given.toLowerCase() : '';
  return Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
}

function attributeSpec(name: string, given: JsonObject, dialect: CategoryInput['dialect']): AttributeSpec {
  const lenient = dialect === 'nested';
  const untyped = dialect === 'text' ? 'scalar' : 'string';
  const type = given.type === undefined ? untyped : typeNamed(given.type);
  if (type === undefined) {
    throw badRequest(
      `${name} has the unknown type ${JSON.stringify(given.type)}; use string, number, boolean, array or object.`,
    );
  }
  const pattern =
    given.pattern === undefined || given.pattern === null ? undefined : patternOf(name, given.pattern);
  if (pattern !== undefined) checkPattern(pattern);
  if (given.default !== undefined) requireExact(name, given.default, () => undefined);
  if (given.description !== undefined && typeof given.description !== 'string') {
    throw badRequest(`"description" of ${name} must be a string; correct it.`);
  }
  return {
    type,
    required: flag(name, 'required', given.required, false),
    // An absent property means immutable in GFD.226, and mutable in the original's dialect.
    mutable: flag(name, 'mutable', given.mutable, lenient),
    ...(given.default === undefined || given.default === null ? {} : { default: given.default }),
    ...(pattern === undefined ? {} : { pattern }),
    ...(given.description === undefined ? {} : { description: given.description }),
    lenient,
  };
}

/**
 * The definitions by flat name, from `{"a.b":{…}}` or `{"a":{"b":{…}}}`.
 * @throws CmbsError `bad_request`, `bad_attribute`, `too_large`
 */
export function attributeSpecs(attributes: JsonObject, dialect: CategoryInput['dialect']): AttributeSpecs {
  const specs: Record<string, AttributeSpec> = {};
  let number = 0;
  const visit = (object: JsonObject, prefix: string): void => {
    for (const [key, value] of Object.entries(object)) {
      const name = prefix === '' ? key : `${prefix}.${key}`;
      if (!isJsonObject(value)) throw badRequest(`The definition of ${name} must be an object; correct it.`);
      if (!isSpec(value)) {
        visit(value, name);
        continue;
      }
      if (!ATTRIBUTE_NAME.test(name) || name.length > MAX_NAME_LENGTH) {
        throw badRequest(
          `${JSON.stringify(name)} is not an attribute name: use a–z, A–Z, 0–9, "_", "-" and dots.`,
        );
      }
      // Some servers list the attributes that a kind inherits from the core.
      if (CORE_ATTRIBUTES.has(name)) continue;
      if (name.startsWith('occi.core.') && !DERIVED_NAMES.has(name)) {
        throw badRequest(`${name} is not an attribute of the core model; choose a name outside occi.core.`);
      }
      number += 1;
      if (number > MAX_CATEGORY_ATTRIBUTES) throw tooManyAttributes();
      const spec = attributeSpec(name, value, dialect);
      specs[name] = DERIVED_NAMES.has(name) ? { ...spec, required: false, mutable: false } : spec;
    }
  };
  visit(attributes, '');
  return specs;
}
