/** Lists collections: of a kind, of a mixin, and of everything below a path (GFD.223 §6, §11.1). */
import { CmbsError } from '../../errors';
import { MAX_PAGE_CHARS, MAX_PAGE_OFFSET, PAGE_PORTION_CHARS } from '../../limits';
import type { Principal, Resource } from '../../principal';
import { cursorAfter, type Doc } from '../../store';
import { nextTurn, requireWanted } from '../../waiting';
import { CATEGORY_FIELD, indexOf } from '../entity-index';
import { ENTITIES, entitiesOf, outlineOf, type StoredEntity } from '../entity-store';
import { indexedTerms, needsRawJson, NO_FILTER, residualTest, type Filter } from '../filter';
import { categoryId, type CategoryId, type Entity, type Path } from '../model';
import { inPortions, type Portioned, type Portions } from '../portions';
import type { CategoryRegistry } from '../category-registry';
import { resourceOf, type EntityContext } from './context';
import { READABLE_CURSORS } from './cursors';
import { EVERYTHING, pageOfParts, type Part, type PartsPage, type Visibility, visibleAmong } from './visibility';

/** Documents that one page reads for a filter that the index cannot answer. The page then ends with a cursor. */
const MAX_FILTER_SCAN = 20_000;
/** Entities whose raw JSON is read together, at most. */
const READ_AT_ONCE = 256;

/** The entities of a collection: those of a category, or everything below a path. */
export type Scope = { readonly category: CategoryId } | { readonly below: Path };

/** A collection that its caller may list. Only {@link EntityListing.open} makes them. */
export class OpenCollection {
  readonly #scope: Scope;
  readonly #principal: Principal;

  constructor(scope: Scope, principal: Principal) {
    this.#scope = scope;
    this.#principal = principal;
  }

  get scope(): Scope {
    return this.#scope;
  }

  /** The caller, who sees those entities of the collection that access rules show. */
  get principal(): Principal {
    return this.#principal;
  }
}

export interface PageRequest extends Portioned {
  readonly filter: Filter;
  /** 1-based; with `number` only. */
  readonly page?: number;
  /** Entities on the page, at most. */
  readonly number: number;
  readonly cursor?: string;
  /**
   * The part of each entity that the caller needs; absent: all of it. Pages of whole entities end early, with a cursor,
   * when they grow beyond {@link maxChars}.
   */
  readonly need?: 'path' | 'attributes';
  /** Characters of entities after which the page ends; {@link MAX_PAGE_CHARS} when absent. */
  readonly maxChars?: number;
}

export interface EntityPage {
  readonly entities: readonly StoredEntity[];
  readonly next?: string;
}

type ScopedRequest = PageRequest & {
  readonly scope: Scope;
  /** Who sees the page. */
  readonly principal: Principal;
};

/** A request for some entities of a collection. */
export interface NamedRequest {
  readonly paths: readonly Path[];
  readonly filter: Filter;
  /** Ends the work between two reads. */
  readonly signal?: AbortSignal;
}

export class EntityListing {
  readonly #context: EntityContext;

  constructor(context: EntityContext) {
    this.#context = context;
  }

  async open(path: Path, principal: Principal): Promise<OpenCollection> {
    const { registry } = await this.#context.categories.current();
    await this.#context.authorize(principal, 'entity.list', collectionResource(path, registry));
    if (!(await this.isVisible(path, principal))) {
      throw new CmbsError('not_found', `There is no collection at ${path}; GET /-/ shows the locations.`);
    }
    return new OpenCollection(scopeAt(path, registry), principal);
  }

  /** Whether there is a collection at the path, not counting entities that the principal may not see. */
  async isVisible(path: Path, principal: Principal): Promise<boolean> {
    const { registry } = await this.#context.categories.current();
    if ((await this.#visibility.partsFor(principal)) === undefined || isLocation(path, registry)) {
      return this.isCollection(path);
    }
    const scope = { below: path };
    const { entities } = await this.page({ scope, principal, filter: NO_FILTER, number: 1, need: 'path' });
    return entities.length > 0;
  }

  /** Whether a category has its collection at the path, or any collection or entity is below it. */
  async isCollection(path: Path): Promise<boolean> {
    const { registry } = await this.#context.categories.current();
    return (
      isLocation(path, registry) ||
      (await this.#context.store.count({ collection: ENTITIES, prefix: path }, 1)) > 0
    );
  }

  /** {@link page} for a caller: the cursors are those that clients see. @throws CmbsError `bad_request` for another cursor */
  async pageFor({ scope, principal }: OpenCollection, { cursor, ...request }: PageRequest): Promise<EntityPage> {
    const { cursors = READABLE_CURSORS } = this.#context;
    const after = cursor === undefined ? {} : { cursor: await cursors.open(cursor) };
    const { entities, next } = await this.page({ ...request, ...after, scope, principal });
    return { entities, ...(next === undefined ? {} : { next: await cursors.seal(next) }) };
  }

  /** A page of the entities that the principal may see, in the order of paths. */
  page(request: ScopedRequest): Promise<EntityPage> {
    return inPortions(request, async (portions) => {
      const { registry } = await this.#context.categories.current();
      const parts = await this.#visibility.partsFor(request.principal);
      return new PageReader(this.#context, request, registry, portions, parts).read();
    });
  }

  get #visibility(): Visibility {
    return this.#context.visibility ?? EVERYTHING;
  }

  /**
   * The named entities that are in a collection and match a filter, without raw JSON, in the order of paths; those that
   * the principal may not see count as absent. Other entities of the collection are not read.
   */
  async named(
    scope: Scope,
    principal: Principal,
    { paths, filter, signal }: NamedRequest,
  ): Promise<readonly StoredEntity[]> {
    const { store, categories } = this.#context;
    const { registry } = await categories.current();
    const isSelected = selection(scope, filter, registry);
    const needsTexts = needsRawJson(filter, registry);
    const sorted = [...new Set(paths)].sort();
    const found: StoredEntity[] = [];
    for (let from = 0; from < sorted.length; from += READ_AT_ONCE) {
      requireWanted(signal);
      await nextTurn();
      const docs = await store.getAll(ENTITIES, sorted.slice(from, from + READ_AT_ONCE));
      const existing = docs.filter((doc) => doc !== undefined);
      const stored = needsTexts ? await entitiesOf(store, existing) : existing.map(outlineOf);
      const selected = stored.filter(({ entity }) => isSelected(entity));
      const caller = { visibility: this.#visibility, principal };
      const seen = await visibleAmong(selected, caller, ({ entity }) => resourceOf(entity));
      found.push(...seen.map((one) => withoutTexts(one, 'attributes')));
    }
    return found;
  }
}

/** Whether a category has its collection at the path or below it. */
export function isLocation(path: Path, registry: CategoryRegistry): boolean {
  if (path === '/' || registry.at(path) !== undefined) return true;
  return registry.all.some(
    (category) => category.class !== 'action' && category.location?.startsWith(path) === true,
  );
}

/** Whether an entity is in a collection and matches a filter. */
function selection(scope: Scope, filter: Filter, registry: CategoryRegistry): (entity: Entity) => boolean {
  const terms = termsOf(scope, filter, registry);
  const test = residualTest(filter, registry);
  return (entity) => {
    if ('below' in scope && !entity.path.startsWith(scope.below)) return false;
    const index = indexOf(entity, registry);
    return terms.every(({ field, value }) => index[field]?.includes(value)) && test?.(entity) !== false;
  };
}

/** The terms of a collection and a filter that the index answers. */
const termsOf = (
  scope: Scope,
  filter: Filter,
  registry: CategoryRegistry,
): readonly { readonly field: string; readonly value: string }[] => [
  ...('category' in scope ? [{ field: CATEGORY_FIELD, value: scope.category }] : []),
  ...indexedTerms(filter, registry),
];

/** The entities of the collection at a path: a kind's, a mixin's, or all below an unbound path (GFD.223 §4.1). */
export function scopeAt(path: Path, registry: CategoryRegistry): Scope {
  const at = registry.at(path);
  return at === undefined ? { below: path } : { category: categoryId(at) };
}

/** A collection as access rules see one. */
export function collectionResource(path: Path, registry: CategoryRegistry): Resource {
  const at = registry.at(path);
  if (at === undefined) return { path };
  return at.class === 'kind' ? { path, kind: categoryId(at) } : { path, mixins: [categoryId(at)] };
}

/** Reads one page, in portions, so that other requests are served in between. */
class PageReader {
  readonly #context: EntityContext;
  readonly #request: ScopedRequest;
  readonly #portions: Portions;
  readonly #registry: CategoryRegistry;
  readonly #parts: readonly Part[] | undefined;
  readonly #where: readonly { readonly field: string; readonly value: string }[];
  readonly #test: ((entity: Entity) => boolean) | undefined;
  readonly #needsTexts: boolean;
  /** Entities of earlier pages, which are read but not shown. */
  readonly #skip: number;
  #skipped = 0;
  readonly #found: StoredEntity[] = [];
  /** Characters of raw JSON on the page so far. */
  #chars = 0;

  /** @param parts where the caller may see entities; undefined: everywhere */
  constructor(
    context: EntityContext,
    request: ScopedRequest,
    registry: CategoryRegistry,
    portions: Portions,
    parts: readonly Part[] | undefined,
  ) {
    const { scope, filter, page, number } = request;
    this.#context = context;
    this.#request = request;
    this.#portions = portions;
    this.#registry = registry;
    this.#parts = parts;
    this.#skip = page === undefined ? 0 : (page - 1) * number;
    if (page !== undefined && this.#skip + number > MAX_PAGE_OFFSET) {
      throw new CmbsError(
        'too_large',
        `page × number is at most ${MAX_PAGE_OFFSET}; follow the links with rel="next" instead.`,
      );
    }
    this.#where = termsOf(scope, filter, registry);
    this.#test = residualTest(filter, registry);
    this.#needsTexts = needsRawJson(filter, registry);
  }

  get #maxChars(): number {
    return this.#request.maxChars ?? MAX_PAGE_CHARS;
  }

  get #isWhole(): boolean {
    return this.#request.need === undefined;
  }

  async read(): Promise<EntityPage> {
    const { number, cursor, page } = this.#request;
    const { filterScan = MAX_FILTER_SCAN } = this.#context;
    let after = cursor;
    for (let scanned = 0; this.#skipped + this.#found.length < this.#skip + number && scanned < filterScan;) {
      await this.#portions.next();
      // A page has at least one entity, however large.
      if (this.#found.length === 0) this.#chars = 0;
      const isShown = this.#skipped >= this.#skip;
      const missing = isShown ? number - this.#found.length : this.#skip - this.#skipped;
      const limit = Math.min(missing, MAX_PAGE_OFFSET, filterScan - scanned);
      const { docs, next, read: documents } = await this.#docs(after, limit);
      scanned += documents;
      const read = await this.#take(docs);
      // A page that has a next one, and is short, ended because of its size.
      if (isShown && docs.length < limit && next !== undefined) this.#chars += PAGE_PORTION_CHARS;
      // Raw JSON is stored apart, so the size of a page is known only after reading it.
      const last = docs[read - 1];
      after = read < docs.length && last !== undefined ? cursorAfter(last.id) : next;
      if (after === undefined) break;
      if (this.#isFull(read < docs.length)) {
        if (page === undefined) break;
        throw new CmbsError(
          'too_large',
          `These entities are too large for one page; ask for fewer than ${number}.`,
        );
      }
    }
    return { entities: this.#found, ...(after === undefined ? {} : { next: after }) };
  }

  async #docs(after: string | undefined, limit: number): Promise<PartsPage> {
    const { scope, filter } = this.#request;
    const base = { where: this.#where, ...('below' in scope ? { prefix: scope.below } : {}) };
    const place = { limit, maxChars: PAGE_PORTION_CHARS, ...(after === undefined ? {} : { after }) };
    const { store } = this.#context;
    if (this.#parts === undefined) {
      const page = await store.query({ collection: ENTITIES, ...base, ...place });
      return { ...page, read: page.docs.length };
    }
    const isSelected = selection(scope, filter, this.#registry);
    return pageOfParts(store, { base, parts: this.#parts, registry: this.#registry }, place, (doc) =>
      isSelected(outlineOf(doc).entity),
    );
  }

  async #visible(items: readonly StoredEntity[]): Promise<readonly StoredEntity[]> {
    if (this.#parts === undefined) return items;
    const { visibility = EVERYTHING } = this.#context;
    const caller = { visibility, principal: this.#request.principal };
    return visibleAmong(items, caller, ({ entity }) => resourceOf(entity));
  }

  #isFull(isCut: boolean): boolean {
    const count = this.#found.length;
    if (!this.#isWhole || count === 0 || count >= this.#request.number) return false;
    return isCut || this.#chars >= this.#maxChars;
  }

  /** Takes documents onto the page until it is full; resolves with how many were read. */
  async #take(docs: readonly Doc[]): Promise<number> {
    let read = 0;
    let atOnce = 1;
    let portionChars = 0;
    while (read < docs.length && (!this.#isWhole || this.#chars < this.#maxChars)) {
      if (portionChars >= PAGE_PORTION_CHARS) {
        portionChars = 0;
        await this.#portions.next();
      }
      const before = this.#chars;
      const some = docs.slice(read, read + atOnce);
      read += some.length;
      await this.#takeSome(some);
      const chars = this.#chars - before;
      portionChars += chars;
      // A text that is stored apart may have one word or a megabyte: the last texts suggest how many to read next.
      const fit = Math.floor(PAGE_PORTION_CHARS / (chars / some.length + 1));
      atOnce = Math.max(1, Math.min(fit, atOnce * 8, READ_AT_ONCE));
    }
    return read;
  }

  async #takeSome(docs: readonly Doc[]): Promise<void> {
    const isRead = this.#isWhole || this.#needsTexts;
    const stored = isRead ? await entitiesOf(this.#context.store, docs) : docs.map(outlineOf);
    const matching = stored.filter(({ entity }) => this.#test?.(entity) !== false);
    for (const item of await this.#visible(matching)) {
      if (this.#skipped < this.#skip) this.#skipped += 1;
      else {
        this.#found.push(this.#isWhole ? item : withoutTexts(item, this.#request.need));
        for (const text of Object.values(item.entity.rawJson)) this.#chars += text.length;
      }
    }
  }
}

function withoutTexts(stored: StoredEntity, need: PageRequest['need']): StoredEntity {
  const { entity } = stored;
  return { ...stored, entity: { ...entity, rawJson: {}, attributes: need === 'path' ? {} : entity.attributes } };
}
