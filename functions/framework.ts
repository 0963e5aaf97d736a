/**
 * Handlers behind functions-framework, one function a process. The framework parses bodies by its own rules; this
 * adapter goes back to the raw bytes and the raw query, so that a function answers as the local gateway does.
 */
import type { HttpFunction, Request, Response } from '@google-cloud/functions-framework';
import { ANONYMOUS, badRequest, CmbsError, systemClock } from '@cmbs/shared';
import { cloudLog } from '@cmbs/shared/structured-log';
import { RENDERINGS } from '@cmbs/shared/occi';
import type { App } from './app';
import {
  baseOf,
  clientAddressOf,
  deploymentPath,
  parseHeaders,
  parseQuery,
  splitTarget,
  traceOf,
} from './http-parse';
import { writeResponse } from './http-write';
import { LargeAnswers } from './large-answers';
import type { OcciRequest, OcciResponse } from './request';
import { answer, answerError, type Refused } from './respond';
import { currentRuntime, type Runtime } from './runtime';
import { bodyTooLarge, isOwnPath, type Route } from './routes';
import { serve } from './serve';

/** Milliseconds after its deadline that a handler has to stop; then the function answers without it. */
const FUNCTION_ANSWER_GRACE_MS = 2000;

const NO_BODY = Buffer.alloc(0);
/** For an answer that no app gives. */
const FOR_ITSELF: Pick<App, 'clock' | 'answers'> = { clock: systemClock, answers: new LargeAnswers(systemClock) };
/** For what happens before there is an app with a log of its own. */
const processLog = cloudLog({ write: (line) => process.stdout.write(line), least: 'info' });

/** The framework's handler for a route. Never rejects. */
export function frameworkHandler(route: Route): HttpFunction {
  return async (incoming: Request, outgoing: Response): Promise<void> => {
    const gone = new AbortController();
    const leave = (): void => gone.abort();
    outgoing.once('close', leave);
    const timers: (() => void)[] = [];
    let log: App['log'] = processLog;
    let writing = FOR_ITSELF;
    let request: Refused | undefined;
    let response: OcciResponse;
    let extra: Readonly<Record<string, string>> = {};
    try {
      const { method, url: target } = incoming;
      const headers = parseHeaders(incoming.rawHeaders);
      request = { method, path: target, headers, body: NO_BODY, renderings: RENDERINGS };
      const runtime = await currentRuntime();
      const { clock } = runtime.app;
      const admission = runtime.sites.admit({ method, target, headers });
      extra = admission.headers;
      const head = headOf(incoming, headers, gone.signal, runtime);
      request = head;
      log = runtime.app.log;
      writing = runtime.app;
      const tooLate = new Promise<never>((_resolve, reject) => {
        const giveUp = (): void =>
          reject(new CmbsError('deadline_exceeded', 'The function did not finish in time; ask how far it came.'));
        const stop = (): void => {
          gone.abort();
          timers.push(clock.after(FUNCTION_ANSWER_GRACE_MS, giveUp));
        };
        timers.push(clock.after(runtime.deadlineMs, stop));
      });
      response = admission.isPreflight
        ? answer(204, undefined)
        : await Promise.race([answerTo(route, head, incoming, runtime), tooLate]);
    } catch (thrown) {
      response = answerError(thrown, request, log);
    }
    try {
      await writeResponse(incoming.method, outgoing, response, { extra, waits: gone, ...writing });
    } catch (error) {
      log.warn('answer not written', { function: route.name, cause: error });
      outgoing.destroy();
    } finally {
      for (const cancel of timers) cancel();
      outgoing.off('close', leave);
    }
  };
}

/** The request without what takes a runtime to know: body, client, base. */
function headOf(
  incoming: Request,
  headers: OcciRequest['headers'],
  signal: AbortSignal,
  { app, publicUrl }: Pick<Runtime, 'app' | 'publicUrl'>,
): OcciRequest {
  // A mount point is cut off `url` and kept in `originalUrl`: the entity's path is what is left.
  const { path, query } = splitTarget(incoming.url);
  return {
    method: incoming.method,
    path: deploymentPath(path, publicUrl, isOwnPath),
    query: parseQuery(query),
    headers,
    body: NO_BODY,
    principal: ANONYMOUS,
    clientAddress: '',
    base: '',
    signal,
    renderings: app.renderings,
    ...traceOf(incoming.headers),
  };
}

async function answerTo(
  route: Route,
  head: OcciRequest,
  incoming: Request,
  { app, publicUrl, trustedProxies, maxBodyBytes }: Runtime,
): Promise<OcciResponse> {
  const { socket } = incoming;
  const most = route.maxBodyBytes ?? maxBodyBytes;
  const body = await bodyOf(incoming, most, head.signal);
  if (body === undefined) throw bodyTooLarge(route, most);
  const fallback = `${socket.localAddress ?? 'localhost'}:${socket.localPort ?? 80}`;
  const request = {
    ...head,
    body,
    clientAddress: clientAddressOf(head.headers, socket.remoteAddress, trustedProxies),
    base: baseOf(head.headers, { publicUrl, trustedProxies, fallback }),
  };
  return serve(route, request, app);
}

/** The raw body; undefined when it is larger than allowed. */
async function bodyOf(incoming: Request, maxBytes: number, signal: AbortSignal): Promise<Buffer | undefined> {
  const { rawBody, headers } = incoming;
  if (Number(headers['content-length'] ?? 0) > maxBytes) return undefined;
  if (rawBody !== undefined) return rawBody.length > maxBytes ? undefined : rawBody;
  // Without a Content-Type no parser of the framework reads the body; it is still in the stream.
  if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) return NO_BODY;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    // Paused and not destroyed in the end: the answer goes out on the same connection.
    const settle = (outcome: () => void): void => {
      incoming.off('data', take).off('end', whole).off('error', fail).off('close', cut).pause();
      signal.removeEventListener('abort', late);
      outcome();
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > maxBytes) settle(() => resolve(undefined));
    };
    const whole = (): void => settle(() => resolve(Buffer.concat(chunks, size)));
    const fail = (cause: Error): void =>
      settle(() => reject(badRequest('The body ended before its end.', { cause })));
    const cut = (): void => fail(new Error('closed'));
    const late = (): void =>
      settle(() => reject(new CmbsError('request_timeout', 'The request came in too slowly.')));
    incoming.on('data', take).on('end', whole).on('error', fail).on('close', cut);
    signal.addEventListener('abort', late, { once: true });
  });
}
