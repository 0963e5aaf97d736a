/**
 * An attribute that an update drops from a definition leaves the entities that have it, in steps of bounded size. What
 * is still to be done lies in the document of the category, so that the same request, or the next start, goes on.
 */
import type { Clock } from '../../clock';
import { MAX_BATCH_ENTITIES } from '../limits';
import { MAX_STEP_CHARS } from '../../limits';
import type { JsonObject } from '../../json';
import type { Store, Transaction } from '../../store';
import { CATEGORIES, CURRENT, recordChange, STATE, type CategoryDocument, type Dropping } from './snapshot';
import { CATEGORY_FIELD, ENTITIES, entitiesOf, writeEntity } from '../entity-store';
import { categoryId, type Category, type CategoryId, type Entity } from '../model';
import type { CategoryRegistry } from '../category-registry';
import { inSteps, type Progress, type Step } from '../steps';

/** What is to be taken off when a category changes, beside what is still pending; undefined where no attribute goes. */
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

/** What is still to be taken off, as far as it is now. */
export async function droppingsOf(
  tx: Transaction,
  ids: readonly CategoryId[],
): Promise<ReadonlyMap<CategoryId, Dropping | undefined>> {
  const docs = ids.length === 0 ? [] : await tx.getAll(CATEGORIES, ids);
  return new Map(
    ids.map((id, at) => [id, (docs[at]?.value as unknown as CategoryDocument | undefined)?.dropping]),
  );
}

/** Attributes that the kind, or the mixin with what it depends on, gives an entity. */
function namesOf(id: CategoryId, registry: CategoryRegistry): ReadonlySet<string> {
  const kind = registry.kind(id);
  const mixins = kind === undefined ? registry.withDependencies([id]) : [kind];
  return new Set(mixins.flatMap(({ attributes }) => Object.keys(attributes)));
}

/** Mixins that depend on this one, directly or not: their entities have its attributes too. */
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
  /** The categories as they are now, the update among them. */
  readonly registry: () => Promise<CategoryRegistry>;
  readonly signal: AbortSignal | undefined;
}

/** Takes the attributes off, for as long as one request may take. */
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
    const page = await tx.query({
      collection: ENTITIES,
      where: [{ field: CATEGORY_FIELD, value: within }],
      limit: MAX_BATCH_ENTITIES,
      maxChars: MAX_STEP_CHARS,
      ...(dropping.after === undefined ? {} : { after: dropping.after }),
    });
    const entities = await entitiesOf(tx, page.docs);
    const state = await tx.get(STATE, CURRENT);
    let done = 0;
    for (const { entity } of entities) {
      const next = withoutNames(entity, dropping.names, registry);
      if (next === entity) continue;
      writeEntity(tx, next, entity, registry);
      done += 1;
    }
    const { names } = dropping;
    const left: Dropping | undefined =
      page.next !== undefined
        ? { names, within: [within, ...others], after: page.next }
        : others.length > 0
          ? { names, within: others }
          : undefined;
    const written = left === undefined ? rest : { ...rest, dropping: left };
    tx.put(CATEGORIES, id, written as unknown as JsonObject);
    // Other processes need to hear of the end only: until then, a change of the category keeps what is left to do.
    if (left === undefined) recordChange(tx, state, [id]);
    return { done, isLast: left === undefined };
  });
}

/** The entity without those of the attributes that none of its categories declares. */
function withoutNames(entity: Entity, names: readonly string[], registry: CategoryRegistry): Entity {
  const specs = registry.specs(entity.kind, entity.mixins);
  const gone = names.filter((name) => !Object.hasOwn(specs, name) && Object.hasOwn(entity.attributes, name));
  if (gone.length === 0) return entity;
  const attributes = Object.fromEntries(
    Object.entries(entity.attributes).filter(([name]) => !gone.includes(name)),
  );
  return { ...entity, attributes };
}
