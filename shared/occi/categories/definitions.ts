/** Defines and changes categories, and binds kinds to providers (#20 to #23). */
import { badRequest, CmbsError } from '../../errors';
import type { Principal } from '../../principal';
import { categoryFrom } from './category-input';
import type { IdempotentRequest } from '../idempotency';
import { categoryId, type AttributeSpecs, type Category, type CategoryId } from '../model';
import type { CategoryInput, ProviderInput } from '../payload';
import type { CategoryRegistry } from '../category-registry';
import type { Progress } from '../steps';
import { additions, addsNothing, changedBy, checkReferences, classOf, refuseOtherShape } from './changes';
import { droppedBy, takeOffDropped } from './dropped-attributes';
import { byId, merge, type CategoryDocument, type StoredCategories } from './snapshot';
import { authorizeCategories, commitChange, type CategoryContext } from './writer';

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
    if (inputs.length === 0) throw badRequest('The request defines no category.');
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
        const added = additions(existing, category);
        const earlier = (writes.get(id) ?? documents.get(id))?.category;
        const overlay = earlier === undefined ? added : merge(earlier, added);
        if (!addsNothing(overlay)) writes.set(id, { category: overlay, overlay: true, removing: false });
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
      const id = registry.canonicalId(categoryId(input));
      const existing = registry.find(id);
      if (existing === undefined) throw new CmbsError('unknown_category', `There is no category ${id} here.`);
      if (input.class !== undefined && input.class !== existing.class) {
        throw badRequest(`${id} is of class ${existing.class}, which cannot change.`);
      }
      const location = existing.class === 'action' ? undefined : (input.location ?? existing.location);
      const located = location === undefined ? input : { ...input, location };
      const given = this.#canonical(categoryFrom(located, existing.class));
      refuseOtherShape(existing, given);
      if (this.#isMergeable(id)) {
        const added = additions(existing, given);
        const earlier = (writes.get(id) ?? documents.get(id))?.category;
        if (!addsNothing(added)) {
          const category = earlier === undefined ? added : merge(earlier, added);
          writes.set(id, { category, overlay: true, removing: false });
        }
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
      const id = registry.canonicalId(category);
      if (registry.kind(id) === undefined) {
        throw new CmbsError('unknown_category', `There is no kind ${id} here to bind a provider to.`);
      }
      if (remote.length > 0) {
        throw new CmbsError('not_implemented', 'Remote providers are not offered; name a local one.');
      }
      const unknown = local.find((name) => !offered.has(name));
      if (unknown !== undefined) {
        const known = [...offered.keys()].join(', ');
        throw badRequest(`There is no provider ${JSON.stringify(unknown)} here; known are: ${known}.`);
      }
      bindings.set(id, [...new Set(local)]);
    }
    return bindings;
  }

  /** Removes attributes that categories no longer define from the entities, for as long as one request may take. */
  async removeDropped(ids: readonly CategoryId[], signal?: AbortSignal): Promise<Progress> {
    const { store, clock, follower } = this.#context;
    const registry = async (): Promise<CategoryRegistry> => (await follower.current()).registry;
    const now = await registry();
    let done = 0;
    for (const id of new Set(ids.map((given) => now.canonicalId(given)))) {
      if (follower.stored?.documents.get(id)?.dropping === undefined) continue;
      const progress = await takeOffDropped(id, { store, clock, registry, signal });
      follower.invalidate();
      done += progress.done;
      if (!progress.isComplete) return { done, isComplete: false };
    }
    return { done, isComplete: true };
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
    const renamed = id === undefined ? {} : { term: id.slice(id.lastIndexOf('#') + 1) };
    if (category.class === 'action') return { ...category, ...renamed, attributes };
    const actions = [...new Set(category.actions.map((action) => aliases.categories[action] ?? action))];
    return { ...category, ...renamed, attributes, actions };
  }
}

/** @throws CmbsError `conflict` */
function refuseTakenLocations(fresh: Iterable<Category>, registry: CategoryRegistry): void {
  const locations = new Map<string, CategoryId>();
  for (const category of fresh) {
    if (category.class === 'action' || category.location === undefined) continue;
    const { location } = category;
    const holder = registry.at(location);
    const other = holder === undefined ? locations.get(location) : categoryId(holder);
    if (other !== undefined) throw new CmbsError('conflict', `The location ${location} belongs to ${other}.`);
    locations.set(location, categoryId(category));
  }
}
