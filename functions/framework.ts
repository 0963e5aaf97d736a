/**
 * Runs handlers behind functions-framework, one function for each process. The framework parses bodies by its own rules;
 * this adapter reads the raw bytes and the raw query, so that a function answers as the local gateway does.
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

/** Milliseconds that a handler has to stop after its deadline; then the function answers without the handler. */
const FUNCTION_ANSWER_GRACE_MS = 2000;

const NO_BODY = Buffer.alloc(0);
/** For answers that are written before there is an app. */
const WITHOUT_APP: Pick<App, 'clock' | 'answers'> = { clock: systemClock, answers: new LargeAnswers(systemClock) };
/** For failures before there is an app with a log of its own. */
const processLog = cloudLog({ write: (line) => process.stdout.write(line), least: 'info' });

/** The framework's handler for a route. Never rejects. */
export function frameworkHandler(route: Route): HttpFunction {
  return async (incoming: Request, outgoing: Response): Promise<void> => {
    const gone = new AbortController();
    const leave = (): void => gone.abort();
    outgoing.once('close', leave);
    const timers: (() => void)[] = [];
    let log: App['log'] = processLog;
    let writing = WITHOUT_APP;
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
          reject(
            new CmbsError(
              'deadline_exceeded',
              'The function did not finish in time; read the entity to see what was done.',
            ),
          );
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
      response = answerError(thrown, request, log, route.errorBody);
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

/** The request without its body, its client and its base, which {@link answerTo} adds. */
function headOf(
  incoming: Request,
  headers: OcciRequest['headers'],
  signal: AbortSignal,
  { app, publicUrl }: Pick<Runtime, 'app' | 'publicUrl'>,
): OcciRequest {
  // The framework removes a mount point from `url`, so the path of the entity remains.
  const { path, query } = splitTarget(incoming.url);
  return {
    method: incoming.method,
    path: deploymentPath(path, publicUrl, isOwnPath),
    query: parseQuery(query),
    headers,
    body: NO_BODY,
    principal: ANONYMOUS,
    clientAddress: '',
    peerAddress: incoming.socket.remoteAddress,
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
  // Without a Content-Type no parser of the framework reads the body, so the stream still has it.
  if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) return NO_BODY;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    // The stream is paused and not destroyed, since the answer uses the same connection.
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
      settle(() =>
        reject(badRequest('The body ended before its Content-Length; send the request again.', { cause })),
      );
    const cut = (): void => fail(new Error('closed'));
    const late = (): void =>
      settle(() => reject(new CmbsError('request_timeout', 'The request arrived too slowly; send it again.')));
    incoming.on('data', take).on('end', whole).on('error', fail).on('close', cut);
    signal.addEventListener('abort', late, { once: true });
  });
}
