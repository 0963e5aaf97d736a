/**
 * Regular expressions from clients. They run on RE2, in linear time, and within limits of size and time, so that a client
 * cannot stop the server with one.
 */
import { RE2JS } from 're2js';
import { badRequest, CmbsError } from '../errors';

/** Characters of a pattern: enough for any real one, and quick to compile. */
export const MAX_PATTERN_LENGTH = 1024;
/** Characters of a value times instructions of its pattern: half a second at worst. Simple patterns may match a megabyte. */
const MAX_MATCH_STEPS = 10_000_000;
/** Milliseconds that one turn of the event loop may spend on patterns. Real patterns take microseconds. */
const MAX_MATCHING_MS = 500;
/** Instructions of all compiled patterns in the cache: about 25 MB at worst, in processes with 256 MB. */
const MAX_COMPILED_INSTRUCTIONS = 100_000;
/** Further memory of a compiled pattern, in instructions, which counts for thousands of one-letter patterns. */
const PATTERN_OVERHEAD_INSTRUCTIONS = 16;

const compiled = new Map<string, RE2JS>();
let compiledInstructions = 0;

/** Characters of a value whose match is remembered: flags, states, names and addresses are short. */
const MAX_REMEMBERED_CHARS = 64;
/** Matches in memory: 1 MB, and with as many patterns of {@link MAX_PATTERN_LENGTH} characters 5 MB. */
const MAX_REMEMBERED_MATCHES = 4096;

/** Whether short values match, by pattern and extent, then by value. The same few values come again and again. */
const matches = new Map<string, Map<string, boolean>>();
let rememberedMatches = 0;

let spentMs = 0;
/** CPU use of the process when the turn first worked on a pattern. */
let cpuAtFirst: NodeJS.CpuUsage | undefined;

/**
 * Runs work on a pattern within the time that one turn of the event loop has for patterns. Linear time can still mean seconds
 * for a body full of hostile values, and no other request is served meanwhile.
 * @throws CmbsError `too_large` when the turn's time is used up
 */
function withinTurn<T>(work: () => T): T {
  if (cpuAtFirst === undefined) {
    cpuAtFirst = process.cpuUsage();
    setImmediate(() => {
      cpuAtFirst = undefined;
      spentMs = 0;
    });
  }
  // Time in which other processes have the processor does not count, so CPU time must be used up too.
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

/**
 * Checks and compiles a pattern.
 * @throws CmbsError `bad_request`, `too_large`
 */
export function compile(source: string): RE2JS {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  if (source.length > MAX_PATTERN_LENGTH) {
    throw badRequest(`A pattern has ${MAX_PATTERN_LENGTH} characters at most; shorten it.`);
  }
  let made: RE2JS;
  try {
    made = withinTurn(() => RE2JS.compile(source));
  } catch (cause) {
    if (cause instanceof CmbsError) throw cause;
    throw badRequest(`The pattern ${JSON.stringify(source)} is not valid RE2 syntax; correct it.`, { cause });
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

/**
 * Whether a value matches a pattern as a whole (`matches`), from its start (`lookingAt`), or anywhere (`find`).
 * @throws CmbsError `bad_request`, `too_large`
 */
export function fits(source: string, value: string, extent: Extent): boolean {
  if (value.length > MAX_REMEMBERED_CHARS) return match(source, value, extent);
  const key = `${extent} ${source}`;
  const known = matches.get(key)?.get(value);
  if (known !== undefined) return known;
  const found = match(source, value, extent);
  if (rememberedMatches === MAX_REMEMBERED_MATCHES) {
    matches.clear();
    rememberedMatches = 0;
  }
  const ofPattern = matches.get(key);
  if (ofPattern === undefined) matches.set(key, new Map([[value, found]]));
  else ofPattern.set(value, found);
  rememberedMatches += 1;
  return found;
}

function match(source: string, value: string, extent: Extent): boolean {
  const expression = compile(source);
  if (value.length * expression.programSize() > MAX_MATCH_STEPS) {
    throw new CmbsError(
      'too_large',
      `A value of ${value.length} characters is too long for its pattern; shorten it.`,
    );
  }
  return withinTurn(() => expression.matcher(value)[extent]());
}
