/** Deletes categories: a mixin leaves its entities first, and a kind must have none (#23). */
import { badRequest, CmbsError } from '../../errors';
import type { JsonObject } from '../../json';
import { MAX_STEP_CHARS } from '../../limits';
import type { Principal } from '../../principal';
import { CATEGORY_FIELD, ENTITIES, entitiesOf, writeEntity } from '../entity-store';
import { MAX_BATCH_ENTITIES } from '../limits';
import { categoryId, type Category, type CategoryId } from '../model';
import type { CategoryInput, ProviderInput } from '../payload';
import { inSteps, type Progress } from '../steps';
import { detached, without } from './changes';
import type { CategoryUpdate } from './definitions';
import {
  CATEGORIES,
  CURRENT,
  recordChange,
  STATE,
  type CategoryDocument,
  type CategorySnapshot,
  type StoredCategories,
} from './snapshot';
import { authorizeCategories, commitChange, inUse, type CategoryChange, type CategoryContext } from './writer';

/** A removal that was committed, and the categories that still have to leave entities. */
interface PlannedRemoval {
  readonly change: CategoryChange;
  readonly leaving: readonly Category[];
}

export class CategoryRemoval {
  readonly #context: CategoryContext;

  constructor(context: CategoryContext) {
    this.#context = context;
  }

  async remove(
    { categories: inputs, providers }: CategoryUpdate,
    principal: Principal,
    signal?: AbortSignal,
  ): Promise<Progress> {
    if (inputs.length + providers.length === 0) throw badRequest('The request names no category.');
    let leaving: readonly Category[] = [];
    await commitChange(this.#context, async (now) => {
      const { registry } = now.snapshot;
      const ids = inputs.map((input) => registry.canonicalId(categoryId(input)));
      const bound = providers.map(({ category }) => registry.canonicalId(category));
      await authorizeCategories(this.#context, principal, 'category.delete', ids);
      await authorizeCategories(this.#context, principal, 'category.bind', bound);
      const planned = planRemoval(inputs, providers, now);
      ({ leaving } = planned);
      return planned.change;
    });
    let done = 0;
    for (const category of leaving) {
      const progress = await this.finish(category, signal);
      done += progress.done;
      if (!progress.isComplete) return { done, isComplete: false };
    }
    return { done, isComplete: true };
  }

  /** Continues a removal that is committed, for as long as one request may take. */
  async finish(category: Category, signal?: AbortSignal): Promise<Progress> {
    const id = categoryId(category);
    if (category.class === 'mixin') return this.#untagEverywhere(id, signal);
    await this.#removeKind(id);
    return { done: 0, isComplete: true };
  }

  /**
   * No entity of a kind is created once the kind is marked ({@link Categories.requireStill}). An entity that was created
   * just before is found here, and the kind stays. So no store has to notice entities that enter a query's result during
   * a transaction.
   */
  async #removeKind(id: CategoryId): Promise<void> {
    const { store, follower } = this.#context;
    const stays = await store.transact(async (tx) => {
      const doc = await tx.get(CATEGORIES, id);
      const document = doc?.value as unknown as CategoryDocument | undefined;
      if (document?.removing !== true) return false;
      const page = await tx.query({
        collection: ENTITIES,
        where: [{ field: CATEGORY_FIELD, value: id }],
        limit: 1,
      });
      const state = await tx.get(STATE, CURRENT);
      const isUsed = page.docs.length > 0;
      if (isUsed) tx.put(CATEGORIES, id, { ...document, removing: false } as unknown as JsonObject);
      else tx.delete(CATEGORIES, id);
      recordChange(tx, state, [id]);
      return isUsed;
    });
    follower.invalidate();
    if (stays) throw inUse(id);
  }

  async #untagEverywhere(mixin: CategoryId, signal?: AbortSignal): Promise<Progress> {
    const { store, clock, follower } = this.#context;
    const { registry }: CategorySnapshot = await follower.current();
    const progress = await inSteps(clock, signal, () =>
      store.transact(async (tx) => {
        const page = await tx.query({
          collection: ENTITIES,
          where: [{ field: CATEGORY_FIELD, value: mixin }],
          limit: MAX_BATCH_ENTITIES,
          maxChars: MAX_STEP_CHARS,
        });
        const tagged = await entitiesOf(tx, page.docs);
        const state = await tx.get(STATE, CURRENT);
        for (const { entity } of tagged) writeEntity(tx, without(entity, mixin, registry), entity, registry);
        const isLast = page.next === undefined;
        if (isLast) {
          tx.delete(CATEGORIES, mixin);
          recordChange(tx, state, [mixin]);
        }
        return { done: page.docs.length, isLast };
      }),
    );
    follower.invalidate();
    return progress;
  }
}

function planRemoval(
  inputs: readonly CategoryInput[],
  providers: readonly ProviderInput[],
  { snapshot: { registry, bindings }, documents }: StoredCategories,
): PlannedRemoval {
  const leaving: Category[] = [];
  const writes = new Map<CategoryId, CategoryDocument | undefined>();
  const unused: CategoryId[] = [];
  for (const input of inputs) {
    const id = registry.canonicalId(categoryId(input));
    const document = documents.get(id);
    if (document?.removing === true) {
      // A removal that was interrupted continues.
      leaving.push(document.category);
      continue;
    }
    const existing = registry.find(id);
    if (existing === undefined) throw new CmbsError('not_found', `There is no category ${id} here.`);
    if (input.class !== undefined && input.class !== existing.class) {
      throw badRequest(`${id} is of class ${existing.class}, not ${input.class}.`);
    }
    if (existing.origin !== 'runtime') {
      throw new CmbsError('forbidden', `${id} comes with the program and cannot be deleted.`);
    }
    if (existing.class === 'action') {
      writes.set(id, undefined);
      continue;
    }
    if (existing.class === 'kind') unused.push(id);
    writes.set(id, { category: existing, overlay: false, removing: true });
    leaving.push(existing);
  }
  for (const [id, category] of detached(registry, writes)) {
    writes.set(id, { category, overlay: documents.get(id)?.overlay ?? false, removing: false });
  }
  const unbound = new Map<CategoryId, undefined>();
  for (const { category } of providers) {
    const id = registry.canonicalId(category);
    if (!bindings.has(id)) throw new CmbsError('not_found', `${id} has no provider.`);
    unbound.set(id, undefined);
  }
  return { change: { categories: writes, bindings: unbound, unused }, leaving };
}
