/**
 * A proxy for gRPC that can be told to do wrong: each call goes on to the real server unless a fault was injected for
 * its method. It knows HTTP/2 and gRPC's statuses, nothing of the service.
 */
import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectSocket, type AddressInfo } from 'node:net';

const UNAVAILABLE = 14;

export type Fault =
  /** The call does not reach the server. */
  | { readonly kind: 'answer'; readonly status: number; readonly message?: string }
  /** It reaches the server later. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** It does not reach the server, and nobody says so. */
  | { readonly kind: 'silence' }
  /**
   * The server carries it out, but its answer is lost: in its place comes an error (`UNAVAILABLE`), the end of the
   * connection, or nothing. `meanwhile` runs between.
   */
  | {
      readonly kind: 'lose';
      readonly by: 'error' | 'connection' | 'silence';
      readonly meanwhile?: () => Promise<void>;
    };

interface Rule {
  readonly method: string;
  readonly fault: Fault;
  left: number;
}

export class GrpcProxy {
  /** Methods of the calls so far, by the last part of their path (`Commit`). */
  readonly calls: string[] = [];
  /** Calls that their client has cancelled. */
  cancelled = 0;
  readonly #target: string;
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #observers = new Map<string, (message: Buffer) => void>();
  #rules: Rule[] = [];
  #port = 0;

  private constructor(target: string) {
    this.#target = target;
    this.#server = createServer();
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      session.on('error', () => undefined); // Its streams tell.
      this.#serve(session);
    });
  }

  /** `target` is the `host:port` of the real server. */
  static async listen(target: string): Promise<GrpcProxy> {
    const proxy = new GrpcProxy(target);
    await proxy.accept();
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Has the next `times` calls of a method go wrong; faults of one method come one after the other. */
  inject(method: string, fault: Fault, times = 1): void {
    this.#rules.push({ method, fault, left: times });
  }

  /** Tells of the message of each call of a method that has one only. */
  observe(method: string, tell: (message: Buffer) => void): void {
    this.#observers.set(method, tell);
  }

  heal(): void {
    this.#rules = [];
  }

  callsOf(method: string): number {
    return this.calls.filter((call) => call === method).length;
  }

  /** Cuts all connections; clients may connect again. */
  cut(): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** Refuses connections, also those that are there. */
  async refuse(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  /** Accepts connections again, at the same address. */
  async accept(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, '127.0.0.1', () => resolve());
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.refuse();
  }

  #serve(session: ServerHttp2Session): void {
    const { hostname, port } = new URL(`http://${this.#target}`);
    const socket = connectSocket(Number(port), hostname);
    const upstream = connect(`http://${this.#target}`, { createConnection: () => socket });
    upstream.on('error', () => session.destroy());
    upstream.once('close', () => session.destroy());
    // A reset, and not an orderly end, which the Pub/Sub emulator takes note of only when the leases of a stream end.
    session.once('close', () => socket.resetAndDestroy());
    session.on('stream', (stream, headers) => {
      stream.on('error', () => undefined); // Whoever broke it knows.
      const method = String(headers[':path']).split('/').at(-1) ?? '';
      this.calls.push(method);
      const tell = this.#observers.get(method);
      if (tell !== undefined) {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        // Before it are a flag and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
        stream.once('end', () => tell(Buffer.concat(chunks).subarray(5)));
      }
      stream.once('close', () => {
        if (stream.rstCode === constants.NGHTTP2_CANCEL) this.cancelled += 1;
      });
      this.#apply(this.#faultFor(method), session, upstream, stream, headers);
    });
  }

  #faultFor(method: string): Fault | undefined {
    const rule = this.#rules.find((one) => one.method === method && one.left > 0);
    if (rule === undefined) return undefined;
    rule.left -= 1;
    return rule.fault;
  }

  #apply(
    fault: Fault | undefined,
    session: ServerHttp2Session,
    upstream: ClientHttp2Session,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
  ): void {
    switch (fault?.kind) {
      case undefined:
        forward(upstream, stream, headers);
        return;
      case 'answer':
        answer(stream, fault.status, fault.message ?? '');
        return;
      case 'silence':
        stream.resume();
        return;
      case 'delay': {
        const timer = setTimeout(() => forward(upstream, stream, headers), fault.ms);
        stream.once('close', () => clearTimeout(timer));
        return;
      }
      case 'lose':
        carryOut(upstream, stream, headers)
          .then(() => fault.meanwhile?.())
          .then(
            () => {
              if (fault.by === 'error') answer(stream, UNAVAILABLE, 'the answer was lost');
              else if (fault.by === 'connection') session.destroy();
            },
            () => session.destroy(),
          );
    }
  }
}

/** An answer without messages: its status stands in the headers (gRPC over HTTP/2, "Trailers-Only"). */
function answer(stream: ServerHttp2Stream, status: number, message: string): void {
  if (stream.closed) return;
  stream.resume();
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': String(status),
      'grpc-message': encodeURIComponent(message),
    },
    { endStream: true },
  );
}

function forward(upstream: ClientHttp2Session, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  if (stream.closed || upstream.destroyed) return;
  const call = upstream.request(headers);
  let trailers: OutgoingHttpHeaders = {};
  stream.pipe(call);
  stream.once('close', () => call.close(constants.NGHTTP2_CANCEL));
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  call.once('response', (response, flags) => {
    if (stream.closed) return;
    const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    stream.respond(response, endStream ? { endStream } : { waitForTrailers: true });
    if (!endStream) call.pipe(stream, { end: false });
  });
  call.once('trailers', (received: IncomingHttpHeaders) => {
    trailers = received;
  });
  call.once('end', () => stream.end());
  call.once('error', () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
}

/** Resolves when the server has answered; the answer goes nowhere. */
function carryOut(
  upstream: ClientHttp2Session,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
): Promise<void> {
  const call = upstream.request(headers);
  stream.pipe(call);
  call.resume();
  return new Promise((resolve, reject) => {
    call.once('close', resolve);
    call.once('error', reject);
  });
}
