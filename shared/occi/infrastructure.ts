/**
 * OCCI Infrastructure 1.2 (GFD.224) with a provider that has nothing behind it: machines, networks and disks that
 * change their state as the standard says and do no more. Optional (`CMBS_EXTENSIONS=infrastructure`); it is what
 * OCCI clients and conformance suites know how to talk to, and the pattern for a provider with a real back end.
 */
import type { Clock } from '../clock';
import { CmbsError } from '../errors';
import type { Store } from '../store';
import type { Categories } from './categories/categories';
import { readEntity, writeEntity } from './entity-store';
import { COMPUTE_CATEGORIES } from './infrastructure/compute';
import { withDevice } from './infrastructure/devices';
import { NETWORK_CATEGORIES } from './infrastructure/network';
import { STORAGE_CATEGORIES } from './infrastructure/storage';
import { applies, carriedOut } from './infrastructure/transitions';
import { categoryId } from './model';
import type { ActionCall, ActionOutcome, Extension, Provider } from './provider';

export const INFRASTRUCTURE_PROVIDER = 'dummy infrastructure';

export interface InfrastructureOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Asked for when an action runs: categories are made from extensions, so they come later than this. */
  readonly categories: () => Pick<Categories, 'current'>;
}

/** Without a provider: for a program that reads and writes such entities and does not act on them. */
export const INFRASTRUCTURE_CATEGORIES: Extension = {
  name: 'infrastructure',
  categories: [...COMPUTE_CATEGORIES, ...NETWORK_CATEGORIES, ...STORAGE_CATEGORIES],
  providers: [],
  bindings: {},
};

export function infrastructure(options: InfrastructureOptions): Extension {
  const kinds = INFRASTRUCTURE_CATEGORIES.categories.filter((category) => category.class === 'kind');
  return {
    ...INFRASTRUCTURE_CATEGORIES,
    providers: [provider(options)],
    bindings: Object.fromEntries(kinds.map((kind) => [categoryId(kind), INFRASTRUCTURE_PROVIDER])),
  };
}

function provider({ store, clock, categories }: InfrastructureOptions): Provider {
  const act = async ({ entity, action, attributes, signal }: ActionCall): Promise<ActionOutcome> => {
    const { registry } = await categories().current();
    await store.transact(
      async (tx) => {
        const stored = await readEntity(tx, entity.path);
        if (stored === undefined) throw new CmbsError('not_found', `There is nothing at ${entity.path}.`);
        const before = stored.entity;
        const after = { ...carriedOut(action, attributes, before), updatedAt: clock.now() };
        writeEntity(tx, after, before, registry);
      },
      { signal },
    );
    return { answer: 'entity', status: 200 };
  };
  return {
    name: INFRASTRUCTURE_PROVIDER,
    prepare: withDevice,
    applicable: (entity, actions) => actions.filter((action) => applies(action, entity)),
    act,
  };
}
