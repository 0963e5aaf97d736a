/** The desired state of members' layers: stored, so that a restarted companion opens the same sockets by itself. */
import type { JsonObject } from '../json';
import { MAX_PAGE_DOCS } from '../limits';
import type { Entity, Path } from '../occi';
import type { Store, Transaction } from '../store';
import { areSomeWithout } from './index-count';
import type { Layer, Layers } from './layer-definition';
import type { ShardOf } from './member-groups';
import { SHARD_FIELD } from './outbound-record';

/** Collection of desired states, one document per member under its path. */
export const DESIRED = 'desired-layers';

/** `started` or `stopped` by layer, absent for a layer that was never started; `changedAt` in milliseconds. */
export type Desired = JsonObject;

/** Stores the desired state of a member, by whose shard its companion finds it. */
export function putDesired(
  tx: Pick<Transaction, 'put'>,
  member: Entity,
  desired: Desired,
  { shardOf }: { readonly shardOf: ShardOf },
): void {
  tx.put(DESIRED, member.path, desired, { index: { [SHARD_FIELD]: [shardOf(member)] } });
}

/** Stores the desired state again, as its member has another shard, or as release 1.0 stored it without one. */
export async function readDesiredAgain(
  tx: Transaction,
  member: Entity,
  context: { readonly shardOf: ShardOf },
): Promise<() => void> {
  const doc = await tx.get(DESIRED, member.path);
  return () => {
    if (doc !== undefined) putDesired(tx, member, doc.value, context);
  };
}

/** The members that have a desired state; with a shard, those of the shard. */
export async function membersWithDesiredState(
  store: Pick<Store, 'query'>,
  shard?: string,
): Promise<readonly Path[]> {
  const paths: Path[] = [];
  for (let after: string | undefined, more = true; more;) {
    const page = await store.query({
      collection: DESIRED,
      limit: MAX_PAGE_DOCS,
      ...(shard === undefined ? {} : { where: [{ field: SHARD_FIELD, value: shard }] }),
      ...(after === undefined ? {} : { after }),
    });
    paths.push(...page.docs.map(({ id }) => id));
    after = page.next;
    more = after !== undefined;
  }
  return paths;
}

/** Whether some desired states have none of the shards: release 1.0 stored them. */
export function areSomeDesiredWithoutShard(
  store: Pick<Store, 'count'>,
  shards: readonly string[],
): Promise<boolean> {
  return areSomeWithout(
    store,
    { collection: DESIRED },
    shards.map((value) => ({ field: SHARD_FIELD, value })),
  );
}

export function withDesired(
  before: Desired | undefined,
  layer: Layer,
  desired: 'started' | 'stopped',
  now: number,
): Desired {
  return { ...before, [layer]: desired, changedAt: now };
}

/** For a member that is about to be deleted. */
export function allStopped({ names }: Layers, now: number): Desired {
  return { ...Object.fromEntries(names.map((layer) => [layer, 'stopped'] as const)), changedAt: now };
}

export function startedLayers(desired: Desired | undefined, { names }: Layers): readonly Layer[] {
  return names.filter((layer) => desired?.[layer] === 'started');
}
