/** The states of members' layers in the store: the desired ones, and the observed ones. */
import type { Clock, Json, JsonObject } from '@cmbs/shared';
import { DESIRED, type Layer, MEMBER, registryOf } from '@cmbs/shared/broker';
import { MAX_PAGE_DOCS } from '@cmbs/shared/limits';
import { type Categories, type Path, readEntity, writeEntity } from '@cmbs/shared/occi';
import type { RpcResult } from '@cmbs/shared/rpc';
import type { Store } from '@cmbs/shared/store';

export type ObservedLayer = RpcResult<'reconcile'> & { readonly address?: string };

export interface LayerStatesEnvironment {
  readonly store: Pick<Store, 'query' | 'transact'>;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Clock;
}

export class LayerStates {
  readonly #environment: LayerStatesEnvironment;

  constructor(environment: LayerStatesEnvironment) {
    this.#environment = environment;
  }

  /** The members that have a desired state. */
  async membersWithDesiredState(): Promise<readonly Path[]> {
    const paths: Path[] = [];
    for (let after: string | undefined, more = true; more;) {
      const page = await this.#environment.store.query({
        collection: DESIRED,
        limit: MAX_PAGE_DOCS,
        ...(after === undefined ? {} : { after }),
      });
      paths.push(...page.docs.map(({ id }) => id));
      after = page.next;
      more = after !== undefined;
    }
    return paths;
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
