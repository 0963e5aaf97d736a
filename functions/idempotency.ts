/** `Idempotency-Key` on writes: a repeated request gets the answer of the first and changes nothing. */
import { callerKey } from '@cmbs/shared';
import { checkIdempotencyKey, fingerprint, type IdempotentRequest } from '@cmbs/shared/occi';
import { header, type OcciRequest } from './request';

/** The headers that carry the payload in text/occi. */
const OCCI_HEADERS = ['category', 'x-occi-attribute', 'link'] as const;

const headerParts = (request: OcciRequest): readonly string[] =>
  OCCI_HEADERS.flatMap((name) => request.headers[name] ?? []);

/**
 * The identity of a creation.
 * @param path the collection, which has several URLs
 * @param asked further parts that a repeated request must repeat
 */
export function idempotentCreation(
  request: OcciRequest,
  path: string,
  asked?: string,
): { readonly idempotent?: IdempotentRequest } {
  return identified(request, [request.method, path, ...(asked === undefined ? [] : [asked])]);
}

/** The identity of another write: the method, the path, the query and the payload. */
export function idempotencyOf(request: OcciRequest): { readonly idempotent?: IdempotentRequest } {
  const locations = request.headers['x-occi-location'] ?? [];
  return identified(request, [request.method, request.path, JSON.stringify([request.query, locations])]);
}

/** The identity of an action. Its key differs from the caller's, under which the action may store a record of its own. */
export function idempotentAction(request: OcciRequest): IdempotentRequest | undefined {
  const { idempotent } = idempotencyOf(request);
  return idempotent === undefined ? undefined : { ...idempotent, key: `action ${idempotent.key}` };
}

function identified(request: OcciRequest, parts: readonly string[]): { readonly idempotent?: IdempotentRequest } {
  const key = header(request, 'idempotency-key');
  if (key === undefined) return {};
  return {
    idempotent: {
      key: checkIdempotencyKey(key),
      owner: callerKey(request.principal),
      fingerprint: fingerprint(...parts, ...headerParts(request), request.body),
    },
  };
}
