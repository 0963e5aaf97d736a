/** Surrounds every handler: checks the request, overrides the method, renders errors, logs and counts. */
import { badRequest, CmbsError } from '@cmbs/shared';
import { inSpan } from '@cmbs/shared/trace';
import type { App } from './app';
import { header, type OcciRequest, type OcciResponse, requestWith } from './request';
import { answerError, checkVersion } from './respond';
import { checkOwn, type Route } from './routes';

/** The methods that are served; each path offers some of them. */
export const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']);

/** A POST may stand for a GET or a DELETE with a body, which some front ends refuse or strip (docs/occi.md). */
function effective(request: OcciRequest): OcciRequest {
  const override = header(request, 'x-http-method-override')?.trim().toUpperCase();
  if (override === undefined || request.method !== 'POST') return request;
  if (override !== 'GET' && override !== 'DELETE') {
    throw new CmbsError('bad_request', 'X-HTTP-Method-Override takes GET or DELETE only; send one of them.');
  }
  return requestWith(request, { method: override });
}

/** `occi.core.id` may be a URN; the path of an entity has the id alone (docs/occi.md). */
const URN = /\/urn:uuid:[^/]*$/i;

function checkPath({ path }: OcciRequest): void {
  if (URN.test(path)) {
    throw badRequest('A path has an id without "urn:uuid:"; ask for the path that ends in the id alone.');
  }
}

/** Refuses compressed bodies with 415 (RFC 9110 §15.5.16). */
function checkCoding(request: OcciRequest): void {
  const coding = header(request, 'content-encoding')?.trim().toLowerCase() ?? '';
  if (coding === '' || coding === 'identity' || request.body.length === 0) return;
  throw new CmbsError(
    'unsupported_media_type',
    'Compressed bodies are not accepted; send the body without Content-Encoding.',
    {
      headers: { 'Accept-Encoding': 'identity' },
    },
  );
}

/** Answers a request. Never rejects. Logs one line, without the payload, and counts the request. */
export async function serve(route: Route, request: OcciRequest, app: App): Promise<OcciResponse> {
  const began = app.clock.now();
  const attributes = { 'http.request.method': request.method, 'url.path': request.path, 'faas.name': route.name };
  const response = await inSpan({ name: route.name, kind: 'server', parent: request.trace, attributes }, (trace) =>
    answerTo(
      route,
      trace === undefined || trace === request.trace ? request : requestWith(request, { trace }),
      app,
    ),
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
    if (route.takesCoded !== true) checkCoding(original);
    request = effective(original);
    checkOwn(route, request);
    checkPath(request);
    if (route.isPublic !== true) request = requestWith(request, { principal: await app.authenticate(request) });
    if (!METHODS.has(request.method)) {
      throw new CmbsError('method_not_allowed', `${request.method} is not offered here.`, {
        headers: { Allow: [...METHODS].join(', ') },
      });
    }
    const response = await route.handler(request, app);
    return { ...response, headers: { ...response.headers, Accept: app.renderings.accepted } };
  } catch (thrown) {
    return answerError(thrown, request, app.log, route.errorBody);
  }
}
