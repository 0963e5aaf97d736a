/**
 * The local gateway: all functions behind one `node:http` server, dispatched by the table of routes. It stands in for
 * the deployment's load balancer and is ten times faster than one framework server per function would be.
 */
import { setMaxListeners } from 'node:events';
import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { ANONYMOUS, badRequest, CmbsError, type Log } from '@cmbs/shared';
import type { SitePolicy } from '@cmbs/shared/sites';
import { REQUEST_DEADLINE_MS } from '@cmbs/shared/limits';
import type { App } from '@cmbs/functions/app';
import {
  baseOf,
  clientAddressOf,
  deploymentPath,
  parseHeaders,
  parseQuery,
  splitTarget,
  traceOf,
} from '@cmbs/functions/http-parse';
import { writeResponse } from '@cmbs/functions/http-write';
import type { OcciRequest, OcciResponse } from '@cmbs/functions/request';
import { answer, answerError, type Refused } from '@cmbs/functions/respond';
import { bodyTooLarge, isOwnPath, routeFor, routeNamed, type Route } from '@cmbs/functions/routes';
import { serve } from '@cmbs/functions/serve';

/** Bytes of the headers of a request: Node's own default, and what proxies allow. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Connections of clients at the same time. */
const MAX_CONNECTIONS = 10_000;
/** Bytes of a body over the limit that are read and forgotten, so that its sender can read the answer. */
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;
/** Bytes of answers that clients have not read; beyond, those who have not read for longest are dropped. */
const MAX_UNREAD_BYTES = 128 * 1024 * 1024;
/** Milliseconds without a byte in either direction until a connection is closed: more than any wait that may be asked for. */
const CONNECTION_IDLE_MS = 90_000;
/** Pipelined requests of one connection that are not answered; each may wait for a minute. */
const MAX_REQUESTS_PER_CONNECTION = 1000;

export interface GatewayOptions {
  readonly app: App;
  readonly host: string;
  readonly port: number;
  readonly publicUrl: string | undefined;
  readonly trustedProxies: number;
  readonly maxBodyBytes: number;
  readonly sites: SitePolicy;
  readonly log: Log;
  /** Text of `/metrics`. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

const NO_BODY = Buffer.alloc(0);
const FUNCTION_PREFIX = '/fn/';
const METRICS = '/metrics';

const announcedBytes = (incoming: IncomingMessage): number => Number(incoming.headers['content-length'] ?? 0);

/** What Node's server would refuse in its own words (RFC 9112 §3.2, RFC 9110 §10.1.1). */
function checkHead({ headers, headersDistinct, httpVersion }: IncomingMessage): void {
  const hosts = headersDistinct.host?.length ?? 0;
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) {
    throw badRequest('A request has one Host header.');
  }
  if (headers.expect !== undefined && headers.expect.toLowerCase() !== '100-continue') {
    throw new CmbsError('expectation_failed', 'Expect may say 100-continue only.');
  }
}

/**
 * Reads on and forgets. A connection that is closed under a client that still sends is reset, and the reset takes the
 * answer with it (RFC 9112 §9.6).
 */
function discardRest(incoming: IncomingMessage): void {
  let size = 0;
  incoming.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_DISCARDED_BYTES) incoming.destroy();
  });
}

/** The waits of one request. Most wait for nothing, and an AbortController costs a fifth of answering a small read. */
class Waits {
  #isOver = false;
  #controller: AbortController | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      // An action on a collection listens once for each entity, which Node would take for a leak.
      setMaxListeners(0, this.#controller.signal);
      if (this.#isOver) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#isOver = true;
    this.#controller?.abort();
  }
}

interface Connection {
  /** Requests that are not answered; aborting one ends its waits. */
  readonly inHand: Set<Waits>;
  /** The latest answer, which may not be sent yet. */
  last: ServerResponse | undefined;
}

/** Resolves when the answer has gone to the operating system, or the connection is gone. */
function sent(outgoing: ServerResponse, signal: AbortSignal): Promise<void> {
  if (outgoing.writableFinished || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('finish', done);
      outgoing.off('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    outgoing.once('finish', done);
    outgoing.once('close', done);
    // An answer that waits behind another one is not told that the connection closed.
    signal.addEventListener('abort', done, { once: true });
  });
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #server: Server;
  readonly #connections = new Map<Socket, Connection>();
  /** Bytes of answers that clients have not read, of the longest waiting connection first. */
  readonly #unread = new Map<Socket, number>();
  #unreadBytes = 0;
  #isClosing = false;
  #fallback = '';

  private constructor(options: GatewayOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: REQUEST_DEADLINE_MS,
        headersTimeout: REQUEST_DEADLINE_MS / 2,
        // Node would refuse by itself, without the headers that every answer carries.
        requireHostHeader: false,
      },
      (incoming, outgoing) => void this.#handle(incoming, outgoing),
    );
    this.#server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      // A body that will be refused is not asked for (RFC 9110 §10.1.1).
      if (announcedBytes(incoming) <= this.#options.maxBodyBytes) outgoing.writeContinue();
      void this.#handle(incoming, outgoing);
    });
    this.#server.on(
      'checkExpectation',
      (incoming: IncomingMessage, outgoing: ServerResponse) => void this.#handle(incoming, outgoing),
    );
    this.#server.on('connect', (_incoming: IncomingMessage, socket: Socket) =>
      this.#endWith(socket, new CmbsError('method_not_allowed', 'CONNECT is not offered here.')),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.timeout = CONNECTION_IDLE_MS;
    this.#server.on('clientError', (error: Error & { code?: string }, socket: Socket) =>
      this.#refuseBytes(error, socket),
    );
    this.#server.on('connection', (socket) => {
      const inHand = new Set<Waits>();
      this.#connections.set(socket, { inHand, last: undefined });
      // Of pipelined requests only the first hears from Node that the connection is gone.
      socket.once('close', () => {
        this.#connections.delete(socket);
        this.#forgetUnread(socket);
        for (const request of inHand) request.abort();
      });
    });
  }

  static async listen(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    await new Promise<void>((resolve, reject) => {
      gateway.#server.once('error', (error: NodeJS.ErrnoException) => {
        const where = `${options.host}:${options.port}`;
        reject(
          error.code === 'EADDRINUSE'
            ? new CmbsError('conflict', `Something listens on ${where} already; stop it or set PORT.`)
            : new CmbsError('conflict', `Cannot listen on ${where}: ${error.message}.`, { cause: error }),
        );
      });
      gateway.#server.listen(options.port, options.host, resolve);
    });
    gateway.#fallback = gateway.url.slice('http://'.length);
    return gateway;
  }

  /** Where it listens, without a slash at the end. */
  get url(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Requests that are not answered yet. */
  get inHand(): number {
    let count = 0;
    for (const { inHand } of this.#connections.values()) count += inHand.size;
    return count;
  }

  /** Takes no new connections and lets requests finish for `graceMs`, then closes what is left. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    // Ends requests that wait, such as event streams.
    for (const { inHand } of this.#connections.values()) for (const request of inHand) request.abort();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const { clock } = this.#options.app;
    const cancel = clock.after(graceMs, () => {
      for (const socket of this.#connections.keys()) socket.destroy();
    });
    await closed;
    cancel();
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const waits = new Waits();
    const { socket } = incoming;
    const connection = this.#connections.get(socket);
    if (connection === undefined) return; // closed already
    const { inHand, last } = connection;
    if (this.#isClosing) waits.abort();
    inHand.add(waits);
    const isTooMany = inHand.size > MAX_REQUESTS_PER_CONNECTION;
    connection.last = outgoing;
    try {
      // One after the other, so that a client who does not read holds one answer in memory. A refusal is small and goes
      // out at once: answers that pile up make Node stop reading.
      if (last !== undefined && !last.writableFinished && !isTooMany) await sent(last, waits.signal);
      if (socket.destroyed) return;
      await this.#answer(incoming, outgoing, waits, isTooMany);
      this.#boundUnread(socket, outgoing);
    } catch (error) {
      this.#options.log.warn('answer not written', { path: incoming.url, cause: error });
      outgoing.destroy();
    } finally {
      inHand.delete(waits);
    }
  }

  /** Drops the connections that have not read for longest when all of them together hold too much. */
  #boundUnread(socket: Socket, outgoing: ServerResponse): void {
    const bytes = outgoing.writableLength;
    if (bytes === 0 || socket.destroyed) return;
    this.#forgetUnread(socket);
    this.#unread.set(socket, bytes);
    this.#unreadBytes += bytes;
    outgoing.once('finish', () => this.#forgetUnread(socket));
    for (const slowest of this.#unread.keys()) {
      if (this.#unreadBytes <= MAX_UNREAD_BYTES) break;
      this.#options.log.warn('connection dropped', { reason: 'the client does not read', bytes });
      this.#forgetUnread(slowest);
      slowest.destroy();
    }
  }

  #forgetUnread(socket: Socket): void {
    this.#unreadBytes -= this.#unread.get(socket) ?? 0;
    this.#unread.delete(socket);
  }

  async #answer(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    waits: Waits,
    isTooMany: boolean,
  ): Promise<void> {
    let request: Refused | undefined;
    let response: OcciResponse;
    let isWhole = true;
    let siteHeaders: Readonly<Record<string, string>> = {};
    try {
      if (isTooMany)
        throw new CmbsError('queue_full', 'Wait for answers before you send more on this connection.');
      const { remoteAddress } = incoming.socket; // gone with the connection
      checkHead(incoming);
      const headers = parseHeaders(incoming.rawHeaders);
      const { method = 'GET', url: target = '/' } = incoming;
      request = { method, path: target, headers, body: NO_BODY, renderings: this.#options.app.renderings };
      const admission = this.#options.sites.admit({ method, target, headers });
      siteHeaders = admission.headers;
      if (admission.isPreflight) {
        await writeResponse(method, outgoing, answer(204, undefined), {
          extra: siteHeaders,
          waits,
          ...this.#options.app,
        });
        return;
      }
      const [path, route, query] = this.#target(incoming);
      const most = route.maxBodyBytes ?? this.#options.maxBodyBytes;
      const body = await this.#body(incoming, most);
      isWhole = body !== undefined;
      const { publicUrl, trustedProxies, app } = this.#options;
      const whole: OcciRequest = {
        method,
        path,
        query,
        headers,
        body: body ?? NO_BODY,
        principal: ANONYMOUS,
        renderings: this.#options.app.renderings,
        clientAddress: clientAddressOf(headers, remoteAddress, trustedProxies),
        base: baseOf(headers, { publicUrl, trustedProxies, fallback: this.#fallback }),
        ...traceOf(incoming.headers),
        get signal() {
          return waits.signal;
        },
      };
      request = whole;
      if (body === undefined) {
        throw bodyTooLarge(route, most);
      }
      response = path === METRICS ? await this.#metrics(whole) : await serve(route, whole, app);
    } catch (thrown) {
      // A client that hung up before it had sent its request is owed no answer, and nothing has failed here.
      if (incoming.destroyed && !incoming.complete) return;
      response = answerError(thrown, request, this.#options.log);
    }
    if (!isWhole) discardRest(incoming);
    // A client that asked first and was refused does not send the body, so what comes next cannot be told from it.
    const isUnsent = !isWhole && incoming.headers.expect !== undefined;
    const close = isUnsent || this.#isClosing ? { Connection: 'close' } : {};
    const extra = { ...siteHeaders, ...(typeof response.body === 'string' ? close : {}) };
    await writeResponse(incoming.method, outgoing, response, { extra, waits, ...this.#options.app });
  }

  async #metrics({ method }: OcciRequest): Promise<OcciResponse> {
    if (method !== 'GET' && method !== 'HEAD') {
      throw new CmbsError('method_not_allowed', `${method} is not offered here.`, {
        headers: { Allow: 'GET, HEAD' },
      });
    }
    const { contentType, text } = await this.#options.metrics();
    return answer(200, { headers: { 'Content-Type': contentType }, body: text });
  }

  /** Path, function and query of a request; a function's own URL is `/fn/<name>/<path>` (DESIGN decision 20). */
  #target(incoming: IncomingMessage): [path: string, route: Route, query: readonly (readonly [string, string])[]] {
    const { path: asked, query: text } = splitTarget(incoming.url ?? '/');
    const path = deploymentPath(asked, this.#options.publicUrl, isOwnPath);
    const query = parseQuery(text);
    if (path.startsWith(FUNCTION_PREFIX)) {
      const slash = path.indexOf('/', FUNCTION_PREFIX.length);
      const name = slash < 0 ? path.slice(FUNCTION_PREFIX.length) : path.slice(FUNCTION_PREFIX.length, slash);
      const route = routeNamed(name);
      if (route === undefined)
        throw new CmbsError('not_found', `There is no function ${JSON.stringify(name.slice(0, 80))}.`);
      return [slash < 0 ? '/' : path.slice(slash), route, query];
    }
    return [path, routeFor(path, query), query];
  }

  /** The whole body; undefined when it is larger than allowed. */
  async #body(incoming: IncomingMessage, maxBodyBytes: number): Promise<Buffer | undefined> {
    const announced = announcedBytes(incoming);
    if (announced > maxBodyBytes) return undefined;
    if (announced === 0 && incoming.headers['transfer-encoding'] === undefined) return NO_BODY;
    const chunks: Buffer[] = [];
    let size = 0;
    // Destroying the request would take the connection with it, and the answer.
    for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
      size += (chunk as Buffer).length;
      if (size > maxBodyBytes) return undefined;
      chunks.push(chunk as Buffer);
    }
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
  }

  /** What Node's parser refuses before there is a request: still one of our answers (DESIGN decision 23). */
  #refuseBytes(error: Error & { code?: string }, socket: Socket): void {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const refusal =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? new CmbsError(
            'headers_too_large',
            `The headers have more than ${MAX_HEADER_BYTES} bytes; page or send a body.`,
          )
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? new CmbsError('request_timeout', 'The request came in too slowly.')
          : new CmbsError('bad_request', 'The bytes are not an HTTP request.');
    this.#endWith(socket, refusal);
  }

  /** Answers where there is no response object, and closes the connection. */
  #endWith(socket: Socket, refusal: CmbsError): void {
    const { status, headers, body } = answerError(refusal, undefined, this.#options.log);
    const text = typeof body === 'string' ? body : '';
    const lines = Object.entries({
      ...headers,
      'Content-Length': String(Buffer.byteLength(text)),
      Connection: 'close',
    });
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${text}`,
    );
  }
}
