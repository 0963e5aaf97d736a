/** The groups that a caller is in. */
import type { Principal } from '../principal';
import { isKnown } from './caller';
import { type Directory, MAX_GROUPS_OF_CALLER } from './directory';
import type { Kept } from './kept';

/**
 * Names of the groups that list the caller, and of all groups below these: members of a group count as members of the
 * groups below it. At most {@link MAX_GROUPS_OF_CALLER} and one more, by which the caller tells that there are others.
 */
export async function groupsOf(principal: Principal, directory: Directory): Promise<Kept<ReadonlySet<string>>> {
  const groups = new Set<string>();
  if (!isKnown(principal)) return { value: groups, until: Infinity };
  const direct = await directory.memberships(`${principal.kind}:${principal.name}`);
  let { until } = direct;
  for (const name of direct.value) groups.add(name);
  // A set that grows while it is read: each group is read once, also in a circle.
  for (const group of groups) {
    if (groups.size > MAX_GROUPS_OF_CALLER) break;
    const below = await directory.below(group);
    until = Math.min(until, below.until);
    for (const name of below.value) groups.add(name);
  }
  return { value: groups, until };
}
