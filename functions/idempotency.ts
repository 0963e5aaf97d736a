/** `Idempotency-Key` on every write: a repeated request is answered as the first one was, and does nothing again. */
import type { Principal } from '@cmbs/shared';
import { checkIdempotencyKey, fingerprint, type IdempotentRequest } from '@cmbs/shared/occi';
import { header, type OcciRequest } from './request';

/** In text/occi the headers are the body. */
const OCCI_HEADERS = ['category', 'x-occi-attribute', 'link'] as const;

const headerParts = (request: OcciRequest): readonly string[] =>
  OCCI_HEADERS.flatMap((name) => request.headers[name] ?? []);

/** A creation, which may be asked for at several paths. @param asked what else a repeated request has to repeat */
export function idempotentCreation(
  request: OcciRequest,
  path: string,
  asked?: string,
): { readonly idempotent?: IdempotentRequest } {
  return identified(request, [request.method, path, ...(asked === undefined ? [] : [asked])]);
}

/** Any other write. A repeated request repeats the method, the path, the query and what it carries. */
export function idempotencyOf(request: OcciRequest): { readonly idempotent?: IdempotentRequest } {
  const locations = request.headers['x-occi-location'] ?? [];
  return identified(request, [request.method, request.path, JSON.stringify([request.query, locations])]);
}

/** An action: what it brings about may have a record of its own under the key. */
export function idempotentAction(request: OcciRequest): IdempotentRequest | undefined {
  const { idempotent } = idempotencyOf(request);
  return idempotent === undefined ? undefined : { ...idempotent, key: `action ${idempotent.key}` };
}

/** Two principals may choose the same key. Release 1.0 stored the bare name of its only caller. */
const ownerOf = ({ kind, name }: Principal): string => (kind === 'anonymous' ? name : `${kind}:${name}`);

function identified(request: OcciRequest, parts: readonly string[]): { readonly idempotent?: IdempotentRequest } {
  const key = header(request, 'idempotency-key');
  if (key === undefined) return {};
  return {
    idempotent: {
      key: checkIdempotencyKey(key),
      owner: ownerOf(request.principal),
      fingerprint: fingerprint(...parts, ...headerParts(request), request.body),
    },
  };
}
