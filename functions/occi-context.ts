/** What every OCCI handler needs of a request: path, preconditions, filter, page, rendering context. */
import { badRequest, CmbsError } from '@cmbs/shared';
import { MAX_PAGE_OFFSET, MAX_WAIT_S } from '@cmbs/shared/limits';
import {
  type CategoryRegistry,
  checkFilter,
  type Filter,
  joinFilters,
  type PageRequest,
  type Path,
  pathUnder,
  type Payload,
  payloadFilter,
  queryFilter,
  referenceTo,
  type RenderContext,
  type Rendering,
  type Requester,
} from '@cmbs/shared/occi';
import type { App } from './app';
import { header, queryValue, type OcciRequest } from './request';

/** Entities on a page when `number` is absent and the rendering shows entities or sits in headers. */
const DEFAULT_PAGE_SIZE = 1000;
/** Locations on a page when `number` is absent: clients of the original do not know pages. */
const DEFAULT_LOCATIONS_PAGE = 10_000;

export function requesterOf(request: OcciRequest): Requester {
  const { base, principal, signal } = request;
  const host = header(request, 'host');
  return {
    principal,
    signal,
    pathHere: (location) => {
      const path = pathUnder(base, location);
      // By the name that it was asked by, which may not be the public one, it has no prefix.
      return path ?? (location.authority === host && host !== new URL(base).host ? location.path : undefined);
    },
  };
}

export function renderContext(request: OcciRequest, registry: CategoryRegistry): RenderContext {
  return {
    base: request.base,
    specOf: ({ kind, mixins }, name) => {
      const specs = registry.specs(kind, mixins);
      return Object.hasOwn(specs, name) ? specs[name] : undefined;
    },
    titleOf: (id) => registry.find(id)?.title,
  };
}

/** Whether the client wants what is not understood ignored (RFC 7240 §4.4): not where that would delete more. */
const isLenient = (request: OcciRequest): boolean =>
  request.method !== 'DELETE' && preferences(request).some((one) => /^handling\s*=\s*"?lenient"?$/i.test(one));

/** Query parameters of a filter. */
export const FILTER_QUERY = ['category', 'attribute', 'value', 'q'] as const;

/** Filter from query string, headers and body together (DESIGN decision 7). */
export function filterOf(request: OcciRequest, payload: Payload, registry: CategoryRegistry): Filter {
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
  if (!/^\d+$/.test(text) || Number(text) === 0)
    throw badRequest(`"${name}" in the query takes a whole number from 1.`);
  if (Number(text) > MAX_PAGE_OFFSET) {
    throw new CmbsError('too_large', `"${name}" in the query is ${MAX_PAGE_OFFSET} at most; ask for less.`);
  }
  return Number(text);
}

/** `?page=&number=` or `?cursor=&number=` (#57). */
export function pageOf(request: OcciRequest, rendering: Rendering): Omit<PageRequest, 'filter'> {
  const page = positive(request, 'page');
  const number =
    positive(request, 'number') ?? (rendering.collectionIsLocations ? DEFAULT_LOCATIONS_PAGE : DEFAULT_PAGE_SIZE);
  const cursor = queryValue(request, 'cursor');
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
  return `<${referenceTo(path, request)}?${query.toString()}>; rel="next"`;
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
