/**
 * OCCI Infrastructure 1.2 (GFD.224) with a provider that has no back end: machines, networks and disks only change their
 * state, as the standard says. The extension is optional (`CMBS_EXTENSIONS=infrastructure`). OCCI clients and conformance
 * suites know these kinds, and the provider is a pattern for one with a back end.
 */
import type { Clock } from '../clock';
import type { Store } from '../store';
import type { Categories } from './categories/categories';
import { nothingAt } from './entities/context';
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
  /** Called when an action runs, because categories are made from extensions and do not exist earlier. */
  readonly categories: () => Pick<Categories, 'current'>;
}

/** The extension without a provider: for programs that read and write such entities but do not act on them. */
export const INFRASTRUCTURE_CATEGORIES: Extension = {
  name: 'infrastructure',
  categories: [...COMPUTE_CATEGORIES, ...NETWORK_CATEGORIES, ...STORAGE_CATEGORIES],
  providers: [],
  bindings: {},
};

/** The extension with its provider. */
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
        if (stored === undefined) throw nothingAt(entity.path);
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
