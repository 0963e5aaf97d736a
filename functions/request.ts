/** The requests and answers of handlers, without a server. Two adapters make them: functions-framework and node:http. */
import type { Principal } from '@cmbs/shared';
import type { Renderings } from '@cmbs/shared/occi';
import type { Traceparent } from '@cmbs/shared/trace';

/** A request as handlers read it. */
export interface OcciRequest {
  readonly method: string;
  /** Without the query, its percent escapes resolved. */
  readonly path: string;
  /** Decoded pairs in their order. */
  readonly query: readonly (readonly [string, string])[];
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Buffer;
  /** Who sent the request. */
  readonly principal: Principal;
  /** Address of the client, as a trusted front end reports it. */
  readonly clientAddress: string;
  /** Address of the peer of the connection, which may be a front end; undefined for a closed connection. */
  readonly peerAddress: string | undefined;
  /** Scheme and authority of the URLs in the answer. */
  readonly base: string;
  /** Aborts when the client is gone or the deadline has passed. */
  readonly signal: AbortSignal;
  readonly trace?: Traceparent;
  /** The renderings that the deployment offers. */
  readonly renderings: Renderings;
}

/** The answer of a handler. */
export interface OcciResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Text, bytes, or pieces of either. A stream of pieces ends when the request's signal aborts. */
  readonly body: string | Uint8Array | Iterable<string> | AsyncIterable<string | Uint8Array>;
  /** The adapter calls this when it has written the body or given up. */
  readonly done?: () => void;
}

/**
 * A request with changes. Not by a spread, which would read the signal: adapters make it on first use, because an
 * AbortController takes a good part of the time of a small request.
 */
export function requestWith(
  request: OcciRequest,
  { principal, method, trace = request.trace }: Partial<Pick<OcciRequest, 'principal' | 'method' | 'trace'>>,
): OcciRequest {
  return {
    method: method ?? request.method,
    path: request.path,
    query: request.query,
    headers: request.headers,
    body: request.body,
    principal: principal ?? request.principal,
    clientAddress: request.clientAddress,
    peerAddress: request.peerAddress,
    base: request.base,
    get signal() {
      return request.signal;
    },
    ...(trace === undefined ? {} : { trace }),
    renderings: request.renderings,
  };
}

/** First value of a header. */
export function header(request: Pick<OcciRequest, 'headers'>, name: string): string | undefined {
  return request.headers[name]?.[0];
}

/** First value of a query parameter. */
export function queryValue(request: Pick<OcciRequest, 'query'>, name: string): string | undefined {
  return request.query.find(([key]) => key === name)?.[1];
}
