/**
 * The local gateway: all functions behind one `node:http` server, dispatched by the table of routes. It stands in for
 * the deployment's load balancer and is ten times faster than one framework server per function would be.
 */
import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { CmbsError, type Log } from '@cmbs/shared';
import { MAX_CONNECTIONS, MAX_HEADER_BYTES, REQUEST_DEADLINE_MS } from '@cmbs/shared/limits';
import type { App } from '@cmbs/functions/app';
import { baseOf, clientAddressOf, parseHeaders, parseQuery, splitTarget } from '@cmbs/functions/http-parse';
import { writeResponse } from '@cmbs/functions/http-write';
import { ANONYMOUS, type OcciRequest, type OcciResponse } from '@cmbs/functions/request';
import { answerError } from '@cmbs/functions/respond';
import { routeFor, routeNamed, type Route } from '@cmbs/functions/routes';
import { serve } from '@cmbs/functions/serve';

export interface GatewayOptions {
  readonly app: App;
  readonly host: string;
  readonly port: number;
  readonly publicUrl: string | undefined;
  readonly trustProxy: boolean;
  readonly maxBodyBytes: number;
  readonly log: Log;
  /** Text of `/metrics`. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

const NO_BODY = Buffer.alloc(0);
const FUNCTION_PREFIX = '/fn/';

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Aborts requests that wait, such as event streams, when the gateway closes. */
  readonly #closing = new AbortController();
  #fallback = '';

  private constructor(options: GatewayOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: REQUEST_DEADLINE_MS,
        headersTimeout: REQUEST_DEADLINE_MS / 2,
      },
      (incoming, outgoing) => void this.#handle(incoming, outgoing),
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('clientError', (error: Error & { code?: string }, socket: Socket) =>
      this.#refuseBytes(error, socket),
    );
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
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

  /** Takes no new connections and lets requests finish for `graceMs`, then closes what is left. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const { clock } = this.#options.app;
    const cancel = clock.after(graceMs, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    await closed;
    cancel();
  }

  async #handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    let request: OcciRequest | undefined;
    let response: OcciResponse;
    let isWhole = true;
    const deadline = new AbortController();
    const close = (): void => deadline.abort();
    outgoing.once('close', close);
    this.#closing.signal.addEventListener('abort', close, { once: true });
    try {
      const [path, route, query] = this.#target(incoming);
      const body = await this.#body(incoming);
      isWhole = body !== undefined;
      const headers = parseHeaders(incoming.rawHeaders);
      const { publicUrl, trustProxy, app } = this.#options;
      request = {
        method: incoming.method ?? 'GET',
        path,
        query,
        headers,
        body: body ?? NO_BODY,
        identity: ANONYMOUS,
        clientAddress: clientAddressOf(headers, incoming.socket.remoteAddress, trustProxy),
        base: baseOf(headers, { publicUrl, trustProxy, fallback: this.#fallback }),
        signal: deadline.signal,
      };
      if (body === undefined) {
        throw new CmbsError('too_large', `A body has ${this.#options.maxBodyBytes} bytes at most.`);
      }
      if (path === '/metrics') {
        const { contentType, text } = await this.#options.metrics();
        response = { status: 200, headers: { 'Content-Type': contentType }, body: text };
      } else response = await serve(route, request, app);
    } catch (thrown) {
      response = answerError(thrown, request, this.#options.log);
    }
    try {
      await this.#write(incoming, outgoing, response, isWhole);
    } catch (error) {
      this.#options.log.warn('answer not written', { path: incoming.url, cause: String(error) });
      outgoing.destroy();
    } finally {
      outgoing.off('close', close);
      this.#closing.signal.removeEventListener('abort', close);
    }
  }

  /** Path, function and query of a request; a function's own URL is `/fn/<name>/<path>` (DESIGN decision 20). */
  #target(incoming: IncomingMessage): [path: string, route: Route, query: readonly (readonly [string, string])[]] {
    const { path, query: text } = splitTarget(incoming.url ?? '/');
    const query = parseQuery(text);
    if (path.startsWith(FUNCTION_PREFIX)) {
      const slash = path.indexOf('/', FUNCTION_PREFIX.length);
      const name = slash < 0 ? path.slice(FUNCTION_PREFIX.length) : path.slice(FUNCTION_PREFIX.length, slash);
      const route = routeNamed(name);
      if (route === undefined)
        throw new CmbsError('not_found', `There is no function ${JSON.stringify(name.slice(0, 80))}.`);
      return [slash < 0 ? '/' : path.slice(slash), route, query];
    }
    const action = query.find(([key]) => key === 'action')?.[1];
    return [path, routeFor(incoming.method ?? 'GET', path, action), query];
  }

  /** The whole body; undefined when it is larger than allowed. */
  async #body(incoming: IncomingMessage): Promise<Buffer | undefined> {
    const { maxBodyBytes } = this.#options;
    const announced = Number(incoming.headers['content-length'] ?? 0);
    if (announced > maxBodyBytes) return undefined;
    if (announced === 0 && incoming.headers['transfer-encoding'] === undefined) return NO_BODY;
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of incoming) {
      size += (chunk as Buffer).length;
      if (size > maxBodyBytes) return undefined;
      chunks.push(chunk as Buffer);
    }
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size);
  }

  async #write(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    response: OcciResponse,
    isWhole: boolean,
  ): Promise<void> {
    const close = isWhole && !this.#closing.signal.aborted ? {} : { Connection: 'close' };
    await writeResponse(incoming.method, outgoing, response, typeof response.body === 'string' ? close : {});
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
