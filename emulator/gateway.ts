/**
 * The local gateway: all functions behind one `node:http` server, by the table of routes. It takes the place of the
 * deployment's load balancer, and is ten times faster than one framework server per function.
 */
import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ANONYMOUS, CmbsError, type Log } from '@cmbs/shared';
import type { SitePolicy } from '@cmbs/shared/sites';
import { REQUEST_DEADLINE_MS } from '@cmbs/shared/limits';
import type { App } from '@cmbs/functions/app';
import { baseOf, clientAddressOf, parseHeaders, traceOf } from '@cmbs/functions/http-parse';
import { writeResponse } from '@cmbs/functions/http-write';
import type { OcciRequest, OcciResponse } from '@cmbs/functions/request';
import { answer, answerError, type Refused } from '@cmbs/functions/respond';
import { bodyTooLarge, type Route, routeFor } from '@cmbs/functions/routes';
import { serve } from '@cmbs/functions/serve';
import type { Certificate } from './certificate';
import { ClientConnections, type RequestSignal } from './client-connections';
import { announcedBytes, bodyOf, checkHead, discardRest, NO_BODY, targetOf } from './incoming';

/** Bytes of the headers of a request: Node's own default, and what proxies allow. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Connections of clients at the same time. */
const MAX_CONNECTIONS = 10_000;
/** Milliseconds without a byte in either direction until a connection is closed: longer than any wait of a request. */
const CONNECTION_IDLE_MS = 90_000;
/** Milliseconds for a TLS handshake: a few round trips. */
const HANDSHAKE_MS = 10_000;

export interface GatewayOptions {
  readonly app: App;
  readonly host: string;
  readonly port: number;
  readonly publicUrl: string | undefined;
  readonly trustedProxies: number;
  readonly maxBodyBytes: number;
  readonly sites: SitePolicy;
  /** The gateway answers HTTPS with it, and no plain HTTP. */
  readonly certificate?: Certificate | undefined;
  readonly log: Log;
  /** Text of `/metrics`. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

const METRICS = '/metrics';

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #server: Server;
  readonly #connections: ClientConnections;
  #isClosing = false;
  #fallback = '';

  private constructor(options: GatewayOptions) {
    this.#options = options;
    this.#connections = new ClientConnections(options.log);
    const handle = (incoming: IncomingMessage, outgoing: ServerResponse): void =>
      void this.#handle(incoming, outgoing);
    const limits = {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_DEADLINE_MS,
      headersTimeout: REQUEST_DEADLINE_MS / 2,
      // Node's own refusal would lack the headers of our answers; `checkHead` refuses instead.
      requireHostHeader: false,
    };
    const { certificate } = options;
    this.#server =
      certificate === undefined
        ? createServer(limits, handle)
        : this.#secured(createSecureServer({ ...limits, handshakeTimeout: HANDSHAKE_MS }, handle), certificate);
    this.#server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
      // The client should not send a body that will be refused (RFC 9110 §10.1.1).
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
    this.#server.on('connection', (socket) => this.#connections.opened(socket));
  }

  #secured(server: SecureServer, certificate: Certificate): SecureServer {
    certificate.follow((context) => server.setSecureContext(context));
    server.on('secureConnection', (socket: TLSSocket) => {
      socket.disableRenegotiation(); // of TLS 1.2: clients do not need it, and it costs the server much
      this.#connections.opened(socket);
    });
    // Node's own listener passes the error on as `clientError`, but without TLS no answer can be read.
    server.removeAllListeners('tlsClientError');
    // Only for debugging: strangers can fail as often as they like, also with plain HTTP.
    server.on('tlsClientError', (error: Error & { code?: string }, socket: TLSSocket) => {
      this.#options.log.debug('TLS handshake failed', { code: error.code, address: socket.remoteAddress });
      socket.destroy();
    });
    return server;
  }

  get #scheme(): 'http' | 'https' {
    return this.#options.certificate === undefined ? 'http' : 'https';
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
    gateway.#fallback = new URL(gateway.url).host;
    return gateway;
  }

  /** Base URL, without a slash at the end. */
  get url(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `${this.#scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Requests without a complete answer. */
  get inFlight(): number {
    return this.#connections.inFlight;
  }

  /** Accepts no more connections, waits up to `graceMs` milliseconds for requests, then closes all connections. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    this.#connections.abortAll();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const { clock } = this.#options.app;
    const cancel = clock.after(graceMs, () => this.#connections.destroyAll());
    await closed;
    cancel();
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    try {
      await this.#connections.inOrder(incoming.socket, outgoing, (signal, isTooMany) =>
        this.#answer(incoming, outgoing, signal, isTooMany),
      );
    } catch (error) {
      this.#options.log.warn('answer not written', { path: incoming.url, cause: error });
      outgoing.destroy();
    }
  }

  async #answer(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    waits: RequestSignal,
    isTooMany: boolean,
  ): Promise<void> {
    let request: Refused | undefined;
    let response: OcciResponse;
    let isWhole = true;
    let errorBody: Route['errorBody'];
    let siteHeaders: Readonly<Record<string, string>> = {};
    try {
      if (isTooMany)
        throw new CmbsError('queue_full', 'Wait for answers before you send more on this connection.');
      const { remoteAddress } = incoming.socket; // undefined when the connection is closed
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
      const { path, route, query } = targetOf(incoming, this.#options.publicUrl);
      ({ errorBody } = route);
      const most = route.maxBodyBytes ?? this.#options.maxBodyBytes;
      const body = await bodyOf(incoming, most);
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
        peerAddress: remoteAddress,
        base: baseOf(headers, { publicUrl, trustedProxies, scheme: this.#scheme, fallback: this.#fallback }),
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
      // The client closed the connection before it had sent its request: there is nothing to answer or to log.
      if (incoming.destroyed && !incoming.complete) return;
      // A request that is refused before it has a route is still answered in the format of its path.
      errorBody ??= routeFor((incoming.url ?? '').split('?', 1)[0] ?? '', []).errorBody;
      response = answerError(thrown, request, this.#options.log, errorBody);
    }
    if (!isWhole) discardRest(incoming);
    // After a refused Expect a client may leave the body out, so the next bytes cannot be told from a body.
    const isUnsent = !isWhole && incoming.headers.expect !== undefined;
    const close = isUnsent || this.#isClosing ? { Connection: 'close' } : {};
    const extra = { ...siteHeaders, ...(typeof response.body === 'string' ? close : {}) };
    await writeResponse(incoming.method, outgoing, response, { extra, waits, ...this.#options.app });
  }

  async #metrics(request: OcciRequest): Promise<OcciResponse> {
    const { method } = request;
    const { authenticate, authorize } = this.#options.app;
    await authorize(await authenticate(request), 'metrics.read', { path: METRICS });
    if (method !== 'GET' && method !== 'HEAD') {
      throw new CmbsError('method_not_allowed', `${method} is not offered here.`, {
        headers: { Allow: 'GET, HEAD' },
      });
    }
    const { contentType, text } = await this.#options.metrics();
    return answer(200, { headers: { 'Content-Type': contentType }, body: text });
  }

  /** Answers bytes that Node's parser refuses, with an error of our own. */
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

  /** Answers without a response object, and closes the connection. */
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
