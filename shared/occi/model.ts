/** The OCCI core model (GFD.221): categories, entities, and how they are named. */
import type { Json, JsonObject } from '../json';
import type { Principal } from '../principal';

/** Identifies a category: scheme and term joined, for example `http://houssem.org/cmbs#member`. */
export type CategoryId = string;
/** An absolute path on this deployment, for example `/cmbs/member/016a`. Paths are stored; URLs are made per request. */
export type Path = string;

/** `scalar`: a string, a number or a boolean; the type of attributes defined in text, which has no types. */
export type AttributeType = 'string' | 'number' | 'boolean' | 'array' | 'object' | 'scalar' | 'any';

/**
 * `regex`: RE2 syntax. In a lenient category the expression must match a prefix of the value, as Python's `re.match` does
 * in the original; in a strict category it must match the whole value. `schema`: the JSON Schema form of GFD.226.
 */
export type Pattern =
  { readonly form: 'regex'; readonly source: string } | { readonly form: 'schema'; readonly schema: JsonObject };

export interface AttributeSpec {
  readonly type: AttributeType;
  readonly required: boolean;
  readonly mutable: boolean;
  /** For immutable attributes whose first value may come from a client (GFD.224: user data "once and only once"). */
  readonly once?: boolean;
  readonly default?: Json;
  readonly pattern?: Pattern;
  readonly description?: string;
  /** Defined in the nested dialect: prefix patterns, booleans in any case, numbers as strings (docs/occi.md, "Categories"). */
  readonly lenient: boolean;
  /** Kept as the JSON text that arrived, so that numbers, key order and nesting survive in every store. */
  readonly rawJson?: boolean;
  /** For raw JSON attributes: long texts are stored in a document of their own. */
  readonly apart?: boolean;
  /**
   * Members of an object that are indexed, and the only ones that filters can name. Absent: none is indexed, and filters
   * that name members are answered from the entities.
   */
  readonly indexedMembers?: readonly string[];
  /**
   * Texts by which entities are found besides the value itself, in the index field `k.<name>`. A definition of the
   * attribute in a mixin keeps them. A change needs a higher `INDEX_VERSION`, so that stored entities count as old.
   */
  readonly keysOf?: (value: Json) => readonly string[];
  /**
   * For an attribute that names the owner of its entity: the owner's name. A client that changes the attribute hands the
   * entity over. Throws `bad_attribute` for a value that names no possible owner.
   */
  readonly ownerOf?: (value: Json) => string;
}

export type AttributeSpecs = Readonly<Record<string, AttributeSpec>>;

interface CategoryBase {
  readonly term: string;
  readonly scheme: string;
  readonly title?: string;
  readonly attributes: AttributeSpecs;
  /** `builtin` and `extension` come with the program; `runtime` was defined by a client. */
  readonly origin: 'builtin' | 'extension' | 'runtime';
}

/** A form of JSON: `nested` is the original's, `gfd226` is the standard's. */
export type Dialect = 'nested' | 'gfd226';

interface CollectionBase extends CategoryBase {
  /** The dialect of the definition; `dialectOf` explains absent ones. */
  readonly dialect?: Dialect;
}

export interface Kind extends CollectionBase {
  readonly class: 'kind';
  /** Absent only for `entity`, the root. */
  readonly parent?: CategoryId;
  readonly actions: readonly CategoryId[];
  /** Starts and ends with a slash; absent for abstract kinds, which have no collection. */
  readonly location?: Path;
}

export interface Mixin extends CollectionBase {
  readonly class: 'mixin';
  readonly depends: readonly CategoryId[];
  readonly applies: readonly CategoryId[];
  readonly actions: readonly CategoryId[];
  readonly location: Path;
}

export interface Action extends CategoryBase {
  readonly class: 'action';
}

export type Category = Kind | Mixin | Action;
export type CategoryClass = Category['class'];

export function isCategoryClass(value: unknown): value is CategoryClass {
  return value === 'kind' || value === 'mixin' || value === 'action';
}

export function categoryId(category: { readonly scheme: string; readonly term: string }): CategoryId {
  return category.scheme + category.term;
}

/** Splits an identifier after its last `#`; undefined if the scheme or the term is missing. */
export function splitCategoryId(id: string): { scheme: string; term: string } | undefined {
  const hash = id.lastIndexOf('#');
  if (hash <= 0 || hash === id.length - 1) return undefined;
  return { scheme: id.slice(0, hash + 1), term: id.slice(hash + 1) };
}

/** The term of an identifier; the whole identifier if it has no scheme. */
export const termOf = (id: CategoryId): string => splitCategoryId(id)?.term ?? id;

/**
 * A resource or link as it is stored. `occi.core.id|title|summary|source|target` are ordinary attributes here; renderings
 * put them where their formats require. Source and target are paths of entities of this deployment, or absolute URLs.
 */
export interface Entity {
  readonly path: Path;
  readonly id: string;
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  /** Values by flat name (`cmbs.member.state`), without raw JSON. */
  readonly attributes: Readonly<Record<string, Json>>;
  /** JSON texts of raw JSON attributes by flat name. */
  readonly rawJson: Readonly<Record<string, string>>;
  /** Names of the raw JSON attributes whose texts were stored in documents of their own. */
  readonly apart?: readonly string[];
  /** Name of the principal that the entity belongs to. */
  readonly owner: string;
  /** The principal that made the entity. Absent for entities that release 1.0 stored. */
  readonly createdBy?: Principal;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Milliseconds since the epoch. */
  readonly updatedAt: number;
  /** Milliseconds since the epoch at which the store drops the entity; absent: never. */
  readonly expiresAt?: number;
  /** False if the entity never had a link, so that views need not look for links. Absent: not known. */
  readonly isLinked?: boolean;
  /** The entity is being deleted, under a condition that was met: it accepts no further changes. */
  readonly isLeaving?: true;
  /** Data of the provider about the entity; never rendered. */
  readonly internal?: JsonObject;
  /** The provider finds its entities by it (`GROUP_FIELD`); never rendered. */
  readonly group?: string;
}

export const CORE_SCHEME = 'http://schemas.ogf.org/occi/core#';
export const ENTITY_KIND: CategoryId = `${CORE_SCHEME}entity`;
export const RESOURCE_KIND: CategoryId = `${CORE_SCHEME}resource`;
export const LINK_KIND: CategoryId = `${CORE_SCHEME}link`;

export const CORE_ID = 'occi.core.id';
export const CORE_TITLE = 'occi.core.title';
export const CORE_SUMMARY = 'occi.core.summary';
export const CORE_SOURCE = 'occi.core.source';
export const CORE_TARGET = 'occi.core.target';
/** Kinds of a link's ends. They follow from the ends, so a client cannot change them. */
export const CORE_SOURCE_KIND = 'occi.core.source.kind';
export const CORE_TARGET_KIND = 'occi.core.target.kind';
/** Attributes of the core that clients set. Every entity may have them without a definition (GFD.183 §4.5). */
export const CORE_ATTRIBUTES: ReadonlySet<string> = new Set([
  CORE_ID,
  CORE_TITLE,
  CORE_SUMMARY,
  CORE_SOURCE,
  CORE_TARGET,
]);
export const DERIVED_NAMES: ReadonlySet<string> = new Set([CORE_SOURCE_KIND, CORE_TARGET_KIND]);

/** An outgoing link as its source shows it. */
export interface LinkView {
  readonly path: Path;
  readonly id: string;
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  readonly attributes: Readonly<Record<string, Json>>;
  /** Path or absolute URL. */
  readonly target: string;
  /** Kind of the target, if the target is an entity here. */
  readonly targetKind?: CategoryId;
}

/** Everything that renderings of an entity show (GFD.223 §10.1). */
export interface EntityView {
  readonly entity: Entity;
  /** True if the kind descends from `link`. */
  readonly isLink: boolean;
  /** Outgoing links of a resource. */
  readonly links: readonly LinkView[];
  /** Actions that apply in the present state. */
  readonly actions: readonly CategoryId[];
  /** Kind of a link's source, if the source is an entity here. */
  readonly sourceKind?: CategoryId;
  /** Kind of a link's target, if the target is an entity here. */
  readonly targetKind?: CategoryId;
}
