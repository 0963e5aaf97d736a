/** The query interface, `/-/` and `/.well-known/org/ogf/occi/-/` (docs/occi.md). */
import { CmbsError } from '@cmbs/shared';
import { type Category, categoryId, type CategoryRegistry, type Payload, queryFilter } from '@cmbs/shared/occi';
import type { App } from '../app';
import { idempotencyOf } from '../idempotency';
import { checkQuery, renderContext } from '../occi-context';
import { collectionPrecondition } from '../preconditions';
import type { OcciRequest, OcciResponse } from '../request';
import { answer, answerProgress, FILTERED, parsePayload, responseRendering } from '../respond';

const QUERY_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'] as const;

/** The categories that match the request's filter. A filter in JSON may name a term without a scheme. */
function filtered(request: OcciRequest, payload: Payload, registry: CategoryRegistry): readonly Category[] {
  const asked = queryFilter(request.query, registry).categories;
  if (asked.length === 0 && payload.categories.length === 0) return registry.all;
  return registry.all.filter((category) => {
    const id = categoryId(category);
    return (
      asked.includes(id) ||
      payload.categories.some(
        (input) =>
          (input.class === undefined || input.class === category.class) &&
          (input.scheme === '' || registry.canonicalId(categoryId(input)) === id) &&
          (input.scheme !== '' || input.term === category.term),
      )
    );
  });
}

/** @throws CmbsError as the operation of `Categories`; `method_not_allowed` */
export async function queryInterface(request: OcciRequest, app: App): Promise<OcciResponse> {
  if (request.method === 'OPTIONS') {
    await app.categories.read(request.principal);
    return answer(204, undefined, { Allow: QUERY_METHODS.join(', ') });
  }
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  checkQuery(request, app, isRead ? ['category'] : []);
  const rendering = responseRendering(request);
  const payload = parsePayload(request);
  const { categories } = app;
  const { principal, signal } = request;
  const { idempotent } = idempotencyOf(request);
  if (!isRead) await collectionPrecondition(request);
  switch (request.method) {
    case 'GET':
    case 'HEAD': {
      const { registry } = await categories.read(principal);
      const known = await collectionPrecondition(request);
      if (known !== undefined) return known;
      return answer(
        200,
        rendering.categories(filtered(request, payload, registry), renderContext(request, registry)),
        { Vary: FILTERED },
      );
    }
    case 'POST':
      await categories.define(payload.categories, principal, idempotent);
      return answer(200, rendering.done());
    case 'PUT':
      if (payload.categories.length + payload.providers.length === 0) {
        throw new CmbsError(
          'method_not_allowed',
          'PUT changes the categories and providers in its body; there are none.',
          {
            headers: { Allow: QUERY_METHODS.join(', ') },
          },
        );
      }
      return answerProgress(
        request,
        await categories.update(payload, principal, { idempotent, signal }),
        'changed',
      );
    default:
      return answerProgress(
        request,
        await app.answered.once(
          idempotent,
          () => categories.remove(payload, principal, signal),
          ({ isComplete }) => isComplete,
        ),
        'untagged',
      );
  }
}
