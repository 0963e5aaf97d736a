/** The groups that a caller is in. */
import { concurrently } from '../concurrently';
import type { Principal } from '../principal';
import { isKnown } from './caller';
import { type Directory, MAX_GROUPS_OF_CALLER } from './directory';
import type { Kept } from './kept';

/** Groups whose lower groups are read at the same time. */
const READ_CONCURRENCY = 16;

export interface Groups {
  readonly names: ReadonlySet<string>;
  /** False for a caller in more than {@link MAX_GROUPS_OF_CALLER} groups, of which only some are named. */
  readonly isWhole: boolean;
}

const NONE: Kept<Groups> = { value: { names: new Set(), isWhole: true }, until: Infinity };

/** The groups that list the caller, and the groups below them: members of a group count as members of those too. */
export async function groupsOf(principal: Principal, directory: Directory): Promise<Kept<Groups>> {
  if (!isKnown(principal)) return NONE;
  return withLower(await directory.memberships(subjectOf(principal)), directory);
}

/** The groups that the caller administers: those that list it as an administrator, and the groups below them. */
export async function groupsAdministeredBy(principal: Principal, directory: Directory): Promise<Kept<Groups>> {
  if (!isKnown(principal)) return NONE;
  return withLower(await directory.administered(subjectOf(principal)), directory);
}

/** A caller as groups list one. */
export const subjectOf = ({ kind, name }: Principal): string => `${kind}:${name}`;

/** Level by level; each group is read once, also in a circle. */
async function withLower(direct: Kept<readonly string[]>, directory: Directory): Promise<Kept<Groups>> {
  const names = new Set(direct.value);
  let { until } = direct;
  let level: readonly string[] = [...names];
  while (level.length > 0 && names.size <= MAX_GROUPS_OF_CALLER) {
    const lower: string[] = [];
    await concurrently(level, READ_CONCURRENCY, async (group) => {
      const below = await directory.below(group);
      until = Math.min(until, below.until);
      lower.push(...below.value);
    });
    level = [...new Set(lower)].filter((name) => !names.has(name));
    for (const name of level) names.add(name);
  }
  return { value: { names, isWhole: names.size <= MAX_GROUPS_OF_CALLER }, until };
}
