/**
 * Removes attributes that an update drops from a definition from the entities that have them, in steps of bounded size. The
 * document of the category records the remaining work, so that the same request, or the next start, continues.
 */
import type { Clock } from '../../clock';
import type { JsonObject } from '../../json';
import type { Store, Transaction } from '../../store';
import { CATEGORIES, CURRENT, recordChange, STATE, type CategoryDocument, type Dropping } from './snapshot';
import { nextOfCategory, writeEntity } from '../entity-store';
import { categoryId, type Category, type CategoryId, type Entity } from '../model';
import type { CategoryRegistry } from '../category-registry';
import { inSteps, type Progress, type Step } from '../steps';

/** The attributes to remove when a category changes, with those that are pending; undefined if no attribute is dropped. */
export function droppedBy(
  before: Category,
  after: Category,
  pending: Dropping | undefined,
  registry: CategoryRegistry,
): Dropping | undefined {
  if (before.class === 'action') return undefined;
  const id = categoryId(before);
  const left = namesOf(id, registry.with(new Map([[id, after]])));
  const gone = [...namesOf(id, registry)].filter((name) => !left.has(name));
  if (gone.length === 0) return undefined;
  const dependents = before.class === 'mixin' ? dependentsOf(id, registry) : [];
  return { names: [...new Set([...(pending?.names ?? []), ...gone])], within: [id, ...dependents] };
}

/** The attributes that are still to be removed for each category, as the transaction reads them. */
export async function droppingsOf(
  tx: Transaction,
  ids: readonly CategoryId[],
): Promise<ReadonlyMap<CategoryId, Dropping | undefined>> {
  const docs = ids.length === 0 ? [] : await tx.getAll(CATEGORIES, ids);
  return new Map(
    ids.map((id, at) => [id, (docs[at]?.value as unknown as CategoryDocument | undefined)?.dropping]),
  );
}

/** The attributes that the kind, or the mixin and its dependencies, give an entity. */
function namesOf(id: CategoryId, registry: CategoryRegistry): ReadonlySet<string> {
  const kind = registry.kind(id);
  const mixins = kind === undefined ? registry.withDependencies([id]) : [kind];
  return new Set(mixins.flatMap(({ attributes }) => Object.keys(attributes)));
}

/** The mixins that depend on this mixin, directly or not. Their entities have its attributes too. */
function dependentsOf(id: CategoryId, registry: CategoryRegistry): readonly CategoryId[] {
  return registry.all.flatMap((one) =>
    one.class === 'mixin' &&
    categoryId(one) !== id &&
    registry.withDependencies([categoryId(one)]).some((needed) => categoryId(needed) === id)
      ? [categoryId(one)]
      : [],
  );
}

export interface Dropped {
  readonly store: Store;
  readonly clock: Pick<Clock, 'now'>;
  /** The present categories, including the update. */
  readonly registry: () => Promise<CategoryRegistry>;
  readonly signal: AbortSignal | undefined;
}

/** Removes the attributes, for as long as one request may take. */
export async function takeOffDropped(
  id: CategoryId,
  { store, clock, registry, signal }: Dropped,
): Promise<Progress> {
  return inSteps(clock, signal, async () => takeOffSome(id, store, await registry()));
}

function takeOffSome(id: CategoryId, store: Store, registry: CategoryRegistry): Promise<Step> {
  return store.transact(async (tx) => {
    const doc = await tx.get(CATEGORIES, id);
    const document = doc?.value as unknown as CategoryDocument | undefined;
    const [within, ...others] = document?.dropping?.within ?? [];
    if (document?.dropping === undefined || within === undefined) return { done: 0, isLast: true };
    const { dropping, ...rest } = document;
    const { entities, next: cursor } = await nextOfCategory(tx, within, dropping.after);
    const state = await tx.get(STATE, CURRENT);
    let done = 0;
    for (const entity of entities) {
      const next = withoutNames(entity, dropping.names, registry);
      if (next === entity) continue;
      writeEntity(tx, next, entity, registry);
      done += 1;
    }
    const { names } = dropping;
    const left: Dropping | undefined =
      cursor !== undefined
        ? { names, within: [within, ...others], after: cursor }
        : others.length > 0
          ? { names, within: others }
          : undefined;
    const written = left === undefined ? rest : { ...rest, dropping: left };
    tx.put(CATEGORIES, id, written as unknown as JsonObject);
    // Other processes need to know of the end only: until then, a change of the category keeps the remaining work.
    if (left === undefined) recordChange(tx, state, [id]);
    return { done, isLast: left === undefined };
  });
}

/** The entity without those of the named attributes that none of its categories declares. */
function withoutNames(entity: Entity, names: readonly string[], registry: CategoryRegistry): Entity {
  const specs = registry.specs(entity.kind, entity.mixins);
  const gone = names.filter((name) => !Object.hasOwn(specs, name) && Object.hasOwn(entity.attributes, name));
  if (gone.length === 0) return entity;
  const attributes = Object.fromEntries(
    Object.entries(entity.attributes).filter(([name]) => !gone.includes(name)),
  );
  return { ...entity, attributes };
}
