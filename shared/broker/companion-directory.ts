/** Finds the companion of a member: its shard by the member's address, the companion by the shard's lease. */
import { readEntity } from '../occi';
import type { Store } from '../store';
import { readLease } from './lease';
import type { Shards } from './shards';

/** See `CompanionDirectory` of RPC over HTTP. A member that is unknown counts to the first shard. */
export function companionDirectory(
  store: Pick<Store, 'get' | 'getAll'>,
  shards: Shards,
): {
  readonly shards: readonly string[];
  shardOf(member: string, signal: AbortSignal): Promise<string>;
  urlOf(shard: string, signal: AbortSignal): Promise<string | undefined>;
} {
  /** Reads end with the call that they are for. */
  const within = (signal: AbortSignal): Pick<Store, 'get' | 'getAll'> => ({
    get: (collection, id) => store.get(collection, id, { signal }),
    getAll: (collection, ids) => store.getAll(collection, ids, { signal }),
  });
  const [first, ...others] = shards.all;
  return {
    shards: shards.all.map(({ name }) => name),
    async shardOf(member, signal) {
      if (others.length === 0) return first.name;
      const stored = await readEntity(within(signal), member);
      return (stored === undefined ? first : shards.of(stored.entity)).name;
    },
    urlOf: async (shard, signal) => (await readLease(within(signal), shard))?.url,
  };
}
