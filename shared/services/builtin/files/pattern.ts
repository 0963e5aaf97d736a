/**
 * Patterns of searches. `*` stands for any characters of one part of a name, `?` for one character, and `**` as a whole
 * part for any number of directories. A pattern without a slash is about the last part alone. Takes time
 * proportional to the product of the lengths of pattern and name at most, both of which are bounded.
 */
import { badRequest } from '../../../errors';
import { MAX_FILE_DEPTH, MAX_FILE_PATTERN_CHARS } from './limits';

export type Matches = (parts: readonly string[]) => boolean;

/** @throws CmbsError `bad_request` for a pattern that is empty or too long */
export function matcherOf(pattern: string): Matches {
  const wanted = pattern.split('/').map((part) => (part === '**' ? part : Array.from(part)));
  if (pattern === '' || pattern.length > MAX_FILE_PATTERN_CHARS || wanted.length > 2 * MAX_FILE_DEPTH) {
    throw badRequest(
      `A pattern has 1 to ${MAX_FILE_PATTERN_CHARS} characters and few parts; *.csv and data/**/*.csv are patterns.`,
    );
  }
  if (wanted.length === 1 && wanted[0] !== '**') {
    const last = wanted[0] as readonly string[];
    return (parts) => matchesPart(last, Array.from(parts.at(-1) ?? ''));
  }
  return (parts) => matchesParts(wanted, parts);
}

type Wanted = '**' | readonly string[];

/** Which beginnings of the name the pattern covers so far, one part of the pattern after the other. */
function matchesParts(wanted: readonly Wanted[], parts: readonly string[]): boolean {
  let covered = Array.from({ length: parts.length + 1 }, (_, count) => count === 0);
  for (const part of wanted) {
    if (part === '**') {
      const first = covered.indexOf(true);
      covered = covered.map((_, count) => first >= 0 && count >= first);
    } else {
      covered = covered.map(
        (_, count) =>
          count > 0 && covered[count - 1] === true && matchesPart(part, Array.from(parts[count - 1] ?? '')),
      );
    }
  }
  return covered[parts.length] === true;
}

/** One part: after a mismatch, only the last `*` takes one character more. */
function matchesPart(pattern: readonly string[], text: readonly string[]): boolean {
  let at = 0;
  let star = -1;
  let taken = 0;
  let next = 0;
  while (next < text.length) {
    if (pattern[at] === '*') {
      star = at++;
      taken = next;
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[next])) {
      at++;
      next++;
    } else if (star >= 0) {
      at = star + 1;
      next = ++taken;
    } else {
      return false;
    }
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}
