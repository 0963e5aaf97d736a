/** Creates, replaces and updates entities, in one transaction for each request (GFD.223 §10.2, §10.3, §11.3.1). */
import { badRequest, CmbsError } from '../../errors';
import type { Principal } from '../../principal';
import type { Transaction } from '../../store';
import type { CategorySnapshot } from '../categories/snapshot';
import { readEntities, readEntity, writeEntity, type StoredEntity } from '../entity-store';
import { once, type IdempotentRequest } from '../idempotency';
import type { Draft } from '../drafts';
import { MAX_BATCH_ENTITIES } from '../limits';
import { categoryId, CORE_SOURCE, type CategoryId, type Entity, type Path } from '../model';
import { checkEntityPath } from '../paths';
import type { ChangeRequest, Completion, Intent } from '../provider';
import type { CategoryRegistry } from '../category-registry';
import { completed, concluded, refuseLeaving } from './completing';
import {
  authorizeEach,
  nothingAt,
  resourceOf,
  type EntityContext,
  type HandedOver,
  type Noted,
  type Precondition,
  type Requester,
  type Written,
} from './context';
import { EntityDrafting, ownerNamedBy, type NewEntity } from './drafting';
import { checkLinkEnds, endOf, localEnds, newLinks, sourcesOf } from './links';
import { collectionResource } from './listing';
import { EVERYTHING } from './visibility';

export interface CreateOptions {
  readonly idempotent?: IdempotentRequest;
  readonly intent?: Intent;
  /** Whether the answer shows the new entities, so that the caller must be allowed to read them. */
  readonly isShown?: boolean;
}

export interface WriteOptions {
  readonly expect?: Precondition | undefined;
  readonly idempotent?: IdempotentRequest | undefined;
}

/** The draft in a request, given the entity that the request changes (undefined: it creates an entity). */
export type DraftFor<Known> = (known: Known, registry: CategoryRegistry) => Draft;

export class EntityCommands {
  readonly #context: EntityContext;

  constructor(context: EntityContext) {
    this.#context = context;
  }

  async create(
    drafts: readonly Draft[],
    collection: Path,
    requester: Requester,
    { idempotent, intent, isShown = false }: CreateOptions = {},
  ): Promise<Noted & { readonly paths: readonly Path[] }> {
    if (drafts.length === 0) throw badRequest('The request has no entity; send one with a kind.');
    if (drafts.length > MAX_BATCH_ENTITIES) {
      throw new CmbsError(
        'too_large',
        `One request creates ${MAX_BATCH_ENTITIES} entities at most; send several requests.`,
      );
    }
    const { authorize, categories } = this.#context;
    const snapshot = await categories.current();
    const drafting = new EntityDrafting(this.#context, snapshot, requester);
    const at = snapshot.registry.at(collection);
    const fresh = drafts.flatMap((draft) => {
      if (draft.kind !== undefined && at?.class === 'kind' && categoryId(at) !== draft.kind) {
        throw new CmbsError(
          'conflict',
          `${collection} takes entities of kind ${categoryId(at)}, not ${draft.kind}; send them to the location of their kind.`,
        );
      }
      return drafting.inCollection(draft);
    });
    refuseRepeated(fresh);
    await this.#authorizeCreation(fresh, requester);
    const asked = fresh.filter(({ inlineOf }) => inlineOf === undefined).map(({ entity }) => entity);
    if (isShown) await authorizeEach(authorize, requester.principal, 'entity.read', asked);
    return this.#once(idempotent, requester, async (tx) => {
      const { principal } = requester;
      const completions = await this.#insert(tx, fresh, snapshot, { principal, intent });
      return { answer: { paths: asked.map(({ path }) => path) }, completions };
    });
  }

  async put(
    path: Path,
    draftFor: DraftFor<Entity | undefined>,
    requester: Requester,
    { expect, idempotent }: WriteOptions = {},
  ): Promise<Written & { readonly how: 'created' | 'replaced' }> {
    checkEntityPath(path);
    const { authorize, categories } = this.#context;
    const snapshot = await categories.current();
    const { principal } = requester;
    return this.#once<HandedOver & { how: 'created' | 'replaced' }>(idempotent, requester, async (tx) => {
      const before = await readEntity(tx, path);
      if (before !== undefined) {
        await authorize(principal, 'entity.replace', resourceOf(before.entity));
        expect?.(before);
        const draft = draftFor(before.entity, snapshot.registry);
        const { completions, ...handed } = await this.#change(tx, before, draft, false, snapshot, requester);
        return { answer: { how: 'replaced', ...handed }, completions };
      }
      const fresh = await this.#drafted(path, requester, () => {
        expect?.(undefined);
        const draft = draftFor(undefined, snapshot.registry);
        return new EntityDrafting(this.#context, snapshot, requester).atPath(draft, path);
      });
      await this.#authorizeCreation(fresh, requester);
      const shown = fresh.slice(0, 1).map(({ entity }) => entity);
      const isHandedOver = shown.some((entity) => isForAnother(entity, snapshot.registry));
      if (!isHandedOver) await authorizeEach(authorize, principal, 'entity.read', shown);
      return {
        answer: { how: 'created', ...(isHandedOver ? { isHandedOver: true } : {}) },
        completions: await this.#insert(tx, fresh, snapshot, { principal }, path),
      };
    });
  }

  async update(
    path: Path,
    draftFor: DraftFor<Entity>,
    requester: Requester,
    { expect, idempotent }: WriteOptions = {},
  ): Promise<Written> {
    const { authorize, categories } = this.#context;
    const snapshot = await categories.current();
    return this.#once<HandedOver>(idempotent, requester, async (tx) => {
      const before = await readEntity(tx, path);
      if (before === undefined) {
        await authorize(requester.principal, 'entity.update', { path });
        throw nothingAt(path);
      }
      await authorize(requester.principal, 'entity.update', resourceOf(before.entity));
      expect?.(before);
      const draft = draftFor(before.entity, snapshot.registry);
      const { completions, ...handed } = await this.#change(tx, before, draft, true, snapshot, requester);
      return { answer: handed, completions };
    });
  }

  /**
   * Drafts an entity for a path at which nothing is. An error is for callers only who may create there: others would learn
   * from the error that the path is free, since they get a refusal where an entity is.
   */
  async #drafted<T>(path: Path, { principal }: Requester, draft: () => T): Promise<T> {
    try {
      return draft();
    } catch (thrown) {
      const { registry } = await this.#context.categories.current();
      const collection = collectionResource(path.slice(0, path.lastIndexOf('/') + 1), registry);
      await this.#context.authorize(principal, 'entity.create', { ...collection, path, owner: principal.name });
      throw thrown;
    }
  }

  /** Runs a write in a transaction, once for its key, and then the work of the providers that follows the commit. */
  async #once<Answer extends object>(
    idempotent: IdempotentRequest | undefined,
    requester: Requester,
    write: (tx: Transaction) => Promise<{ readonly answer: Answer; readonly completions: readonly Completion[] }>,
  ): Promise<Noted & Answer> {
    const { store, clock } = this.#context;
    let completions: readonly Completion[] = [];
    const answer = await store.transact((tx) => {
      completions = [];
      return once(tx, idempotent, clock.now(), async () => {
        const written = await write(tx);
        ({ completions } = written);
        return written.answer;
      });
    });
    return { ...answer, ...(await concluded(completions, requester)) };
  }

  async #authorizeCreation(fresh: readonly NewEntity[], { principal }: Requester): Promise<void> {
    const { authorize, categories } = this.#context;
    const { registry } = await categories.current();
    for (const { entity } of fresh) {
      const isHandedOver = isForAnother(entity, registry);
      const created = isHandedOver ? { ...entity, owner: principal.name } : entity;
      await authorize(principal, 'entity.create', resourceOf(created));
      if (isHandedOver) await authorize(principal, 'entity.hand_over', resourceOf(created));
    }
  }

  /** @param absent a path that the transaction has read already */
  async #insert(
    tx: Transaction,
    fresh: readonly NewEntity[],
    snapshot: CategorySnapshot,
    request: ChangeRequest,
    absent?: Path,
  ): Promise<readonly Completion[]> {
    const { registry } = snapshot;
    const entities = fresh.map(({ entity }) => entity);
    const named = entities.flatMap(({ kind, mixins }) => [kind, ...mixins]);
    await this.#context.categories.requireStill(tx, named, snapshot);
    const links = entities.filter(({ kind }) => registry.isLink(kind));
    const paths = new Set([...entities.map(({ path }) => path), ...localEnds(links)]);
    if (absent !== undefined) paths.delete(absent);
    const known = await readEntities(tx, [...paths]);
    for (const { path } of entities) refuseTaken(path, known);
    const linkable = await this.#linkable(known, links, request.principal);
    const changes = entities.map((next) => ({ next, before: undefined }));
    const { entities: made, completions } = await completed(tx, changes, snapshot, request);
    const sources = new Map<Path, Entity>();
    const linking = new Set<Path>();
    for (const link of links) {
      checkLinkEnds(link, (path) => made.get(path) ?? linkable(path), registry);
      const source = endOf(link, CORE_SOURCE);
      linking.add(source);
      const stored = known.get(source);
      if (stored !== undefined) sources.set(source, stored.entity);
    }
    for (const [path, entity] of made) {
      writeEntity(tx, linking.has(path) ? { ...entity, isLinked: true } : entity, undefined, registry);
    }
    for (const { write } of completions) write?.();
    // Renderings of a source show its links, so its entity tag must change with them.
    for (const source of sources.values()) writeEntity(tx, { ...source, isLinked: true }, source, registry);
    return completions;
  }

  async #change(
    tx: Transaction,
    { entity: before }: StoredEntity,
    draft: Draft,
    isPartial: boolean,
    snapshot: CategorySnapshot,
    requester: Requester,
  ): Promise<HandedOver & { readonly completions: readonly Completion[] }> {
    const { registry } = snapshot;
    refuseLeaving(before);
    const drafting = new EntityDrafting(this.#context, snapshot, requester);
    const after = drafting.changed(before, draft, isPartial);
    const fresh = isPartial ? await newLinks(tx, draft.links, before, snapshot, requester) : [];
    const links = fresh.map((link) => drafting.link(link, before.path));
    await this.#authorizeMixins(before, after.mixins, requester);
    await this.#authorizeCreation(links, requester);
    const isHandedOver = ownerNamedBy(after, registry.specs(after.kind, after.mixins), before) !== undefined;
    const { principal } = requester;
    const { authorize } = this.#context;
    if (isHandedOver) await authorize(principal, 'entity.hand_over', resourceOf(before));
    else await authorize(principal, 'entity.read', resourceOf(after));
    const entities = links.map(({ entity }) => entity);
    const named = [...after.mixins, ...entities.flatMap(({ kind, mixins }) => [kind, ...mixins])];
    await this.#context.categories.requireStill(tx, named, snapshot);
    const { entities: made, completions } = await completed(tx, [{ next: after, before }], snapshot, {
      principal: requester.principal,
    });
    const changedLinks = [after, ...entities].filter(({ kind }) => registry.isLink(kind));
    if (changedLinks.length > 0 || entities.length > 0) {
      const paths = entities.map(({ path }) => path);
      const known = await readEntities(tx, [...new Set([...localEnds(changedLinks), ...paths])]);
      const linkable = await this.#linkable(known, changedLinks, requester.principal);
      for (const link of changedLinks) checkLinkEnds(link, linkable, registry);
      for (const path of paths) refuseTaken(path, known);
    }
    const sources = await sourcesOf(tx, registry.isLink(after.kind) ? [before, after] : []);
    for (const source of sources) writeEntity(tx, { ...source, isLinked: true }, source, registry);
    writeEntity(tx, made.get(after.path) ?? after, before, registry);
    for (const link of entities) writeEntity(tx, link, undefined, registry);
    for (const { write } of completions) write?.();
    return { completions, ...(isHandedOver ? { isHandedOver: true } : {}) };
  }

  /**
   * The stored ends that links of the principal may have. A resource shows its links, so a link changes its source, and
   * the principal must be allowed to; an end that the principal may not read counts as absent.
   * @throws CmbsError `forbidden` for a source that the principal may read and not change
   */
  async #linkable(
    known: ReadonlyMap<Path, StoredEntity>,
    links: readonly Entity[],
    principal: Principal,
  ): Promise<(path: Path) => Entity | undefined> {
    const { authorize, visibility = EVERYTHING } = this.#context;
    const readable = new Map<Path, Entity>();
    for (const path of new Set(localEnds(links))) {
      const entity = known.get(path)?.entity;
      if (entity !== undefined && (await visibility.maySee(principal, resourceOf(entity))))
        readable.set(path, entity);
    }
    for (const source of new Set(links.map((link) => endOf(link, CORE_SOURCE)))) {
      const entity = readable.get(source);
      if (entity !== undefined) await authorize(principal, 'entity.update', resourceOf(entity));
    }
    return (path) => readable.get(path);
  }

  /** Decides mixins that a change adds or removes as if they were changed in the collection of the mixin. */
  async #authorizeMixins(before: Entity, mixins: readonly CategoryId[], { principal }: Requester): Promise<void> {
    const { authorize } = this.#context;
    const added = mixins.filter((id) => !before.mixins.includes(id));
    const removed = before.mixins.filter((id) => !mixins.includes(id));
    if (added.length > 0) await authorize(principal, 'entity.tag', resourceOf(before));
    for (const id of added) await authorize(principal, 'entity.tag', { path: id });
    if (removed.length > 0) await authorize(principal, 'entity.untag', resourceOf(before));
    for (const id of removed) await authorize(principal, 'entity.untag', { path: id });
  }
}

/** Whether a new entity names its owner. */
const isForAnother = (entity: Entity, registry: CategoryRegistry): boolean =>
  ownerNamedBy(entity, registry.specs(entity.kind, entity.mixins)) !== undefined;

function refuseTaken(path: Path, known: ReadonlyMap<Path, StoredEntity>): void {
  if (known.has(path))
    throw new CmbsError(
      'conflict',
      `There is an entity at ${path} already; change it with PUT, or choose another id.`,
    );
}

function refuseRepeated(fresh: readonly NewEntity[]): void {
  const seen = new Set<Path>();
  for (const { entity } of fresh) {
    if (seen.has(entity.path))
      throw new CmbsError('conflict', `The request creates ${entity.path} twice; choose different ids.`);
    seen.add(entity.path);
  }
}
