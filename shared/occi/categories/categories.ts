/**
 * The categories and provider bindings of a deployment, which come with the program or from clients, and their changes at
 * run time (GFD.183 §4.6, GFD.223 §9). {@link Authorize} decides each change, category by category, before a write.
 */
import { systemClock } from '../../clock';
import { CmbsError } from '../../errors';
import type { Authorize, Principal } from '../../principal';
import type { Store, Transaction } from '../../store';
import { CORE_KINDS } from '../core';
import type { IdempotentRequest } from '../idempotency';
import { MAX_CATEGORIES } from '../limits';
import { categoryId, type CategoryId } from '../model';
import type { CategoryInput } from '../payload';
import { dummyProvider, type Extension } from '../provider';
import type { Aliases } from '../category-registry';
import type { Progress } from '../steps';
import { CategoryDefinitions, type CategoryUpdate } from './definitions';
import { CategoryFollower, type Freshness } from './follower';
import { CategoryRemoval } from './removal';
import {
  byId,
  CATEGORIES,
  type BuiltInCategories,
  type CategoryDocument,
  type CategorySnapshot,
} from './snapshot';
import type { CategoryContext } from './writer';

/** The resource of `category.read`: the query interface as a whole. */
const QUERY_INTERFACE = '/-/';

export interface CategoriesOptions extends Freshness {
  /** Absent in processes in which callers cannot read or change categories. */
  readonly authorize?: Authorize;
}

const refuseAll: Authorize = () =>
  Promise.reject(new CmbsError('forbidden', 'Categories are not read or changed through this process.'));

export class Categories {
  readonly #context: CategoryContext;
  readonly #definitions: CategoryDefinitions;
  readonly #removal: CategoryRemoval;

  constructor(
    store: Store,
    extensions: readonly Extension[],
    { authorize = refuseAll, ...freshness }: CategoriesOptions = { watch: true, clock: systemClock },
  ) {
    const builtIn = builtInOf(extensions);
    this.#context = {
      store,
      builtIn,
      mergeable: new Set(extensions.flatMap(({ mergeable }) => mergeable ?? [])),
      follower: new CategoryFollower(store, builtIn, freshness),
      clock: freshness.clock,
      authorize,
    };
    this.#definitions = new CategoryDefinitions(this.#context);
    this.#removal = new CategoryRemoval(this.#context);
  }

  close(): void {
    this.#context.follower.close();
  }

  /** The snapshot for one request. Asks for no permission, because every operation needs the categories. */
  current(): Promise<CategorySnapshot> {
    return this.#context.follower.current();
  }

  /**
   * The snapshot for a caller that reads the categories.
   * @throws CmbsError `forbidden`
   */
  async read(principal: Principal): Promise<CategorySnapshot> {
    await this.#context.authorize(principal, 'category.read', { path: QUERY_INTERFACE });
    return this.current();
  }

  /**
   * Refuses categories that were deleted since the snapshot was taken. Reads them in the transaction, so that the
   * transaction runs again if a category is deleted meanwhile.
   * @throws CmbsError `unknown_category`
   */
  async requireStill(tx: Transaction, ids: readonly CategoryId[], { registry }: CategorySnapshot): Promise<void> {
    const deletable = [...new Set(ids)].filter((id) => registry.find(id)?.origin === 'runtime');
    if (deletable.length === 0) return;
    const docs = await tx.getAll(CATEGORIES, deletable);
    docs.forEach((doc, at) => {
      if (doc !== undefined && !(doc.value as unknown as CategoryDocument).removing) return;
      throw new CmbsError('unknown_category', `The category ${deletable[at] ?? ''} was deleted; leave it out.`);
    });
  }

  /**
   * POST on the query interface (GFD.223 §9.3): defines all categories or none. The definition of a built-in category that
   * clients may extend adds to the category. Other categories that exist are conflicts.
   * @throws CmbsError `forbidden`, `bad_request`, `conflict`, `unknown_category`, `too_large`
   */
  define(inputs: readonly CategoryInput[], principal: Principal, idempotent?: IdempotentRequest): Promise<void> {
    return this.#definitions.define(inputs, principal, idempotent);
  }

  /**
   * PUT on the query interface (GFD.223 §9.2): changes the given keys of categories, and binds providers. Attributes that a
   * category drops are removed from its entities. If the entities are too many for one request, the same request again
   * continues.
   * @throws CmbsError `forbidden`, `bad_request`, `conflict`, `unknown_category`, `not_implemented`, `too_large`
   */
  update(
    update: CategoryUpdate,
    principal: Principal,
    options?: { readonly idempotent?: IdempotentRequest | undefined; readonly signal?: AbortSignal },
  ): Promise<Progress> {
    return this.#definitions.update(update, principal, options);
  }

  /**
   * DELETE on the query interface (GFD.223 §9.4). A mixin is removed, with its attributes, from every entity that has it. If
   * the entities are too many for one request, the mixin is hidden at once and the same request again continues.
   * @throws CmbsError `forbidden`, `bad_request`, `not_found`, `conflict` for a kind that has entities
   */
  remove(update: CategoryUpdate, principal: Principal, signal?: AbortSignal): Promise<Progress> {
    return this.#removal.remove(update, principal, signal);
  }

  /** Continues interrupted removals, for as long as one request may take. This is the system's own work. */
  async resume(): Promise<void> {
    const { docs } = await this.#context.store.query({ collection: CATEGORIES, limit: MAX_CATEGORIES });
    for (const doc of docs) {
      const { removing, category, dropping } = doc.value as unknown as CategoryDocument;
      if (removing) await this.#removal.finish(category);
      else if (dropping !== undefined) await this.#definitions.removeDropped([categoryId(category)]);
    }
  }
}

function builtInOf(extensions: readonly Extension[]): BuiltInCategories {
  const providers = [dummyProvider, ...extensions.flatMap((extension) => extension.providers)];
  const bindings = extensions.flatMap((extension) => Object.entries(extension.bindings));
  const aliases = extensions.map((extension) => extension.aliases);
  return {
    builtin: byId([...CORE_KINDS, ...extensions.flatMap(({ categories }) => categories)]),
    providers: new Map(providers.map((provider) => [provider.name, provider])),
    bindings: new Map(bindings.map(([kind, name]) => [kind, [name]])),
    aliases: {
      categories: joined(aliases.map((alias) => alias?.categories)),
      attributes: joined(aliases.map((alias) => alias?.attributes)),
    },
  };
}

const joined = (tables: readonly (Aliases['attributes'] | undefined)[]): Aliases['attributes'] =>
  Object.fromEntries(tables.flatMap((table) => Object.entries(table ?? {})));
