/**
 * Matching of attribute patterns. Clients supply them, so they run on RE2 (linear time), are short, and the JSON
 * Schema form knows a fixed list of keywords.
 */
import { RE2JS } from 're2js';
import { badRequest, CmbsError } from '../errors';
import { isJsonObject, type Json, type JsonObject } from '../json';
import type { Pattern } from './model';

/** Characters of an attribute pattern: enough for any real one, little to compile (DESIGN decision 22). */
export const MAX_PATTERN_LENGTH = 1024;
/** Characters of a value times instructions of its pattern: half a second at worst. A simple pattern takes a megabyte. */
const MAX_MATCH_STEPS = 10_000_000;
/** Milliseconds of one turn of the event loop that may go into patterns; real ones take microseconds. */
const MAX_MATCHING_MS = 500;
/** Instructions of all patterns that are kept compiled: about 25 MB at worst, in processes that have 256 MB. */
const MAX_COMPILED_INSTRUCTIONS = 100_000;
/** What a compiled pattern costs besides, in instructions: thousands of one-letter patterns are no small thing. */
const PATTERN_OVERHEAD_INSTRUCTIONS = 16;

const compiled = new Map<string, RE2JS>();
let compiledInstructions = 0;

let spentMs = 0;
/** Of the process, when the turn first worked on a pattern. */
let cpuAtFirst: NodeJS.CpuUsage | undefined;

/**
 * Runs work on a pattern within the time that one turn of the event loop has for patterns: linear in pattern times
 * value is still seconds for a body full of values that were made for it, and nobody else is served meanwhile.
 */
function withinTurn<T>(work: () => T): T {
  if (cpuAtFirst === undefined) {
    cpuAtFirst = process.cpuUsage();
    setImmediate(() => {
      cpuAtFirst = undefined;
      spentMs = 0;
    });
  }
  // Time that passes while other processes have the processor is nobody's fault: the turn must also have used it.
  if (spentMs > MAX_MATCHING_MS && cpuMsSince(cpuAtFirst) > MAX_MATCHING_MS) {
    throw new CmbsError('too_large', 'Matching the patterns takes too long; send fewer or shorter values.');
  }
  const begun = performance.now();
  try {
    return work();
  } finally {
    spentMs += performance.now() - begun;
  }
}

function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function regex(source: string): RE2JS {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  if (source.length > MAX_PATTERN_LENGTH) {
    throw badRequest(`A pattern may have ${MAX_PATTERN_LENGTH} characters at most.`);
  }
  let made: RE2JS;
  try {
    made = withinTurn(() => RE2JS.compile(source));
  } catch (cause) {
    if (cause instanceof CmbsError) throw cause;
    throw badRequest(`The pattern ${JSON.stringify(source)} is not in RE2 syntax.`, { cause });
  }
  const weight = made.programSize() + PATTERN_OVERHEAD_INSTRUCTIONS;
  compiledInstructions += weight;
  if (compiledInstructions > MAX_COMPILED_INSTRUCTIONS) {
    compiled.clear();
    compiledInstructions = weight;
  }
  compiled.set(source, made);
  return made;
}

type Extent = 'matches' | 'lookingAt' | 'find';

function fits(source: string, value: string, extent: Extent): boolean {
  const expression = regex(source);
  if (value.length * expression.programSize() > MAX_MATCH_STEPS) {
    throw new CmbsError(
      'too_large',
      `A value of ${value.length} characters is too long for its pattern; shorten it.`,
    );
  }
  return withinTurn(() => expression.matcher(value)[extent]());
}

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

/** Keywords of JSON Schema that say something about one value; annotations are allowed and ignored. */
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

/** Refuses (`bad_request`) a pattern that could not be applied later. */
export function checkPattern(pattern: Pattern): void {
  if (pattern.form === 'regex') {
    regex(pattern.source);
    return;
  }
  const text = JSON.stringify(pattern.schema);
  if (text.length > MAX_PATTERN_LENGTH) {
    throw badRequest(`A pattern may have ${MAX_PATTERN_LENGTH} characters at most.`);
  }
  const visit = (schema: JsonObject): void => {
    for (const [keyword, argument] of Object.entries(schema)) {
      if (!Object.hasOwn(KEYWORDS, keyword)) {
        throw badRequest(`The pattern uses the JSON Schema keyword "${keyword}", which is not supported here.`);
      }
      if (keyword === 'pattern') {
        if (typeof argument !== 'string') throw badRequest('The schema keyword "pattern" takes a string.');
        regex(argument);
      }
      if (keyword === 'items') {
        if (!isJsonObject(argument)) throw badRequest('The schema keyword "items" takes an object.');
        visit(argument);
      }
    }
  };
  visit(pattern.schema);
}

/**
 * Whether the value fits. Lenient regular expressions match a prefix and only look at strings; `true` and `false` in
 * any case fit a lenient pattern that allows the lower-case word (the original's data say `"True"`).
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
