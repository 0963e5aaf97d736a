/** The query interface `/-/` and its mirror (#1, #2, #17 to #23). */
import { CmbsError } from '@cmbs/shared';
import { type Category, categoryId, type CategoryRegistry, type Payload, queryFilter } from '@cmbs/shared/occi';
import type { App } from '../app';
import { idempotencyOf } from '../idempotency';
import { checkQuery, renderContext } from '../occi-context';
import { collectionPrecondition } from '../preconditions';
import type { OcciRequest, OcciResponse } from '../request';
import { answer, answerProgress, FILTERED, parsePayload, responseRendering } from '../respond';

export const QUERY_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'] as const;

/** The categories that the request's filter leaves: a JSON filter may give a term alone. */
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

export async function queryInterface(request: OcciRequest, app: App): Promise<OcciResponse> {
  checkQuery(request, app, request.method === 'GET' || request.method === 'HEAD' ? ['category'] : []);
  const rendering = responseRendering(request);
  const payload = parsePayload(request);
  const known = await collectionPrecondition(request);
  if (known !== undefined) return known;
  const { categories, perform } = app;
  const { idempotent } = idempotencyOf(request);
  const on = <T>(name: string, run: () => Promise<T>): Promise<T> =>
    perform(request.principal, { name, path: request.path }, run);
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return on('category.read', async () => {
        const { registry } = await categories.current();
        return answer(
          200,
          rendering.categories(filtered(request, payload, registry), renderContext(request, registry)),
          { Vary: FILTERED },
        );
      });
    case 'POST':
      await on('category.define', () => categories.define(payload.categories, idempotent));
      break;
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
        await on('category.update', () =>
          categories.update(payload.categories, payload.providers, idempotent, request.signal),
        ),
        'changed',
      );
    default:
      return answerProgress(
        request,
        await on('category.remove', () =>
          app.answered.once(
            idempotent,
            () => categories.remove(payload.categories, payload.providers, request.signal),
            ({ isComplete }) => isComplete,
          ),
        ),
        'untagged',
      );
  }
  return answer(200, rendering.done());
}
