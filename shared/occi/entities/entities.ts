/**
 * Entities: create, read, replace, update, delete, list and tag (GFD.221 §4, GFD.223 §3). Each request is one transaction,
 * except for bulk work, which takes as many as it needs. Every operation that a caller asks for is decided by
 * {@link Authorize}, with the stored entity, before anything is written or shown.
 */
import { badRequest } from '../../errors';
import type { Principal } from '../../principal';
import type { StoredEntity } from '../entity-store';
import type { IdempotentRequest } from '../idempotency';
import type { Draft } from '../drafts';
import type { Entity, EntityView, Mixin, Path } from '../model';
import { isCollectionPath } from '../paths';
import type { Progress } from '../steps';
import { EntityCommands, type CreateOptions, type DraftFor, type WriteOptions } from './commands';
import { localPath, resourceOf, type EntityContext, type Noted, type Requester } from './context';
import { EntityDeletion, type BulkDeletion, type Deleter } from './deletion';
import {
  collectionResource,
  EntityListing,
  type EntityPage,
  type OpenCollection,
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

  constructor(context: EntityContext) {
    this.#context = context;
    this.#listing = new EntityListing(context);
    this.#reading = new EntityReading(context, this.#listing);
    this.#commands = new EntityCommands(context);
    this.#deletion = new EntityDeletion(context, this.#reading, this.#listing);
    this.#tagging = new EntityTagging(context);
  }

  /** The entity at a path; undefined when there is none. Asks for no permission. */
  find(path: Path): Promise<StoredEntity | undefined> {
    return this.#reading.find(path);
  }

  /**
   * The entity at a path. Asks for no permission: for code that decides about another operation than reading.
   * @throws CmbsError `not_found`
   */
  require(path: Path): Promise<StoredEntity> {
    return this.#reading.require(path);
  }

  /** @throws CmbsError `not_found`, `forbidden` */
  read(path: Path, principal: Principal): Promise<StoredEntity> {
    return this.#reading.read(path, principal);
  }

  /** All that a rendering shows of an entity that was read. The same object as long as nothing about it changes. */
  view(entity: Entity): Promise<EntityView> {
    return this.#reading.view(entity);
  }

  /** {@link view} of many entities; other requests are served in between. */
  views(entities: readonly Entity[]): Promise<readonly EntityView[]> {
    return this.#reading.views(entities);
  }

  /**
   * Decides whether the principal may know what can be asked for at a path (`OPTIONS`).
   * @throws CmbsError `forbidden`
   */
  async authorizeOptions(path: Path, principal: Principal): Promise<void> {
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

  /** Whether a collection is at the path. Asks for no permission. */
  isCollection(path: Path): Promise<boolean> {
    return this.#listing.isCollection(path);
  }

  /**
   * One page of a collection, filtered, in the order of paths.
   * @throws CmbsError `too_large`, `bad_request` for a cursor that is not valid
   */
  list({ scope }: OpenCollection, request: PageRequest): Promise<EntityPage> {
    return this.#listing.page({ ...request, scope });
  }

  /**
   * Creates entities for all drafts or for none (#16).
   * @param collection path that was posted to: the location of a kind takes entities of this kind only (#26)
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
   * PUT: creates an entity at the path or replaces the entity there (#29, #30, #33).
   * @throws CmbsError as {@link create}, and `precondition_failed`
   */
  put(
    path: Path,
    draftFor: DraftFor<Entity | undefined>,
    requester: Requester,
    options?: WriteOptions,
  ): Promise<Noted & { readonly how: 'created' | 'replaced' }> {
    return this.#commands.put(path, draftFor, requester, options);
  }

  /**
   * Partial POST: changes what is given and creates the links that the body adds (#32).
   * @throws CmbsError as {@link put}, and `not_found`
   */
  update(path: Path, draftFor: DraftFor<Entity>, requester: Requester, options?: WriteOptions): Promise<Noted> {
    return this.#commands.update(path, draftFor, requester, options);
  }

  /**
   * Deletes an entity and, with a resource, the links at it (#35, #36).
   * @throws CmbsError `not_found`, `forbidden`, `precondition_failed`
   */
  delete(path: Path, deleter: Deleter, options?: WriteOptions): Promise<void> {
    return this.#deletion.delete(path, deleter, options);
  }

  /**
   * Deletes the selected entities of a collection, at most {@link STEPS_BUDGET_MS} long; the caller asks again for the
   * rest (#60). Transactions have 500 entities at most: a refusal undoes nothing of those before.
   * @throws CmbsError `forbidden`
   */
  deleteAll(selection: BulkDeletion, deleter: Deleter): Promise<Progress> {
    return this.#deletion.deleteAll(selection, deleter);
  }

  /**
   * Changes which entities have a mixin, for all named entities or for none (#58, #59).
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

  /** Removes a mixin from every entity that has it (#58), in steps as {@link deleteAll}. */
  untagAll(mixin: Mixin, deleter: Deleter): Promise<Progress> {
    return this.#tagging.untagAll(mixin, deleter);
  }

  /** @throws CmbsError `bad_request` for a location that a client wrote and that is not of this deployment */
  ownPath(location: string, requester: Pick<Requester, 'pathHere'>): Path {
    const path = localPath(location, requester);
    if (path !== undefined) return path;
    throw badRequest(`${JSON.stringify(location.slice(0, 200))} is not the location of an entity here.`);
  }
}
