/** The states of members' layers in the store: the desired ones, and the observed ones. */
import type { Clock, Json, JsonObject } from '@cmbs/shared';
import {
  areSomeDesiredWithoutShard,
  DESIRED,
  type Layer,
  MEMBER,
  membersWithDesiredState,
  readDesiredAgain,
  registryOf,
} from '@cmbs/shared/broker';
import { type Categories, type Path, readEntity, writeEntity } from '@cmbs/shared/occi';
import type { RpcResult } from '@cmbs/shared/rpc';
import type { Store } from '@cmbs/shared/store';
import type { Members } from './members';
import type { ShardLease } from './shard-lease';

export type ObservedLayer = RpcResult<'reconcile'> & { readonly address?: string };

export interface LayerStatesEnvironment {
  readonly store: Pick<Store, 'count' | 'query' | 'transact'>;
  readonly shard: Pick<ShardLease, 'shard' | 'shards' | 'servesAll' | 'of'>;
  readonly members: Pick<Members, 'get'>;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Clock;
}

export class LayerStates {
  readonly #environment: LayerStatesEnvironment;

  constructor(environment: LayerStatesEnvironment) {
    this.#environment = environment;
  }

  /**
   * The members whose desired states concern this companion: those of its shard. All members when release 1.0 stored some
   * states without a shard; those of this companion's members get it.
   */
  async membersWithDesiredState(): Promise<readonly Path[]> {
    const { store, shard, members } = this.#environment;
    if (shard.servesAll) return membersWithDesiredState(store);
    if (!(await areSomeDesiredWithoutShard(store, shard.shards))) {
      return membersWithDesiredState(store, shard.shard);
    }
    const all = await membersWithDesiredState(store);
    for (const path of all) {
      if (members.get(path) === undefined) continue;
      await store.transact(async (tx) => {
        const member = (await readEntity(tx, path))?.entity;
        if (member === undefined) return;
        const write = await readDesiredAgain(tx, member, { shardOf: (one) => shard.of(one) });
        write();
      });
    }
    return all;
  }

  /** Removes the desired state of a deleted member. */
  async forgetDesiredState(path: Path): Promise<void> {
    await this.#environment.store.transact(async (tx) => {
      if ((await readEntity(tx, path)) === undefined) tx.delete(DESIRED, path);
    });
  }

  /** Shows the observed states in the member's read-only `layers`. True when they have changed. */
  async report(path: Path, observed: ReadonlyMap<Layer, ObservedLayer>): Promise<boolean> {
    const { store, clock } = this.#environment;
    const registry = await registryOf(this.#environment);
    const layers: Record<string, Json> = Object.fromEntries(
      [...observed].map(([layer, { state, reason, address }]): [string, JsonObject] => [
        layer,
        { state, ...(address === undefined ? {} : { address }), ...(reason === undefined ? {} : { reason }) },
      ]),
    );
    return store.transact(async (tx) => {
      const stored = await readEntity(tx, path);
      if (stored === undefined) return false;
      const { entity } = stored;
      const before = JSON.stringify(entity.attributes[MEMBER.layers] ?? {});
      if (before === JSON.stringify(layers)) return false;
      const attributes = { ...entity.attributes, [MEMBER.layers]: layers };
      writeEntity(tx, { ...entity, attributes, updatedAt: clock.now() }, entity, registry);
      return true;
    });
  }
}
