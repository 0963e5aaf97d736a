/** All categories that a deployment knows, built in or defined by clients, and what follows from them for entities. */
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
import { Remembered } from './remembered';

/** Spellings that are accepted in requests and replaced by the canonical ones (`start_l3.1` by `start_l31`). */
export interface Aliases {
  readonly categories: Readonly<Record<CategoryId, CategoryId>>;
  readonly attributes: Readonly<Record<string, string>>;
}

const RANK = { kind: 0, mixin: 1, action: 2 } as const;

/** An immutable snapshot of the categories. {@link with} makes the snapshot that follows a change. */
export class CategoryRegistry {
  /** Attributes that some category keeps as raw JSON; they have no index. Clients cannot define such attributes. */
  readonly rawJsonNames: ReadonlySet<string>;
  readonly #byId: Map<CategoryId, Category>;
  readonly #byLocation: Map<Path, Kind | Mixin>;
  readonly #aliases: Aliases;
  readonly #ancestors = new Remembered<readonly CategoryId[]>();
  readonly #specs = new Remembered<AttributeSpecs>();
  readonly #actions = new Remembered<readonly CategoryId[]>();
  #sorted: readonly Category[] | undefined;

  /** @param base the registry that the categories are added to, without the categories in `gone` */
  constructor(
    categories: Iterable<Category>,
    aliases: Aliases = { categories: {}, attributes: {} },
    base?: { readonly registry: CategoryRegistry; readonly gone: readonly CategoryId[] },
  ) {
    this.#aliases = aliases;
    this.#byId = new Map(base === undefined ? [] : base.registry.#byId);
    this.#byLocation = new Map(base === undefined ? [] : base.registry.#byLocation);
    const rawJsonNames = new Set(base?.registry.rawJsonNames);
    for (const id of base?.gone ?? []) {
      this.#leaveLocation(id);
      this.#byId.delete(id);
    }
    for (const category of categories) {
      const id = categoryId(category);
      this.#leaveLocation(id);
      this.#byId.set(id, category);
      if (category.class !== 'action' && category.location !== undefined) {
        this.#byLocation.set(category.location, category);
      }
      for (const [name, { rawJson }] of Object.entries(category.attributes)) {
        if (rawJson === true) rawJsonNames.add(name);
      }
    }
    this.rawJsonNames = rawJsonNames;
  }

  #leaveLocation(id: CategoryId): void {
    const category = this.#byId.get(id);
    if (category === undefined || category.class === 'action' || category.location === undefined) return;
    if (this.#byLocation.get(category.location) === category) this.#byLocation.delete(category.location);
  }

  /** A registry with the given categories in place of those with their ids; undefined removes a category. */
  with(changed: ReadonlyMap<CategoryId, Category | undefined>): CategoryRegistry {
    const gone = [...changed].filter(([, category]) => category === undefined).map(([id]) => id);
    const present = [...changed.values()].filter((category) => category !== undefined);
    return new CategoryRegistry(present, this.#aliases, { registry: this, gone });
  }

  /** Kinds, then mixins, then actions. */
  get all(): readonly Category[] {
    return (this.#sorted ??= [...this.#byId.values()].sort((a, b) => RANK[a.class] - RANK[b.class]));
  }

  canonicalId(id: CategoryId): CategoryId {
    return Object.hasOwn(this.#aliases.categories, id) ? (this.#aliases.categories[id] ?? id) : id;
  }

  canonicalAttribute(name: string): string {
    return Object.hasOwn(this.#aliases.attributes, name) ? (this.#aliases.attributes[name] ?? name) : name;
  }

  find(id: CategoryId): Category | undefined {
    return this.#byId.get(this.canonicalId(id));
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

  /** @throws CmbsError `unknown_category` */
  require(id: CategoryId): Category {
    return this.find(id) ?? unknownCategory('category', this.canonicalId(id));
  }

  /** @throws CmbsError `unknown_category` */
  requireKind(id: CategoryId): Kind {
    return this.kind(id) ?? unknownCategory('kind', id);
  }

  /** @throws CmbsError `unknown_category` */
  requireMixin(id: CategoryId): Mixin {
    return this.mixin(id) ?? unknownCategory('mixin', id);
  }

  /** The kind or mixin whose collection is at this path. */
  at(location: Path): Kind | Mixin | undefined {
    return this.#byLocation.get(location);
  }

  /** The kind itself and its ancestors, up to `entity` or to the first kind whose parent is unknown. */
  ancestors(kind: CategoryId): readonly CategoryId[] {
    const compute = (): readonly CategoryId[] => {
      const line: CategoryId[] = [];
      for (let id: CategoryId | undefined = kind; id !== undefined && !line.includes(id);) {
        line.push(id);
        id = this.kind(id)?.parent;
      }
      return line;
    };
    return this.#ancestors.get(kind, compute, ({ length }) => length);
  }

  isLink(kind: CategoryId): boolean {
    return this.ancestors(kind).includes(LINK_KIND);
  }

  isEntity(kind: CategoryId): boolean {
    return this.ancestors(kind).includes(ENTITY_KIND);
  }

  /** The mixins and all mixins that they depend on (GFD.183 §4.4.3). Unknown mixins are left out. */
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

  /** The declared attribute that a name stands for or leads into (`a.b` for `a.b.c`), in any category. */
  declared(attribute: string): { readonly name: string; readonly spec: AttributeSpec } | undefined {
    for (let name = attribute; name !== ''; name = name.slice(0, Math.max(0, name.lastIndexOf('.')))) {
      for (const { attributes } of this.all) {
        const spec = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
        if (spec !== undefined) return { name, spec };
      }
    }
    return undefined;
  }

  /** Attributes that an entity of these categories may have. A mixin's definition overrides the kind's. */
  specs(kind: CategoryId, mixins: readonly CategoryId[]): AttributeSpecs {
    const compute = (): AttributeSpecs => {
      const own = [...this.ancestors(kind)].reverse().map((id) => this.kind(id)?.attributes ?? {});
      const specs = Object.assign(
        Object.create(null) as Record<string, AttributeSpec>,
        ...own,
        // Dependencies follow the mixins that name them, so reversing lets the nearer definition win.
        ...[...this.withDependencies(mixins)].reverse().map((mixin) => mixin.attributes),
      ) as Record<string, AttributeSpec>;
      for (const [name, { keysOf }] of own.flatMap((attributes) => Object.entries(attributes))) {
        const spec = specs[name];
        if (keysOf !== undefined && spec !== undefined) specs[name] = { ...spec, keysOf };
      }
      return specs;
    };
    return this.#specs.get(combination(kind, mixins), compute, (specs) => Object.keys(specs).length);
  }

  /** Actions that an entity of these categories can have, whatever its state. */
  actionsOf(kind: CategoryId, mixins: readonly CategoryId[]): readonly CategoryId[] {
    const compute = (): readonly CategoryId[] => [
      ...new Set([
        ...this.ancestors(kind).flatMap((id) => this.kind(id)?.actions ?? []),
        ...this.withDependencies(mixins).flatMap((mixin) => mixin.actions),
      ]),
    ];
    return this.#actions.get(combination(kind, mixins), compute, ({ length }) => length);
  }
}

const combination = (kind: CategoryId, mixins: readonly CategoryId[]): string => [kind, ...mixins].join(' ');

function unknownCategory(what: string, id: CategoryId): never {
  throw new CmbsError('unknown_category', `There is no ${what} ${id} here; GET /-/ lists all categories.`);
}
