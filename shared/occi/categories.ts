/**
 * The categories and provider bindings of a deployment: what comes with the program, what clients defined, and how
 * both change at run time (occi.md §2.2, Q11).
 */
import { systemClock, type Clock } from '../clock';
import { badRequest, CmbsError } from '../errors';
import { MAX_BATCH_ENTITIES, MAX_CATEGORIES, MAX_DEFINITIONS_CHARS } from './limits';
import { MAX_STEP_CHARS } from '../limits';
import type { JsonObject } from '../json';
import type { Store, Transaction, Watch } from '../store';
import {
  BINDINGS,
  byId,
  CATEGORIES,
  CURRENT,
  merge,
  recordChange,
  storedCategoriesAt,
  STATE,
  type CategorySnapshot,
  type CategoryDocument,
  type BuiltInCategories,
  type StoredCategories,
} from './category-snapshot';
import {
  additions,
  addsNothing,
  changedBy,
  checkReferences,
  classOf,
  detached,
  refuseOtherShape,
  without,
} from './category-changes';
import { CORE_KINDS } from './core';
import { categoryFrom, checkSize, definitionChars } from './definitions';
import { droppedBy, droppingsOf, takeOffDropped } from './dropped-attributes';
import { CATEGORY_FIELD, ENTITIES, entitiesOf, writeEntity } from './entity-store';
import { once, type IdempotentRequest } from './idempotency';
import { categoryId, type AttributeSpecs, type Category, type CategoryId } from './model';
import type { CategoryInput, ProviderInput } from './payload';
import { dummyProvider, type Extension } from './provider';
import type { Aliases, CategoryRegistry } from './registry';
import { inSteps, type Progress } from './steps';

export type { CategorySnapshot } from './category-snapshot';

/** How a process learns what others change. */
export interface Freshness {
  /** The store tells of changes at once; not for a process that stands still between requests. */
  readonly watch: boolean;
  /** A snapshot this old, in milliseconds, is compared with the store before it is used again. */
  readonly maxAgeMs?: number;
  readonly clock: Clock;
}

export class Categories {
  private readonly store: Store;
  private readonly given: BuiltInCategories;
  private readonly mergeable: ReadonlySet<CategoryId>;
  private readonly freshness: Freshness;
  private readonly watches: readonly Watch[];
  /** What is known; {@link isStale}: something has changed since. */
  private held: StoredCategories | undefined;
  private isStale = true;
  /** Milliseconds since the epoch. */
  private checkedAt = 0;
  private checking: Promise<void> | undefined;

  constructor(
    store: Store,
    extensions: readonly Extension[],
    freshness: Freshness = { watch: true, clock: systemClock },
  ) {
    this.store = store;
    this.freshness = freshness;
    this.mergeable = new Set(extensions.flatMap(({ mergeable }) => mergeable ?? []));
    this.given = {
      builtin: byId([...CORE_KINDS, ...extensions.flatMap(({ categories }) => categories)]),
      providers: new Map(
        [dummyProvider, ...extensions.flatMap(({ providers }) => providers)].map((one) => [one.name, one]),
      ),
      bindings: new Map(
        extensions.flatMap(({ bindings }) =>
          Object.entries(bindings).map(([kind, name]) => [kind, [name]] as const),
        ),
      ),
      aliases: {
        categories: Object.assign(
          {},
          ...extensions.map(({ aliases }) => aliases?.categories ?? {}),
        ) as Aliases['categories'],
        attributes: Object.assign(
          {},
          ...extensions.map(({ aliases }) => aliases?.attributes ?? {}),
        ) as Aliases['attributes'],
      },
    };
    const look = (): void => {
      this.isStale = true;
    };
    this.watches = freshness.watch ? [store.watch({ collection: STATE }, look)] : [];
    // What changed before it was ready was not told.
    for (const { ready } of this.watches) ready.then(look, look);
  }

  close(): void {
    for (const watch of this.watches) watch.end();
  }

  /** The snapshot to answer one request with. */
  async current(): Promise<CategorySnapshot> {
    const { maxAgeMs, clock } = this.freshness;
    const isYoung = maxAgeMs === undefined || clock.now() - this.checkedAt < maxAgeMs;
    if (!isYoung || this.held === undefined) await this.checked();
    // A look that was under way may have missed a change that was made before this call; the next one does not.
    for (let looks = 0; this.isStale && looks < 2; looks += 1) await this.checked();
    if (this.held === undefined) throw new Error('a look ended without a snapshot');
    return this.held.snapshot;
  }

  private checked(): Promise<void> {
    return (this.checking ??= this.follow().finally(() => {
      this.checking = undefined;
    }));
  }

  /** Reads what has changed in the store; what changes meanwhile is found the next time. */
  private async follow(): Promise<void> {
    const now = this.freshness.clock.now();
    this.isStale = false;
    try {
      const state = await this.store.get(STATE, CURRENT);
      this.held = await storedCategoriesAt(state, this.held, this.store, this.given);
      this.checkedAt = now;
    } catch (error) {
      this.isStale = true; // the next caller tries again
      throw error;
    }
  }

  private async change(body: (now: StoredCategories) => Change, idempotent?: IdempotentRequest): Promise<void> {
    await this.store.transact((tx) =>
      once(tx, idempotent, this.freshness.clock.now(), async () => {
        const state = await tx.get(STATE, CURRENT);
        const now = await storedCategoriesAt(state, this.held, tx, this.given);
        const { categories, bindings = new Map<CategoryId, undefined>(), inUse = [] } = body(now);
        refuseBeyondBounds(now, categories);
        for (const id of inUse) await refuseIfInUse(tx, id);
        // How far entities are rid of an attribute is recorded without telling anybody, so no snapshot knows it.
        const pending = [...categories.keys()].filter((id) => now.documents.get(id)?.dropping !== undefined);
        const droppings = await droppingsOf(tx, pending);
        if (categories.size + bindings.size === 0) return {};
        recordChange(tx, state, categories.keys(), bindings.keys());
        for (const [id, document] of categories) {
          // What is still to be taken off entities stays so, whatever else changes about the category.
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
    this.isStale = true;
  }

  /**
   * Refuses (`unknown_category`) categories that were deleted since the snapshot was taken. Reads them in the
   * transaction, so that one which is deleted meanwhile makes it run again.
   */
  async requireStill(tx: Transaction, ids: readonly CategoryId[], { registry }: CategorySnapshot): Promise<void> {
    const mortal = [...new Set(ids)].filter((id) => registry.find(id)?.origin === 'runtime');
    if (mortal.length === 0) return;
    const docs = await tx.getAll(CATEGORIES, mortal);
    docs.forEach((doc, at) => {
      if (doc !== undefined && !(doc.value as unknown as CategoryDocument).removing) return;
      throw new CmbsError('unknown_category', `There is no category ${mortal[at] ?? ''} here any more.`);
    });
  }

  /** POST on the query interface: all of them or none. Existing ones: see DESIGN decisions 2 and 16. */
  async define(inputs: readonly CategoryInput[], idempotent?: IdempotentRequest): Promise<void> {
    if (inputs.length === 0) throw badRequest('The request defines no category.');
    await this.change(({ snapshot: { registry }, documents }) => {
      const fresh = new Map<CategoryId, Category>();
      const writes = new Map<CategoryId, CategoryDocument>();
      for (const input of inputs) {
        const made = this.canonical(categoryFrom(input, classOf(input, registry)));
        const id = categoryId(made);
        const existing = registry.find(id);
        if (existing !== undefined && this.mergeable.has(id)) {
          refuseOtherShape(existing, made);
          const earlier = (writes.get(id) ?? documents.get(id))?.category;
          const overlay =
            earlier === undefined ? additions(existing, made) : merge(earlier, additions(existing, made));
          if (addsNothing(overlay)) continue;
          writes.set(id, { category: overlay, overlay: true, removing: false });
        } else {
          if (existing !== undefined || fresh.has(id) || documents.has(id)) {
            throw new CmbsError('conflict', `${id} is defined already; change it with PUT.`);
          }
          fresh.set(id, made);
          writes.set(id, { category: made, overlay: false, removing: false });
        }
      }
      const after = registry.with(fresh);
      for (const made of [...fresh.values(), ...[...writes.values()].map(({ category }) => category)]) {
        checkReferences(made, after);
      }
      const locations = new Map<string, CategoryId>();
      for (const made of fresh.values()) {
        if (made.class === 'action' || made.location === undefined) continue;
        const holder = registry.at(made.location);
        const other = holder === undefined ? locations.get(made.location) : categoryId(holder);
        if (other !== undefined) {
          throw new CmbsError('conflict', `The location ${made.location} belongs to ${other}.`);
        }
        locations.set(made.location, categoryId(made));
      }
      return { categories: writes };
    }, idempotent);
  }

  /**
   * PUT on the query interface: changes the given keys of categories that exist. Attributes that go leave the entities
   * too; where those are too many for one request, the same request again goes on.
   */
  async update(
    inputs: readonly CategoryInput[],
    providers: readonly ProviderInput[],
    idempotent?: IdempotentRequest,
    signal?: AbortSignal,
  ): Promise<Progress> {
    await this.change(({ snapshot: { registry }, documents }) => {
      const writes = new Map<CategoryId, CategoryDocument>();
      for (const input of inputs) {
        const id = registry.canonicalId(categoryId(input));
        const existing = registry.find(id);
        if (existing === undefined) throw new CmbsError('unknown_category', `There is no category ${id} here.`);
        if (input.class !== undefined && input.class !== existing.class) {
          throw badRequest(`${id} is of class ${existing.class}, which cannot change.`);
        }
        const location = existing.class === 'action' ? undefined : existing.location;
        const given = this.canonical(
          categoryFrom(
            { ...input, ...(location === undefined ? {} : { location: input.location ?? location }) },
            existing.class,
          ),
        );
        refuseOtherShape(existing, given);
        if (this.mergeable.has(id)) {
          const overlay = additions(existing, given);
          const earlier = (writes.get(id) ?? documents.get(id))?.category;
          if (!addsNothing(overlay)) {
            const category = earlier === undefined ? overlay : merge(earlier, overlay);
            writes.set(id, { category, overlay: true, removing: false });
          }
          continue;
        }
        if (existing.origin !== 'runtime') {
          throw new CmbsError('forbidden', `${id} comes with the program and cannot be changed.`);
        }
        const changed = changedBy(existing, given, input);
        checkReferences(changed, registry.with(byId([changed])));
        const dropped = droppedBy(existing, changed, documents.get(id)?.dropping, registry);
        const document = { category: changed, overlay: false, removing: false };
        writes.set(id, dropped === undefined ? document : { ...document, dropping: dropped });
      }
      const bindings = new Map<CategoryId, readonly string[]>();
      for (const { category, local, remote } of providers) {
        const id = registry.canonicalId(category);
        if (registry.kind(id) === undefined) {
          throw new CmbsError('unknown_category', `There is no kind ${id} here to bind a provider to.`);
        }
        if (remote.length > 0) {
          throw new CmbsError('not_implemented', 'Remote providers are not offered; name a local one.');
        }
        for (const name of local) {
          if (!this.given.providers.has(name)) {
            const known = [...this.given.providers.keys()].join(', ');
            throw badRequest(`There is no provider ${JSON.stringify(name)} here; known are: ${known}.`);
          }
        }
        bindings.set(id, [...new Set(local)]);
      }
      return { categories: writes, bindings };
    }, idempotent);
    const ids = inputs.map((input) => categoryId(input));
    return this.takeOff(ids, signal);
  }

  /** Takes off entities what the categories do not define any more, as far as there is time for. */
  private async takeOff(ids: readonly CategoryId[], signal?: AbortSignal): Promise<Progress> {
    const registry = async (): Promise<CategoryRegistry> => (await this.current()).registry;
    const now = await registry();
    let done = 0;
    for (const id of new Set(ids.map((one) => now.canonicalId(one)))) {
      if (this.held?.documents.get(id)?.dropping === undefined) continue;
      const { store, freshness } = this;
      const progress = await takeOffDropped(id, { store, clock: freshness.clock, registry, signal });
      this.isStale = true;
      done += progress.done;
      if (!progress.isComplete) return { done, isComplete: false };
    }
    return { done, isComplete: true };
  }

  /**
   * DELETE on the query interface. A mixin leaves every entity that has it, and its attributes with it; where those are
   * too many for one request, it is hidden at once and the same request again goes on.
   */
  async remove(
    inputs: readonly CategoryInput[],
    providers: readonly ProviderInput[],
    signal?: AbortSignal,
  ): Promise<Progress> {
    if (inputs.length + providers.length === 0) throw badRequest('The request names no category.');
    const leaving: Category[] = [];
    await this.change(({ snapshot: { registry, bindings }, documents }) => {
      leaving.length = 0;
      const writes = new Map<CategoryId, CategoryDocument | undefined>();
      const inUse: CategoryId[] = [];
      for (const input of inputs) {
        const id = registry.canonicalId(categoryId(input));
        const document = documents.get(id);
        if (document?.removing === true) {
          // A removal that was cut off: finish it.
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
        switch (existing.class) {
          case 'mixin':
            writes.set(id, { category: existing, overlay: false, removing: true });
            leaving.push(existing);
            break;
          case 'kind':
            inUse.push(id);
            writes.set(id, { category: existing, overlay: false, removing: true });
            leaving.push(existing);
            break;
          case 'action':
            writes.set(id, undefined);
            break;
        }
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
      return { categories: writes, bindings: unbound, inUse };
    });
    let done = 0;
    for (const category of leaving) {
      const progress = await this.finishRemoval(category, signal);
      done += progress.done;
      if (!progress.isComplete) return { done, isComplete: false };
    }
    return { done, isComplete: true };
  }

  /** Finishes removals that were cut off, as far as there is time for. */
  async resume(): Promise<void> {
    const { docs } = await this.store.query({ collection: CATEGORIES, limit: MAX_CATEGORIES });
    for (const doc of docs) {
      const { removing, category, dropping } = doc.value as unknown as CategoryDocument;
      if (removing) await this.finishRemoval(category);
      else if (dropping !== undefined) await this.takeOff([categoryId(category)]);
    }
  }

  private async finishRemoval(category: Category, signal?: AbortSignal): Promise<Progress> {
    const id = categoryId(category);
    if (category.class === 'mixin') return this.untagEverywhere(id, signal);
    await this.removeKind(id);
    return { done: 0, isComplete: true };
  }

  /**
   * From the moment on at which the kind is marked nobody makes entities of it ({@link requireStill}); one that was made
   * just before shows now, and then the kind stays. So no store has to notice what enters a query's result meanwhile.
   */
  private async removeKind(id: CategoryId): Promise<void> {
    const stays = await this.store.transact(async (tx) => {
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
    this.isStale = true;
    if (stays) throw inUseError(id);
  }

  private async untagEverywhere(mixin: CategoryId, signal?: AbortSignal): Promise<Progress> {
    const { registry } = await this.current();
    const progress = await inSteps(this.freshness.clock, signal, () =>
      this.store.transact(async (tx) => {
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
    this.isStale = true;
    return progress;
  }

  /** The category with canonical spellings of its own id, attributes and actions. */
  private canonical<C extends Category>(category: C): C {
    const { aliases } = this.given;
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

interface Change {
  /** Undefined deletes. */
  readonly categories: ReadonlyMap<CategoryId, CategoryDocument | undefined>;
  readonly bindings?: ReadonlyMap<CategoryId, readonly string[] | undefined>;
  /** Kinds that must have no entities. */
  readonly inUse?: readonly CategoryId[];
}

/** What grows beyond the bounds is refused; what was stored under larger bounds may stay, and shrink. */
function refuseBeyondBounds({ documents, chars }: StoredCategories, writes: Change['categories']): void {
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

async function refuseIfInUse(tx: Transaction, kind: CategoryId): Promise<void> {
  const page = await tx.query({ collection: ENTITIES, where: [{ field: CATEGORY_FIELD, value: kind }], limit: 1 });
  if (page.docs.length > 0) {
    throw inUseError(kind);
  }
}

const inUseError = (kind: CategoryId): CmbsError =>
  new CmbsError('conflict', `${kind} has entities; delete them first.`);
