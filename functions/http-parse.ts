/** Reads the parts of an HTTP request that both adapters need: query, headers, the client's address, the base of URLs. */
import { badRequest, CmbsError } from '@cmbs/shared';
import { isAuthority } from '@cmbs/shared/authority';
import { prefixOf, unescapedPath, withoutPrefix } from '@cmbs/shared/occi';
import { parseTraceparent, type Traceparent } from '@cmbs/shared/trace';

/** Parameters in a query string. */
const MAX_QUERY_PARAMETERS = 100;

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch (cause) {
    throw badRequest(
      `The query has a malformed percent escape, ${JSON.stringify(text.slice(0, 80))}; correct it.`,
      { cause },
    );
  }
};

/**
 * The pairs of a query string. OCCI allows `;` beside `&` as the separator (docs/occi.md).
 * @throws CmbsError `bad_request`
 */
export function parseQuery(query: string): readonly (readonly [string, string])[] {
  if (query === '') return [];
  const parts = query.split(/[&;]/).filter((part) => part !== '');
  if (parts.length > MAX_QUERY_PARAMETERS) {
    throw badRequest(`A query has ${MAX_QUERY_PARAMETERS} parameters at most; send fewer.`);
  }
  return parts.map((part) => {
    const equals = part.indexOf('=');
    return equals < 0 ? [decode(part), ''] : [decode(part.slice(0, equals)), decode(part.slice(equals + 1))];
  });
}

/**
 * The path and the query string of a request's target, which may have the absolute form (RFC 9112 §3.2.2). The percent
 * escapes of the path are resolved, so that all spellings lead to one entity (RFC 3986 §6.2.2.2).
 * @throws CmbsError `not_found` for a path that no entity can have
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
 * The path within this deployment. A front end that serves the deployment under the path of the public URL may pass on
 * that prefix or remove it.
 * @param isKnown whether a function of its own answers a path; such a path has no prefix
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

/** @param raw Node's flat list of header names and values; the values of repeated headers stay apart */
export function parseHeaders(raw: readonly string[]): Record<string, string[]> {
  const headers = Object.create(null) as Record<string, string[]>;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase();
    (headers[name] ??= []).push(raw[at + 1] as string);
  }
  return headers;
}

/** What the client's connection speaks. */
export type Scheme = 'http' | 'https';

export interface BaseOptions {
  /** Configured public URL, without a slash at the end; takes precedence. */
  readonly publicUrl: string | undefined;
  /** Number of trusted front ends; above 0, `X-Forwarded-Proto` and `X-Forwarded-Host` count. */
  readonly trustedProxies: number;
  /** Scheme of the connection; `http` when absent. */
  readonly scheme?: Scheme;
  /** Authority to use when the request has no valid one. */
  readonly fallback: string;
}

/** Scheme and authority for the URLs in an answer. Paths alone are stored, so URLs are made for each request. */
export function baseOf(headers: Readonly<Record<string, readonly string[]>>, options: BaseOptions): string {
  if (options.publicUrl !== undefined) return options.publicUrl;
  const first = (name: string): string | undefined => headers[name]?.[0]?.split(',')[0]?.trim();
  const forwardedHost = options.trustedProxies > 0 ? first('x-forwarded-host') : undefined;
  const forwardedProto = options.trustedProxies > 0 ? first('x-forwarded-proto') : undefined;
  const host = [forwardedHost, first('host')].find((one) => one !== undefined && isAuthority(one));
  const scheme = forwardedProto ?? options.scheme;
  return `${scheme === 'https' ? 'https' : 'http'}://${host ?? options.fallback}`;
}

/** The trace context of the caller or the front end. */
export function traceOf({ traceparent }: Readonly<Record<string, unknown>>): { readonly trace?: Traceparent } {
  const trace = typeof traceparent === 'string' ? parseTraceparent(traceparent) : undefined;
  return trace === undefined ? {} : { trace };
}

/**
 * The address of the client, as the outermost trusted front end saw it: a client can write any earlier part of
 * `X-Forwarded-For`. Google's load balancer adds two addresses, the client's and its own.
 */
export function clientAddressOf(
  headers: Readonly<Record<string, readonly string[]>>,
  socketAddress: string | undefined,
  trustedProxies: number,
): string {
  const chain = trustedProxies === 0 ? [] : (headers['x-forwarded-for'] ?? []).join(',').split(',');
  // A chain that is too short came past the outermost front end, so none of its addresses counts.
  const seen = chain.at(-trustedProxies)?.trim() ?? '';
  return seen === '' ? (socketAddress ?? '') : seen;
}
