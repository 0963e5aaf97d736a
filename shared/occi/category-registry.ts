/**
 * Every category that a deployment knows, as one immutable snapshot. Built from what comes with the program plus
 * what clients defined; a change of categories makes a new snapshot.
 */
import { CmbsError } from '../errors';
import {
  categoryId,
  ENTITY_KIND,
  LINK_KIND,
  type Action,
  type AttributeSpec,
  type AttributeSpecs,
  type Category,
  type CategoryId,
  type Kind,
  type Mixin,
  type Path,
} from './model';

/**
 * What is remembered of combinations of a kind and mixins, which clients choose: combinations, and what they hold, in
 * attributes and actions (about 100 bytes each) and in characters of their names.
 */
const MAX_REMEMBERED_COMBINATIONS = 1000;
const MAX_REMEMBERED_MEMBERS = 50_000;
const MAX_REMEMBERED_NAME_CHARS = 1024 * 1024;

/** Other spellings that are accepted on input and made canonical (`start_l3.1` for `start_l31`). */
export interface Aliases {
  readonly categories: Readonly<Record<CategoryId, CategoryId>>;
  readonly attributes: Readonly<Record<string, string>>;
}

const RANK = { kind: 0, mixin: 1, action: 2 } as const;

/** Keeps what was computed, and forgets all of it rather than grow with what clients ask for. */
class Remembered<V> {
  readonly #values = new Map<string, V>();
  #members = 0;
  #chars = 0;

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  /** `members`: how many attributes or names the value holds. */
  set(key: string, value: V, members: number): void {
    this.#members += members;
    this.#chars += key.length;
    const isFull =
      this.#values.size >= MAX_REMEMBERED_COMBINATIONS ||
      this.#members > MAX_REMEMBERED_MEMBERS ||
      this.#chars > MAX_REMEMBERED_NAME_CHARS;
    if (isFull) {
      this.#values.clear();
      this.#members = members;
      this.#chars = key.length;
    }
    this.#values.set(key, value);
  }
}

export class CategoryRegistry {
  private readonly byId: Map<CategoryId, Category>;
  private readonly byLocation: Map<Path, Kind | Mixin>;
  private readonly ancestry = new Remembered<readonly CategoryId[]>();
  private readonly specsByCategories = new Remembered<AttributeSpecs>();
  private readonly actionsByCategories = new Remembered<readonly CategoryId[]>();
  private sorted: readonly Category[] | undefined;
  /** Attributes that some category keeps rawJson; they have no index. Clients define none of them. */
  readonly rawJsonNames: ReadonlySet<string>;
  private readonly aliases: Aliases;

  /** `base`: a registry that the categories are added to; undefined takes one out. */
  constructor(
    categories: Iterable<Category>,
    aliases: Aliases = { categories: {}, attributes: {} },
    base?: { readonly registry: CategoryRegistry; readonly gone: readonly CategoryId[] },
  ) {
    this.aliases = aliases;
    this.byId = new Map(base?.registry.byId);
    this.byLocation = new Map(base?.registry.byLocation);
    const rawJsonNames = new Set(base?.registry.rawJsonNames);
    for (const id of base?.gone ?? []) {
      const before = this.byId.get(id);
      this.byId.delete(id);
      if (before !== undefined) this.#leaveLocation(before);
    }
    for (const category of categories) {
      const id = categoryId(category);
      const before = this.byId.get(id);
      if (before !== undefined) this.#leaveLocation(before);
      this.byId.set(id, category);
      if (category.class !== 'action' && category.location !== undefined) {
        this.byLocation.set(category.location, category);
      }
      for (const [name, { rawJson: rawJson }] of Object.entries(category.attributes)) {
        if (rawJson === true) rawJsonNames.add(name);
      }
    }
    this.rawJsonNames = rawJsonNames;
  }

  #leaveLocation(category: Category): void {
    if (category.class === 'action' || category.location === undefined) return;
    if (this.byLocation.get(category.location) === category) this.byLocation.delete(category.location);
  }

  /** This registry with some categories in place of what it has under their ids; undefined takes one out. */
  with(changed: ReadonlyMap<CategoryId, Category | undefined>): CategoryRegistry {
    const gone = [...changed].filter(([, category]) => category === undefined).map(([id]) => id);
    const there = [...changed.values()].filter((category) => category !== undefined);
    return new CategoryRegistry(there, this.aliases, { registry: this, gone });
  }

  /** Kinds, then mixins, then actions. */
  get all(): readonly Category[] {
    return (this.sorted ??= [...this.byId.values()].sort((a, b) => RANK[a.class] - RANK[b.class]));
  }

  canonicalId(id: CategoryId): CategoryId {
    return Object.hasOwn(this.aliases.categories, id) ? (this.aliases.categories[id] ?? id) : id;
  }

  canonicalAttribute(name: string): string {
    return Object.hasOwn(this.aliases.attributes, name) ? (this.aliases.attributes[name] ?? name) : name;
  }

  find(id: CategoryId): Category | undefined {
    return this.byId.get(this.canonicalId(id));
  }

  kind(id: CategoryId): Kind | undefined {
    const found = this.find(id);
    return found?.class === 'kind' ? found : undefined;
  }

  mixin(id: CategoryId): Mixin | undefined {
    const found = this.find(id);
    return found?.class === 'mixin' ? found : undefined;
  }

  action(id: CategoryId): Action | undefined {
    const found = this.find(id);
    return found?.class === 'action' ? found : undefined;
  }

  /** The kind or mixin whose collection is at this path. */
  at(location: Path): Kind | Mixin | undefined {
    return this.byLocation.get(location);
  }

  /** The kind itself first, `entity` last. A parent that is not known ends the line. */
  ancestors(kind: CategoryId): readonly CategoryId[] {
    const known = this.ancestry.get(kind);
    if (known !== undefined) return known;
    const line: CategoryId[] = [];
    for (let id: CategoryId | undefined = kind; id !== undefined && !line.includes(id);) {
      line.push(id);
      id = this.kind(id)?.parent;
    }
    this.ancestry.set(kind, line, line.length);
    return line;
  }

  isLink(kind: CategoryId): boolean {
    return this.ancestors(kind).includes(LINK_KIND);
  }

  isEntity(kind: CategoryId): boolean {
    return this.ancestors(kind).includes(ENTITY_KIND);
  }

  /** The mixins and, transitively, what they depend on (#45); unknown ones are left out. */
  withDependencies(mixins: readonly CategoryId[]): readonly Mixin[] {
    const found = new Map<CategoryId, Mixin>();
    const visit = (id: CategoryId): void => {
      const mixin = this.mixin(id);
      if (mixin === undefined || found.has(categoryId(mixin))) return;
      found.set(categoryId(mixin), mixin);
      mixin.depends.forEach(visit);
    };
    mixins.forEach(visit);
    return [...found.values()];
  }

  /** The attribute that a name means, or leads into (`a.b` for `a.b.c`), as some category declares it. */
  declared(attribute: string): { readonly name: string; readonly spec: AttributeSpec } | undefined {
    for (let name = attribute; name !== ''; name = name.slice(0, Math.max(0, name.lastIndexOf('.')))) {
      for (const { attributes } of this.all) {
        const spec = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
        if (spec !== undefined) return { name, spec };
      }
    }
    return undefined;
  }

  /** Attributes that an entity of these categories may have; a mixin's definition overrides the kind's (#40). */
  specs(kind: CategoryId, mixins: readonly CategoryId[]): AttributeSpecs {
    const key = [kind, ...mixins].join(' ');
    const known = this.specsByCategories.get(key);
    if (known !== undefined) return known;
    const specs = Object.assign(
      Object.create(null) as Record<string, never>,
      ...[...this.ancestors(kind)].reverse().map((id) => this.kind(id)?.attributes ?? {}),
      // Dependencies come after the mixins that name them, so reversing lets the nearer definition win.
      ...[...this.withDependencies(mixins)].reverse().map((mixin) => mixin.attributes),
    ) as AttributeSpecs;
    this.specsByCategories.set(key, specs, Object.keys(specs).length);
    return specs;
  }

  /** Actions that an entity of these categories can have, whatever its state. */
  actionsOf(kind: CategoryId, mixins: readonly CategoryId[]): readonly CategoryId[] {
    const key = [kind, ...mixins].join(' ');
    const known = this.actionsByCategories.get(key);
    if (known !== undefined) return known;
    const actions = [
      ...new Set([
        ...this.ancestors(kind).flatMap((id) => this.kind(id)?.actions ?? []),
        ...this.withDependencies(mixins).flatMap((mixin) => mixin.actions),
      ]),
    ];
    this.actionsByCategories.set(key, actions, actions.length);
    return actions;
  }

  /** The kind, or `unknown_category`. */
  requireKind(id: CategoryId): Kind {
    const kind = this.kind(id);
    if (kind === undefined) throw new CmbsError('unknown_category', `There is no kind ${id} here.`);
    return kind;
  }

  /** The mixin, or `unknown_category`. */
  requireMixin(id: CategoryId): Mixin {
    const mixin = this.mixin(id);
    if (mixin === undefined) throw new CmbsError('unknown_category', `There is no mixin ${id} here.`);
    return mixin;
  }
}
