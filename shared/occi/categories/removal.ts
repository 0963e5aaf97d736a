/** Deletes categories (GFD.223 §9.4): a mixin is removed from its entities first, and a kind must have no entities. */
import { badRequest, CmbsError } from '../../errors';
import type { JsonObject } from '../../json';
import type { Principal } from '../../principal';
import { isInUse, nextOfCategory, writeEntity } from '../entity-store';
import { categoryId, type Category, type CategoryId } from '../model';
import type { CategoryInput, ProviderInput } from '../payload';
import { inSteps, inTurn, type Progress } from '../steps';
import { detached, refuseOtherClass, without } from './changes';
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

/** A removal, and the categories whose removal continues after the commit. */
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
    if (inputs.length + providers.length === 0)
      throw badRequest('The request names no category; send at least one.');
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
    return inTurn(leaving, (category) => this.finish(category, signal));
  }

  /** Continues a removal that is committed, for as long as one request may take. */
  async finish(category: Category, signal?: AbortSignal): Promise<Progress> {
    const id = categoryId(category);
    if (category.class === 'mixin') return this.#untagEverywhere(id, signal);
    await this.#removeKind(id);
    return { done: 0, isComplete: true };
  }

  /**
   * Entities of a kind are not created once the kind is marked ({@link Categories.requireStill}). If an entity was created
   * just before, the query finds it and the kind stays. Stores therefore need not notice entities that enter the result of
   * a query during a transaction.
   */
  async #removeKind(id: CategoryId): Promise<void> {
    const { store, follower } = this.#context;
    const stays = await store.transact(async (tx) => {
      const doc = await tx.get(CATEGORIES, id);
      const document = doc?.value as unknown as CategoryDocument | undefined;
      if (document?.removing !== true) return false;
      const isUsed = await isInUse(tx, id);
      const state = await tx.get(STATE, CURRENT);
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
        const { entities, next } = await nextOfCategory(tx, mixin);
        const state = await tx.get(STATE, CURRENT);
        for (const entity of entities) writeEntity(tx, without(entity, mixin, registry), entity, registry);
        const isLast = next === undefined;
        if (isLast) {
          tx.delete(CATEGORIES, mixin);
          recordChange(tx, state, [mixin]);
        }
        return { done: entities.length, isLast };
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
    if (existing === undefined) {
      throw new CmbsError('not_found', `There is no category ${id} here; GET /-/ lists all categories.`);
    }
    refuseOtherClass(existing, input);
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
    if (!bindings.has(id)) throw new CmbsError('not_found', `${id} is not bound to a provider.`);
    unbound.set(id, undefined);
  }
  return { change: { categories: writes, bindings: unbound, unused }, leaving };
}
