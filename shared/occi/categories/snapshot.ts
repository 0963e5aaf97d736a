/**
 * The categories and bindings that a process knows. The store has one document for each category, and one document
 * (`category-state/current`) that names the categories of the latest changes. A process therefore reads only the changed
 * categories, however many there are.
 */
import type { JsonObject } from '../../json';
import { MAX_CATEGORIES } from '../limits';
import type { Doc, Store, Transaction } from '../../store';
import { definitionChars } from './definition-size';
import { categoryId, type Category, type CategoryId } from '../model';
import type { Provider } from '../provider';
import { CategoryRegistry, type Aliases } from '../category-registry';

/** Characters of the names of the categories in the latest changes. Each change writes them again. */
export const MAX_REMEMBERED_CHANGE_CHARS = 8 * 1024;

export const CATEGORIES = 'categories';
export const BINDINGS = 'provider-bindings';
/** Has one document, {@link CURRENT}. Every change of categories or bindings writes it, so that changes exclude each other. */
export const STATE = 'category-state';
export const CURRENT = 'current';

/** A stored category. */
export interface CategoryDocument {
  readonly category: Category;
  /** True for clients' additions to a built-in category. */
  readonly overlay: boolean;
  /** True from the moment at which the removal of the category is committed. */
  readonly removing: boolean;
  readonly dropping?: Dropping;
}

/** Attributes that the category no longer defines and that are still to be removed from entities. */
export interface Dropping {
  readonly names: readonly string[];
  /** Categories whose entities may have the attributes. The work is at the first. */
  readonly within: readonly CategoryId[];
  /** Cursor into the entities of the first category. */
  readonly after?: string;
}

/** The categories and bindings at one moment. */
export interface CategorySnapshot {
  readonly registry: CategoryRegistry;
  /** The provider of a kind, or of its nearest ancestor that has a provider. */
  providerOf(kind: CategoryId): Provider | undefined;
  readonly bindings: ReadonlyMap<CategoryId, readonly string[]>;
}

/** The store's categories at one revision of {@link STATE}. */
export interface StoredCategories {
  readonly revision: number;
  readonly documents: ReadonlyMap<CategoryId, CategoryDocument>;
  readonly bound: ReadonlyMap<CategoryId, readonly string[]>;
  readonly snapshot: CategorySnapshot;
  /** Characters of all definitions by clients. */
  readonly chars: number;
}

/** The categories and bindings that one change wrote. `after` is the revision of the state before the change. */
interface Touched {
  readonly after: number;
  readonly categories: readonly CategoryId[];
  readonly bindings: readonly CategoryId[];
}

/** The categories, providers and bindings that come with the program. */
export interface BuiltInCategories {
  readonly builtin: ReadonlyMap<CategoryId, Category>;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly bindings: ReadonlyMap<CategoryId, readonly string[]>;
  readonly aliases: Aliases;
}

type Reader = Pick<Store, 'query' | 'getAll'> | Pick<Transaction, 'query' | 'getAll'>;

const documentOf = (doc: Doc): CategoryDocument => doc.value as unknown as CategoryDocument;
const boundOf = (doc: Doc): readonly string[] => doc.value.local as readonly string[];

/**
 * The categories at a state.
 * @param state the state that was read
 * @param held the categories that the process has; undefined before it has any
 */
export async function storedCategoriesAt(
  state: Doc | undefined,
  held: StoredCategories | undefined,
  reader: Reader,
  given: BuiltInCategories,
): Promise<StoredCategories> {
  const revision = state?.revision ?? 0;
  if (held?.revision === revision) return held;
  const touched = held === undefined ? undefined : touchedSince(held.revision, state);
  if (held === undefined || touched === undefined) return loaded(revision, reader, given);
  const categories = [...new Set(touched.flatMap((one) => one.categories))];
  const bindings = [...new Set(touched.flatMap((one) => one.bindings))];
  const documents = new Map(held.documents);
  const bound = new Map(held.bound);
  let { chars } = held;
  const changed = new Map<CategoryId, Category | undefined>();
  const docs = categories.length === 0 ? [] : await reader.getAll(CATEGORIES, categories);
  categories.forEach((id, at) => {
    const doc = docs[at];
    const before = documents.get(id);
    if (before !== undefined) chars -= definitionChars(before.category);
    if (doc === undefined) documents.delete(id);
    else {
      documents.set(id, documentOf(doc));
      chars += definitionChars(documentOf(doc).category);
    }
    changed.set(id, inForce(given.builtin.get(id), documents.get(id)));
  });
  const rebound = bindings.length === 0 ? [] : await reader.getAll(BINDINGS, bindings);
  bindings.forEach((id, at) => {
    const doc = rebound[at];
    if (doc === undefined) bound.delete(id);
    else bound.set(id, boundOf(doc));
  });
  const registry = held.snapshot.registry.with(changed);
  return { revision, documents, bound, chars, snapshot: snapshotOf(registry, bound, given) };
}

async function loaded(revision: number, reader: Reader, given: BuiltInCategories): Promise<StoredCategories> {
  const categories = await reader.query({ collection: CATEGORIES, limit: MAX_CATEGORIES });
  const bindings = await reader.query({ collection: BINDINGS, limit: MAX_CATEGORIES });
  const documents = new Map(categories.docs.map((doc) => [doc.id, documentOf(doc)]));
  const bound = new Map(bindings.docs.map((doc) => [doc.id, boundOf(doc)]));
  const all = new Map(given.builtin);
  let chars = 0;
  for (const [id, document] of documents) {
    chars += definitionChars(document.category);
    const category = inForce(given.builtin.get(id), document);
    if (category !== undefined) all.set(id, category);
  }
  const registry = new CategoryRegistry(all.values(), given.aliases);
  return { revision, documents, bound, chars, snapshot: snapshotOf(registry, bound, given) };
}

/** The category in force, given the program's definition, the stored document, or both. */
function inForce(builtin: Category | undefined, document: CategoryDocument | undefined): Category | undefined {
  if (document === undefined) return builtin;
  if (document.overlay) return builtin === undefined ? undefined : merge(builtin, document.category);
  return document.removing ? builtin : document.category;
}

function snapshotOf(
  registry: CategoryRegistry,
  bound: ReadonlyMap<CategoryId, readonly string[]>,
  given: BuiltInCategories,
): CategorySnapshot {
  const bindings = new Map([...given.bindings, ...bound]);
  const providerOf = (kind: CategoryId): Provider | undefined => {
    for (const id of registry.ancestors(kind)) {
      const name = bindings.get(id)?.[0];
      if (name !== undefined) return given.providers.get(name);
    }
    return undefined;
  };
  return { registry, providerOf, bindings };
}

const recentOf = (state: Doc | undefined): readonly Touched[] =>
  (state?.value.recent as readonly Touched[] | undefined) ?? [];

/** The changes since a revision; undefined if the state no longer names all of them. */
function touchedSince(revision: number, state: Doc | undefined): readonly Touched[] | undefined {
  const recent = recentOf(state);
  const first = recent.findIndex(({ after }) => after === revision);
  return first < 0 ? undefined : recent.slice(first);
}

/**
 * Names the categories and bindings that a transaction writes in the state.
 * @param state the state that the transaction read
 */
export function recordChange(
  tx: Transaction,
  state: Doc | undefined,
  categories: Iterable<CategoryId>,
  bindings: Iterable<CategoryId> = [],
): void {
  const touched: Touched = { after: state?.revision ?? 0, categories: [...categories], bindings: [...bindings] };
  const recent: Touched[] = [];
  let chars = 0;
  // After a change too large to name, other processes load all categories, which then costs them little more.
  for (const one of [...recentOf(state), touched].reverse()) {
    chars += JSON.stringify(one).length;
    if (chars > MAX_REMEMBERED_CHANGE_CHARS) break;
    recent.unshift(one);
  }
  tx.put(STATE, CURRENT, { recent } as unknown as JsonObject);
}

/** Union of attributes and actions; where both define an attribute, `base` keeps its own. */
export function merge<C extends Category>(base: C, more: Category): C {
  const attributes = { ...more.attributes, ...base.attributes };
  if (base.class === 'action' || more.class === 'action') return { ...base, attributes };
  return { ...base, attributes, actions: [...new Set([...base.actions, ...more.actions])] };
}

/** Definitions by their ids, as {@link CategoryRegistry.with} takes them. */
export const byId = (categories: Iterable<Category>): ReadonlyMap<CategoryId, Category> =>
  new Map([...categories].map((one) => [categoryId(one), one]));
