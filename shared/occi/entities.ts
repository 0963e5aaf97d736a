/** Entities: create, read, replace, update, delete, list, tag (occi.md §2.3 to §2.6). One transaction each. */
import type { Clock, NewId } from '../clock';
import { badRequest, CmbsError } from '../errors';
import type { Json } from '../json';
import { concurrently } from '../concurrently';
import type { Principal } from '../principal';
import { nextTurn, requireWanted } from '../waiting';
import { MAX_BATCH_ENTITIES, STEPS_BUDGET_MS } from './limits';
import { MAX_PAGE_CHARS, MAX_PAGE_OFFSET, MAX_STEP_CHARS, PAGE_PORTION_CHARS } from '../limits';
import type { Store, Transaction } from '../store';
import { checkAttributes, type Values } from './attributes';
import type { CategorySnapshot, Categories } from './categories';
import { without } from './category-changes';
import {
  CATEGORY_FIELD,
  deleteEntity,
  ENTITIES,
  entitiesOf,
  outlineOf,
  readEntities,
  readEntity,
  SOURCE_FIELD,
  TARGET_FIELD,
  writeEntity,
  type StoredEntity,
} from './entity-store';
import { indexedTerms, residualTest, type Filter } from './filter';
import { earlierAnswer, once, rememberAnswer, type IdempotentRequest } from './idempotency';
import type { Draft } from './interpret';
import { linkDraft } from './link-draft';
import {
  categoryId,
  CORE_SOURCE,
  CORE_TARGET,
  RESOURCE_KIND,
  type AttributeSpecs,
  type CategoryId,
  type Entity,
  type EntityView,
  type LinkView,
  type Mixin,
  type Path,
} from './model';
import { checkEntityPath, checkId, splitLocation, type Location } from './paths';
import type { LinkInput } from './payload';
import { inPortions, type Portioned, type Portions } from './portions';
import type { Change, Completion, Intent, Provider } from './provider';
import type { CategoryRegistry } from './registry';
import { inSteps, type Progress, type Step } from './steps';

/** Queries for links of entities that are deleted together, under way at the same time. */
const LINK_QUERY_CONCURRENCY = 16;
/** Mixins of one entity: each is an index entry, and one more definition to merge. */
const MAX_ENTITY_MIXINS = 200;
/** Documents looked at for one page when part of a filter cannot use an index; then the page ends with a cursor. */
const MAX_FILTER_SCAN = 20_000;

export interface EntitiesOptions {
  readonly store: Store;
  readonly categories: Categories;
  readonly clock: Clock;
  readonly newId: NewId;
}

/** Throws `precondition_failed` when the entity as it is now (undefined: absent) is not what the caller expects. */
export type Precondition = (current: StoredEntity | undefined) => void;

export interface PageRequest extends Portioned {
  /** Which entities: a kind's or mixin's collection, or everything below a path. */
  readonly scope: { readonly category: CategoryId } | { readonly below: Path };
  readonly filter: Filter;
  /** 1-based; with `number` only. */
  readonly page?: number;
  readonly number: number;
  readonly cursor?: string;
  /**
   * What of each entity is needed when that is not all of it. Pages of whole entities end early, with a cursor, where
   * they grow large.
   */
  readonly need?: 'path' | 'attributes';
}

export interface EntityPage {
  readonly entities: readonly StoredEntity[];
  readonly next?: string;
}

/** Who asks, and which locations are of this deployment. */
export interface Requester {
  readonly principal: Principal;
  /** The path of a location that is of this deployment; undefined for others. */
  readonly pathHere: (location: Location) => Path | undefined;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal?: AbortSignal;
}

/** What the client is told beside what was written: one sentence each. */
export interface Noted {
  readonly notes: readonly string[];
}

/** Entities whose texts that lie apart are read together, at most. */
const READ_AT_ONCE = 256;
/** Entities whose links are looked for together. */
const VIEWED_AT_ONCE = 128;

function withoutTexts(stored: StoredEntity, need: PageRequest['need']): StoredEntity {
  const { entity } = stored;
  return { ...stored, entity: { ...entity, rawJson: {}, attributes: need === 'path' ? {} : entity.attributes } };
}

export class Entities {
  private readonly store: Store;
  private readonly categories: Categories;
  private readonly clock: Clock;
  private readonly newId: NewId;
  /** Views that depend on nothing but the entity and the categories. */
  private readonly plainViews = new WeakMap<Entity, { snapshot: CategorySnapshot; view: EntityView }>();

  constructor({ store, categories, clock, newId }: EntitiesOptions) {
    this.store = store;
    this.categories = categories;
    this.clock = clock;
    this.newId = newId;
  }

  /** The entity at a path; undefined when there is none. */
  find(path: Path): Promise<StoredEntity | undefined> {
    return readEntity(this.store, path);
  }

  async read(path: Path): Promise<StoredEntity> {
    const stored = await this.find(path);
    if (stored !== undefined) return stored;
    const { registry } = await this.categories.current();
    const isCollection = registry.at(`${path}/`) !== undefined || (await this.hasBelow(`${path}/`, registry));
    const advice = isCollection ? ` The collection is at ${path}/, with a slash at the end.` : '';
    throw new CmbsError('not_found', `There is nothing at ${path}.${advice}`);
  }

  /** What a rendering shows of it: links, applicable actions, kinds of the ends. As long as nothing changes, the same. */
  async view(entity: Entity): Promise<EntityView> {
    const snapshot = await this.categories.current();
    const isLink = snapshot.registry.isLink(entity.kind);
    const links = isLink ? [] : await this.outgoingLinks(this.store, entity, snapshot);
    if (isLink || links.length > 0)
      return this.viewOf(entity, links, snapshot, await this.kindsAt([entity], links));
    const known = this.plainViews.get(entity);
    if (known?.snapshot === snapshot) return known.view;
    const view = this.viewOf(entity, links, snapshot, () => undefined);
    this.plainViews.set(entity, { snapshot, view });
    return view;
  }

  /** {@link view} of many; others have a turn from time to time. */
  async views(entities: readonly Entity[]): Promise<readonly EntityView[]> {
    const views: EntityView[] = [];
    for (let from = 0; from < entities.length; from += VIEWED_AT_ONCE) {
      if (from > 0) await nextTurn();
      views.push(...(await this.someViews(entities.slice(from, from + VIEWED_AT_ONCE))));
    }
    return views;
  }

  private async someViews(entities: readonly Entity[]): Promise<readonly EntityView[]> {
    const snapshot = await this.categories.current();
    const outgoing = await Promise.all(
      entities.map(async (entity) =>
        snapshot.registry.isLink(entity.kind) ? [] : this.outgoingLinks(this.store, entity, snapshot),
      ),
    );
    const kindAt = await this.kindsAt(entities, outgoing.flat());
    return entities.map((entity, at) => this.viewOf(entity, outgoing[at] ?? [], snapshot, kindAt));
  }

  private viewOf(
    entity: Entity,
    links: readonly LinkView[],
    snapshot: CategorySnapshot,
    kindAt: (end: Json | undefined) => CategoryId | undefined,
  ): EntityView {
    const isLink = snapshot.registry.isLink(entity.kind);
    const sourceKind = isLink ? kindAt(entity.attributes[CORE_SOURCE]) : undefined;
    const targetKind = isLink ? kindAt(entity.attributes[CORE_TARGET]) : undefined;
    return {
      entity,
      isLink,
      links: links.map((link) => {
        const kind = kindAt(link.target);
        return kind === undefined ? link : { ...link, targetKind: kind };
      }),
      actions: applicableActions(entity, snapshot),
      ...(sourceKind === undefined ? {} : { sourceKind }),
      ...(targetKind === undefined ? {} : { targetKind }),
    };
  }

  /** Tells the kinds of those ends of links that are entities here. */
  private async kindsAt(
    entities: readonly Entity[],
    links: readonly LinkView[],
  ): Promise<(end: Json | undefined) => CategoryId | undefined> {
    const ends = entities.flatMap((entity) =>
      [entity.attributes[CORE_SOURCE], entity.attributes[CORE_TARGET]].filter((end) => typeof end === 'string'),
    );
    const targets = links.map(({ target }) => target);
    const local = [...new Set([...ends, ...targets].filter((end) => end.startsWith('/')))];
    const found = local.length === 0 ? new Map<Path, StoredEntity>() : await readEntities(this.store, local);
    return (end) => (typeof end === 'string' ? found.get(end)?.entity.kind : undefined);
  }

  private async outgoingLinks(
    reader: Pick<Store, 'query'>,
    { path: source, isLinked }: Entity,
    { registry }: CategorySnapshot,
  ): Promise<readonly LinkView[]> {
    if (isLinked === false) return [];
    const { docs } = await reader.query({
      collection: ENTITIES,
      where: [{ field: SOURCE_FIELD, value: source }],
      limit: MAX_BATCH_ENTITIES,
    });
    if (docs.length === 0) return [];
    return (await entitiesOf(this.store, docs))
      .filter(({ entity }) => registry.isLink(entity.kind))
      .map(({ entity }) => ({
        path: entity.path,
        id: entity.id,
        kind: entity.kind,
        mixins: entity.mixins,
        attributes: entity.attributes,
        target: endOf(entity, CORE_TARGET),
      }));
  }

  /**
   * Creates all drafts or none (#16). `collection` is the path that was posted to: a kind's location takes only its
   * kind; any other path takes the kind from the body (#26).
   */
  async create(
    drafts: readonly Draft[],
    collection: Path,
    requester: Requester,
    { idempotent, intent }: { readonly idempotent?: IdempotentRequest; readonly intent?: Intent } = {},
  ): Promise<Noted & { readonly paths: readonly Path[] }> {
    if (drafts.length === 0) throw badRequest('The request has no entity: it needs a kind.');
    if (drafts.length > MAX_BATCH_ENTITIES) {
      throw new CmbsError('too_large', `One request creates ${MAX_BATCH_ENTITIES} entities at most.`);
    }
    const snapshot = await this.categories.current();
    const { registry } = snapshot;
    const at = registry.at(collection);
    const fresh = drafts.flatMap((one) => {
      if (one.kind === undefined) throw badRequest('An entity needs a kind.');
      if (at?.class === 'kind' && categoryId(at) !== one.kind) {
        throw new CmbsError(
          'conflict',
          `${collection} takes entities of kind ${categoryId(at)}, not ${one.kind}.`,
        );
      }
      const kind = registry.requireKind(one.kind);
      if (kind.location === undefined) throw badRequest(`${one.kind} is abstract and has no entities.`);
      const id = one.id === undefined ? this.newId() : checkId(one.id);
      return this.withLinks(one, checkEntityPath(kind.location + id), id, snapshot, requester);
    });
    refuseRepeated(fresh);
    const { paths, completions } = await this.store.transact(async (tx) => {
      const earlier = idempotent === undefined ? undefined : await earlierAnswer(tx, idempotent);
      if (earlier !== undefined) return { paths: earlier.paths as readonly Path[], completions: [] };
      const made = await this.insert(tx, fresh, snapshot, intent);
      const created = fresh.filter(({ path }) => !isInline(path, fresh)).map(({ path }) => path);
      if (idempotent !== undefined) rememberAnswer(tx, idempotent, { paths: created }, this.clock.now());
      return { paths: created, completions: made };
    });
    return { paths, ...(await concluded(completions, requester)) };
  }

  /** An entity and, after it, the links named inside it (#51). */
  private withLinks(
    one: Draft,
    path: Path,
    id: string,
    snapshot: CategorySnapshot,
    requester: Requester,
  ): readonly Fresh[] {
    const entity = this.fresh(one, path, id, snapshot, requester);
    const links = one.links.map((link) => ({
      ...this.freshLink(link, path, snapshot, requester),
      inlineOf: path,
    }));
    return [entity, ...links];
  }

  private freshLink(link: LinkInput, source: Path, snapshot: CategorySnapshot, requester: Requester): Fresh {
    const { registry } = snapshot;
    const { kind, mixins, values } = linkDraft(link, registry);
    const location = registry.requireKind(kind).location;
    if (location === undefined) throw badRequest(`${kind} is abstract and has no entities.`);
    const id = link.id === undefined ? this.newId() : checkId(link.id);
    const path = checkEntityPath(location + id);
    const ends = { [CORE_SOURCE]: source, [CORE_TARGET]: link.target };
    const draft = { kind, mixins, values: { ...values, ...ends }, rawJson: {}, links: [] };
    return this.fresh(draft, path, id, snapshot, requester);
  }

  /** Applies the rules of the categories and of the provider to a draft that makes a new entity. */
  private fresh(one: Draft, path: Path, id: string, snapshot: CategorySnapshot, requester: Requester): Fresh {
    const { registry } = snapshot;
    const kind = one.kind ?? RESOURCE_KIND;
    const mixins = checkMixins(kind, one.mixins, registry);
    const now = this.clock.now();
    const entity: Entity = {
      path,
      id,
      kind,
      mixins,
      attributes: plainAttributes(ownPaths(one.values, requester), registry.specs(kind, mixins), {
        partial: false,
      }),
      rawJson: checkRawJson(one.rawJson, {}, registry.specs(kind, mixins), false),
      owner: requester.principal.name,
      createdBy: requester.principal,
      createdAt: now,
      updatedAt: now,
      isLinked: false,
    };
    return { path, entity: snapshot.providerOf(kind)?.prepare?.(entity, undefined) ?? entity };
  }

  /** Calls of the providers' {@link Provider.complete}, one for each provider. */
  private async completed(
    tx: Transaction,
    changes: readonly Change[],
    snapshot: CategorySnapshot,
    intent?: Intent,
  ): Promise<{ readonly entities: ReadonlyMap<Path, Entity>; readonly completions: readonly Completion[] }> {
    const byProvider = new Map<Provider, Change[]>();
    for (const change of changes) {
      const provider = snapshot.providerOf(change.next.kind);
      if (provider?.complete === undefined) continue;
      byProvider.set(provider, [...(byProvider.get(provider) ?? []), change]);
    }
    const completions: Completion[] = [];
    for (const [provider, own] of byProvider) {
      const completion = await provider.complete?.(tx, own, intent);
      if (completion !== undefined) completions.push(completion);
    }
    const all = [...changes.map(({ next }) => next), ...completions.flatMap(({ entities }) => entities)];
    return { entities: new Map(all.map((entity) => [entity.path, entity])), completions };
  }

  private async insert(
    tx: Transaction,
    fresh: readonly Fresh[],
    snapshot: CategorySnapshot,
    intent?: Intent,
  ): Promise<readonly Completion[]> {
    const { registry } = snapshot;
    const named = fresh.flatMap(({ entity }) => [entity.kind, ...entity.mixins]);
    await this.categories.requireStill(tx, named, snapshot);
    const links = fresh.filter(({ entity }) => registry.isLink(entity.kind));
    const ends = links.flatMap(({ entity }) => linkEnds(entity)).filter((end) => end.startsWith('/'));
    const paths = [...new Set([...fresh.map(({ path }) => path), ...ends])];
    const there = await readEntities(tx, paths);
    for (const { path } of fresh) {
      if (there.has(path)) throw new CmbsError('conflict', `There is an entity at ${path} already.`);
    }
    const { entities: made, completions } = await this.completed(
      tx,
      fresh.map(({ entity }) => ({ next: entity, before: undefined })),
      snapshot,
      intent,
    );
    const touched = new Map<Path, Entity>();
    const linking = new Set<Path>();
    for (const { entity } of links) {
      checkLinkEnds(entity, (path) => made.get(path) ?? there.get(path)?.entity, registry);
      const source = endOf(entity, CORE_SOURCE);
      linking.add(source);
      const stored = there.get(source);
      if (stored !== undefined) touched.set(source, stored.entity);
    }
    for (const [path, entity] of made) {
      writeEntity(tx, linking.has(path) ? { ...entity, isLinked: true } : entity, undefined, registry);
    }
    for (const { write } of completions) write?.();
    // The rendering of a source shows its links, so its validator has to change with them.
    for (const source of touched.values()) writeEntity(tx, { ...source, isLinked: true }, source, registry);
    return completions;
  }

  /** PUT: creates at the path or replaces what is there (#29, #30, #33). */
  async put(
    path: Path,
    draftFor: (known: Entity | undefined, registry: CategoryRegistry) => Draft,
    requester: Requester,
    expect: Precondition | undefined,
    idempotent?: IdempotentRequest,
  ): Promise<Noted & { readonly how: 'created' | 'replaced' }> {
    checkEntityPath(path);
    const snapshot = await this.categories.current();
    const { registry } = snapshot;
    const id = path.slice(path.lastIndexOf('/') + 1);
    let completions: readonly Completion[] = [];
    const { how } = await this.store.transact((tx) => {
      completions = [];
      return once(tx, idempotent, this.clock.now(), async (): Promise<{ how: 'created' | 'replaced' }> => {
        const before = await readEntity(tx, path);
        expect?.(before);
        const one = draftFor(before?.entity, registry);
        if (before !== undefined) {
          completions = await this.change(tx, before, one, { partial: false }, snapshot, requester);
          return { how: 'replaced' };
        }
        if (one.kind === undefined) throw badRequest('An entity needs a kind.');
        if (one.id !== undefined && checkId(one.id) !== id) {
          throw badRequest(`The id ${one.id} in the body differs from ${id} in the path.`);
        }
        if (registry.requireKind(one.kind).location === undefined) {
          throw badRequest(`${one.kind} is abstract and has no entities.`);
        }
        completions = await this.insert(tx, this.withLinks(one, path, id, snapshot, requester), snapshot);
        return { how: 'created' };
      });
    });
    return { how, ...(await concluded(completions, requester)) };
  }

  /** Partial POST: what is given changes, the rest stays (#32); links that the body adds are created. */
  async update(
    path: Path,
    draftFor: (known: Entity, registry: CategoryRegistry) => Draft,
    requester: Requester,
    expect: Precondition | undefined,
    idempotent?: IdempotentRequest,
  ): Promise<Noted> {
    const snapshot = await this.categories.current();
    let completions: readonly Completion[] = [];
    await this.store.transact((tx) => {
      completions = [];
      return once(tx, idempotent, this.clock.now(), async () => {
        const before = await readEntity(tx, path);
        if (before === undefined) throw new CmbsError('not_found', `There is nothing at ${path}.`);
        expect?.(before);
        const one = draftFor(before.entity, snapshot.registry);
        completions = await this.change(tx, before, one, { partial: true }, snapshot, requester);
        return {};
      });
    });
    return concluded(completions, requester);
  }

  private async change(
    tx: Transaction,
    { entity: before }: StoredEntity,
    one: Draft,
    { partial }: { readonly partial: boolean },
    snapshot: CategorySnapshot,
    requester: Requester,
  ): Promise<readonly Completion[]> {
    const { registry } = snapshot;
    refuseLeaving(before);
    if (one.kind !== undefined && one.kind !== before.kind) {
      throw new CmbsError('conflict', `The kind of ${before.path} is ${before.kind} and cannot change.`);
    }
    if (one.id !== undefined && checkId(one.id) !== before.id) {
      throw new CmbsError('conflict', `The id of ${before.path} is ${before.id} and cannot change.`);
    }
    const mixins = checkMixins(
      before.kind,
      partial ? [...new Set([...before.mixins, ...one.mixins])] : one.mixins,
      registry,
    );
    const specs = registry.specs(before.kind, mixins);
    const changed: Entity = {
      ...before,
      mixins,
      attributes: plainAttributes(ownPaths(one.values, requester), specs, { before: before.attributes, partial }),
      rawJson: checkRawJson(one.rawJson, before.rawJson, specs, partial),
      updatedAt: this.clock.now(),
      ...(partial && one.links.length > 0 ? { isLinked: true } : {}),
    };
    const after = snapshot.providerOf(before.kind)?.prepare?.(changed, before) ?? changed;
    const unknown = partial ? await this.newLinks(tx, one.links, before, snapshot, requester) : [];
    const links = unknown.map((link) => this.freshLink(link, before.path, snapshot, requester));
    const added = [...mixins, ...links.flatMap(({ entity }) => [entity.kind, ...entity.mixins])];
    await this.categories.requireStill(tx, added, snapshot);
    const { entities, completions } = await this.completed(tx, [{ next: after, before }], snapshot);
    const linkPaths = links.map(({ path }) => path);
    if (registry.isLink(after.kind) || links.length > 0) {
      const changedEnds = [after, ...links.map(({ entity }) => entity)].filter((end) => registry.isLink(end.kind));
      const ends = changedEnds.flatMap(linkEnds).filter((end) => end.startsWith('/'));
      const there = await readEntities(tx, [...new Set([...ends, ...linkPaths])]);
      for (const end of changedEnds) checkLinkEnds(end, (path) => there.get(path)?.entity, registry);
      for (const path of linkPaths) {
        if (there.has(path)) throw new CmbsError('conflict', `There is an entity at ${path} already.`);
      }
    }
    const sources = await this.sourcesOf(tx, registry.isLink(after.kind) ? [before, after] : []);
    for (const source of sources) writeEntity(tx, { ...source, isLinked: true }, source, registry);
    writeEntity(tx, entities.get(after.path) ?? after, before, registry);
    for (const link of links) writeEntity(tx, link.entity, undefined, registry);
    for (const { write } of completions) write?.();
    return completions;
  }

  /** The sources of links, which show the links: they change with them. */
  private async sourcesOf(tx: Transaction, links: readonly Entity[]): Promise<readonly Entity[]> {
    if (links.length === 0) return [];
    const paths = new Set(links.map((link) => endOf(link, CORE_SOURCE)).filter((path) => path.startsWith('/')));
    return [...(await readEntities(tx, [...paths])).values()].map(({ entity }) => entity);
  }

  /** The links that the source does not have yet: a client that puts back what it got names those it has. */
  private async newLinks(
    tx: Transaction,
    links: readonly LinkInput[],
    source: Entity,
    snapshot: CategorySnapshot,
    requester: Requester,
  ): Promise<readonly LinkInput[]> {
    if (links.every(({ self, id }) => self === undefined && id === undefined)) return links;
    const there = await this.outgoingLinks(tx, source, snapshot);
    const pathOf = (self: string): Path | undefined => {
      const split = splitLocation(self);
      return split === undefined ? undefined : requester.pathHere(split);
    };
    return links.filter(
      ({ self, id }) => !there.some((one) => one.id === id || (self !== undefined && one.path === pathOf(self))),
    );
  }

  /** Deletes an entity and, with a resource, its links at both ends (#35, #36). */
  async delete(
    path: Path,
    expect: Precondition | undefined,
    signal: AbortSignal,
    idempotent?: IdempotentRequest,
  ): Promise<void> {
    if (idempotent !== undefined && (await earlierAnswer(this.store, idempotent)) !== undefined) return;
    const snapshot = await this.categories.current();
    const { entity } = await this.read(path);
    const provider = snapshot.providerOf(entity.kind);
    if (provider?.releasing !== undefined) {
      if (expect !== undefined) await this.markLeaving(path, expect, snapshot);
      await provider.releasing(entity, signal);
    }
    await this.store.transact((tx) =>
      once(tx, idempotent, this.clock.now(), async () => {
        const current = await readEntity(tx, path);
        if (current === undefined) throw new CmbsError('not_found', `There is nothing at ${path}.`);
        if (current.entity.isLeaving !== true) expect?.(current);
        await this.remove(tx, [current.entity], snapshot);
        return {};
      }),
    );
  }

  /** An entity that lets go of what it holds cannot take that back: its condition is decided before, and then nobody changes it. */
  private async markLeaving(path: Path, expect: Precondition, { registry }: CategorySnapshot): Promise<void> {
    await this.store.transact(async (tx) => {
      const current = await readEntity(tx, path);
      if (current === undefined) throw new CmbsError('not_found', `There is nothing at ${path}.`);
      // A deletion that was cut off goes on: its condition held.
      if (current.entity.isLeaving === true) return;
      expect(current);
      writeEntity(tx, { ...current.entity, isLeaving: true }, current.entity, registry);
    });
  }

  private async remove(tx: Transaction, going: readonly Entity[], snapshot: CategorySnapshot): Promise<void> {
    const { registry } = snapshot;
    const all = new Map(going.map((entity) => [entity.path, entity]));
    const sources = new Set<Path>();
    await concurrently(going, LINK_QUERY_CONCURRENCY, async (entity) => {
      if (registry.isLink(entity.kind)) {
        const source = entity.attributes[CORE_SOURCE];
        if (typeof source === 'string' && source.startsWith('/')) sources.add(source);
        return;
      }
      for (const field of entity.isLinked === false ? [TARGET_FIELD] : [SOURCE_FIELD, TARGET_FIELD]) {
        for (const link of await this.linksAt(tx, field, entity.path)) {
          all.set(link.path, link);
          const source = link.attributes[CORE_SOURCE];
          if (field === TARGET_FIELD && typeof source === 'string') sources.add(source);
        }
      }
    });
    const touched = await readEntities(
      tx,
      [...sources].filter((path) => !all.has(path)),
    );
    const writes: (() => void)[] = [];
    for (const entity of all.values()) {
      const also = await snapshot.providerOf(entity.kind)?.removing?.(tx, entity);
      if (also !== undefined) writes.push(also);
    }
    for (const write of writes) write();
    for (const entity of all.values()) deleteEntity(tx, entity, registry);
    for (const { entity } of touched.values()) writeEntity(tx, entity, entity, registry);
  }

  /** Every link that has the path at one of its ends. */
  private async linksAt(tx: Transaction, field: string, end: Path): Promise<readonly Entity[]> {
    const links: Entity[] = [];
    for (let after: string | undefined, more = true; more;) {
      const page = await tx.query({
        collection: ENTITIES,
        where: [{ field, value: end }],
        limit: MAX_BATCH_ENTITIES,
        ...(after === undefined ? {} : { after }),
      });
      links.push(...(await entitiesOf(tx, page.docs)).map(({ entity }) => entity));
      after = page.next;
      more = after !== undefined;
    }
    return links;
  }

  /**
   * Deletes what matches, in transactions of bounded size (#60), for as long as one request may take; the caller asks
   * again for the rest.
   */
  async deleteAll(
    scope: PageRequest['scope'],
    filter: Filter,
    only: readonly Path[] | undefined,
    signal: AbortSignal,
  ): Promise<Progress> {
    const named = only === undefined ? undefined : new Set(only);
    const end = this.clock.now() + STEPS_BUDGET_MS;
    let done = 0;
    for (let cursor: string | undefined; ;) {
      const page = await this.list({
        scope,
        filter,
        number: MAX_BATCH_ENTITIES,
        need: 'attributes',
        signal,
        ...(cursor === undefined ? {} : { cursor }),
      });
      const going = page.entities.filter(({ entity }) => named?.has(entity.path) !== false);
      done += await this.deleteThese(going, signal);
      cursor = page.next;
      if (cursor === undefined) return { done, isComplete: true };
      if (this.clock.now() >= end) return { done, isComplete: false };
    }
  }

  private async deleteThese(going: readonly StoredEntity[], signal: AbortSignal): Promise<number> {
    if (going.length === 0) return 0;
    const snapshot = await this.categories.current();
    for (const { entity } of going) {
      requireWanted(signal);
      await snapshot.providerOf(entity.kind)?.releasing?.(entity, signal);
    }
    requireWanted(signal);
    return this.store.transact(async (tx) => {
      const current = await readEntities(
        tx,
        going.map(({ entity }) => entity.path),
      );
      const entities = [...current.values()].map(({ entity }) => entity);
      await this.remove(tx, entities, snapshot);
      return entities.length;
    });
  }

  /** One page of a collection, filtered, in the order of paths (#53 to #57, #61). */
  list(request: PageRequest): Promise<EntityPage> {
    return inPortions(request, (portions) => this.page(request, portions));
  }

  private async page(request: PageRequest, portions: Portions): Promise<EntityPage> {
    const { registry } = await this.categories.current();
    const { scope, filter, number } = request;
    const skip = request.page === undefined ? 0 : (request.page - 1) * number;
    if (skip + number > MAX_PAGE_OFFSET && request.page !== undefined) {
      throw new CmbsError('too_large', `page × number is at most ${MAX_PAGE_OFFSET}; follow rel="next" instead.`);
    }
    const where = [
      ...('category' in scope ? [{ field: CATEGORY_FIELD, value: scope.category }] : []),
      ...indexedTerms(filter, registry),
    ];
    const test = residualTest(filter, registry);
    const isWhole = request.need === undefined;
    const found: StoredEntity[] = [];
    let passed = 0;
    let chars = 0;
    let after = request.cursor;
    for (let scanned = 0; passed + found.length < skip + number && scanned < MAX_FILTER_SCAN;) {
      await portions.next();
      // A page has an entity at least.
      if (found.length === 0) chars = 0;
      const query = {
        collection: ENTITIES,
        where,
        ...('below' in scope ? { prefix: scope.below } : {}),
        ...(after === undefined ? {} : { after }),
      };
      // What is skipped does not take the place of what is shown.
      const limit = Math.min(passed < skip ? skip - passed : number - found.length, MAX_PAGE_OFFSET);
      const isShown = passed >= skip;
      const { docs, next } = await this.store.query({ ...query, limit, maxChars: PAGE_PORTION_CHARS });
      scanned += docs.length;
      let read = 0;
      let atOnce = 1;
      let portion = 0;
      while (read < docs.length && (!isWhole || chars < MAX_PAGE_CHARS)) {
        if (portion >= PAGE_PORTION_CHARS) {
          portion = 0;
          await portions.next();
        }
        const before = chars;
        const some = docs.slice(read, read + atOnce);
        read += some.length;
        const stored = isWhole || test !== undefined ? await entitiesOf(this.store, some) : some.map(outlineOf);
        for (const one of stored) {
          if (test?.(one.entity) === false) continue;
          if (passed < skip) passed += 1;
          else {
            found.push(isWhole ? one : withoutTexts(one, request.need));
            for (const text of Object.values(one.entity.rawJson)) chars += text.length;
          }
        }
        portion += chars - before;
        // What lies apart may be a megabyte each, or a word.
        const fit = Math.floor(PAGE_PORTION_CHARS / ((chars - before) / some.length + 1));
        atOnce = Math.max(1, Math.min(fit, atOnce * 8, READ_AT_ONCE));
      }
      if (isShown && docs.length < limit) chars += PAGE_PORTION_CHARS;
      // Results lie apart, so that a page may turn out too large only when they are read.
      after = read === docs.length ? next : (await this.store.query({ ...query, limit: read })).next;
      if (after === undefined) break;
      if (
        isWhole &&
        found.length > 0 &&
        found.length < number &&
        (read < docs.length || chars >= MAX_PAGE_CHARS)
      ) {
        if (request.page === undefined) break;
        throw new CmbsError(
          'too_large',
          `These entities are too large for one page; ask for fewer than ${number}.`,
        );
      }
    }
    return { entities: found, ...(after === undefined ? {} : { next: after }) };
  }

  /** Whether anything, entity or collection, lies below an unbound path (#61). */
  async hasBelow(path: Path, registry: CategoryRegistry): Promise<boolean> {
    const isAbove = registry.all.some((one) => one.class !== 'action' && one.location?.startsWith(path) === true);
    return isAbove || (await this.store.count({ collection: ENTITIES, prefix: path }, 1)) > 0;
  }

  /** Adds a mixin to entities, takes it off, or makes the given ones exactly those that have it (#58). */
  async tag(
    mixin: Mixin,
    paths: readonly Path[],
    how: 'add' | 'remove' | 'replace',
    idempotent?: IdempotentRequest,
  ): Promise<void> {
    const snapshot = await this.categories.current();
    const { registry } = snapshot;
    const id = categoryId(mixin);
    if (paths.length > MAX_BATCH_ENTITIES) {
      throw new CmbsError('too_large', `One request tags ${MAX_BATCH_ENTITIES} entities at most.`);
    }
    await this.store.transact((tx) =>
      once(tx, idempotent, this.clock.now(), async () => {
        if (how !== 'remove') await this.categories.requireStill(tx, [id], snapshot);
        const there = await readEntities(tx, paths);
        for (const path of paths) {
          if (!there.has(path)) throw new CmbsError('not_found', `There is nothing at ${path}.`);
        }
        const tagged = how === 'replace' ? await this.tagged(tx, id) : [];
        const keep = new Set(paths);
        const changes: { readonly before: Entity; readonly next: Entity }[] = [];
        for (const { entity } of tagged) {
          if (!keep.has(entity.path)) changes.push({ before: entity, next: without(entity, id, registry) });
        }
        for (const { entity } of there.values()) {
          if (how === 'remove') changes.push({ before: entity, next: without(entity, id, registry) });
          else if (!entity.mixins.includes(id)) {
            const mixins = checkMixins(entity.kind, [...entity.mixins, id], registry);
            const specs = registry.specs(entity.kind, mixins);
            const attributes = plainAttributes({}, specs, { before: entity.attributes, partial: true });
            changes.push({ before: entity, next: { ...entity, mixins, attributes } });
          }
        }
        await this.writeTags(tx, changes, snapshot);
        return {};
      }),
    );
  }

  /** Takes a mixin off every entity that has it (#58: DELETE without a body), as {@link deleteAll} does its work. */
  async untagAll(mixin: Mixin, signal: AbortSignal): Promise<Progress> {
    const snapshot = await this.categories.current();
    return inSteps(this.clock, signal, () => this.store.transact((tx) => this.untagSome(tx, mixin, snapshot)));
  }

  private async untagSome(tx: Transaction, mixin: Mixin, snapshot: CategorySnapshot): Promise<Step> {
    const id = categoryId(mixin);
    const page = await tx.query({
      collection: ENTITIES,
      where: [{ field: CATEGORY_FIELD, value: id }],
      limit: MAX_BATCH_ENTITIES,
      maxChars: MAX_STEP_CHARS,
    });
    const tagged = await entitiesOf(tx, page.docs);
    const changes = tagged.map(({ entity }) => ({
      before: entity,
      next: without(entity, id, snapshot.registry),
    }));
    await this.writeTags(tx, changes, snapshot);
    return { done: page.docs.length, isLast: page.next === undefined };
  }

  private async tagged(tx: Transaction, mixin: CategoryId): Promise<readonly StoredEntity[]> {
    const page = await tx.query({
      collection: ENTITIES,
      where: [{ field: CATEGORY_FIELD, value: mixin }],
      limit: MAX_PAGE_OFFSET,
    });
    if (page.next !== undefined) {
      throw new CmbsError('too_large', `More than ${MAX_PAGE_OFFSET} entities have this mixin; untag in parts.`);
    }
    return entitiesOf(tx, page.docs);
  }

  /** Entities that have a mixin more, or less, as their providers complete them; the transaction's last reads. */
  private async writeTags(
    tx: Transaction,
    changes: readonly { readonly before: Entity; readonly next: Entity }[],
    snapshot: CategorySnapshot,
  ): Promise<void> {
    const links = changes.filter(({ before }) => snapshot.registry.isLink(before.kind));
    const own = new Set(changes.map(({ before }) => before.path));
    const sources = await this.sourcesOf(
      tx,
      links.map(({ before }) => before),
    );
    const prepared = changes.map(({ before, next }) => {
      refuseLeaving(before);
      const changed = { ...next, updatedAt: this.clock.now() };
      return { before, next: snapshot.providerOf(before.kind)?.prepare?.(changed, before) ?? changed };
    });
    const { entities, completions } = await this.completed(tx, prepared, snapshot);
    for (const source of sources) if (!own.has(source.path)) writeEntity(tx, source, source, snapshot.registry);
    for (const { before, next } of prepared) {
      writeEntity(tx, entities.get(next.path) ?? next, before, snapshot.registry);
    }
    for (const { write } of completions) write?.();
  }

  /** Path of an entity of this deployment from a location that a client wrote; `bad_request` for others. */
  ownPath(location: string, requester: Requester): Path {
    const split = splitLocation(location);
    const path = split === undefined ? undefined : requester.pathHere(split);
    if (path !== undefined) return path;
    throw badRequest(`${JSON.stringify(location.slice(0, 200))} is not the location of an entity here.`);
  }
}

/** What follows the commit, and what the client is told. */
async function concluded(completions: readonly Completion[], { signal }: Requester): Promise<Noted> {
  await Promise.all(completions.map(async ({ afterwards }) => afterwards?.(signal)));
  return { notes: completions.flatMap(({ notes = [] }) => notes) };
}

function refuseLeaving({ path, isLeaving }: Entity): void {
  if (isLeaving === true) {
    throw new CmbsError('conflict', `${path} is being deleted; repeat the DELETE if it is still there.`);
  }
}

interface Fresh {
  readonly path: Path;
  readonly entity: Entity;
  readonly inlineOf?: Path;
}

const isInline = (path: Path, fresh: readonly Fresh[]): boolean =>
  fresh.some((one) => one.path === path && one.inlineOf !== undefined);

function refuseRepeated(fresh: readonly Fresh[]): void {
  const seen = new Set<Path>();
  for (const { path } of fresh) {
    if (seen.has(path)) throw new CmbsError('conflict', `The request creates ${path} twice.`);
    seen.add(path);
  }
}

/** Mixins that exist and may be applied to the kind (#46), canonical and without repeats. */
function checkMixins(
  kind: CategoryId,
  mixins: readonly CategoryId[],
  registry: CategoryRegistry,
): readonly CategoryId[] {
  if (mixins.length > MAX_ENTITY_MIXINS) {
    throw new CmbsError('too_large', `An entity has ${MAX_ENTITY_MIXINS} mixins at most; name fewer.`);
  }
  return [...new Set(mixins)].map((id) => {
    const mixin = registry.requireMixin(id);
    const applies = mixin.applies.filter((one) => registry.kind(one) !== undefined);
    if (applies.length > 0 && !applies.some((one) => registry.ancestors(kind).includes(one))) {
      throw badRequest(`${id} applies to ${applies.join(', ')}, not to ${kind}.`);
    }
    return categoryId(mixin);
  });
}

function plainAttributes(
  given: Values,
  specs: AttributeSpecs,
  options: { readonly before?: Values; readonly partial: boolean },
): Values {
  return checkAttributes(given, partSpecs(specs).plain, options);
}

interface PartedSpecs {
  readonly plain: AttributeSpecs;
  readonly rawJson: AttributeSpecs;
}

/** The registry gives the same specs for the same categories. */
const parted = new WeakMap<AttributeSpecs, PartedSpecs>();

function partSpecs(specs: AttributeSpecs): PartedSpecs {
  let parts = parted.get(specs);
  if (parts === undefined) {
    const those = (isRawJson: boolean): AttributeSpecs =>
      Object.fromEntries(Object.entries(specs).filter(([, spec]) => (spec.rawJson === true) === isRawJson));
    parts = { plain: those(false), rawJson: those(true) };
    parted.set(specs, parts);
  }
  return parts;
}

function checkRawJson(
  given: Readonly<Record<string, string>>,
  before: Readonly<Record<string, string>>,
  specs: AttributeSpecs,
  partial: boolean,
): Readonly<Record<string, string>> {
  const after: Record<string, string> = {};
  for (const [name, spec] of Object.entries(partSpecs(specs).rawJson)) {
    const text = given[name] ?? (partial || !spec.mutable ? before[name] : undefined);
    if (!spec.mutable && given[name] !== undefined && given[name] !== before[name]) {
      throw new CmbsError('bad_attribute', `${name} cannot be set by a client.`);
    }
    if (text !== undefined) after[name] = text;
  }
  return after;
}

/** Link ends of this deployment are stored as paths (DESIGN decision 6). */
function ownPaths(values: Values, requester: Requester): Values {
  const changed: Record<string, Json> = { ...values };
  for (const name of [CORE_SOURCE, CORE_TARGET]) {
    const given = values[name];
    if (typeof given !== 'string') continue;
    const split = splitLocation(given);
    if (split === undefined) throw new CmbsError('bad_attribute', `${name} is a path or URL.`);
    const path = requester.pathHere(split);
    if (path !== undefined) changed[name] = path;
  }
  return changed;
}

/** Source or target of a link, which are required and strings. */
function endOf(link: Entity, name: typeof CORE_SOURCE | typeof CORE_TARGET): string {
  const end = link.attributes[name];
  return typeof end === 'string' ? end : '';
}

function linkEnds(link: Entity): readonly string[] {
  return [endOf(link, CORE_SOURCE), endOf(link, CORE_TARGET)];
}

function checkLinkEnds(link: Entity, at: (path: Path) => Entity | undefined, registry: CategoryRegistry): void {
  const [source, target] = linkEnds(link) as [string, string];
  const from = source.startsWith('/') ? at(source) : undefined;
  if (from === undefined || registry.isLink(from.kind)) {
    throw new CmbsError('bad_attribute', `${CORE_SOURCE} has to be a resource here; there is none at ${source}.`);
  }
  if (target.startsWith('/')) {
    const to = at(target);
    if (to === undefined || registry.isLink(to.kind)) {
      throw new CmbsError('bad_attribute', `${CORE_TARGET} names ${target}, but there is no resource at it.`);
    }
  }
}

/** Actions that apply to the entity in its present state (#65). */
export function applicableActions(entity: Entity, snapshot: CategorySnapshot): readonly CategoryId[] {
  const all = snapshot.registry.actionsOf(entity.kind, entity.mixins);
  return snapshot.providerOf(entity.kind)?.applicable?.(entity, all) ?? all;
}
