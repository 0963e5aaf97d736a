/** Commits changes of categories and provider bindings, within the limits of a deployment. */
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import type { JsonObject } from '../../json';
import type { Authorize, Operation, Principal } from '../../principal';
import type { Store } from '../../store';
import { isInUse } from '../entity-store';
import { once, type IdempotentRequest } from '../idempotency';
import { MAX_CATEGORIES, MAX_DEFINITIONS_CHARS } from '../limits';
import type { CategoryId } from '../model';
import { checkSize, definitionChars } from './definition-size';
import { droppingsOf } from './dropped-attributes';
import type { CategoryFollower } from './follower';
import {
  BINDINGS,
  CATEGORIES,
  CURRENT,
  recordChange,
  STATE,
  storedCategoriesAt,
  type BuiltInCategories,
  type CategoryDocument,
  type StoredCategories,
} from './snapshot';

export interface CategoryChange {
  /** Undefined deletes a category. */
  readonly categories: ReadonlyMap<CategoryId, CategoryDocument | undefined>;
  readonly bindings?: ReadonlyMap<CategoryId, readonly string[] | undefined>;
  /** Kinds that must have no entities. */
  readonly unused?: readonly CategoryId[];
}

/** The dependencies of the parts of `Categories`. */
export interface CategoryContext {
  readonly store: Store;
  readonly builtIn: BuiltInCategories;
  /** Built-in categories whose definitions clients may add to. */
  readonly mergeable: ReadonlySet<CategoryId>;
  readonly follower: CategoryFollower;
  readonly clock: Clock;
  readonly authorize: Authorize;
}

/**
 * Asks whether the principal may do the operation on each category.
 * @throws CmbsError `forbidden`
 */
export async function authorizeCategories(
  { authorize }: CategoryContext,
  principal: Principal,
  operation: Operation,
  ids: Iterable<CategoryId>,
): Promise<void> {
  for (const id of new Set(ids)) await authorize(principal, operation, { path: id });
}

/**
 * Plans a change of the stored categories and writes it, in one transaction.
 * @throws CmbsError `conflict` for a kind in use, or a change beyond the limits of a deployment
 */
export async function commitChange(
  context: CategoryContext,
  plan: (now: StoredCategories) => Promise<CategoryChange>,
  idempotent?: IdempotentRequest,
): Promise<void> {
  const { store, builtIn, follower, clock } = context;
  await store.transact((tx) =>
    once(tx, idempotent, clock.now(), async () => {
      const state = await tx.get(STATE, CURRENT);
      const now = await storedCategoriesAt(state, follower.stored, tx, builtIn);
      const { categories, bindings = new Map<CategoryId, undefined>(), unused = [] } = await plan(now);
      refuseBeyondLimits(now, categories);
      for (const id of unused) if (await isInUse(tx, id)) throw inUse(id);
      // The removal of dropped attributes is recorded without a new revision, so snapshots do not have its progress.
      const pending = [...categories.keys()].filter((id) => now.documents.get(id)?.dropping !== undefined);
      const droppings = await droppingsOf(tx, pending);
      if (categories.size + bindings.size === 0) return {};
      recordChange(tx, state, categories.keys(), bindings.keys());
      for (const [id, document] of categories) {
        // Other changes of a category keep the attributes that are still to be removed from entities.
        const dropping = document?.dropping ?? droppings.get(id);
        const written = dropping === undefined ? document : { ...document, dropping };
        if (document === undefined) tx.delete(CATEGORIES, id);
        else tx.put(CATEGORIES, id, written as unknown as JsonObject);
      }
      for (const [id, local] of bindings) {
        if (local === undefined) tx.delete(BINDINGS, id);
        else tx.put(BINDINGS, id, { local });
      }
      return {};
    }),
  );
  follower.invalidate();
}

/** Refuses growth beyond the limits. Categories that were stored under larger limits may stay or shrink. */
function refuseBeyondLimits({ documents, chars }: StoredCategories, writes: CategoryChange['categories']): void {
  let [number, after] = [documents.size, chars];
  for (const [id, document] of writes) {
    const before = documents.get(id);
    number += Number(document !== undefined) - Number(before !== undefined);
    after += document === undefined ? 0 : definitionChars(document.category);
    after -= before === undefined ? 0 : definitionChars(before.category);
    if (document !== undefined && document.category !== before?.category) checkSize(document.category);
  }
  if (number > MAX_CATEGORIES && number > documents.size) {
    throw new CmbsError('conflict', `A deployment holds ${MAX_CATEGORIES} categories at most; delete some first.`);
  }
  if (after > MAX_DEFINITIONS_CHARS && after > chars) {
    throw new CmbsError(
      'conflict',
      `All definitions together have ${MAX_DEFINITIONS_CHARS} characters at most; delete some first.`,
    );
  }
}

export const inUse = (kind: CategoryId): CmbsError =>
  new CmbsError('conflict', `${kind} has entities; delete them first.`);
