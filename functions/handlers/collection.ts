/** Collections: of a kind, of a mixin, or of all entities below a path (GFD.223 §3, docs/occi.md). */
import { badRequest, CmbsError } from '@cmbs/shared';
import {
  type CategoryRegistry,
  CORE_SCHEME,
  drafts,
  type Intent,
  isEmptyFilter,
  type Mixin,
  type Noted,
  type OpenCollection,
  type Path,
  type Payload,
  type Progress,
} from '@cmbs/shared/occi';
import type { App } from '../app';
import { inDialectOf, inDialectOfKinds } from '../dialect';
import { checkQuery, FILTER_QUERY, filterOf, nextLink, pageOf, renderContext, requesterOf } from '../occi-context';
import { inPieces } from '../http-write';
import { idempotencyOf, idempotentCreation } from '../idempotency';
import { collectionPrecondition } from '../preconditions';
import { queryValue, type OcciRequest, type OcciResponse } from '../request';
import { inTurn, type LargeTurn } from '../large-answers';
import { answer, answerProgress, FILTERED, parsePayload, remarked, responseRendering } from '../respond';

const COLLECTION_METHODS = ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'] as const;
/** Only the collection of a mixin can be replaced: a PUT names the entities that have the mixin. */
const MIXIN_METHODS = [...COLLECTION_METHODS, 'PUT'] as const;

/** Query parameters by method. */
const PAGE_QUERY = [...FILTER_QUERY, 'page', 'number', 'cursor'];
const QUERY: Readonly<Record<string, readonly string[]>> = {
  GET: PAGE_QUERY,
  HEAD: PAGE_QUERY,
  DELETE: [...FILTER_QUERY, 'confirm'],
};

/** The methods of the collection at a path. */
export function collectionMethods(path: Path, registry: CategoryRegistry): readonly string[] {
  return registry.at(path)?.class === 'mixin' ? MIXIN_METHODS : COLLECTION_METHODS;
}

async function list(
  request: OcciRequest,
  app: App,
  opened: OpenCollection,
  payload: Payload,
  turn: LargeTurn,
): Promise<OcciResponse> {
  const { path } = request;
  const { registry } = await app.categories.current();
  const rendering = inDialectOf(responseRendering(request), registry.at(path));
  const page = await app.entities.list(opened, {
    filter: filterOf(request, payload, registry),
    signal: request.signal,
    claim: turn.claim,
    ...(rendering.collectionIsLocations ? { need: 'path' } : {}),
    ...pageOf(request, rendering),
  });
  const found = page.entities.map(({ entity }) => entity);
  const views = rendering.collectionIsLocations
    ? found.map((entity) => ({ entity, isLink: false, links: [], actions: [] }))
    : await app.entities.views(found, request.principal);
  const context = renderContext(request, registry);
  const pieces = turn.isTaken ? rendering.collectionPieces?.(views, context) : undefined;
  const rendered =
    pieces === undefined ? rendering.collection(views, context) : { headers: pieces.headers, body: '' };
  // A rendering in headers may have a Link header of its own.
  const links = [rendered.headers.Link, page.next === undefined ? undefined : nextLink(request, path, page.next)];
  const link = links.filter((one) => one !== undefined).join(', ');
  const next = link === '' ? {} : { Link: link };
  const whole = answer(200, rendered, { ...next, Vary: FILTERED });
  return pieces === undefined ? whole : { ...whole, body: inPieces(pieces.texts) };
}

async function read(request: OcciRequest, app: App, payload: Payload): Promise<OcciResponse> {
  const opened = await app.entities.openCollection(request.path, request.principal);
  const known = await collectionPrecondition(request);
  if (known !== undefined) return known;
  return inTurn(request, app.answers, (turn) => list(request, app, opened, payload, turn));
}

/** Creates entities. Errors are for callers only who may create them: they tell which categories there are. */
export async function creating<T>(
  { path, principal }: OcciRequest,
  app: App,
  create: () => Promise<T>,
): Promise<T> {
  try {
    return await create();
  } catch (thrown) {
    await app.entities.authorizeCreation(path, principal);
    throw thrown;
  }
}

async function create(request: OcciRequest, app: App, path: Path, payload: Payload): Promise<OcciResponse> {
  if (payload.form === 'none') throw badRequest('The request has no payload; send an entity or locations.');
  const { registry } = await app.categories.current();
  const kinds = drafts(payload, registry).map(({ kind }) => kind);
  const rendering = inDialectOfKinds(responseRendering(request), kinds, registry);
  const { paths, ...remarks } = await createAll(request, app, path, payload);
  const one = paths.length === 1 ? { Location: request.base + (paths[0] as string) } : {};
  return answer(201, rendering.created(paths, renderContext(request, registry)), { ...one, ...remarked(remarks) });
}

interface CreationOptions {
  readonly intent?: Intent;
  /** Further parts of the request, which a repeated request with the same `Idempotency-Key` must repeat. */
  readonly asked?: string;
  /** The answer shows the new entities, so the caller must be allowed to read them. */
  readonly isShown?: boolean;
}

/** Creates the entities of the payload, once for each `Idempotency-Key`. */
export async function createAll(
  request: OcciRequest,
  app: App,
  path: Path,
  payload: Payload,
  { intent, asked, isShown = false }: CreationOptions = {},
): Promise<Noted & { readonly paths: readonly Path[] }> {
  const { registry } = await app.categories.current();
  return app.entities.create(drafts(payload, registry), path, requesterOf(request), {
    isShown,
    ...(intent === undefined ? {} : { intent }),
    ...idempotentCreation(request, path, asked),
  });
}

async function tag(
  request: OcciRequest,
  app: App,
  mixin: Mixin,
  payload: Payload,
  how: 'add' | 'remove' | 'replace',
): Promise<OcciResponse> {
  const rendering = inDialectOf(responseRendering(request), mixin);
  const requester = requesterOf(request);
  const paths = payload.locations.map((location) => app.entities.ownPath(location, requester));
  await app.entities.tag(mixin, [...new Set(paths)], how, requester, idempotencyOf(request).idempotent);
  return answer(200, rendering.done());
}

/** Runs work that takes several requests. A repeated request continues the work; once all is done it does nothing. */
function inSteps(request: OcciRequest, app: App, run: () => Promise<Progress>): Promise<Progress> {
  return app.answered.once(idempotencyOf(request).idempotent, run, ({ isComplete }) => isComplete);
}

async function remove(request: OcciRequest, app: App, path: Path, payload: Payload): Promise<OcciResponse> {
  const { registry } = await app.categories.current();
  const at = registry.at(path);
  // A client that loses the end of a path asks for `/`; the collections of the core's kinds have every entity too.
  const isAll = path === '/' || at?.scheme === CORE_SCHEME;
  if (isAll && payload.locations.length === 0 && queryValue(request, 'confirm') !== 'all') {
    throw badRequest(
      `DELETE ${path} deletes every entity, resource or link of this deployment; add ?confirm=all to do so.`,
    );
  }
  if (at?.class === 'mixin') {
    if (payload.locations.length > 0) return tag(request, app, at, payload, 'remove');
    const untagged = await inSteps(request, app, () => app.entities.untagAll(at, request));
    return answerProgress(request, untagged, 'untagged');
  }
  const requester = requesterOf(request);
  const only =
    payload.locations.length === 0
      ? undefined
      : payload.locations.map((location) => app.entities.ownPath(location, requester));
  const filter = filterOf(request, payload, registry);
  const progress = await inSteps(request, app, async () => {
    const made = await app.entities.deleteAll({ collection: path, filter, only }, request);
    if (made.done > 0 || at !== undefined || path === '/' || !isEmptyFilter(filter)) return made;
    throw new CmbsError('not_found', `There is nothing below ${path}.`);
  });
  return answerProgress(request, progress, 'deleted');
}

/** Answers a request to a collection. @throws CmbsError as the operation of `Entities` */
export async function collection(request: OcciRequest, app: App): Promise<OcciResponse> {
  const path = request.path;
  checkQuery(request, app, QUERY[request.method] ?? []);
  const payload = parsePayload(request);
  const { registry } = await app.categories.current();
  const at = registry.at(path);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    await collectionPrecondition(request, async () => {
      await app.entities.authorizePath(path, request.principal);
      return app.entities.isCollectionFor(path, request.principal);
    });
  }
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return read(request, app, payload);
    case 'POST':
      if (at?.class === 'mixin' && payload.locations.length > 0) {
        return tag(request, app, at, payload, 'add');
      }
      if (at === undefined && path !== '/') {
        await app.entities.authorizePath(path, request.principal);
        throw new CmbsError('not_found', `There is no collection at ${path}.`);
      }
      return creating(request, app, () => create(request, app, path, payload));
    case 'PUT':
      if (at?.class !== 'mixin') break;
      return tag(request, app, at, payload, 'replace');
    case 'DELETE':
      return remove(request, app, path, payload);
  }
  throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
    headers: { Allow: collectionMethods(path, registry).join(', ') },
  });
}
