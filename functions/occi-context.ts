/** What every OCCI handler needs of a request: path, preconditions, filter, page, rendering context. */
import { badRequest, CmbsError } from '@cmbs/shared';
import { DEFAULT_LOCATIONS_PAGE, DEFAULT_PAGE_SIZE, MAX_PAGE_OFFSET, MAX_WAIT_S } from '@cmbs/shared/limits';
import { etagOf } from '@cmbs/shared/occi/entity-store';
import type { PageRequest, Precondition, Requester } from '@cmbs/shared/occi/entities';
import { checkFilter, type Filter } from '@cmbs/shared/occi/filter';
import { joinFilters, payloadFilter, queryFilter } from '@cmbs/shared/occi/interpret';
import { categoryId, type Path } from '@cmbs/shared/occi/model';
import type { Payload } from '@cmbs/shared/occi/payload';
import type { Registry } from '@cmbs/shared/occi/registry';
import type { RenderContext, Rendering } from '@cmbs/shared/occi/rendering';
import type { App } from './app';
import { header, queryValue, type OcciRequest } from './request';

/** The path with its percent escapes resolved; 404 when that would add segments. */
export function decodedPath(request: OcciRequest): Path {
  if (!request.path.includes('%')) return request.path;
  try {
    const segments = request.path.split('/').map(decodeURIComponent);
    if (!segments.some((segment) => segment.includes('/'))) return segments.join('/');
  } catch {
    // A malformed escape names nothing that exists.
  }
  throw new CmbsError('not_found', 'There is nothing at this path.');
}

export function requesterOf(request: OcciRequest): Requester {
  const own = new Set([new URL(request.base).host, header(request, 'host') ?? '']);
  return { identity: request.identity, isOwnAuthority: (authority) => own.has(authority), signal: request.signal };
}

export function renderContext(request: OcciRequest, registry: Registry): RenderContext {
  return {
    base: request.base,
    specOf: ({ kind, mixins }, name) => {
      const specs = registry.specs(kind, mixins);
      return Object.hasOwn(specs, name) ? specs[name] : undefined;
    },
    titleOf: (id) => registry.find(id)?.title,
  };
}

const tags = (value: string): readonly string[] => value.split(',').map((tag) => tag.trim());

/** `If-Match` and `If-None-Match` (RFC 9110 §13.1); weak tags never match strongly. */
export function preconditionOf(request: OcciRequest): Precondition {
  const match = header(request, 'if-match');
  const noneMatch = header(request, 'if-none-match');
  return (current) => {
    const etag = current === undefined ? undefined : etagOf(current);
    const has = (value: string): boolean =>
      etag !== undefined && (value.trim() === '*' || tags(value).includes(etag));
    if (match !== undefined && !has(match)) {
      throw new CmbsError(
        'precondition_failed',
        etag === undefined
          ? 'If-Match needs an entity, and there is none.'
          : `If-Match does not hold; the ETag is ${etag}.`,
      );
    }
    if (noneMatch !== undefined && has(noneMatch)) {
      throw new CmbsError('precondition_failed', 'If-None-Match does not hold: the entity is there.');
    }
  };
}

/** Whether the client wants what is not understood ignored (RFC 7240 §4.4): not where that would delete more. */
const isLenient = (request: OcciRequest): boolean =>
  request.method !== 'DELETE' && preferences(request).some((one) => /^handling\s*=\s*"?lenient"?$/i.test(one));

/** Query parameters of a filter. */
export const FILTER_QUERY = ['category', 'attribute', 'value', 'q'] as const;

/** Filter from query string, headers and body together (DESIGN decision 7). */
export function filterOf(request: OcciRequest, payload: Payload, registry: Registry): Filter {
  const filter = joinFilters(queryFilter(request.query, registry), payloadFilter(payload, registry));
  if (!isLenient(request)) checkFilter(filter, registry);
  return filter;
}

/**
 * Refuses query parameters that mean nothing here: a mistyped filter would list, or delete, everything (DESIGN
 * decision 7).
 */
export function checkQuery(request: OcciRequest, app: Pick<App, 'ignoredQuery'>, known: readonly string[]): void {
  if (isLenient(request)) return;
  const unknown = request.query.find(([name]) => !known.includes(name) && !app.ignoredQuery.has(name));
  if (unknown === undefined) return;
  const offered = known.length === 0 ? 'it takes none' : `it takes ${known.join(', ')}`;
  throw badRequest(
    `The query has ${JSON.stringify(unknown[0].slice(0, 100))}, which means nothing here: ${offered}.`,
  );
}

function positive(request: OcciRequest, name: string): number | undefined {
  const text = queryValue(request, name);
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text) || Number(text) === 0)
    throw badRequest(`"${name}" in the query takes a whole number from 1.`);
  return Number(text);
}

/** `?page=&number=` or `?cursor=&number=` (#57). */
export function pageOf(request: OcciRequest, rendering: Rendering): Omit<PageRequest, 'scope' | 'filter'> {
  const page = positive(request, 'page');
  const number =
    positive(request, 'number') ?? (rendering.collectionIsLocations ? DEFAULT_LOCATIONS_PAGE : DEFAULT_PAGE_SIZE);
  const cursor = queryValue(request, 'cursor');
  if (number > MAX_PAGE_OFFSET) {
    throw new CmbsError('too_large', `A page has ${MAX_PAGE_OFFSET} entities at most; ask for fewer.`);
  }
  if (page !== undefined && cursor !== undefined) throw badRequest('Give "page" or "cursor", not both.');
  return { number, ...(page === undefined ? {} : { page }), ...(cursor === undefined ? {} : { cursor }) };
}

/** `Link: rel="next"` with the cursor of the following page, other parameters kept. */
export function nextLink(request: OcciRequest, path: Path, cursor: string): string {
  const query = new URLSearchParams(
    request.query
      .filter(([name]) => name !== 'page' && name !== 'cursor')
      .map(([name, value]): [string, string] => [name, value]),
  );
  query.append('cursor', cursor);
  return `<${path}?${query.toString()}>; rel="next"`;
}

/** The collection at a path: a kind's, a mixin's, or whatever lies below an unbound path (#61). */
export function scopeOf(path: Path, registry: Registry): PageRequest['scope'] {
  const at = registry.at(path);
  return at === undefined ? { below: path } : { category: categoryId(at) };
}

const preferences = (request: OcciRequest): readonly string[] =>
  (request.headers.prefer ?? []).flatMap((value) => value.split(/[,;]/)).map((one) => one.trim());

/** Milliseconds that the caller will wait (RFC 7240): `respond-async` is 0, `wait=N` is N seconds. */
export function waitMs(request: OcciRequest, defaultS: number): number {
  const preferred = preferences(request);
  if (preferred.some((one) => /^respond-async$/i.test(one))) return 0;
  for (const preference of preferred) {
    const wait = /^wait\s*=\s*"?(\d{1,6})"?$/i.exec(preference);
    if (wait !== null) return Math.min(Number(wait[1]), MAX_WAIT_S) * 1000;
  }
  return defaultS * 1000;
}
