/** Matches attribute values against patterns. The JSON Schema form supports a fixed list of keywords. */
import { badRequest } from '../errors';
import { isJsonObject, type Json, type JsonObject } from '../json';
import type { Pattern } from './model';
import { compile, fits, MAX_PATTERN_LENGTH } from './regular-expression';

type Check = (value: Json, argument: Json) => boolean;

const length = (value: Json): number | undefined =>
  typeof value === 'string' ? Array.from(value).length : undefined;
const atLeast = (actual: number | undefined, argument: Json): boolean =>
  actual === undefined || (typeof argument === 'number' && actual >= argument);
const atMost = (actual: number | undefined, argument: Json): boolean =>
  actual === undefined || (typeof argument === 'number' && actual <= argument);
const numeric = (value: Json): number | undefined => (typeof value === 'number' ? value : undefined);
const items = (value: Json): number | undefined => (Array.isArray(value) ? value.length : undefined);

function hasType(value: Json, type: Json): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isJsonObject(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

const sameJson = (a: Json, b: Json): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Supported keywords of JSON Schema. Each checks one value; annotations are ignored. */
const KEYWORDS: Readonly<Record<string, Check>> = {
  type: (value, type) =>
    Array.isArray(type) ? type.some((one) => hasType(value, one as Json)) : hasType(value, type),
  enum: (value, allowed) => Array.isArray(allowed) && allowed.some((one) => sameJson(one as Json, value)),
  const: (value, expected) => sameJson(value, expected),
  pattern: (value, source) =>
    typeof value !== 'string' || (typeof source === 'string' && fits(source, value, 'find')),
  minLength: (value, n) => atLeast(length(value), n),
  maxLength: (value, n) => atMost(length(value), n),
  minimum: (value, n) => atLeast(numeric(value), n),
  maximum: (value, n) => atMost(numeric(value), n),
  exclusiveMinimum: (value, n) => typeof value !== 'number' || (typeof n === 'number' && value > n),
  exclusiveMaximum: (value, n) => typeof value !== 'number' || (typeof n === 'number' && value < n),
  multipleOf: (value, n) => typeof value !== 'number' || (typeof n === 'number' && Number.isInteger(value / n)),
  minItems: (value, n) => atLeast(items(value), n),
  maxItems: (value, n) => atMost(items(value), n),
  items: (value, schema) =>
    !Array.isArray(value) || (isJsonObject(schema) && value.every((one) => meetsSchema(one as Json, schema))),
  $schema: () => true,
  title: () => true,
  description: () => true,
  default: () => true,
  examples: () => true,
};

function meetsSchema(value: Json, schema: JsonObject): boolean {
  return Object.entries(schema).every(([keyword, argument]) => KEYWORDS[keyword]?.(value, argument) === true);
}

/**
 * Refuses a pattern that cannot be applied.
 * @throws CmbsError `bad_request`, `too_large`
 */
export function checkPattern(pattern: Pattern): void {
  if (pattern.form === 'regex') {
    compile(pattern.source);
    return;
  }
  const text = JSON.stringify(pattern.schema);
  if (text.length > MAX_PATTERN_LENGTH) {
    throw badRequest(`A pattern has ${MAX_PATTERN_LENGTH} characters at most; shorten it.`);
  }
  const visit = (schema: JsonObject): void => {
    for (const [keyword, argument] of Object.entries(schema)) {
      if (!Object.hasOwn(KEYWORDS, keyword)) {
        throw badRequest(
          `The pattern has the JSON Schema keyword "${keyword}", which is not supported; leave it out.`,
        );
      }
      if (keyword === 'pattern') {
        if (typeof argument !== 'string')
          throw badRequest('The schema keyword "pattern" must be a string; correct it.');
        compile(argument);
      }
      if (keyword === 'items') {
        if (!isJsonObject(argument)) throw badRequest('The schema keyword "items" must be an object; correct it.');
        visit(argument);
      }
    }
  };
  visit(pattern.schema);
}

/**
 * Whether a value matches a pattern. Lenient regular expressions match a prefix, and match every value that is not a string.
 * `true` and `false` in any case match a lenient pattern that allows the word in lower case, since the original writes
 * `"True"`.
 * @throws CmbsError `too_large` for a value that is too long for the pattern
 */
export function matchesPattern(value: Json, pattern: Pattern, lenient: boolean): boolean {
  if (pattern.form === 'schema') return meetsSchema(value, pattern.schema);
  const { source } = pattern;
  if (!lenient) return fits(source, typeof value === 'string' ? value : JSON.stringify(value), 'matches');
  if (typeof value !== 'string') return true;
  if (fits(source, value, 'lookingAt')) return true;
  const lower = value.toLowerCase();
  return (lower === 'true' || lower === 'false') && fits(source, lower, 'lookingAt');
}
