/** The parts of the entities that a caller may see, for listings: its own, and those that rules show to it. */
import type { Clock } from '../clock';
import type { Part } from '../occi';
import type { Principal } from '../principal';
import { isKnown, names } from './caller';
import { type Directory, MAX_GROUPS_OF_CALLER, MAX_RULES_OF_SUBJECT } from './directory';
import { groupsOf } from './groups';
import type { Rule } from './rule';
import { includesOperation } from './targets';

/** Parts that a listing reads beside each other; with more of them everything is read, and each entity is decided. */
const MAX_PARTS = 30;

/** All entities, each of which is decided. */
export const EVERYWHERE: readonly Part[] = [{ below: '/' }];

/** @param principal no administrator, who sees everything */
export async function visibleParts(
  principal: Principal,
  { directory, clock }: { readonly directory: Directory; readonly clock: Clock },
): Promise<readonly Part[]> {
  const { value: byPrefix } = await directory.allowingPrefixes();
  const lists: (readonly Rule[])[] = [
    byPrefix.filter(({ allow }) => allow.some((subject) => isPrefixOf(subject, principal))),
  ];
  if (byPrefix.length === MAX_RULES_OF_SUBJECT) return EVERYWHERE;
  const { value: groups } = await groupsOf(principal, directory);
  if (groups.size > MAX_GROUPS_OF_CALLER) return EVERYWHERE;
  const named = [...groups].map((group) => `group:${group}`);
  const own = isKnown(principal) ? [`${principal.kind}:${principal.name}`, 'known'] : [];
  const subjects = [...own, 'everybody', ...named];
  for (const subject of subjects) {
    const { value: rules } = await directory.allowing(subject);
    if (rules.length === MAX_RULES_OF_SUBJECT) return EVERYWHERE;
    lists.push(rules);
  }
  const now = clock.now();
  const counting = lists.flat().filter((rule) => counts(rule, now));
  const targets = [...new Set(counting.map(({ target }) => target))];
  const found = targets.map(partOf).filter((part) => part !== undefined);
  const paths = found.flatMap((part) => ('paths' in part ? part.paths : []));
  const parts: Part[] = found.filter((part) => !('paths' in part));
  if (isKnown(principal)) parts.push({ owner: principal.name });
  if (paths.length > 0) parts.push({ paths });
  return parts.length > MAX_PARTS ? EVERYWHERE : parts;
}

const isPrefixOf = (subject: string, principal: Principal): boolean =>
  subject.startsWith('prefix:') && names(subject, { principal, isIn: () => false }, undefined);

function counts({ operations, from, until }: Rule, now: number): boolean {
  if (!includesOperation(operations, 'entity.read')) return false;
  return (from === undefined || from <= now) && (until === undefined || now < until);
}

/** Where the entities of a target are; undefined for targets that are no entities. */
function partOf(target: string): Part | undefined {
  const colon = target.indexOf(':');
  const value = target.slice(colon + 1);
  switch (target.slice(0, colon)) {
    case 'entity':
    case 'member':
      return value.endsWith('/') ? { below: value } : { paths: [value] };
    case 'category':
      return value.endsWith('#') ? { scheme: value } : { category: value };
    default:
      return undefined;
  }
}
