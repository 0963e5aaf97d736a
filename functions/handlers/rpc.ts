/** `POST /rpc`: calls of methods in XML-RPC and JSON-RPC. Every call takes the way of the dispatcher, with its decision. */
import { callerKey, CmbsError } from '@cmbs/shared';
import { checkIdempotencyKey, fingerprint, type IdempotentRequest } from '@cmbs/shared/occi';
import {
  type CallContext,
  CallRoom,
  Fault,
  FAULT,
  type Outcome,
  outcomesOf,
  type RpcProtocol,
  type RpcRequest,
} from '@cmbs/shared/services';
import type { App } from '../app';
import { compressed, inflated } from '../content-coding';
import { header, type OcciRequest, type OcciResponse } from '../request';
import { answer } from '../respond';
import { protocolOf } from '../rpc-protocols';

const ALLOW = { Allow: 'POST, OPTIONS' };

/** Milliseconds for all calls of a request: less than the deadline of a function, so that the answer is still written. */
export const RPC_DEADLINE_MS = 50_000;

/** A request that has been read. */
interface Received {
  readonly request: OcciRequest;
  readonly protocol: RpcProtocol;
  readonly read: RpcRequest;
  /** Inflated. */
  readonly body: Buffer;
}

/**
 * @throws CmbsError `method_not_allowed`, `unsupported_media_type`, `too_large`, `bad_request`, `idempotency_mismatch`;
 *   `unauthenticated` when none of the calls may be made without credentials
 */
export async function rpc(request: OcciRequest, app: App): Promise<OcciResponse> {
  if (request.method === 'OPTIONS') return answer(204, undefined, ALLOW);
  if (request.method !== 'POST') {
    throw new CmbsError('method_not_allowed', 'Calls are sent with POST.', { headers: ALLOW });
  }
  const body = await inflated(request);
  const protocol = protocolOf({ headers: request.headers, body });
  const received = { request, protocol, body, read: protocol.read(body, header(request, 'content-type')) };
  const key = header(request, 'idempotency-key');
  const room = new CallRoom(app.results);
  try {
    const text = await (key === undefined
      ? run(received, app, { signal: request.signal, room })
      : runOnce(received, app, checkIdempotencyKey(key)));
    return { ...(await answered(request, protocol, text)), done: () => room.end() };
  } catch (error) {
    room.end();
    throw error;
  }
}

/** @param text of the answer; empty for nothing but notifications */
async function answered(request: OcciRequest, { mediaType }: RpcProtocol, text: string): Promise<OcciResponse> {
  if (text === '') return answer(204, undefined);
  const written = await compressed(request, Buffer.from(text));
  const coding = written.coding === undefined ? {} : { 'Content-Encoding': written.coding };
  const headers = { 'Content-Type': mediaType, Vary: 'Accept-Encoding', 'Cache-Control': 'no-store', ...coding };
  return { ...answer(200, undefined, headers), body: written.coding === undefined ? text : written.body };
}

interface RunOptions {
  readonly signal: AbortSignal;
  /** For the results, until the answer is written. */
  readonly room: CallRoom;
  readonly isStored?: boolean;
}

/** Makes the calls; resolves with the text of the answer, which is empty when there is nothing to answer. */
async function run(
  { request, protocol, read }: Received,
  app: App,
  { signal, room, isStored = false }: RunOptions,
): Promise<string> {
  const { principal, clientAddress, trace } = request;
  const time = timeFor(read, app, signal);
  const context: CallContext = {
    principal,
    clientAddress,
    way: protocol.name === 'xml-rpc' ? 'xml-rpc' : 'json-rpc',
    hasAllTypes: protocol.name === 'xml-rpc',
    trace,
    ...(isStored ? { isStored } : {}),
    signal: time.signal,
    log: app.log,
  };
  try {
    const outcomes = await outcomesOf(app.services, read.calls, context, room);
    requireCredentials(request, outcomes);
    return textOf(read.answer(outcomes));
  } finally {
    time.end();
  }
}

/** A signal for the calls of a request, which have a deadline together. A single call has one of its own, which is shorter. */
function timeFor(
  { calls }: RpcRequest,
  { clock }: App,
  signal: AbortSignal,
): { signal: AbortSignal; end(): void } {
  if (calls.length <= 1) return { signal, end: () => undefined };
  const deadline = new AbortController();
  return {
    signal: AbortSignal.any([signal, deadline.signal]),
    end: clock.after(RPC_DEADLINE_MS, () => deadline.abort()),
  };
}

const textOf = (body: Uint8Array | undefined): string =>
  body === undefined ? '' : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8');

/**
 * Many clients send their credentials only when an answer of status 401 asks for them, so a request that could do nothing
 * without credentials gets one.
 * @throws CmbsError `unauthenticated`, with the challenges
 */
function requireCredentials({ principal }: OcciRequest, outcomes: readonly Outcome[]): void {
  if (principal.kind !== 'anonymous') return;
  const causes = outcomes.map(({ value }) => (value instanceof Fault ? value.cause : undefined));
  const [first] = causes;
  const isRefusal = (cause: unknown): boolean => cause instanceof CmbsError && cause.code === 'unauthenticated';
  if (first instanceof CmbsError && causes.every(isRefusal)) throw first;
}

/**
 * Makes the calls, unless an earlier request with the key did. They go on when the caller leaves.
 * @throws CmbsError `unauthenticated`, `forbidden` for a caller who may not call methods
 */
async function runOnce(received: Received, app: App, key: string): Promise<string> {
  const { request, protocol, read, body } = received;
  // Answers are kept in the store, which strangers must not fill: the methods that everybody may call are not enough.
  await app.authorize(request.principal, 'service.call', { path: 'service:rpc' });
  const asked: IdempotentRequest = {
    key: `rpc ${key}`,
    owner: callerKey(request.principal),
    fingerprint: fingerprint('POST', '/rpc', protocol.name, body),
  };
  const work = {
    bytes: body.length,
    run: async () => {
      const room = new CallRoom(app.results);
      try {
        return await run(received, app, { signal: new AbortController().signal, room, isStored: true });
      } finally {
        room.end();
      }
    },
    unknown: (why: string) =>
      textOf(read.answer(read.calls.map(() => ({ value: new Fault(FAULT.outcomeUnknown, why) })))),
  };
  return app.runs.once(asked, work, request.signal);
}
