/** Reads entities and what renderings show of them: links, applicable actions, kinds of the ends (GFD.223 §10.1). */
import { concurrently } from '../../concurrently';
import type { Json } from '../../json';
import type { Operation, Principal } from '../../principal';
import { nextTurn } from '../../waiting';
import type { CategorySnapshot } from '../categories/snapshot';
import { readEntities, readEntity, type StoredEntity } from '../entity-store';
import {
  CORE_SOURCE,
  CORE_TARGET,
  type CategoryId,
  type Entity,
  type EntityView,
  type LinkView,
  type Path,
} from '../model';
import { collectionAdvice, nothingAt, resourceOf, type EntityContext } from './context';
import { outgoingLinks } from './links';
import type { EntityListing } from './listing';
import { EVERYTHING, visibleAmong } from './visibility';

/** Entities whose links are read at the same time. */
const LINKS_CONCURRENCY = 16;
/** Entities whose links are read together. */
const VIEWS_AT_ONCE = 128;

type KindAt = (end: Json | undefined) => CategoryId | undefined;

export class EntityReading {
  readonly #context: EntityContext;
  readonly #listing: EntityListing;
  /** Views that depend on the entity and the categories alone. */
  readonly #plainViews = new WeakMap<Entity, { snapshot: CategorySnapshot; view: EntityView }>();

  constructor(context: EntityContext, listing: EntityListing) {
    this.#context = context;
    this.#listing = listing;
  }

  find(path: Path): Promise<StoredEntity | undefined> {
    return readEntity(this.#context.store, path);
  }

  async require(path: Path): Promise<StoredEntity> {
    const stored = await this.find(path);
    if (stored !== undefined) return stored;
    const isCollection = await this.#listing.isCollection(`${path}/`);
    throw nothingAt(path, isCollection ? collectionAdvice(path) : '');
  }

  /**
   * The entity at a path, for an operation that is decided with it. Where there is none, the operation is decided all the
   * same, so that a caller who may not do it cannot tell.
   */
  async requireFor(path: Path, principal: Principal, operation: Operation): Promise<StoredEntity> {
    const stored = await this.find(path);
    if (stored !== undefined) return stored;
    await this.#context.authorize(principal, operation, { path });
    return this.require(path);
  }

  async read(path: Path, principal: Principal): Promise<StoredEntity> {
    const stored = await this.requireFor(path, principal, 'entity.read');
    await this.#context.authorize(principal, 'entity.read', resourceOf(stored.entity));
    return stored;
  }

  async view(entity: Entity, principal: Principal): Promise<EntityView> {
    const { categories } = this.#context;
    const snapshot = await categories.current();
    const isLink = snapshot.registry.isLink(entity.kind);
    const links = isLink ? [] : await this.#linksOf(entity, snapshot, principal);
    if (isLink || links.length > 0) {
      return viewOf(entity, links, snapshot, await this.#kindsAtEnds([entity], links, principal));
    }
    const known = this.#plainViews.get(entity);
    if (known?.snapshot === snapshot) return known.view;
    const view = viewOf(entity, links, snapshot, () => undefined);
    this.#plainViews.set(entity, { snapshot, view });
    return view;
  }

  async views(entities: readonly Entity[], principal: Principal): Promise<readonly EntityView[]> {
    const views: EntityView[] = [];
    for (let from = 0; from < entities.length; from += VIEWS_AT_ONCE) {
      if (from > 0) await nextTurn();
      views.push(...(await this.#someViews(entities.slice(from, from + VIEWS_AT_ONCE), principal)));
    }
    return views;
  }

  async #someViews(entities: readonly Entity[], principal: Principal): Promise<readonly EntityView[]> {
    const { categories } = this.#context;
    const snapshot = await categories.current();
    const outgoing = new Map<Entity, readonly LinkView[]>();
    await concurrently(entities, LINKS_CONCURRENCY, async (entity) => {
      if (!snapshot.registry.isLink(entity.kind)) {
        outgoing.set(entity, await this.#linksOf(entity, snapshot, principal));
      }
    });
    const kindAt = await this.#kindsAtEnds(entities, [...outgoing.values()].flat(), principal);
    return entities.map((entity) => viewOf(entity, outgoing.get(entity) ?? [], snapshot, kindAt));
  }

  /** The links of a resource that the principal may see. */
  async #linksOf(entity: Entity, snapshot: CategorySnapshot, principal: Principal): Promise<readonly LinkView[]> {
    const { store, visibility = EVERYTHING } = this.#context;
    const links = await outgoingLinks(store, entity, snapshot);
    const seen = await visibleAmong(links, { visibility, principal }, ({ resource }) => resource);
    return seen.map(({ view }) => view);
  }

  /** The kinds of those ends of links that are entities of this deployment, and that the principal may see. */
  async #kindsAtEnds(
    entities: readonly Entity[],
    links: readonly LinkView[],
    principal: Principal,
  ): Promise<KindAt> {
    const ends = entities.flatMap((entity) =>
      [entity.attributes[CORE_SOURCE], entity.attributes[CORE_TARGET]].filter((end) => typeof end === 'string'),
    );
    const targets = links.map(({ target }) => target);
    const local = [...new Set([...ends, ...targets].filter((end) => end.startsWith('/')))];
    const found =
      local.length === 0 ? new Map<Path, StoredEntity>() : await readEntities(this.#context.store, local);
    const { visibility = EVERYTHING } = this.#context;
    const caller = { visibility, principal };
    const seen = await visibleAmong([...found.values()], caller, ({ entity }) => resourceOf(entity));
    const kinds = new Map(seen.map(({ entity }) => [entity.path, entity.kind]));
    return (end) => (typeof end === 'string' ? kinds.get(end) : undefined);
  }
}

function viewOf(
  entity: Entity,
  links: readonly LinkView[],
  snapshot: CategorySnapshot,
  kindAt: KindAt,
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

/** The actions that apply to the entity in its present state. */
export function applicableActions(entity: Entity, snapshot: CategorySnapshot): readonly CategoryId[] {
  const all = snapshot.registry.actionsOf(entity.kind, entity.mixins);
  return snapshot.providerOf(entity.kind)?.applicable?.(entity, all) ?? all;
}
