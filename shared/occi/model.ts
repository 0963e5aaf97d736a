/** The OCCI core model (GFD.221): categories, entities, and how they are named. */
import type { Json, JsonObject } from '../json';
import type { Principal } from '../principal';

/** Scheme and term joined, for example `http://houssem.org/cmbs#member`. Identifies a category. */
export type CategoryId = string;
/** An absolute path on this deployment, for example `/cmbs/member/016a`. What is stored; URLs are made per request. */
export type Path = string;

/** `scalar`: a string, a number or a boolean, for attributes that were defined in text, which names no type. */
export type AttributeType = 'string' | 'number' | 'boolean' | 'array' | 'object' | 'scalar' | 'any';

/**
 * `regex`: RE2 syntax. In a lenient category it has to match a prefix of the value (what Python's `re.match` did in
 * the original), in a strict one the whole value. `schema`: the JSON Schema form of GFD.226 §4.
 */
export type Pattern =
  { readonly form: 'regex'; readonly source: string } | { readonly form: 'schema'; readonly schema: JsonObject };

export interface AttributeSpec {
  readonly type: AttributeType;
  readonly required: boolean;
  readonly mutable: boolean;
  /** Not mutable, yet a client may give it its first value (GFD.224: user data "once and only once"). */
  readonly once?: boolean;
  readonly default?: Json;
  readonly pattern?: Pattern;
  readonly description?: string;
  /** From the nested dialect: prefix patterns, booleans without case, numbers as strings (DESIGN decision 3). */
  readonly lenient: boolean;
  /** Kept as the JSON text that arrived: numbers, key order and nesting survive (DESIGN decision 18). */
  readonly rawJson?: boolean;
  /** A rawJson attribute that is stored in a document of its own, because it may be large. */
  readonly apart?: boolean;
  /** Of an object: the members that a filter can name; all, when absent. Each costs an index entry at every write. */
  readonly indexedMembers?: readonly string[];
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

/** Of JSON. `nested`: the original's. `gfd226`: the standard's. */
export type Dialect = 'nested' | 'gfd226';

interface CollectionBase extends CategoryBase {
  /** In which it was defined; see `dialectOf` for when it is absent. */
  readonly dialect?: Dialect;
}

export interface Kind extends CollectionBase {
  readonly class: 'kind';
  /** Absent only for `entity`, the root. */
  readonly parent?: CategoryId;
  readonly actions: readonly CategoryId[];
  /** Starts and ends with a slash; absent for abstract kinds, which have no collection (#24). */
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

export function categoryId(category: { readonly scheme: string; readonly term: string }): CategoryId {
  return category.scheme + category.term;
}

/** Splits an identifier at its last `#` (the scheme keeps it); undefined when it has none or lacks a part. */
export function splitCategoryId(id: string): { scheme: string; term: string } | undefined {
  const hash = id.lastIndexOf('#');
  if (hash <= 0 || hash === id.length - 1) return undefined;
  return { scheme: id.slice(0, hash + 1), term: id.slice(hash + 1) };
}

/**
 * A resource or link as it is stored. `occi.core.id|title|summary|source|target` are attributes like any other
 * here; each rendering puts them where its format wants them. Source and target hold a path for entities of this
 * deployment and an absolute URL for others.
 */
export interface Entity {
  readonly path: Path;
  readonly id: string;
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  /** Flat names (`cmbs.member.state`) to values, without the rawJson ones. */
  readonly attributes: Readonly<Record<string, Json>>;
  /** Flat names of rawJson attributes to their JSON text. */
  readonly rawJson: Readonly<Record<string, string>>;
  /** Name of the principal that the entity belongs to. */
  readonly owner: string;
  /** The principal that made the entity. Absent for entities that release 1.0 stored. */
  readonly createdBy?: Principal;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Milliseconds since the epoch after which it is gone; most entities stay. */
  readonly expiresAt?: number;
  /** False when no link from the entity was ever made: a view need not look for links. Absent: not known. */
  readonly isLinked?: boolean;
  /** It is about to be deleted under a condition that held: nobody changes it any more. */
  readonly isLeaving?: true;
  /** What the code behind the kind keeps about the entity; never rendered. */
  readonly internal?: JsonObject;
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
/** Kinds of a link's ends. The ends tell them, so a client that sends them changes nothing. */
export const CORE_SOURCE_KIND = 'occi.core.source.kind';
export const CORE_TARGET_KIND = 'occi.core.target.kind';
export const DERIVED_NAMES: ReadonlySet<string> = new Set([CORE_SOURCE_KIND, CORE_TARGET_KIND]);

/** An outgoing link as its source shows it (#50). */
export interface LinkView {
  readonly path: Path;
  readonly id: string;
  readonly kind: CategoryId;
  readonly mixins: readonly CategoryId[];
  readonly attributes: Readonly<Record<string, Json>>;
  /** Path or absolute URL. */
  readonly target: string;
  /** Kind of the target when it is known here. */
  readonly targetKind?: CategoryId;
}

/** Everything that a rendering of one entity shows (#34). */
export interface EntityView {
  readonly entity: Entity;
  /** True when the kind descends from `link`. */
  readonly isLink: boolean;
  /** Outgoing links of a resource. */
  readonly links: readonly LinkView[];
  /** Actions applicable now (#65). */
  readonly actions: readonly CategoryId[];
  /** Kinds of source and target, for links, when they are known here. */
  readonly sourceKind?: CategoryId;
  readonly targetKind?: CategoryId;
}
