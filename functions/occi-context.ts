/** Reads what OCCI handlers need of a request: the requester, the filter, the page, the context of renderings. */
import { badRequest, CmbsError } from '@cmbs/shared';
import { MAX_PAGE_OFFSET, MAX_WAIT_S } from '@cmbs/shared/limits';
import {
  type CategoryRegistry,
  checkFilter,
  contextOf,
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

/** Entities on a page, by default, for renderings that show entities or use headers. */
const DEFAULT_PAGE_SIZE = 1000;
/** Locations on a page, by default: clients of pyCMBS do not ask for further pages. */
const DEFAULT_LOCATIONS_PAGE = 10_000;

/** The caller, who may name entities by URLs of this deployment. */
export function requesterOf(request: OcciRequest): Requester {
  const { base, principal, signal } = request;
  const host = header(request, 'host');
  return {
    principal,
    signal,
    pathHere: (location) => {
      const path = pathUnder(base, location);
      // A client may use the host of its request, which need not be the public one; such a URL has no prefix.
      return path ?? (location.authority === host && host !== new URL(base).host ? location.path : undefined);
    },
  };
}

/** The base of URLs, and what renderings look up in the registry. */
export const renderContext = (request: OcciRequest, registry: CategoryRegistry): RenderContext =>
  contextOf(request.base, registry);

/** `Prefer: handling=lenient` (RFC 7240 §4.4). Does not count for DELETE, where an ignored filter would delete more. */
const isLenient = (request: OcciRequest): boolean =>
  request.method !== 'DELETE' && preferences(request).some((one) => /^handling\s*=\s*"?lenient"?$/i.test(one));

/** Query parameters of a filter. */
export const FILTER_QUERY = ['category', 'attribute', 'value', 'q'] as const;

/**
 * The filter of the query, the headers and the body together.
 * @throws CmbsError `bad_request` for an unknown term
 */
export function filterOf(request: OcciRequest, payload: Payload, registry: CategoryRegistry): Filter {
  const filter = joinFilters(queryFilter(request.query, registry), payloadFilter(payload, registry));
  if (!isLenient(request)) checkFilter(filter, registry);
  return filter;
}

/**
 * Refuses unknown query parameters: a mistyped filter would list, or delete, everything.
 * @throws CmbsError `bad_request`
 */
export function checkQuery(request: OcciRequest, app: Pick<App, 'ignoredQuery'>, known: readonly string[]): void {
  if (isLenient(request)) return;
  const unknown = request.query.find(([name]) => !known.includes(name) && !app.ignoredQuery.has(name));
  if (unknown === undefined) return;
  const offered = known.length === 0 ? 'send no query' : `it takes ${known.join(', ')}`;
  throw badRequest(
    `The query has ${JSON.stringify(unknown[0].slice(0, 100))}, which means nothing here; ${offered}.`,
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

/**
 * The page that `?page=&number=` or `?cursor=&number=` asks for.
 * @throws CmbsError `bad_request`, `too_large`
 */
export function pageOf(request: OcciRequest, rendering: Rendering): Omit<PageRequest, 'filter'> {
  const page = positive(request, 'page');
  const number =
    positive(request, 'number') ?? (rendering.collectionIsLocations ? DEFAULT_LOCATIONS_PAGE : DEFAULT_PAGE_SIZE);
  const cursor = queryValue(request, 'cursor');
  if (page !== undefined && cursor !== undefined) throw badRequest('Give "page" or "cursor", not both.');
  return { number, ...(page === undefined ? {} : { page }), ...(cursor === undefined ? {} : { cursor }) };
}

/** The `Link` header with `rel="next"`: the same query with the cursor of the next page. */
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

/** Milliseconds that the caller waits (RFC 7240 §4.1, §4.3): `respond-async` is 0, `wait=N` is N seconds. */
export function waitMs(request: OcciRequest, defaultS: number): number {
  const preferred = preferences(request);
  if (preferred.some((one) => /^respond-async$/i.test(one))) return 0;
  for (const preference of preferred) {
    const wait = /^wait\s*=\s*"?(\d{1,6})"?$/i.exec(preference);
    if (wait !== null) return Math.min(Number(wait[1]), MAX_WAIT_S) * 1000;
  }
  return defaultS * 1000;
}
