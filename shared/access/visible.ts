/** The parts of the entities that a caller may see, for listings: its own, and those that rules show to it. */
import type { Clock } from '../clock';
import { concurrently } from '../concurrently';
import type { Part } from '../occi';
import type { Principal } from '../principal';
import { isKnown, names } from './caller';
import type { Directory, ShowingRule, Shown } from './directory';
import { groupsAdministeredBy, groupsOf, subjectOf } from './groups';
import { GROUPS } from './names';

/** Parts that a listing reads beside each other; with more of them everything is read, and each entity is decided. */
const MAX_PARTS = 30;
/** Subjects whose rules are read at the same time. */
const READ_CONCURRENCY = 16;

/** All entities, each of which is decided. */
export const EVERYWHERE: readonly Part[] = [{ below: '/' }];

/** @param principal no administrator, who sees everything */
export async function visibleParts(
  principal: Principal,
  { directory, clock }: { readonly directory: Directory; readonly clock: Clock },
): Promise<readonly Part[]> {
  const groups = (await groupsOf(principal, directory)).value;
  const administered = (await groupsAdministeredBy(principal, directory)).value;
  if (!groups.isWhole || !administered.isWhole) return EVERYWHERE;
  const own = isKnown(principal) ? [subjectOf(principal), 'known'] : [];
  const subjects = [...own, 'everybody', ...[...groups.names].map((group) => `group:${group}`)];
  const byPrefix = (await directory.shownToPrefixes()).value;
  const found: Shown[] = [{ ...byPrefix, rules: byPrefix.rules.filter((rule) => hasPrefixOf(rule, principal)) }];
  await concurrently(subjects, READ_CONCURRENCY, async (subject) => {
    found.push((await directory.shown(subject)).value);
  });
  if (found.some(({ isWhole }) => !isWhole)) return EVERYWHERE;
  const now = clock.now();
  const counting = found.flatMap(({ rules }) => rules.filter((rule) => counts(rule, now)));
  const shown = [...new Set(counting.map(({ target }) => target))].flatMap((target) => partOf(target) ?? []);
  const paths = [
    ...shown.flatMap((part) => ('paths' in part ? part.paths : [])),
    ...[...administered.names].map((group) => GROUPS + group),
  ];
  const parts: Part[] = shown.filter((part) => !('paths' in part));
  if (isKnown(principal)) parts.push({ owner: principal.name });
  if (paths.length > 0) parts.push({ paths });
  return parts.length > MAX_PARTS ? EVERYWHERE : parts;
}

const hasPrefixOf = ({ prefixes = [] }: ShowingRule, principal: Principal): boolean =>
  prefixes.some((prefix) => names(prefix, { principal, isIn: () => false }, undefined));

const counts = ({ from, until }: ShowingRule, now: number): boolean =>
  (from === undefined || from <= now) && (until === undefined || now < until);

/** Where the entities of a target are; undefined for targets that are no entities. */
function partOf(target: string): Part | undefined {
  const colon = target.indexOf(':');
  const value = target.slice(colon + 1);
  switch (target.slice(0, colon)) {
    case 'entity':
    case 'member':
      return value.endsWith('/') ? { below: value } : { paths: [value] };
    case 'category':
      if (value === '') return { below: '/' };
      return value.endsWith('#') ? { scheme: value } : { category: value };
    default:
      return undefined;
  }
}
