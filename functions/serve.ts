/** Around every handler: version check, whose request it is, method override, errors as answers. */
import { badRequest, CmbsError } from '@cmbs/shared';
import { inSpan } from '@cmbs/shared/trace';
import type { App } from './app';
import { header, type OcciRequest, type OcciResponse } from './request';
import { answerError, checkVersion } from './respond';
import { checkOwn, type Route } from './routes';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']);

/**
 * A POST may stand for a GET or a DELETE, because front ends refuse those with a body, or take the body away (DESIGN
 * decision 7).
 */
function effective(request: OcciRequest): OcciRequest {
  const override = header(request, 'x-http-method-override')?.trim().toUpperCase();
  if (override === undefined || request.method !== 'POST') return request;
  if (override !== 'GET' && override !== 'DELETE') {
    throw new CmbsError('bad_request', 'X-HTTP-Method-Override may say GET or DELETE.');
  }
  return { ...request, method: override };
}

/** What `occi.core.id` may begin with, and no path of an entity has (#37). */
const URN = /\/urn:uuid:[^/]*$/i;

function checkPath({ path }: OcciRequest): void {
  if (URN.test(path)) {
    throw badRequest('An id stands in a path without "urn:uuid:" in front; ask for the path that ends in the id.');
  }
}

/** Compressed bodies are not read (RFC 9110 §15.5.16 makes that 415). */
function checkCoding(request: OcciRequest): void {
  const coding = header(request, 'content-encoding')?.trim().toLowerCase() ?? '';
  if (coding === '' || coding === 'identity' || request.body.length === 0) return;
  throw new CmbsError('unsupported_media_type', 'Send the body as it is, without Content-Encoding.', {
    headers: { 'Accept-Encoding': 'identity' },
  });
}

/** Never rejects. One line in the log, without what the request carries, and one more for the counters. */
export async function serve(route: Route, request: OcciRequest, app: App): Promise<OcciResponse> {
  const began = app.clock.now();
  const attributes = { 'http.request.method': request.method, 'url.path': request.path, 'faas.name': route.name };
  const response = await inSpan({ name: route.name, kind: 'server', parent: request.trace, attributes }, (trace) =>
    answerTo(route, trace === undefined || trace === request.trace ? request : { ...request, trace }, app),
  );
  const { status } = response;
  app.counters.add('cmbs_requests', { function: route.name, status: String(status) });
  app.log.info('request', {
    event: 'request',
    function: route.name,
    status,
    ms: app.clock.now() - began,
    method: request.method,
    path: request.path,
    client: request.clientAddress,
    trace: request.trace,
  });
  return response;
}

async function answerTo(route: Route, original: OcciRequest, app: App): Promise<OcciResponse> {
  let request = original;
  try {
    checkVersion(original);
    checkCoding(original);
    request = effective(original);
    checkOwn(route, request);
    checkPath(request);
    if (!METHODS.has(request.method)) {
      throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
        headers: { Allow: [...METHODS].join(', ') },
      });
    }
    const response = await route.handler(request, app);
    return { ...response, headers: { ...response.headers, Accept: app.renderings.accepted } };
  } catch (thrown) {
    return answerError(thrown, request, app.log);
  }
}
