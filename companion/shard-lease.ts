/** The members that a companion serves, and for how long, when there are several companions. */
import type { NewId } from '@cmbs/shared';
import { type Lease, ONLY_SHARD, type Shards } from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';

export interface ShardLease {
  /** The name by which outbound messages and calls record that this companion works on them. */
  readonly name: string;
  /** Whether the name is that of this holder of the shard, or of an earlier one. */
  isOurs(name: string): boolean;
  /** Whether the name is that of a later holder. */
  isOutrunBy(name: string): boolean;
  /** False once another companion may have taken over: then no frame may go to a socket. */
  isCurrent(): boolean;
  /** The shard that the companion serves. */
  readonly shard: string;
  /** All shards. */
  readonly shards: readonly string[];
  /** Whether the companion serves all members. */
  readonly servesAll: boolean;
  /** The shard of a local member; undefined stands for a deleted member. */
  of(member: Entity | undefined): string;
  /** Whether the companion serves a local member; undefined stands for a deleted member. */
  serves(member: Entity | undefined): boolean;
}

/** For the only companion of a store: it takes over all work of an earlier one. */
export function wholeDeployment(newId: NewId): ShardLease {
  return {
    name: newId(),
    isOurs: () => true,
    isOutrunBy: () => false,
    isCurrent: () => true,
    shard: ONLY_SHARD,
    shards: [ONLY_SHARD],
    servesAll: true,
    of: () => ONLY_SHARD,
    serves: () => true,
  };
}

/** `shard#epoch`. */
export function shardLease(shard: string, lease: Pick<Lease, 'epoch' | 'isCurrent'>, shards: Shards): ShardLease {
  const epochOf = (name: string): number | undefined =>
    name.startsWith(`${shard}#`) ? Number(name.slice(shard.length + 1)) : undefined;
  const of = (member: Entity | undefined): string =>
    (member === undefined ? shards.all[0] : shards.of(member)).name;
  return {
    name: `${shard}#${lease.epoch}`,
    isOurs: (name) => (epochOf(name) ?? Infinity) <= lease.epoch,
    isOutrunBy: (name) => (epochOf(name) ?? 0) > lease.epoch,
    isCurrent: () => lease.isCurrent(),
    servesAll: shards.all.length === 1,
    shard,
    shards: shards.all.map(({ name }) => name),
    of,
    serves: (member) => of(member) === shard,
  };
}
