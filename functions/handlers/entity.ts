/** One entity: GET, HEAD, PUT, POST (partial), DELETE (#29 to #37). */
import { CmbsError } from '@cmbs/shared';
import { etagOf } from '@cmbs/shared/occi/entity-store';
import { singleDraft } from '@cmbs/shared/occi/interpret';
import type { EntityView } from '@cmbs/shared/occi/model';
import type { Registry } from '@cmbs/shared/occi/registry';
import type { Rendered, Rendering } from '@cmbs/shared/occi/rendering';
import type { App } from '../app';
import { renderingFor } from '../dialect';
import { checkQuery, decodedPath, preconditionOf, renderContext, requesterOf } from '../occi-context';
import { header, type OcciRequest, type OcciResponse } from '../request';
import { answer, entityRendering, noted, parsePayload, responseRendering } from '../respond';

export const ENTITY_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'] as const;

/** The last rendering of a view: as long as nothing about an entity changes, its view is the same object. */
const lastRendered = new WeakMap<EntityView, { rendering: Rendering; base: string; rendered: Rendered }>();

function render(rendering: Rendering, view: EntityView, request: OcciRequest, registry: Registry): Rendered {
  const { base } = request;
  const last = lastRendered.get(view);
  if (last?.rendering === rendering && last.base === base) return last.rendered;
  const rendered = rendering.entity(view, renderContext(request, registry));
  lastRendered.set(view, { rendering, base, rendered });
  return rendered;
}

/** The entity as it is now, rendered. */
export async function showEntity(
  request: OcciRequest,
  app: App,
  path: string,
  status: number,
  extra: Readonly<Record<string, string>> = {},
): Promise<OcciResponse> {
  const rendering = entityRendering(request);
  const stored = await app.entities.read(path);
  const { registry } = await app.categories.current();
  const view = await app.entities.view(stored.entity);
  return answer(
    status,
    render(renderingFor(rendering, registry.kind(stored.entity.kind)), view, request, registry),
    {
      ETag: etagOf(stored),
      ...extra,
    },
  );
}

async function get(request: OcciRequest, app: App, path: string): Promise<OcciResponse> {
  const noneMatch = header(request, 'if-none-match');
  if (noneMatch !== undefined) {
    const etag = etagOf(await app.entities.read(path));
    if (noneMatch.trim() === '*' || noneMatch.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag)) {
      return answer(304, undefined, { ETag: etag });
    }
  }
  return showEntity(request, app, path, 200);
}

export async function entity(request: OcciRequest, app: App): Promise<OcciResponse> {
  const path = decodedPath(request);
  const { entities, perform } = app;
  if (request.query.length > 0) {
    const { registry } = await app.categories.current();
    // What the query is for may be the collection: that its slash is missing comes first.
    if (registry.at(`${path}/`) !== undefined) await app.entities.read(path);
  }
  checkQuery(request, app, []);
  const on = <T>(name: string, run: () => Promise<T>): Promise<T> =>
    perform(request.identity, { name, path }, run);
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return on('entity.read', () => get(request, app, path));
    case 'PUT': {
      entityRendering(request);
      const payload = parsePayload(request);
      const { how, notes } = await on('entity.put', () =>
        entities.put(
          path,
          (known, registry) => singleDraft(payload, registry, known),
          requesterOf(request),
          preconditionOf(request),
        ),
      );
      if (how === 'replaced') return showEntity(request, app, path, 200, noted(notes));
      return showEntity(request, app, path, 201, { Location: request.base + path, ...noted(notes) });
    }
    case 'POST': {
      entityRendering(request);
      const payload = parsePayload(request);
      const { notes } = await on('entity.update', () =>
        entities.update(
          path,
          (known, registry) => singleDraft(payload, registry, known),
          requesterOf(request),
          preconditionOf(request),
        ),
      );
      return showEntity(request, app, path, 200, noted(notes));
    }
    case 'DELETE': {
      const rendering = responseRendering(request);
      await on('entity.delete', () => entities.delete(path, preconditionOf(request), request.signal));
      return answer(200, { headers: { 'Content-Type': rendering.mediaTypes[0] }, body: '' });
    }
    default:
      throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
        headers: { Allow: ENTITY_METHODS.join(', ') },
      });
  }
}
