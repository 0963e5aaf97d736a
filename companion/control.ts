/**
 * The companion's control endpoint: `POST /perform` for functions, with an identity token; `/healthz` (alive),
 * `/readyz` (holds its shard and is not stopping), `/metrics` for monitoring. It answers whether or not the companion
 * holds its shard, so that monitoring can distinguish a standby from a dead process.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ANONYMOUS, CmbsError, toCmbsError, type Clock, type Log } from '@cmbs/shared';
import { REQUEST_DEADLINE_MS } from '@cmbs/shared/limits';
import {
  DEADLINE_HEADER,
  RPC_ARGUMENTS,
  RPC_PATH,
  type RpcHandler,
  rpcRequest,
  STANDBY,
  type TokenExpectation,
  type TokenVerifier,
  type RpcMethod,
  type RpcResult,
} from '@cmbs/shared/rpc';
import type { SitePolicy } from '@cmbs/shared/sites';
import { inSpan, parseTraceparent, type Traceparent } from '@cmbs/shared/trace';
import type { Metrics } from './metrics';

/** Bytes of a call to the control endpoint: its arguments are a few identifiers. */
export const MAX_CONTROL_BODY_BYTES = 64 * 1024;
/** Milliseconds that a call to the control endpoint may take, even if its caller allows more. */
const MAX_CONTROL_CALL_MS = 65_000;

export interface ControlOptions {
  readonly host: string;
  readonly port: number;
  readonly verifier: TokenVerifier;
  readonly expected: TokenExpectation;
  readonly metrics: Metrics;
  readonly sites: SitePolicy;
  readonly clock: Clock;
  readonly log: Log;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const json = (status: number, value: unknown, headers: Answer['headers'] = {}): Answer => ({
  status,
  body: JSON.stringify(value),
  headers,
});

export class Control {
  readonly #options: ControlOptions;
  readonly #server: Server;
  /** The companion while it holds the shard. */
  #companion: RpcHandler | undefined;
  #isStopping = false;
  #callsInFlight = 0;

  private constructor(options: ControlOptions) {
    this.#options = options;
    this.#server = createServer(
      { requestTimeout: REQUEST_DEADLINE_MS, headersTimeout: REQUEST_DEADLINE_MS / 2 },
      (incoming, outgoing) => void this.#handle(incoming, outgoing),
    );
  }

  static async listen(options: ControlOptions): Promise<Control> {
    const control = new Control(options);
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', (cause) => {
        const where = `${options.host}:${options.port}`;
        reject(new CmbsError('conflict', `Cannot listen on ${where}: ${cause.message}.`, { cause }));
      });
      control.#server.listen(options.port, options.host, resolve);
    });
    return control;
  }

  /** URL of the endpoint, without a slash at the end. */
  get url(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Hands calls to this companion; undefined when another companion holds the shard. */
  serve(companion: RpcHandler | undefined): void {
    this.#companion = companion;
  }

  /** Calls of functions in flight; a gauge. */
  get callsInFlight(): number {
    return this.#callsInFlight;
  }

  /** Reports that it is not ready, so that no more calls come; calls in flight go on. */
  stopTaking(): void {
    this.#isStopping = true;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#answer(incoming);
    } catch (thrown) {
      answer = this.#refusal(thrown, incoming);
    }
    const { status, body, contentType = 'application/json', headers = {} } = answer;
    outgoing.writeHead(status, {
      'Content-Type': contentType,
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-store',
      // The unread rest of a refused body would be read as the next request.
      ...(incoming.complete ? {} : { Connection: 'close' }),
      ...headers,
    });
    outgoing.end(body);
  }

  #refusal(thrown: unknown, { url }: IncomingMessage): Answer {
    const { code, message, details, status, headers } = toCmbsError(thrown);
    if (code === 'internal') this.#options.log.error('control call failed', { path: url, cause: thrown });
    return json(status, { error: { code, message, ...(details === undefined ? {} : { details }) } }, headers);
  }

  async #answer(incoming: IncomingMessage): Promise<Answer> {
    const { method = 'GET', url = '/' } = incoming;
    const [path = '/'] = url.split('?', 1);
    this.#options.sites.admit({ method, target: url, headers: incoming.headersDistinct });
    if (path === RPC_PATH) {
      if (method !== 'POST') throw notOffered(method, 'POST');
      return this.#perform(incoming);
    }
    const isRead = method === 'GET' || method === 'HEAD';
    switch (path) {
      case '/healthz':
        if (!isRead) throw notOffered(method, 'GET, HEAD');
        return json(200, { status: 'ok' });
      case '/readyz':
        if (!isRead) throw notOffered(method, 'GET, HEAD');
        if (this.#companion !== undefined && !this.#isStopping) return json(200, { status: 'ok' });
        return json(503, { status: this.#isStopping ? 'stopping' : 'standby' });
      case '/metrics': {
        if (!isRead) throw notOffered(method, 'GET, HEAD');
        const { metrics } = this.#options;
        return { status: 200, contentType: metrics.contentType, body: await metrics.text() };
      }
      default:
        throw new CmbsError('not_found', 'There is nothing at this path; see /healthz, /readyz, /metrics.');
    }
  }

  /** Logs one line for each call, in the trace of the calling function. */
  async #perform(incoming: IncomingMessage): Promise<Answer> {
    const { clock, log } = this.#options;
    const began = clock.now();
    const { traceparent } = incoming.headers;
    const parent = parseTraceparent(typeof traceparent === 'string' ? traceparent : undefined);
    const call: { member?: string; action?: string } = {};
    const answer = await inSpan({ name: 'perform', kind: 'server', parent }, (trace) =>
      this.#performed(incoming, call, trace).catch((thrown: unknown) => this.#refusal(thrown, incoming)),
    );
    log.info('control call', {
      event: 'request',
      path: RPC_PATH,
      ...call,
      status: answer.status,
      ms: clock.now() - began,
      trace: parent,
    });
    return answer;
  }

  async #performed(
    incoming: IncomingMessage,
    call: { member?: string; action?: string },
    trace: Traceparent | undefined,
  ): Promise<Answer> {
    const { verifier, expected, clock } = this.#options;
    // The caller is verified before the body is read.
    await verifier.verify(incoming.headers.authorization, expected);
    const { member, action, args, principal } = parsed(await bodyOf(incoming));
    Object.assign(call, { member, action });
    const checked = RPC_ARGUMENTS[action].safeParse(args);
    if (!checked.success) throw new CmbsError('bad_request', `The arguments of ${action} are not valid.`);
    const companion = this.#companion;
    if (companion === undefined || this.#isStopping) {
      throw new CmbsError('unavailable', 'This companion does not hold the shard now.', { details: STANDBY });
    }
    const gone = new AbortController();
    const left = Number(incoming.headers[DEADLINE_HEADER]);
    const deadlineMs = left > 0 && left < MAX_CONTROL_CALL_MS ? left : MAX_CONTROL_CALL_MS;
    const cancel = clock.after(deadlineMs, () => gone.abort());
    const leave = (): void => gone.abort();
    incoming.socket.once('close', leave);
    this.#callsInFlight += 1;
    try {
      const caller = { principal: principal ?? ANONYMOUS, signal: gone.signal, trace };
      const reply = await companion.handle(member, action, checked.data, caller);
      return json(200, { reply: principal === undefined ? forRelease1(reply) : reply });
    } finally {
      this.#callsInFlight -= 1;
      cancel();
      incoming.socket.off('close', leave);
    }
  }
}

function notOffered(method: string, allow: string): CmbsError {
  return new CmbsError('method_not_allowed', `${method} is not offered here.`, { headers: { Allow: allow } });
}

function parsed(text: string): ReturnType<typeof rpcRequest.parse> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CmbsError('bad_request', 'The body is not JSON.', { cause });
  }
  const result = rpcRequest.safeParse(value);
  if (!result.success) throw new CmbsError('bad_request', 'The body needs member, action and args.');
  return result.data;
}

async function bodyOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
    size += (chunk as Buffer).length;
    if (size > MAX_CONTROL_BODY_BYTES) {
      throw new CmbsError('too_large', `A call has ${MAX_CONTROL_BODY_BYTES} bytes at most.`);
    }
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks, size).toString('utf8');
}

/** The reply without what functions of release 1.0 do not know, and would refuse. They send no principal. */
export function forRelease1(reply: RpcResult<RpcMethod>): RpcResult<RpcMethod> {
  if (!('outcome' in reply) || !('state' in reply)) return reply;
  const { state: _unknown, ...known } = reply;
  return known;
}
