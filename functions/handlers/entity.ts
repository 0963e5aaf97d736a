/** One entity: GET, HEAD, PUT, POST (a partial update), DELETE (GFD.223 §3, docs/occi.md). */
import { CmbsError, toCmbsError } from '@cmbs/shared';
import { type EntityView, type Rendered, type Rendering, singleDraft } from '@cmbs/shared/occi';
import type { App } from '../app';
import { inDialectOf } from '../dialect';
import { idempotencyOf } from '../idempotency';
import { checkQuery, renderContext, requesterOf } from '../occi-context';
import { etagOf, notModified, preconditionOf } from '../preconditions';
import { type OcciRequest, type OcciResponse } from '../request';
import { answer, entityRendering, parsePayload, remarked, responseRendering } from '../respond';

export const ENTITY_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'] as const;

/** An entity in a rendering, with its entity tag. */
interface Shown {
  readonly rendering: Rendering;
  readonly base: string;
  readonly rendered: Rendered;
  readonly etag: string;
}

/** The last rendering of each view. An entity has the same view object until something about it changes. */
const lastShown = new WeakMap<EntityView, Shown>();

/** Reads an entity and renders it for the answer. */
async function shown(request: OcciRequest, app: App, path: string): Promise<Shown> {
  const asked = entityRendering(request);
  const { base } = request;
  const stored = await app.entities.read(path, request.principal);
  const { registry } = await app.categories.current();
  const rendering = inDialectOf(asked, registry.kind(stored.entity.kind));
  const view = await app.entities.view(stored.entity, request.principal);
  const last = lastShown.get(view);
  if (last?.rendering === rendering && last.base === base) return last;
  const rendered = rendering.entity(view, renderContext(request, registry));
  const now = { rendering, base, rendered, etag: etagOf(stored, rendered) };
  lastShown.set(view, now);
  return now;
}

/** An answer that shows an entity. */
export async function showEntity(
  request: OcciRequest,
  app: App,
  path: string,
  status: number,
  extra: Readonly<Record<string, string>> = {},
): Promise<OcciResponse> {
  const { rendered, etag } = await shown(request, app, path);
  return answer(status, rendered, { ETag: etag, ...extra });
}

/** The answer to a change. The caller may have lost the right to see the entity by the change itself. */
async function showChanged(
  request: OcciRequest,
  app: App,
  status: number,
  headers: Readonly<Record<string, string>>,
): Promise<OcciResponse> {
  try {
    return await showEntity(request, app, request.path, status, headers);
  } catch (thrown) {
    const { code } = toCmbsError(thrown);
    if (code !== 'not_found' && code !== 'forbidden' && code !== 'unauthenticated') throw thrown;
    return answer(status, responseRendering(request).done(), headers);
  }
}

async function get(request: OcciRequest, app: App, path: string): Promise<OcciResponse> {
  const { rendered, etag } = await shown(request, app, path);
  return notModified(request, etag) ?? answer(200, rendered, { ETag: etag });
}

/** Answers a request to an entity. @throws CmbsError as the operation of `Entities` */
export async function entity(request: OcciRequest, app: App): Promise<OcciResponse> {
  const path = request.path;
  const { entities } = app;
  const { idempotent } = idempotencyOf(request);
  checkQuery(request, app, []);
  const expect = preconditionOf(request);
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return get(request, app, path);
    case 'PUT': {
      entityRendering(request);
      const payload = parsePayload(request);
      const {
        how,
        isHandedOver = false,
        ...remarks
      } = await entities.put(
        path,
        (known, registry) => singleDraft(payload, registry, known),
        requesterOf(request),
        { expect, idempotent },
      );
      const created = how === 'created' ? { Location: request.base + path } : {};
      if (isHandedOver) {
        const status = how === 'created' ? 201 : 200;
        return answer(status, responseRendering(request).done(), { ...created, ...remarked(remarks) });
      }
      if (how === 'replaced') return showChanged(request, app, 200, remarked(remarks));
      return showChanged(request, app, 201, { ...created, ...remarked(remarks) });
    }
    case 'POST': {
      entityRendering(request);
      const payload = parsePayload(request);
      const { isHandedOver = false, ...remarks } = await entities.update(
        path,
        (known, registry) => singleDraft(payload, registry, known),
        requesterOf(request),
        { expect, idempotent },
      );
      if (isHandedOver) return answer(200, responseRendering(request).done(), remarked(remarks));
      return showChanged(request, app, 200, remarked(remarks));
    }
    case 'DELETE': {
      const rendering = responseRendering(request);
      await entities.delete(path, request, { expect, idempotent });
      return answer(200, rendering.done());
    }
    default:
      throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
        headers: { Allow: ENTITY_METHODS.join(', ') },
      });
  }
}
