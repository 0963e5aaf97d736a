/** Reads a client's definition of a kind, mixin or action, in any dialect, into the model (DESIGN decision 3). */
import { badRequest, CmbsError } from '../../errors';
import { isJsonObject, type Json, type JsonObject } from '../../json';
import { requireExact } from '../attributes';
import { MAX_NAME_LENGTH } from '../../limits';
import { MAX_PATH_LENGTH } from '../limits';
import { isReservedPath } from '../paths';
import {
  CORE_ID,
  CORE_SOURCE,
  CORE_SUMMARY,
  CORE_TARGET,
  CORE_TITLE,
  DERIVED_NAMES,
  RESOURCE_KIND,
  type AttributeSpec,
  type AttributeType,
  type Category,
  type CategoryClass,
  type CategoryId,
  type Pattern,
} from '../model';
import { checkPattern } from '../pattern';
import type { CategoryInput } from '../payload';

/** Characters of one definition, and what it may list: the largest of the infrastructure has 2,000 and a dozen. */
export const MAX_DEFINITION_CHARS = 128 * 1024;
export const MAX_CATEGORY_ATTRIBUTES = 500;
export const MAX_CATEGORY_REFERENCES = 200;

const TERM = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:[^\s"'<>\\^`{|}]*#$/;
const LOCATION = /^\/(?:[A-Za-z0-9_.~!$&()*+,;=:@-]+\/)+$/;
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

/** Every entity has them from the core model. Servers that list what a kind inherits name them in definitions too. */
const INHERITED: ReadonlySet<string> = new Set([CORE_ID, CORE_TITLE, CORE_SUMMARY, CORE_SOURCE, CORE_TARGET]);

/** A definition rather than one more level of nesting: only known keys, and none of them holds another level. */
function isSpec(value: JsonObject): boolean {
  return Object.entries(value).every(
    ([key, inner]) => SPEC_KEYS.has(key) && (!isJsonObject(inner) || key === 'default' || key === 'pattern'),
  );
}

function patternOf(name: string, value: Json): Pattern {
  if (typeof value === 'string') return { form: 'regex', source: value };
  if (isJsonObject(value)) return { form: 'schema', schema: value };
  throw badRequest(`The pattern of ${name} takes a regular expression or a JSON Schema.`);
}

function flag(name: string, key: string, value: Json | undefined, absent: boolean): boolean {
  if (value === undefined) return absent;
  if (typeof value === 'boolean') return value;
  throw badRequest(`"${key}" of ${name} takes true or false.`);
}

function typeNamed(given: Json): AttributeType | undefined {
  const name = typeof given === 'string' ? given.toLowerCase() : '';
  return Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
}

function attributeSpec(name: string, given: JsonObject, dialect: CategoryInput['dialect']): AttributeSpec {
  const lenient = dialect === 'nested';
  const untyped = dialect === 'text' ? 'scalar' : 'string';
  const type = given.type === undefined ? untyped : typeNamed(given.type);
  if (type === undefined) throw badRequest(`${name} has the unknown type ${JSON.stringify(given.type)}.`);
  const pattern =
    given.pattern === undefined || given.pattern === null ? undefined : patternOf(name, given.pattern);
  if (pattern !== undefined) checkPattern(pattern);
  if (given.default !== undefined) requireExact(name, given.default, () => undefined);
  if (given.description !== undefined && typeof given.description !== 'string') {
    throw badRequest(`"description" of ${name} takes a string.`);
  }
  return {
    type,
    required: flag(name, 'required', given.required, false),
    // GFD.226 §4: absent means immutable. The original's dialect means mutable (#44).
    mutable: flag(name, 'mutable', given.mutable, lenient),
    ...(given.default === undefined || given.default === null ? {} : { default: given.default }),
    ...(pattern === undefined ? {} : { pattern }),
    ...(given.description === undefined ? {} : { description: given.description }),
    lenient,
  };
}

/** Flat names to definitions, from `{"a.b":{…}}` or `{"a":{"b":{…}}}`. */
export function attributeSpecs(
  attributes: JsonObject,
  dialect: CategoryInput['dialect'],
): Readonly<Record<string, AttributeSpec>> {
  const specs: Record<string, AttributeSpec> = {};
  let number = 0;
  const visit = (object: JsonObject, prefix: string): void => {
    for (const [key, value] of Object.entries(object)) {
      const name = prefix === '' ? key : `${prefix}.${key}`;
      if (!isJsonObject(value)) throw badRequest(`The definition of ${name} takes an object.`);
      if (!isSpec(value)) {
        visit(value, name);
        continue;
      }
      if (!ATTRIBUTE_NAME.test(name) || name.length > MAX_NAME_LENGTH) {
        throw badRequest(
          `${JSON.stringify(name)} is not an attribute name: use a–z, A–Z, 0–9, "_", "-" and dots.`,
        );
      }
      if (INHERITED.has(name)) continue;
      if (name.startsWith('occi.core.') && !DERIVED_NAMES.has(name)) {
        throw badRequest(`${name} is not an attribute of the core model; choose a name outside of occi.core.`);
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

export function checkIdentity(input: { readonly term: string; readonly scheme: string }): void {
  if (!TERM.test(input.term) || input.term.length > MAX_NAME_LENGTH) {
    throw badRequest(`${JSON.stringify(input.term)} is not a term: use a–z, A–Z, 0–9, "_", "." and "-".`);
  }
  if (!SCHEME.test(input.scheme) || input.scheme.length > MAX_PATH_LENGTH) {
    throw badRequest(`${JSON.stringify(input.scheme)} is not a scheme: it is a URI that ends with "#".`);
  }
}

/** The path of a category's collection. An absolute URL is taken for its path. */
export function locationPath(given: string): string {
  let path = given;
  if (/^https?:\/\//i.test(given)) {
    try {
      path = new URL(given).pathname;
    } catch (cause) {
      throw badRequest(`${JSON.stringify(given)} is not a location.`, { cause });
    }
  }
  if (!LOCATION.test(path) || path.length > MAX_PATH_LENGTH || /\/\.{1,2}\//.test(path)) {
    throw badRequest(
      `${JSON.stringify(given)} is not a location: it starts and ends with "/" and has no empty segment.`,
    );
  }
  if (isReservedPath(path)) throw new CmbsError('conflict', `The location ${path} is reserved.`);
  return path;
}

const title = (input: CategoryInput): { title?: string } =>
  input.title === undefined ? {} : { title: input.title };

const sizes = new WeakMap<Category, number>();

/** Characters of a definition as it is stored. */
export function definitionChars(category: Category): number {
  const known = sizes.get(category) ?? JSON.stringify(category).length;
  sizes.set(category, known);
  return known;
}

const tooManyAttributes = (): CmbsError =>
  new CmbsError('too_large', `A category has ${MAX_CATEGORY_ATTRIBUTES} attributes at most; define several.`);

/** Refuses (`too_large`) a category that is larger than any real one, also after additions to it. */
export function checkSize(category: Category): void {
  if (Object.keys(category.attributes).length > MAX_CATEGORY_ATTRIBUTES) throw tooManyAttributes();
  const lists = category.class === 'action' ? [] : [category.actions];
  if (category.class === 'mixin') lists.push(category.depends, category.applies);
  if (lists.some(({ length }) => length > MAX_CATEGORY_REFERENCES)) {
    throw new CmbsError(
      'too_large',
      `A category names ${MAX_CATEGORY_REFERENCES} actions, and as many others, at most; define several.`,
    );
  }
  if (definitionChars(category) > MAX_DEFINITION_CHARS) {
    throw new CmbsError('too_large', `A definition has ${MAX_DEFINITION_CHARS} characters at most; shorten it.`);
  }
}

/** The category that a client defines; `origin` is `runtime`. */
export function categoryFrom(input: CategoryInput, category: CategoryClass): Category {
  checkIdentity(input);
  const attributes = attributeSpecs(input.attributes ?? {}, input.dialect);
  const dialect = input.dialect === 'nested' ? 'nested' : 'gfd226';
  const base = { term: input.term, scheme: input.scheme, ...title(input), attributes, origin: 'runtime' as const };
  switch (category) {
    case 'action':
      return { ...base, class: 'action' };
    case 'kind':
      return {
        ...base,
        class: 'kind',
        dialect,
        parent: input.parent ?? RESOURCE_KIND,
        actions: unique(input.actions),
        location: requireLocation(input),
      };
    case 'mixin':
      return {
        ...base,
        class: 'mixin',
        dialect,
        depends: unique(input.depends),
        applies: unique(input.applies),
        actions: unique(input.actions),
        location: requireLocation(input),
      };
  }
}

function unique(ids: readonly CategoryId[] | undefined): readonly CategoryId[] {
  return [...new Set(ids ?? [])];
}

function requireLocation(input: CategoryInput): string {
  if (input.location === undefined) {
    throw badRequest(`${input.scheme}${input.term} needs a location, the path of its collection.`);
  }
  return locationPath(input.location);
}
