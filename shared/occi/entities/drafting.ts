/** Makes entities of the drafts of one request, by the rules of the categories and of the providers. */
import type { Clock, NewId } from '../../clock';
import { badRequest, CmbsError } from '../../errors';
import type { Json } from '../../json';
import { checkAttributes, refuseImmutable, type Values } from '../attributes';
import type { CategorySnapshot } from '../categories/snapshot';
import type { Draft } from '../drafts';
import { linkDraft } from '../link-draft';
import {
  categoryId,
  CORE_SOURCE,
  CORE_TARGET,
  RESOURCE_KIND,
  type AttributeSpecs,
  type CategoryId,
  type Entity,
  type Path,
} from '../model';
import { checkEntityPath, checkId, splitLocation } from '../paths';
import type { LinkInput } from '../payload';
import type { CategoryRegistry } from '../category-registry';
import type { Requester } from './context';

/** Mixins of one entity. Each costs an index entry and a definition to merge. */
const MAX_ENTITY_MIXINS = 200;

/** An entity to create. */
export interface NewEntity {
  readonly entity: Entity;
  /** The source of a link that the request has inside the source. */
  readonly inlineOf?: Path;
}

export class EntityDrafting {
  readonly #clock: Clock;
  readonly #newId: NewId;
  readonly #snapshot: CategorySnapshot;
  readonly #requester: Requester;

  constructor(
    { clock, newId }: { readonly clock: Clock; readonly newId: NewId },
    snapshot: CategorySnapshot,
    requester: Requester,
  ) {
    this.#clock = clock;
    this.#newId = newId;
    this.#snapshot = snapshot;
    this.#requester = requester;
  }

  /** A new entity at the location of its kind, and the links named inside it. */
  inCollection(draft: Draft): readonly NewEntity[] {
    const location = this.#locationOf(draft.kind);
    const id = draft.id === undefined ? this.#newId() : checkId(draft.id);
    return this.#withLinks(draft, checkEntityPath(location + id), id);
  }

  /** A new entity at a path that the client chose, and the links named inside it. */
  atPath(draft: Draft, path: Path): readonly NewEntity[] {
    this.#locationOf(draft.kind);
    const id = path.slice(path.lastIndexOf('/') + 1);
    if (draft.id !== undefined && checkId(draft.id) !== id) {
      throw badRequest(`The id ${draft.id} in the body differs from ${id} in the path; send one of them in both.`);
    }
    return this.#withLinks(draft, path, id);
  }

  /** A link that a request has inside its source (GFD.185 §3.4.5). */
  link(input: LinkInput, source: Path): NewEntity {
    const { kind, mixins, values } = linkDraft(input, this.#snapshot.registry);
    const location = this.#locationOf(kind);
    const id = input.id === undefined ? this.#newId() : checkId(input.id);
    const ends = { [CORE_SOURCE]: source, [CORE_TARGET]: input.target };
    const draft = { kind, mixins, values: { ...values, ...ends }, rawJson: {}, links: [] };
    return { entity: this.#entity(draft, checkEntityPath(location + id), id), inlineOf: source };
  }

  /**
   * A stored entity with the changes of a draft.
   * @param isPartial whether attributes that the draft leaves out stay
   */
  changed(before: Entity, draft: Draft, isPartial: boolean): Entity {
    const { registry } = this.#snapshot;
    if (draft.kind !== undefined && draft.kind !== before.kind) {
      throw new CmbsError(
        'conflict',
        `The kind of ${before.path} is ${before.kind} and cannot change; leave it out.`,
      );
    }
    if (draft.id !== undefined && checkId(draft.id) !== before.id) {
      throw new CmbsError('conflict', `The id of ${before.path} is ${before.id} and cannot change; leave it out.`);
    }
    const named = isPartial ? [...before.mixins, ...draft.mixins] : draft.mixins;
    const mixins = checkMixins(before.kind, [...new Set(named)], registry);
    const specs = registry.specs(before.kind, mixins);
    const changed: Entity = {
      ...before,
      mixins,
      attributes: plainAttributes(this.#localEnds(draft.values), specs, {
        before: before.attributes,
        partial: isPartial,
      }),
      rawJson: checkRawJson(draft.rawJson, before.rawJson, specs, isPartial),
      updatedAt: this.#clock.now(),
      ...(isPartial && draft.links.length > 0 ? { isLinked: true } : {}),
    };
    return withOwner(this.#snapshot.providerOf(before.kind)?.prepare?.(changed, before) ?? changed, specs, before);
  }

  /** @throws CmbsError `unknown_category`; `bad_request` for a kind that has no entities */
  #locationOf(kind: CategoryId | undefined): Path {
    if (kind === undefined) throw badRequest('The entity has no kind; name one.');
    const { location } = this.#snapshot.registry.requireKind(kind);
    if (location === undefined) throw badRequest(`${kind} is abstract and has no entities; name another kind.`);
    return location;
  }

  #withLinks(draft: Draft, path: Path, id: string): readonly NewEntity[] {
    const entity = this.#entity(draft, path, id);
    return [{ entity }, ...draft.links.map((link) => this.link(link, path))];
  }

  #entity(draft: Draft, path: Path, id: string): Entity {
    const { registry } = this.#snapshot;
    const kind = draft.kind ?? RESOURCE_KIND;
    const mixins = checkMixins(kind, draft.mixins, registry);
    const specs = registry.specs(kind, mixins);
    const { principal } = this.#requester;
    const now = this.#clock.now();
    const entity: Entity = {
      path,
      id,
      kind,
      mixins,
      attributes: plainAttributes(this.#localEnds(draft.values), specs, { partial: false }),
      rawJson: checkRawJson(draft.rawJson, {}, specs, false),
      owner: principal.name,
      createdBy: principal,
      createdAt: now,
      updatedAt: now,
      isLinked: false,
    };
    return withOwner(this.#snapshot.providerOf(kind)?.prepare?.(entity, undefined) ?? entity, specs);
  }

  /** Link ends of this deployment are stored as paths, since its public URL may change. */
  #localEnds(values: Values): Values {
    const changed: Record<string, Json> = { ...values };
    for (const name of [CORE_SOURCE, CORE_TARGET]) {
      const given = values[name];
      if (typeof given !== 'string') continue;
      const split = splitLocation(given);
      if (split === undefined) throw new CmbsError('bad_attribute', `${name} must be a path or a URL.`);
      const path = this.#requester.pathHere(split);
      if (path !== undefined) changed[name] = path;
    }
    return changed;
  }
}

/** The entity with the owner that one of its attributes names, if a request sets the attribute. */
function withOwner(entity: Entity, specs: AttributeSpecs, before?: Entity): Entity {
  const owner = ownerNamedBy(entity, specs, before);
  return owner === undefined ? entity : { ...entity, owner };
}

/**
 * The owner whom an attribute of the entity names, if the attribute is new or has another value than before.
 * @throws CmbsError `bad_attribute`
 */
export function ownerNamedBy(
  { attributes }: Pick<Entity, 'attributes'>,
  specs: AttributeSpecs,
  before?: Pick<Entity, 'attributes'>,
): string | undefined {
  for (const [name, { ownerOf }] of Object.entries(specs)) {
    const value = attributes[name];
    if (ownerOf === undefined || value === undefined || value === before?.attributes[name]) continue;
    return ownerOf(value);
  }
  return undefined;
}

/**
 * The mixins with canonical ids and without repetitions, if all exist and apply to the kind (GFD.221).
 * @throws CmbsError `unknown_category`, `bad_request`, `too_large`
 */
export function checkMixins(
  kind: CategoryId,
  mixins: readonly CategoryId[],
  registry: CategoryRegistry,
): readonly CategoryId[] {
  if (mixins.length > MAX_ENTITY_MIXINS) {
    throw new CmbsError('too_large', `An entity has ${MAX_ENTITY_MIXINS} mixins at most; name fewer.`);
  }
  return [...new Set(mixins)].map((id) => {
    const mixin = registry.requireMixin(id);
    const applies = mixin.applies.filter((applicable) => registry.kind(applicable) !== undefined);
    if (applies.length > 0 && !applies.some((applicable) => registry.ancestors(kind).includes(applicable))) {
      throw badRequest(`The mixin ${id} applies to ${applies.join(', ')}, not to ${kind}; leave it out.`);
    }
    return categoryId(mixin);
  });
}

/**
 * Checks and completes the attributes other than raw JSON.
 * @throws CmbsError `bad_attribute`
 */
export function plainAttributes(
  given: Values,
  specs: AttributeSpecs,
  options: { readonly before?: Values; readonly partial: boolean },
): Values {
  return checkAttributes(given, partedSpecs(specs).plain, options);
}

interface PartedSpecs {
  readonly plain: AttributeSpecs;
  readonly rawJson: AttributeSpecs;
}

/** By specs: the registry returns the same object for the same categories. */
const parted = new WeakMap<AttributeSpecs, PartedSpecs>();

function partedSpecs(specs: AttributeSpecs): PartedSpecs {
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
  isPartial: boolean,
): Readonly<Record<string, string>> {
  const after: Record<string, string> = {};
  for (const [name, spec] of Object.entries(partedSpecs(specs).rawJson)) {
    const text = given[name] ?? (isPartial || !spec.mutable ? before[name] : undefined);
    if (!spec.mutable && given[name] !== undefined && given[name] !== before[name]) {
      throw refuseImmutable(name);
    }
    if (text !== undefined) after[name] = text;
  }
  return after;
}
