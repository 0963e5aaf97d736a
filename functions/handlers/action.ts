/** `POST …?action=TERM` on an entity or a collection, also at the URL of an action's own function. */
import { CmbsError } from '@cmbs/shared';
import { MAX_PAGE_OFFSET } from '@cmbs/shared/limits';
import {
  actionInput,
  type ActionRequest,
  actOnce,
  type CategoryRegistry,
  checkIdempotencyKey,
  EMPTY_PAYLOAD,
  type Entity,
  isCollectionPath,
  type NamedRequest,
  type OpenCollection,
  type PageRequest,
  type Payload,
} from '@cmbs/shared/occi';
import type { App } from '../app';
import { inDialectOf } from '../dialect';
import { idempotentAction } from '../idempotency';
import { checkQuery, FILTER_QUERY, filterOf, renderContext, requesterOf, waitMs } from '../occi-context';
import { collectionPrecondition, preconditionOf } from '../preconditions';
import { header, queryValue, type OcciRequest, type OcciResponse } from '../request';
import { answer, entityRendering, oneLine, parsePayload, responseRendering } from '../respond';
import { showEntity } from './entity';

/**
 * @param own spellings of the action that this function runs; other actions are refused
 * @throws CmbsError `method_not_allowed`, `bad_action`, and as `Actions.actOn`
 */
export async function action(request: OcciRequest, app: App, own?: readonly string[]): Promise<OcciResponse> {
  const term = queryValue(request, 'action') ?? own?.[0];
  if (request.method !== 'POST') {
    throw new CmbsError('method_not_allowed', 'Actions run with POST.', {
      headers: { Allow: 'POST, OPTIONS' },
    });
  }
  if (term === undefined || term === '') {
    throw new CmbsError('bad_action', 'The query names no action; add ?action=TERM.');
  }
  if (own !== undefined && !own.includes(term)) {
    throw new CmbsError('bad_action', `This function runs ${own[0] ?? ''}, not ${JSON.stringify(term)}.`);
  }
  return isCollectionPath(request.path) ? onCollection(request, app, term) : onEntity(request, app, term);
}

async function onEntity(request: OcciRequest, app: App, term: string): Promise<OcciResponse> {
  const { path } = request;
  checkQuery(request, app, ['action']);
  const rendering = entityRendering(request);
  const payload = parsePayload(request);
  const { registry } = await app.categories.current();
  const asked = actionRequest(request, app, term, payload, registry);
  const { outcome, kind } = await actOnce(app.answered, idempotentAction(request), () =>
    app.actions.actOn(path, asked, preconditionOf(request)),
  );
  if (outcome.answer === 'attributes') {
    const shown = inDialectOf(rendering, registry.kind(kind));
    return answer(200, shown.attributes(outcome.values, renderContext(request, registry)));
  }
  const reason = outcome.reason === undefined ? {} : { 'X-OCCI-Reason': oneLine(outcome.reason) };
  return showEntity(request, app, path, outcome.status, reason);
}

async function onCollection(request: OcciRequest, app: App, term: string): Promise<OcciResponse> {
  const { path } = request;
  checkQuery(request, app, ['action', ...FILTER_QUERY]);
  const rendering = responseRendering(request);
  const payload = parsePayload(request);
  const { registry } = await app.categories.current();
  const asked = actionRequest(request, app, term, payload, registry);
  const at = registry.at(path);
  const opened = await app.entities.openCollection(path, request.principal);
  if (at === undefined) throw new CmbsError('not_found', `There is no collection at ${path}.`);
  await collectionPrecondition(request);
  if (at.class === 'kind') app.actions.requireOffered(asked, at, [], registry);
  const requester = requesterOf(request);
  const only = payload.locations.map((location) => app.entities.ownPath(location, requester));
  const filter = filterOf(request, EMPTY_PAYLOAD, registry);
  const { signal } = request;
  const chosen = await (only.length === 0
    ? allEntities(app, opened, { filter, signal })
    : namedEntities(app, opened, { paths: only, filter, signal }));
  if (at.class === 'mixin') app.actions.requireOffered(asked, at, chosen, registry);
  const { paths: done } = await app.answered.once(idempotentAction(request), async () => ({
    paths: await app.actions.actOnAll(chosen, asked),
  }));
  return answer(200, inDialectOf(rendering, at).created(done, renderContext(request, registry)));
}

/** Pages that an action reads at most: a filter that the index does not answer ends a page early. */
const MAX_PAGES = 10;

/** @throws CmbsError `too_large` for more entities than an action may run on, or may look at */
export async function allEntities(
  { entities }: { readonly entities: Pick<App['entities'], 'list'> },
  opened: OpenCollection,
  request: Pick<PageRequest, 'filter' | 'signal'>,
): Promise<readonly Entity[]> {
  const found: Entity[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page = await entities.list(opened, {
      ...request,
      number: MAX_PAGE_OFFSET - found.length,
      need: 'attributes',
      ...(cursor === undefined ? {} : { cursor }),
    });
    found.push(...page.entities.map(({ entity }) => entity));
    cursor = page.next;
    if (cursor === undefined) return found;
    if (found.length < MAX_PAGE_OFFSET) continue;
    throw new CmbsError(
      'too_large',
      `An action runs on ${MAX_PAGE_OFFSET} entities at most, and the collection has more; filter in the query.`,
    );
  }
  throw new CmbsError(
    'too_large',
    'Too many entities would have to be read to find those that match; filter by an attribute or a category too.',
  );
}

async function namedEntities(app: App, opened: OpenCollection, request: NamedRequest): Promise<readonly Entity[]> {
  if (request.paths.length <= MAX_PAGE_OFFSET) {
    return (await app.entities.named(opened, request)).map(({ entity }) => entity);
  }
  throw new CmbsError(
    'too_large',
    `An action runs on ${MAX_PAGE_OFFSET} entities at most, and the request names more; name fewer.`,
  );
}

function actionRequest(
  request: OcciRequest,
  app: App,
  term: string,
  payload: Payload,
  registry: CategoryRegistry,
): ActionRequest {
  const { principal, signal, trace } = request;
  const key = header(request, 'idempotency-key');
  return {
    term,
    input: actionInput(payload, registry),
    caller: {
      principal,
      waitMs: waitMs(request, app.sendWaitS),
      signal,
      ...(trace === undefined ? {} : { trace }),
      ...(key === undefined ? {} : { idempotencyKey: checkIdempotencyKey(key) }),
    },
  };
}
