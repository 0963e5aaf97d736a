/** The links between a member and the members that its discovery reached (docs/layers.md). */
import { createHash } from 'node:crypto';
import type { Clock, Json, Principal } from '@cmbs/shared';
import { MEMBERS, NEIGHBOR_KIND, NEIGHBORS, registryOf } from '@cmbs/shared/broker';
import { MAX_NAME_LENGTH } from '@cmbs/shared/limits';
import {
  type Categories,
  CORE_SOURCE,
  CORE_TARGET,
  type Entity,
  type Path,
  readEntity,
  writeEntity,
} from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';

export interface NeighborLinksEnvironment {
  readonly store: Pick<Store, 'transact'>;
  readonly categories: Pick<Categories, 'current'>;
  readonly clock: Clock;
}

/** Links a member to one that was reached, unless the link exists or the member was deleted. */
export async function linkNeighbor(
  environment: NeighborLinksEnvironment,
  asking: Entity,
  target: Path,
  createdBy: Principal,
): Promise<void> {
  const { store, clock } = environment;
  const registry = await registryOf(environment);
  const id = neighborId(asking.id, target.slice(MEMBERS.length));
  const path = NEIGHBORS + id;
  await store.transact(async (tx) => {
    const existing = await readEntity(tx, path);
    const source = await readEntity(tx, asking.path);
    if (existing !== undefined || source === undefined) return;
    const now = clock.now();
    const attributes: Record<string, Json> = { [CORE_SOURCE]: asking.path, [CORE_TARGET]: target };
    const link: Entity = {
      path,
      id,
      kind: NEIGHBOR_KIND,
      mixins: [],
      attributes,
      rawJson: {},
      owner: asking.owner,
      createdBy,
      createdAt: now,
      updatedAt: now,
    };
    writeEntity(tx, link, undefined, registry);
    writeEntity(tx, { ...source.entity, isLinked: true }, source.entity, registry);
  });
}

/** Both ids, as far as there is room: a digest distinguishes links whose ids begin alike. */
function neighborId(source: string, target: string): string {
  const id = `${source}~${target}`;
  if (id.length <= MAX_NAME_LENGTH) return id;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 32);
  return `${id.slice(0, MAX_NAME_LENGTH - 33).replace(/\p{Surrogate}$/u, '')}~${digest}`;
}
