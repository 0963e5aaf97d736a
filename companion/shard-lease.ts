/** What a companion holds, and for how long, where several could: its lease of a shard. */
import type { NewId } from '@cmbs/shared';
import type { Lease, Shards } from '@cmbs/shared/broker';
import type { Entity } from '@cmbs/shared/occi';

export interface ShardLease {
  /** The name by which outbound messages and calls record that this companion works on them. */
  readonly name: string;
  /** Whether what has that name was in the hands of an earlier holder of the same, or of this one. */
  isOurs(name: string): boolean;
  /** Whether a later holder has put its name there. */
  isOutrunBy(name: string): boolean;
  /** False from the moment on at which another one may have taken over: nothing may go to a socket then. */
  isCurrent(): boolean;
  /** Whether it serves all members there are. */
  readonly servesAll: boolean;
  /** Whether the sockets of a local member are opened here; undefined for a member that is gone. */
  serves(member: Entity | undefined): boolean;
}

/** The only companion, on a store of its own: it takes over all work of an earlier one. */
export function wholeDeployment(newId: NewId): ShardLease {
  return {
    name: newId(),
    isOurs: () => true,
    isOutrunBy: () => false,
    isCurrent: () => true,
    servesAll: true,
    serves: () => true,
  };
}

/** `shard#epoch`. */
export function shardLease(shard: string, lease: Pick<Lease, 'epoch' | 'isCurrent'>, shards: Shards): ShardLease {
  const epochOf = (name: string): number | undefined =>
    name.startsWith(`${shard}#`) ? Number(name.slice(shard.length + 1)) : undefined;
  return {
    name: `${shard}#${lease.epoch}`,
    isOurs: (name) => (epochOf(name) ?? Infinity) <= lease.epoch,
    isOutrunBy: (name) => (epochOf(name) ?? 0) > lease.epoch,
    isCurrent: () => lease.isCurrent(),
    servesAll: shards.all.length === 1,
    serves: (member) => (member === undefined ? shards.all[0] : shards.of(member)).name === shard,
  };
}
