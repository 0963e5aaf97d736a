/**
 * Entities: create, read, replace, update, delete, list and tag (GFD.221, GFD.223 §10, §11). Each request is one
 * transaction, except for bulk work, which takes several. {@link Authorize} decides every operation of a caller, with the
 * stored entity, before the operation writes or shows anything.
 */
import { badRequest } from '../../errors';
import type { Principal } from '../../principal';
import type { StoredEntity } from '../entity-store';
import type { IdempotentRequest } from '../idempotency';
import type { Draft } from '../drafts';
import type { Entity, EntityView, Mixin, Path } from '../model';
import { isCollectionPath } from '../paths';
import type { Progress } from '../steps';
import { withAdvice } from './advice';
import { EntityCommands, type CreateOptions, type DraftFor, type WriteOptions } from './commands';
import { localPath, resourceOf, type EntityContext, type Noted, type Requester, type Written } from './context';
import { EntityDeletion, type BulkDeletion, type Deleter } from './deletion';
import {
  collectionResource,
  EntityListing,
  type EntityPage,
  type OpenCollection,
  type NamedRequest,
  type PageRequest,
} from './listing';
import { EntityReading } from './reading';
import { EntityTagging, type Tagging } from './tagging';

export class Entities {
  readonly #context: EntityContext;
  readonly #listing: EntityListing;
  readonly #reading: EntityReading;
  readonly #commands: EntityCommands;
  readonly #deletion: EntityDeletion;
  readonly #tagging: EntityTagging;

  constructor(options: EntityContext) {
    const context = { ...options, authorize: withAdvice(options) };
    this.#context = context;
    this.#listing = new EntityListing(context);
    this.#reading = new EntityReading(context, this.#listing);
    this.#commands = new EntityCommands(context);
    this.#deletion = new EntityDeletion(context, this.#reading, this.#listing);
    this.#tagging = new EntityTagging(context);
  }

  /** The entity at a path; undefined if there is none. Asks for no permission. */
  find(path: Path): Promise<StoredEntity | undefined> {
    return this.#reading.find(path);
  }

  /**
   * The entity at a path. Asks for no permission: for callers that decide about another operation than reading.
   * @throws CmbsError `not_found`
   */
  require(path: Path): Promise<StoredEntity> {
    return this.#reading.require(path);
  }

  /** @throws CmbsError `not_found`, `forbidden` */
  read(path: Path, principal: Principal): Promise<StoredEntity> {
    return this.#reading.read(path, principal);
  }

  /** Everything that renderings of an entity show to the principal. The result is the same object while nothing about it changes. */
  view(entity: Entity, principal: Principal): Promise<EntityView> {
    return this.#reading.view(entity, principal);
  }

  /** {@link view} of many entities; other requests are served in between. */
  views(entities: readonly Entity[], principal: Principal): Promise<readonly EntityView[]> {
    return this.#reading.views(entities, principal);
  }

  /**
   * Decides whether the principal may create entities in a collection.
   * @throws CmbsError `forbidden`, `unauthenticated`
   */
  async authorizeCreation(path: Path, principal: Principal): Promise<void> {
    const { authorize, categories } = this.#context;
    const { registry } = await categories.current();
    await authorize(principal, 'entity.create', { ...collectionResource(path, registry), owner: principal.name });
  }

  /**
   * Decides whether the principal may know what a path offers: which methods it has, whether there is a collection.
   * @throws CmbsError `forbidden`
   */
  async authorizePath(path: Path, principal: Principal): Promise<void> {
    const { authorize, categories } = this.#context;
    if (isCollectionPath(path)) {
      const { registry } = await categories.current();
      return authorize(principal, 'entity.list', collectionResource(path, registry));
    }
    const stored = await this.find(path);
    return authorize(principal, 'entity.read', stored === undefined ? { path } : resourceOf(stored.entity));
  }

  /**
   * The collection at a path, for {@link list}.
   * @throws CmbsError `not_found`, `forbidden`
   */
  openCollection(path: Path, principal: Principal): Promise<OpenCollection> {
    return this.#listing.open(path, principal);
  }

  /** Whether there is a collection at the path, not counting entities that the principal may not see. */
  isCollectionFor(path: Path, principal: Principal): Promise<boolean> {
    return this.#listing.isVisible(path, principal);
  }

  /**
   * One page of a collection, filtered, in the order of paths.
   * @throws CmbsError `too_large`, `bad_request` for a cursor that is not valid
   */
  list(opened: OpenCollection, request: PageRequest): Promise<EntityPage> {
    return this.#listing.pageFor(opened, request);
  }

  /** The named entities that are in a collection and match a filter, without raw JSON, in the order of paths. */
  named({ scope, principal }: OpenCollection, request: NamedRequest): Promise<readonly StoredEntity[]> {
    return this.#listing.named(scope, principal, request);
  }

  /**
   * Creates entities for all drafts or for none (GFD.223 §11.3.1).
   * @param collection path of the request; the location of a kind takes entities of this kind only
   * @throws CmbsError `forbidden`, `bad_request`, `unknown_category`, `bad_attribute`, `conflict`, `too_large`
   */
  create(
    drafts: readonly Draft[],
    collection: Path,
    requester: Requester,
    options?: CreateOptions,
  ): Promise<Noted & { readonly paths: readonly Path[] }> {
    return this.#commands.create(drafts, collection, requester, options);
  }

  /**
   * PUT: creates an entity at the path or replaces the entity there (GFD.223 §10.2).
   * @throws CmbsError as {@link create}, and `precondition_failed`
   */
  put(
    path: Path,
    draftFor: DraftFor<Entity | undefined>,
    requester: Requester,
    options?: WriteOptions,
  ): Promise<Written & { readonly how: 'created' | 'replaced' }> {
    return this.#commands.put(path, draftFor, requester, options);
  }

  /**
   * Partial POST: changes the given attributes and creates the links that the body adds (GFD.223 §10.3.1).
   * @throws CmbsError as {@link put}, and `not_found`
   */
  update(path: Path, draftFor: DraftFor<Entity>, requester: Requester, options?: WriteOptions): Promise<Written> {
    return this.#commands.update(path, draftFor, requester, options);
  }

  /**
   * Deletes an entity, and the links of a resource (GFD.223 §10.4).
   * @throws CmbsError `not_found`, `forbidden`, `precondition_failed`
   */
  delete(path: Path, deleter: Deleter, options?: WriteOptions): Promise<void> {
    return this.#deletion.delete(path, deleter, options);
  }

  /**
   * Deletes the selected entities of a collection, for at most {@link STEPS_BUDGET_MS}; the caller asks again for the rest
   * (GFD.223 §11.4.1). Each transaction has 500 entities at most, and a refusal does not undo earlier transactions.
   * @throws CmbsError `forbidden`
   */
  deleteAll(selection: BulkDeletion, deleter: Deleter): Promise<Progress> {
    return this.#deletion.deleteAll(selection, deleter);
  }

  /**
   * Adds a mixin to all named entities or to none, or removes it (GFD.223 §11.2, §11.3.2, §11.4.2).
   * @throws CmbsError `not_found`, `forbidden`, `unknown_category`, `bad_request`, `too_large`
   */
  tag(
    mixin: Mixin,
    paths: readonly Path[],
    how: Tagging,
    requester: Pick<Requester, 'principal'>,
    idempotent?: IdempotentRequest,
  ): Promise<void> {
    return this.#tagging.tag(mixin, paths, how, requester, idempotent);
  }

  /** Removes a mixin from every entity that has it, in steps like {@link deleteAll} (GFD.223 §11.4.2). */
  untagAll(mixin: Mixin, deleter: Deleter): Promise<Progress> {
    return this.#tagging.untagAll(mixin, deleter);
  }

  /**
   * The path of a location that a client wrote.
   * @throws CmbsError `bad_request` for a location of another deployment
   */
  ownPath(location: string, requester: Pick<Requester, 'pathHere'>): Path {
    const path = localPath(location, requester);
    if (path !== undefined) return path;
    throw badRequest(
      `${JSON.stringify(location.slice(0, 200))} is not the location of an entity here; correct it.`,
    );
  }
}
