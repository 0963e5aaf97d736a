/** The parts of an HTTP request that both adapters have to read: query, headers, the client's address, the base of URLs. */
import { badRequest, CmbsError } from '@cmbs/shared';
import { authorityUrl } from '@cmbs/shared/authority';
import { prefixOf, unescapedPath, withoutPrefix } from '@cmbs/shared/occi';
import { parseTraceparent, type Traceparent } from '@cmbs/shared/trace';

/** Parameters in a query string. */
const MAX_QUERY_PARAMETERS = 100;

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (cause) {
    throw badRequest(`The query has a malformed percent escape: ${JSON.stringify(text.slice(0, 80))}.`, { cause });
  }
};

/** Query string to pairs; OCCI allows `;` beside `&` as separator (#57). Throws `bad_request`. */
export function parseQuery(query: string): readonly (readonly [string, string])[] {
  if (query === '') return [];
  const parts = query.split(/[&;]/).filter((part) => part !== '');
  if (parts.length > MAX_QUERY_PARAMETERS) {
    throw badRequest(`A query has ${MAX_QUERY_PARAMETERS} parameters at most.`);
  }
  return parts.map((part) => {
    const equals = part.indexOf('=');
    return equals < 0 ? [decode(part), ''] : [decode(part.slice(0, equals)), decode(part.slice(equals + 1))];
  });
}

/**
 * Path and query string of a request's target. A proxy request's absolute form is allowed (RFC 9112 §3.2.2). The path has
 * its percent escapes resolved, so that all spellings of a path go the same way (RFC 3986 §6.2.2.2).
 * @throws CmbsError `not_found` for a path that nothing can have
 */
export function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const mark = target.indexOf('?');
  const raw = mark < 0 ? target : target.slice(0, mark);
  const path = unescapedPath(raw.startsWith('/') ? raw : raw.replace(/^[a-z]+:\/\/[^/]*/i, '') || '/');
  if (path === undefined) throw new CmbsError('not_found', 'There is nothing at this path.');
  return {
    path,
    query: mark < 0 ? '' : target.slice(mark + 1),
  };
}

/**
 * The path in this deployment of a request's path. A front end that serves the deployment under the path of the public URL
 * may pass that on or take it off; a path that a function of its own answers is taken as it is.
 */
export function deploymentPath(
  path: string,
  publicUrl: string | undefined,
  isKnown: (path: string) => boolean,
): string {
  const prefix = publicUrl === undefined ? '' : prefixOf(new URL(publicUrl));
  if (prefix === '' || isKnown(path)) return path;
  return withoutPrefix(path, prefix) ?? path;
}

/** Node's flat list of header names and values, repeated ones kept apart. */
export function parseHeaders(raw: readonly string[]): Record<string, string[]> {
  const headers = Object.create(null) as Record<string, string[]>;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase();
    (headers[name] ??= []).push(raw[at + 1] as string);
  }
  return headers;
}

export interface BaseOptions {
  /** Configured public URL without a slash at the end; wins over everything. */
  readonly publicUrl: string | undefined;
  /** Front ends that are trusted; with any, `X-Forwarded-Proto` and `X-Forwarded-Host` are believed. */
  readonly trustedProxies: number;
  /** Authority to use when the request names none that is well-formed. */
  readonly fallback: string;
}

/** Scheme and authority for URLs in the answer (DESIGN decision 6). */
export function baseOf(headers: Readonly<Record<string, readonly string[]>>, options: BaseOptions): string {
  if (options.publicUrl !== undefined) return options.publicUrl;
  const first = (name: string): string | undefined => headers[name]?.[0]?.split(',')[0]?.trim();
  const forwardedHost = options.trustedProxies > 0 ? first('x-forwarded-host') : undefined;
  const forwardedProto = options.trustedProxies > 0 ? first('x-forwarded-proto') : undefined;
  const host = [forwardedHost, first('host')].find((one) => one !== undefined && authorityUrl(one) !== undefined);
  return `${forwardedProto === 'https' ? 'https' : 'http'}://${host ?? options.fallback}`;
}

/** The trace that the caller, or a front end, says the request is part of. */
export function traceOf({ traceparent }: Readonly<Record<string, unknown>>): { readonly trace?: Traceparent } {
  const trace = typeof traceparent === 'string' ? parseTraceparent(traceparent) : undefined;
  return trace === undefined ? {} : { trace };
}

/**
 * Address of the client: what the outermost of the trusted front ends saw, because what stands before that in
 * `X-Forwarded-For` is the client's word. Google's load balancer adds two, the client's address and its own.
 */
export function clientAddressOf(
  headers: Readonly<Record<string, readonly string[]>>,
  socketAddress: string | undefined,
  trustedProxies: number,
): string {
  const chain = trustedProxies === 0 ? [] : (headers['x-forwarded-for'] ?? []).join(',').split(',');
  // Fewer than there should be: somebody got past the outermost one, and nobody else's word counts.
  const seen = chain.at(-trustedProxies)?.trim() ?? '';
  return seen === '' ? (socketAddress ?? '') : seen;
}
