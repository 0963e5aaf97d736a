/**
 * Entities as JSON values, for callers that do not speak HTTP, such as service modules. The form is that of GFD.226, with
 * paths in place of URLs. Each operation takes the same decisions, and throws the same errors, as its HTTP request.
 */
import { badRequest, CmbsError, toCmbsError } from '../errors';
import { type ExactJson, parseExactJson, stringifyExactJson } from '../exact-json';
import { PAGE_PORTION_CHARS } from '../limits';
import { callerKey, type Principal } from '../principal';
import { type Actions, actOnce } from './actions';
import type { Categories } from './categories/categories';
import type { CategoryRegistry } from './category-registry';
import { actionInput, type Draft, drafts, singleDraft } from './drafts';
import { nothingAt, type Precondition, type Requester } from './entities/context';
import type { Entities } from './entities/entities';
import { stateOf, type StoredEntity } from './entity-store';
import { checkFilter, type Filter, NO_FILTER } from './filter';
import { joinFilters, payloadFilter, queryFilter } from './filter-input';
import { type AnsweredRequests, checkIdempotencyKey, fingerprint, type IdempotentRequest } from './idempotency';
import { MAX_PATH_LENGTH } from './limits';
import type { EntityView, Path } from './model';
import { isCollectionPath, pathUnder } from './paths';
import { EMPTY_PAYLOAD, type Payload } from './payload';
import type { Intent } from './provider';
import { gfd226Json } from './renderings/gfd226-json';
import { contextOf, type RenderContext } from './renderings/rendering';

/** The caller of an operation. */
export interface JsonCaller {
  readonly principal: Principal;
  /** Aborts when the caller no longer waits. */
  readonly signal: AbortSignal;
  /** The trace of the call (W3C Trace Context). */
  readonly trace?: string | undefined;
}

export type ExactObject = Readonly<Record<string, ExactJson>>;

export interface JsonWriteOptions {
  /** The `etag` that the entity must still have. */
  readonly if_match?: string | undefined;
  /** Writes of one caller with the same key count as one, for 24 hours. */
  readonly idempotency_key?: string | undefined;
}

export interface JsonCreateOptions {
  readonly idempotency_key?: string | undefined;
  readonly intent?: Intent;
  /** Whether the caller must be allowed to read the new entity. */
  readonly isShown?: boolean;
  /** Further parts of the request, which a repeated request must repeat. */
  readonly asked?: string;
}

export interface JsonActOptions extends JsonWriteOptions {
  /** Seconds to wait for the outcome. */
  readonly wait?: number | undefined;
}

export interface JsonListOptions {
  /** The parts of an entity that must match: `kind`, `mixins`, `attributes`. */
  readonly filter?: ExactObject | undefined;
  /** Words, each of which must be the value of an attribute, and `name=value`. */
  readonly q?: string | undefined;
  /** Entities on the page, at most. */
  readonly number: number;
  readonly cursor?: string | undefined;
  /** Only entities that belong to the caller: the page may then have fewer entities. */
  readonly isOwn?: boolean;
}

export interface JsonPage {
  readonly entities: readonly ExactObject[];
  /** Cursor of the next page. */
  readonly next?: string;
}

export interface JsonCreated {
  readonly location: Path;
  readonly notes: readonly string[];
  /** Shown this once. */
  readonly secret?: string;
}

export interface JsonEntitiesOptions {
  readonly entities: Entities;
  readonly actions: Actions;
  readonly categories: Categories;
  readonly answered: AnsweredRequests;
  /** The base of the deployment's URLs; empty where it is not known. */
  readonly base: () => string;
  /** Milliseconds that a caller waits for an outcome, who asks for so many seconds, or for none. */
  readonly waitMs: (seconds: number | undefined) => number;
}

export class JsonEntities {
  readonly #options: JsonEntitiesOptions;

  constructor(options: JsonEntitiesOptions) {
    this.#options = options;
  }

  /** @throws CmbsError `not_found`, `forbidden` */
  async get(caller: JsonCaller, location: string): Promise<ExactObject> {
    const path = this.#path(location, caller);
    const { entities } = this.#options;
    const stored = await entities.read(path, caller.principal);
    const view = await entities.view(stored.entity, caller.principal);
    return shown(stored, view, await this.#context());
  }

  /** @throws CmbsError as `Entities.openCollection` and `Entities.list`; `bad_request` for a filter */
  async list(
    caller: JsonCaller,
    location: string,
    { filter = {}, q = '', number, cursor, isOwn = false }: JsonListOptions,
  ): Promise<JsonPage> {
    const { entities, categories } = this.#options;
    const path = this.#path(location, caller);
    if (!isCollectionPath(path)) throw badRequest('The path of a collection ends with "/"; add the slash.');
    const opened = await entities.openCollection(path, caller.principal);
    const { registry } = await categories.current();
    const page = await entities.list(opened, {
      filter: filterOf(filter, q, registry),
      number,
      // Many calls may hold a page in memory at the same time.
      maxChars: PAGE_PORTION_CHARS,
      signal: caller.signal,
      ...(cursor === undefined ? {} : { cursor }),
    });
    const found = page.entities.filter(({ entity }) => !isOwn || entity.owner === caller.principal.name);
    const views = await entities.views(
      found.map(({ entity }) => entity),
      caller.principal,
    );
    const context = await this.#context();
    return {
      entities: found.map((stored, at) => shown(stored, views[at] as EntityView, context)),
      ...(page.next === undefined ? {} : { next: page.next }),
    };
  }

  /**
   * Creates one entity, at the location of its kind.
   * @throws CmbsError as `Entities.create`
   */
  async create(
    caller: JsonCaller,
    entity: ExactObject,
    { idempotency_key: key, intent, isShown, asked = '' }: JsonCreateOptions = {},
  ): Promise<JsonCreated> {
    const { entities, categories } = this.#options;
    const { registry } = await categories.current();
    const collection = locationOf(entity, registry);
    const text = stringifyExactJson(entity);
    try {
      const { paths, notes, secrets } = await entities.create(
        [oneDraft(parsed(text), registry)],
        collection,
        this.#requester(caller),
        {
          ...(intent === undefined ? {} : { intent }),
          ...(isShown === undefined ? {} : { isShown }),
          ...idempotent(caller, key, 'create', text, asked),
        },
      );
      const [path = ''] = paths;
      const secret = secrets?.[path];
      return { location: path, notes, ...(secret === undefined ? {} : { secret }) };
    } catch (thrown) {
      // Errors are for callers only who may create the entity: they tell which categories there are.
      await entities.authorizeCreation(collection, caller.principal);
      throw thrown;
    }
  }

  /**
   * Changes the attributes and mixins that are given, as a partial POST.
   * @returns the entity; undefined when the caller may not see the entity any more
   * @throws CmbsError as `Entities.update`
   */
  async update(
    caller: JsonCaller,
    location: string,
    changes: ExactObject,
    { if_match: match, idempotency_key: key }: JsonWriteOptions = {},
  ): Promise<ExactObject | undefined> {
    const path = this.#path(location, caller);
    const text = stringifyExactJson(changes);
    const payload = parsed(text);
    await this.#options.entities.update(
      path,
      (known, registry) => singleDraft(payload, registry, known),
      this.#requester(caller),
      { expect: unchangedSince(match), ...idempotent(caller, key, 'update', path, match ?? '', text) },
    );
    try {
      return await this.get(caller, path);
    } catch (thrown) {
      const { code } = toCmbsError(thrown);
      if (code !== 'not_found' && code !== 'forbidden' && code !== 'unauthenticated') throw thrown;
      return undefined;
    }
  }

  /** @throws CmbsError as `Entities.delete` */
  async delete(
    caller: JsonCaller,
    location: string,
    { if_match: match, idempotency_key: key }: JsonWriteOptions = {},
  ): Promise<void> {
    const path = this.#path(location, caller);
    await this.#options.entities.delete(path, caller, {
      expect: unchangedSince(match),
      ...idempotent(caller, key, 'delete', path, match ?? ''),
    });
  }

  /**
   * Runs an action on an entity.
   * @returns `attributes`, for an action that answers with values; otherwise the `entity`, `is_open` while the outcome is
   *   not known, and the `reason`
   * @throws CmbsError as `Actions.actOn`
   */
  async act(
    caller: JsonCaller,
    location: string,
    action: string,
    attributes: ExactObject,
    { wait, if_match: match, idempotency_key: key }: JsonActOptions = {},
  ): Promise<ExactObject> {
    const { actions, categories, answered } = this.#options;
    const path = this.#path(location, caller);
    const { registry } = await categories.current();
    const text = stringifyExactJson({ attributes });
    const { principal, signal, trace } = caller;
    const asked = {
      term: action,
      input: actionInput(parsed(text), registry),
      caller: {
        principal,
        signal,
        waitMs: this.#options.waitMs(wait),
        ...(trace === undefined ? {} : { trace }),
        ...(key === undefined ? {} : { idempotencyKey: checkIdempotencyKey(key) }),
      },
    };
    const { idempotent: once } = idempotent(caller, key, 'act', path, action, match ?? '', text);
    const { outcome } = await actOnce(answered, once, () => actions.actOn(path, asked, unchangedSince(match)));
    if (outcome.answer === 'attributes') return { attributes: outcome.values };
    return {
      entity: await this.get(caller, path),
      is_open: outcome.status === 202,
      ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
    };
  }

  #requester({ principal, signal }: JsonCaller): Requester {
    const base = this.#options.base();
    return {
      principal,
      signal,
      pathHere: (at) => (base === '' && at.authority !== undefined ? undefined : pathUnder(base, at)),
    };
  }

  /** @throws CmbsError `bad_request`; `not_found` for a path that no entity can have */
  #path(location: string, caller: JsonCaller): Path {
    const path = this.#options.entities.ownPath(location, this.#requester(caller));
    if (path.length > MAX_PATH_LENGTH || /[\p{Control}\p{Surrogate}]/u.test(path)) {
      throw nothingAt(JSON.stringify(path.slice(0, 100)));
    }
    return path;
  }

  async #context(): Promise<RenderContext> {
    return contextOf('', (await this.#options.categories.current()).registry);
  }
}

function shown(stored: StoredEntity, view: EntityView, context: RenderContext): ExactObject {
  const entity = parseExactJson(gfd226Json.entity(view, context).body) as ExactObject;
  return { location: stored.entity.path, etag: stateOf(stored), ...entity };
}

const parsed = (text: string): Payload => gfd226Json.parse({ headers: {}, body: Buffer.from(text) });

function oneDraft(payload: Payload, registry: CategoryRegistry): Draft {
  const [draft, ...others] = drafts(payload, registry);
  if (draft !== undefined && others.length === 0) return draft;
  throw badRequest('This takes one entity, an object with a "kind".');
}

/** The collection of the kind that an entity names; `/` for a kind that is not known. */
function locationOf({ kind }: ExactObject, registry: CategoryRegistry): Path {
  const found = typeof kind === 'string' ? registry.find(registry.canonicalId(kind)) : undefined;
  return (found?.class === 'kind' ? found.location : undefined) ?? '/';
}

function filterOf(filter: ExactObject, q: string, registry: CategoryRegistry): Filter {
  const payload = Object.keys(filter).length === 0 ? EMPTY_PAYLOAD : parsed(stringifyExactJson(filter));
  const joined = joinFilters(NO_FILTER, queryFilter([['q', q]], registry), payloadFilter(payload, registry));
  checkFilter(joined, registry);
  return joined;
}

function idempotent(
  { principal }: JsonCaller,
  key: string | undefined,
  ...parts: readonly string[]
): { readonly idempotent?: IdempotentRequest } {
  if (key === undefined) return {};
  return {
    idempotent: {
      // A key of its own: an action may store a record under the caller's key, and HTTP has other requests.
      key: `json ${checkIdempotencyKey(key)}`,
      owner: callerKey(principal),
      fingerprint: fingerprint(...parts),
    },
  };
}

/** @param etag of {@link JsonEntities.get}, or of an HTTP answer, which says more than the state of the entity */
function unchangedSince(etag: string | undefined): Precondition | undefined {
  if (etag === undefined) return undefined;
  return (current) => {
    const state = current === undefined ? undefined : stateOf(current);
    const opaque = etag.replace(/^"|"$/g, '');
    if (state !== undefined && (opaque === state || opaque.startsWith(`${state}-`))) return;
    throw new CmbsError('precondition_failed', 'if_match does not hold: the entity has changed; read it again.');
  };
}
