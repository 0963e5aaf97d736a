/**
 * Which entities a caller may see. A listing reads those parts of a collection in which the caller may see entities, in
 * one order, and asks for each entity: so pages stay full, and entities of others cost nothing.
 */
import { concurrently } from '../../concurrently';
import type { Principal, Resource } from '../../principal';
import {
  compareKeys,
  cursorAfter,
  type Doc,
  idInCursor,
  MAX_WHERE_TERMS,
  type Page,
  type Query,
  type Store,
} from '../../store';
import type { CategoryRegistry } from '../category-registry';
import { CATEGORY_FIELD, indexText, OWNER_FIELD } from '../entity-index';
import { ENTITIES } from '../entity-store';
import { categoryId, type CategoryId, type Path } from '../model';

/** Queries of one page that run concurrently. */
const QUERY_CONCURRENCY = 16;

/** Named entities that are read together: each may have a megabyte. */
const NAMED_AT_ONCE = 16;
/** Named entities that one page reads; then it ends, although few of them may be in the collection. */
const MAX_NAMED_READ = 512;

export interface PartsPage extends Page {
  /** Entities that were read. */
  readonly read: number;
}

/** A part of all entities. */
export type Part =
  | { readonly below: Path }
  | { readonly category: CategoryId }
  /** The categories of a scheme. */
  | { readonly scheme: string }
  | { readonly owner: string }
  | { readonly paths: readonly Path[] };

export interface Visibility {
  /** The parts in which the principal may see entities; undefined: everywhere. */
  partsFor(principal: Principal): Promise<readonly Part[] | undefined>;
  /** Whether the principal may see an entity in one of the parts. */
  maySee(principal: Principal, resource: Resource): Promise<boolean>;
  /** The decision of {@link maySee}, if it was taken a moment ago. */
  known(principal: Principal, resource: Resource): boolean | undefined;
}

/** Everybody sees everything. */
export const EVERYTHING: Visibility = {
  partsFor: () => Promise.resolve(undefined),
  maySee: () => Promise.resolve(true),
  known: () => true,
};

/** Decisions of one request at a time: each may read the rules for one entity. */
const DECISION_CONCURRENCY = 16;

/** The items that the principal may see, in their order. */
export async function visibleAmong<T>(
  items: readonly T[],
  { visibility = EVERYTHING, principal }: { readonly visibility?: Visibility; readonly principal: Principal },
  resourceOf: (item: T) => Resource,
): Promise<readonly T[]> {
  const seen = new Set<T>();
  const undecided: { readonly item: T; readonly resource: Resource }[] = [];
  for (const item of items) {
    const resource = resourceOf(item);
    const decision = visibility.known(principal, resource);
    if (decision === undefined) undecided.push({ item, resource });
    else if (decision) seen.add(item);
  }
  await concurrently(undecided, DECISION_CONCURRENCY, async ({ item, resource }) => {
    if (await visibility.maySee(principal, resource)) seen.add(item);
  });
  return items.filter((item) => seen.has(item));
}

/** A query by id, without its place in the pages. */
export type BaseQuery = Pick<Query, 'where' | 'prefix'>;

/** One page of the documents in some parts, each once, in the order of ids. */
export async function pageOfParts(
  store: Pick<Store, 'query' | 'getAll'>,
  {
    base,
    parts,
    registry,
  }: { readonly base: BaseQuery; readonly parts: readonly Part[]; readonly registry: CategoryRegistry },
  { after, limit, maxChars }: Pick<Query, 'after' | 'limit' | 'maxChars'>,
  isSelected: (doc: Doc) => boolean,
): Promise<PartsPage> {
  const place = {
    limit,
    ...(after === undefined ? {} : { after }),
    ...(maxChars === undefined ? {} : { maxChars }),
  };
  // A term for the part has no place in the query: all are read, and each is decided.
  if ((base.where ?? []).length >= MAX_WHERE_TERMS) {
    const page = await store.query({ collection: ENTITIES, ...base, ...place });
    return { ...page, read: page.docs.length };
  }
  const pages: Page[] = [];
  const queries = parts.flatMap((part) => queriesOf(part, base, registry));
  await concurrently(queries, QUERY_CONCURRENCY, async (query) => {
    pages.push(await store.query({ collection: ENTITIES, ...query, ...place }));
  });
  const found = pages.reduce((sum, { docs }) => sum + docs.length, 0);
  const named = parts.flatMap((part) => ('paths' in part ? part.paths : []));
  if (named.length === 0) return { ...merged(pages, limit), read: found };
  const page = await pageOfPaths(store, named, base.prefix ?? '', place, isSelected);
  return { ...merged([...pages, page], limit), read: found + page.read };
}

/** Up to the first end of a page that has a next one: beyond it that part is not read yet. */
function merged(pages: readonly Page[], limit: number): Page {
  let end: string | undefined;
  const found = new Map<string, Doc>();
  for (const { docs, next } of pages) {
    for (const doc of docs) found.set(doc.id, doc);
    if (next === undefined) continue;
    const last = idInCursor(next);
    if (end === undefined || compareKeys(last, end) < 0) end = last;
  }
  const inOrder = [...found.values()].sort((a, b) => compareKeys(a.id, b.id));
  const whole = end === undefined ? inOrder : inOrder.filter(({ id }) => compareKeys(id, end) <= 0);
  const docs = whole.slice(0, limit);
  const last = docs.at(-1)?.id;
  if (docs.length < whole.length && last !== undefined) return { docs, next: cursorAfter(last) };
  return end === undefined ? { docs } : { docs, next: cursorAfter(end) };
}

/** Some of the named entities may be gone or not selected; they do not end the page. */
async function pageOfPaths(
  store: Pick<Store, 'getAll'>,
  paths: readonly Path[],
  prefix: string,
  { after, limit, maxChars = Infinity }: Pick<Query, 'after' | 'limit' | 'maxChars'>,
  isSelected: (doc: Doc) => boolean,
): Promise<PartsPage> {
  const from = after === undefined ? undefined : idInCursor(after);
  const wanted = [...new Set(paths)]
    .filter((path) => path.startsWith(prefix) && (from === undefined || compareKeys(path, from) > 0))
    .sort(compareKeys);
  const docs: Doc[] = [];
  let chars = 0;
  for (let read = 0; read < wanted.length;) {
    const some = wanted.slice(read, read + NAMED_AT_ONCE);
    read += some.length;
    for (const doc of await store.getAll(ENTITIES, some)) {
      if (doc === undefined || !isSelected(doc)) continue;
      if (docs.length === limit || chars >= maxChars) {
        return { docs, next: cursorAfter((docs.at(-1) as Doc).id), read };
      }
      docs.push(doc);
      chars += JSON.stringify(doc.value).length;
    }
    if (read >= MAX_NAMED_READ && read < wanted.length) {
      return { docs, next: cursorAfter(some.at(-1) as Path), read };
    }
  }
  return { docs, read: wanted.length };
}

function queriesOf(
  part: Part,
  { where = [], prefix = '' }: BaseQuery,
  registry: CategoryRegistry,
): readonly BaseQuery[] {
  const withTerm = (field: string, value: string): BaseQuery => ({ where: [...where, { field, value }], prefix });
  if ('paths' in part) return [];
  if ('owner' in part) return [withTerm(OWNER_FIELD, indexText(part.owner))];
  if ('category' in part) return [withTerm(CATEGORY_FIELD, part.category)];
  if ('scheme' in part) {
    const of = registry.all.filter(({ class: type, scheme }) => type !== 'action' && scheme === part.scheme);
    return of.map((category) => withTerm(CATEGORY_FIELD, categoryId(category)));
  }
  if (part.below.startsWith(prefix)) return [{ where, prefix: part.below }];
  return prefix.startsWith(part.below) ? [{ where, prefix }] : [];
}
