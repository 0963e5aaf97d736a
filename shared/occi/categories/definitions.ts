/** Defines and changes categories, and binds kinds to providers (GFD.223 §9.2, §9.3). */
import { badRequest, CmbsError } from '../../errors';
import type { Principal } from '../../principal';
import type { CategoryRegistry } from '../category-registry';
import type { IdempotentRequest } from '../idempotency';
import { categoryId, termOf, type AttributeSpecs, type Category, type CategoryId } from '../model';
import type { CategoryInput, ProviderInput } from '../payload';
import { inTurn, type Progress } from '../steps';
import { categoryFrom } from './category-input';
import {
  additions,
  addsNothing,
  changedBy,
  checkReferences,
  classOf,
  refuseOtherClass,
  refuseOtherShape,
} from './changes';
import { droppedBy, takeOffDropped } from './dropped-attributes';
import { byId, merge, type CategoryDocument, type StoredCategories } from './snapshot';
import { authorizeCategories, commitChange, type CategoryContext } from './writer';

/** The content of a PUT or DELETE on the query interface. */
export interface CategoryUpdate {
  readonly categories: readonly CategoryInput[];
  readonly providers: readonly ProviderInput[];
}

export class CategoryDefinitions {
  readonly #context: CategoryContext;

  constructor(context: CategoryContext) {
    this.#context = context;
  }

  async define(
    inputs: readonly CategoryInput[],
    principal: Principal,
    idempotent?: IdempotentRequest,
  ): Promise<void> {
    if (inputs.length === 0) throw badRequest('The request defines no category; send at least one.');
    await commitChange(
      this.#context,
      async (now) => {
        const { registry } = now.snapshot;
        const defined = inputs.map((input) => this.#canonical(categoryFrom(input, classOf(input, registry))));
        const ids = defined.map(categoryId);
        const isAddition = (id: CategoryId): boolean => this.#isMergeable(id) && registry.find(id) !== undefined;
        await authorizeCategories(this.#context, principal, 'category.update', ids.filter(isAddition));
        const isNew = (id: CategoryId): boolean => !isAddition(id);
        await authorizeCategories(this.#context, principal, 'category.create', ids.filter(isNew));
        return { categories: this.#planDefinitions(defined, now) };
      },
      idempotent,
    );
  }

  #planDefinitions(
    defined: readonly Category[],
    { snapshot: { registry }, documents }: StoredCategories,
  ): ReadonlyMap<CategoryId, CategoryDocument> {
    const fresh = new Map<CategoryId, Category>();
    const writes = new Map<CategoryId, CategoryDocument>();
    for (const category of defined) {
      const id = categoryId(category);
      const existing = registry.find(id);
      if (existing !== undefined && this.#isMergeable(id)) {
        refuseOtherShape(existing, category);
        const added = overlayOf(existing, category, writes.get(id) ?? documents.get(id));
        if (added !== undefined) writes.set(id, added);
        continue;
      }
      if (existing !== undefined || fresh.has(id) || documents.has(id)) {
        throw new CmbsError('conflict', `${id} is defined already; change it with PUT.`);
      }
      fresh.set(id, category);
      writes.set(id, { category, overlay: false, removing: false });
    }
    const after = registry.with(fresh);
    for (const { category } of writes.values()) checkReferences(category, after);
    refuseTakenLocations(fresh.values(), registry);
    return writes;
  }

  async update(
    { categories: inputs, providers }: CategoryUpdate,
    principal: Principal,
    {
      idempotent,
      signal,
    }: { readonly idempotent?: IdempotentRequest | undefined; readonly signal?: AbortSignal } = {},
  ): Promise<Progress> {
    await commitChange(
      this.#context,
      async (now) => {
        const { registry } = now.snapshot;
        const idOf = (input: CategoryInput): CategoryId => registry.canonicalId(categoryId(input));
        const bound = providers.map(({ category }) => registry.canonicalId(category));
        await authorizeCategories(this.#context, principal, 'category.update', inputs.map(idOf));
        await authorizeCategories(this.#context, principal, 'category.bind', bound);
        return {
          categories: this.#planUpdates(inputs, now),
          bindings: this.#planBindings(providers, registry),
        };
      },
      idempotent,
    );
    return this.removeDropped(
      inputs.map((input) => categoryId(input)),
      signal,
    );
  }

  #planUpdates(
    inputs: readonly CategoryInput[],
    { snapshot: { registry }, documents }: StoredCategories,
  ): ReadonlyMap<CategoryId, CategoryDocument> {
    const writes = new Map<CategoryId, CategoryDocument>();
    for (const input of inputs) {
      const existing = registry.require(categoryId(input));
      const id = categoryId(existing);
      refuseOtherClass(existing, input);
      const location = existing.class === 'action' ? undefined : (input.location ?? existing.location);
      const located = location === undefined ? input : { ...input, location };
      const given = this.#canonical(categoryFrom(located, existing.class));
      refuseOtherShape(existing, given);
      if (this.#isMergeable(id)) {
        const added = overlayOf(existing, given, writes.get(id) ?? documents.get(id));
        if (added !== undefined) writes.set(id, added);
        continue;
      }
      if (existing.origin !== 'runtime') {
        throw new CmbsError('forbidden', `${id} comes with the program and cannot be changed.`);
      }
      const category = changedBy(existing, given, input);
      checkReferences(category, registry.with(byId([category])));
      const dropping = droppedBy(existing, category, documents.get(id)?.dropping, registry);
      const document = { category, overlay: false, removing: false };
      writes.set(id, dropping === undefined ? document : { ...document, dropping });
    }
    return writes;
  }

  #planBindings(
    providers: readonly ProviderInput[],
    registry: CategoryRegistry,
  ): ReadonlyMap<CategoryId, readonly string[]> {
    const offered = this.#context.builtIn.providers;
    const bindings = new Map<CategoryId, readonly string[]>();
    for (const { category, local, remote } of providers) {
      const id = categoryId(registry.requireKind(category));
      if (remote.length > 0) {
        throw new CmbsError('not_implemented', 'Remote providers are not supported; name a local one.');
      }
      const unknown = local.find((name) => !offered.has(name));
      if (unknown !== undefined) {
        const known = [...offered.keys()].join(', ');
        throw badRequest(`There is no provider ${JSON.stringify(unknown)} here; name one of: ${known}.`);
      }
      bindings.set(id, [...new Set(local)]);
    }
    return bindings;
  }

  /** Removes attributes that categories no longer define from entities, for as long as one request may take. */
  async removeDropped(ids: readonly CategoryId[], signal?: AbortSignal): Promise<Progress> {
    const { store, clock, follower } = this.#context;
    const registry = async (): Promise<CategoryRegistry> => (await follower.current()).registry;
    const now = await registry();
    return inTurn(new Set(ids.map((given) => now.canonicalId(given))), async (id) => {
      if (follower.stored?.documents.get(id)?.dropping === undefined) return { done: 0, isComplete: true };
      const progress = await takeOffDropped(id, { store, clock, registry, signal });
      follower.invalidate();
      return progress;
    });
  }

  #isMergeable(id: CategoryId): boolean {
    return this.#context.mergeable.has(id);
  }

  /** The category with canonical spellings of its own id, attributes and actions. */
  #canonical<C extends Category>(category: C): C {
    const { aliases } = this.#context.builtIn;
    const id = aliases.categories[categoryId(category)];
    const attributes: AttributeSpecs = Object.fromEntries(
      Object.entries(category.attributes).map(([name, spec]) => [aliases.attributes[name] ?? name, spec]),
    );
    const renamed = id === undefined ? {} : { term: termOf(id) };
    if (category.class === 'action') return { ...category, ...renamed, attributes };
    const actions = [...new Set(category.actions.map((action) => aliases.categories[action] ?? action))];
    return { ...category, ...renamed, attributes, actions };
  }
}

/** The additions to a built-in category, together with earlier ones; undefined if the definition adds nothing. */
function overlayOf(
  existing: Category,
  given: Category,
  earlier: CategoryDocument | undefined,
): CategoryDocument | undefined {
  const added = additions(existing, given);
  if (addsNothing(added)) return undefined;
  const category = earlier === undefined ? added : merge(earlier.category, added);
  return { category, overlay: true, removing: false };
}

/** @throws CmbsError `conflict` */
function refuseTakenLocations(fresh: Iterable<Category>, registry: CategoryRegistry): void {
  const locations = new Map<string, CategoryId>();
  for (const category of fresh) {
    if (category.class === 'action' || category.location === undefined) continue;
    const { location } = category;
    const holder = registry.at(location);
    const other = holder === undefined ? locations.get(location) : categoryId(holder);
    if (other !== undefined) {
      throw new CmbsError('conflict', `The location ${location} belongs to ${other}; choose another.`);
    }
    locations.set(location, categoryId(category));
  }
}
