/** Reads requests of `node:http`: head, target and body. */
import type { IncomingMessage } from 'node:http';
import { badRequest, CmbsError } from '@cmbs/shared';
import { deploymentPath, parseQuery, splitTarget } from '@cmbs/functions/http-parse';
import { isOwnPath, routeFor, routeNamed, type Route } from '@cmbs/functions/routes';

/** Bytes of a too large body that are read and dropped, so that the client can read the answer. */
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;
const FUNCTION_PREFIX = '/fn/';

export const NO_BODY = Buffer.alloc(0);

/** Bytes of the body according to the head. */
export const announcedBytes = (incoming: IncomingMessage): number =>
  Number(incoming.headers['content-length'] ?? 0);

/**
 * Checks heads that Node's server would otherwise refuse with its own answers.
 *
 * @throws CmbsError `bad_request` (RFC 9112 §3.2), `expectation_failed` (RFC 9110 §10.1.1)
 */
export function checkHead({ headers, headersDistinct, httpVersion }: IncomingMessage): void {
  const hosts = headersDistinct.host?.length ?? 0;
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) {
    throw badRequest('A request has one Host header.');
  }
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
    throw new CmbsError('expectation_failed', 'Expect may say 100-continue only.');
  }
}

/** The function that a request is for, with its path and query; `/fn/<name>/<path>` names the function itself. */
export function targetOf(incoming: IncomingMessage, publicUrl: string | undefined): Target {
  const { path: asked, query: text } = splitTarget(incoming.url ?? '/');
  const path = deploymentPath(asked, publicUrl, isOwnPath);
  const query = parseQuery(text);
  if (path.startsWith(FUNCTION_PREFIX)) {
    const slash = path.indexOf('/', FUNCTION_PREFIX.length);
    const name = slash < 0 ? path.slice(FUNCTION_PREFIX.length) : path.slice(FUNCTION_PREFIX.length, slash);
    const route = routeNamed(name);
    if (route === undefined)
      throw new CmbsError('not_found', `There is no function ${JSON.stringify(name.slice(0, 80))}.`);
    return { path: slash < 0 ? '/' : path.slice(slash), route, query };
  }
  return { path, route: routeFor(path, query), query };
}

export interface Target {
  readonly path: string;
  readonly route: Route;
  readonly query: readonly (readonly [string, string])[];
}

/** The whole body; undefined when it is larger than allowed. */
export async function bodyOf(incoming: IncomingMessage, maxBodyBytes: number): Promise<Buffer | undefined> {
  const announced = announcedBytes(incoming);
  if (announced > maxBodyBytes) return undefined;
  if (announced === 0 && incoming.headers['transfer-encoding'] === undefined) return NO_BODY;
  const chunks: Buffer[] = [];
  let size = 0;
  // By events, which take a fraction of the time of an iterator. The request is not destroyed, since that would close the
  // connection before the answer is sent.
  return new Promise((resolve, reject) => {
    const settle = (done: () => void): void => {
      incoming.off('data', take);
      incoming.off('end', end);
      incoming.off('error', fail);
      incoming.off('close', cut);
      done();
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > maxBodyBytes) settle(() => resolve(undefined));
    };
    const end = (): void => settle(() => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size)));
    const fail = (error: Error): void => settle(() => reject(error));
    const cut = (): void => settle(() => reject(new Error('The connection was closed during the request.')));
    if (incoming.destroyed) {
      cut();
      return;
    }
    incoming.on('data', take);
    incoming.once('end', end);
    incoming.once('error', fail);
    incoming.once('close', cut);
  });
}

/**
 * Reads the rest of a body and drops it. Closing the connection while the client still sends would reset it, and the
 * client would lose the answer (RFC 9112 §9.6).
 */
export function discardRest(incoming: IncomingMessage): void {
  let size = 0;
  incoming.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_DISCARDED_BYTES) incoming.destroy();
  });
}
