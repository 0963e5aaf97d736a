/**
 * Groups of members: the local members of each shard, remote members, and unverified ones. Each companion finds its own
 * members by the group. Release 1.0 stored members without it; companions write such members again.
 */
import { CATEGORY_FIELD, ENTITIES, type Entity, GROUP_FIELD } from '../occi';
import type { Store } from '../store';
import { MEMBER_KIND } from './cmbs';
import { areSomeWithout } from './index-count';
import { type IndexTerm, isLocal } from './member';
import { isUnverified } from './provenance';

/** Groups of members of other deployments. No shard has such a name. */
const REMOTE = '@remote';
const UNVERIFIED = '@unverified';

/** Those that have answered or that clients wrote first: they are worth more where room is limited. */
export const REMOTE_GROUPS: readonly string[] = [REMOTE, UNVERIFIED];

export const groupTerm = (group: string): IndexTerm => ({ field: GROUP_FIELD, value: group });
export const UNVERIFIED_GROUP: IndexTerm = groupTerm(UNVERIFIED);

/** Name of the shard of a local member. */
export type ShardOf = (member: Entity) => string;

export function groupOf(member: Entity, shardOf: ShardOf): string {
  if (isLocal(member)) return shardOf(member);
  return isUnverified(member) ? UNVERIFIED : REMOTE;
}

/** The member in its present group. */
export const inGroup = (member: Entity, shardOf: ShardOf): Entity => ({
  ...member,
  group: groupOf(member, shardOf),
});

/**
 * Whether some members are in none of the groups of a deployment with these shards: release 1.0 stored them, or the
 * deployment had other shards.
 */
export function areSomeWithoutGroup(store: Pick<Store, 'count'>, shards: readonly string[]): Promise<boolean> {
  const where = [{ field: CATEGORY_FIELD, value: MEMBER_KIND }];
  return areSomeWithout(store, { collection: ENTITIES, where }, [...shards, ...REMOTE_GROUPS].map(groupTerm));
}
