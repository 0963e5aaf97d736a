/**
 * A proxy for gRPC with fault injection: each call goes to the real server unless a fault was injected for
 * its method. It knows HTTP/2 and gRPC's statuses, nothing of the service.
 */
import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectSocket, type AddressInfo } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';

const UNAVAILABLE = 14;

/** Bytes before each message: a flag and the length of what follows (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const PREFIX_BYTES = 5;

export type Fault =
  /** The server does not get the call; the proxy answers with this status. */
  | { readonly kind: 'answer'; readonly status: number; readonly message?: string }
  /** The server gets the call later. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** The server does not get the call, and the client gets no answer. */
  | { readonly kind: 'silence' }
  /** The answer breaks off (`UNAVAILABLE`) after this many messages. */
  | { readonly kind: 'breakOff'; readonly after: number }
  /**
   * The server executes the call, but the answer is lost: the client gets an error (`UNAVAILABLE`), the end of the
   * connection, or nothing. `meanwhile` runs before that.
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
  /** Open connections. */
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #callsBySession = new Map<ServerHttp2Session, number>();
  readonly #answered = new Map<string, number>();
  readonly #underWay = new Set<ClientHttp2Stream>();
  readonly #observers = new Map<string, (message: Buffer) => void>();
  readonly #answerObservers = new Map<string, (message: Buffer, call: object) => void>();
  #rules: Rule[] = [];
  #isSilent = false;
  #port = 0;

  private constructor(target: string) {
    this.#target = target;
    this.#server = createServer();
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      this.#callsBySession.set(session, 0);
      session.once('close', () => this.#sessions.delete(session));
      session.on('error', () => undefined); // The streams report the error.
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

  /** Makes the next `times` calls of a method fail; faults of one method apply one after the other. */
  inject(method: string, fault: Fault, times = 1): void {
    this.#rules.push({ method, fault, left: times });
  }

  /** Reports the message of each call of a method with a single request message. */
  observe(method: string, tell: (message: Buffer) => void): void {
    this.#observers.set(method, tell);
  }

  /** Reports each message in the answers to a method, with an object that stands for the call. */
  observeAnswers(method: string, tell: (message: Buffer, call: object) => void): void {
    this.#answerObservers.set(method, tell);
  }

  /** Keeps the connections open but passes nothing on, neither calls nor answers under way. */
  silence(): void {
    this.#isSilent = true;
    for (const call of this.#underWay) {
      call.unpipe();
      call.pause();
    }
  }

  /** Ends all faults. Silenced connections are cut, since part of their data is lost. */
  heal(): void {
    this.#rules = [];
    if (!this.#isSilent) return;
    this.#isSilent = false;
    this.cut();
  }

  callsOf(method: string): number {
    return this.calls.filter((call) => call === method).length;
  }

  /** Calls so far on each connection, including closed connections. */
  get callsByConnection(): readonly number[] {
    return [...this.#callsBySession.values()];
  }

  /** Messages that the server has sent so far in answers to a method. */
  messagesOf(method: string): number {
    return this.#answered.get(method) ?? 0;
  }

  /** Cuts all connections; clients may connect again. */
  cut(): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** Cuts all connections and refuses new ones. */
  async refuse(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.cut();
    await closed;
  }

  /** Accepts connections again, at the same address. */
  async accept(): Promise<void> {
    if (this.#server.listening) return;
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
    // A reset, because the Pub/Sub emulator notices an orderly end only when the leases of the stream end.
    session.once('close', () => socket.resetAndDestroy());
    session.on('stream', (stream, headers) => {
      stream.on('error', () => undefined); // The side that broke the connection knows the error.
      const method = methodOf(headers);
      this.calls.push(method);
      this.#callsBySession.set(session, (this.#callsBySession.get(session) ?? 0) + 1);
      const tell = this.#observers.get(method);
      if (tell !== undefined) {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.once('end', () => tell(Buffer.concat(chunks).subarray(PREFIX_BYTES)));
      }
      stream.once('close', () => {
        if (stream.rstCode === constants.NGHTTP2_CANCEL) this.cancelled += 1;
      });
      this.#apply(this.#faultFor(method), session, upstream, stream, headers);
    });
  }

  #forward(
    upstream: ClientHttp2Session,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    most = Infinity,
  ): void {
    const method = methodOf(headers);
    const tell = this.#answerObservers.get(method);
    const counted = new Messages(
      most,
      () => this.#answered.set(method, this.messagesOf(method) + 1),
      tell === undefined ? undefined : (message) => tell(message, stream),
    );
    const call = forward(upstream, stream, headers, counted);
    if (call === undefined) return;
    this.#underWay.add(call);
    call.once('close', () => this.#underWay.delete(call));
  }

  #faultFor(method: string): Fault | undefined {
    if (this.#isSilent) return { kind: 'silence' };
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
        this.#forward(upstream, stream, headers);
        return;
      case 'answer':
        answer(stream, fault.status, fault.message ?? '');
        return;
      case 'silence':
        stream.resume();
        return;
      case 'delay': {
        const timer = setTimeout(() => this.#forward(upstream, stream, headers), fault.ms);
        stream.once('close', () => clearTimeout(timer));
        return;
      }
      case 'breakOff':
        this.#forward(upstream, stream, headers, fault.after);
        return;
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

/** An answer without messages, with the status in the headers (gRPC over HTTP/2, "Trailers-Only"). */
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

function methodOf(headers: IncomingHttpHeaders): string {
  return String(headers[':path']).split('/').at(-1) ?? '';
}

/** Passes an answer on and reports each of its messages; breaks off before the message after the given number. */
class Messages extends Transform {
  readonly #most: number;
  readonly #tell: () => void;
  /** Called with the bytes of each message. */
  readonly #observe: ((message: Buffer) => void) | undefined;
  #body: Buffer[] = [];
  #count = 0;
  /** The current message: the bytes of its prefix, and the number of bytes still to come. */
  #prefix = Buffer.alloc(0);
  #left = 0;

  constructor(most: number, tell: () => void, observe?: (message: Buffer) => void) {
    super();
    this.#most = most;
    this.#tell = tell;
    this.#observe = observe;
  }

  get isBrokenOff(): boolean {
    return this.#count > this.#most;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    for (let at = 0; at < chunk.length && !this.isBrokenOff;) at += this.#take(chunk.subarray(at));
    done();
  }

  /** Returns the number of bytes that were consumed. */
  #take(bytes: Buffer): number {
    const isBody = this.#left > 0;
    const taken = bytes.subarray(0, isBody ? this.#left : PREFIX_BYTES - this.#prefix.length);
    if (isBody) {
      this.#left -= taken.length;
      if (this.#observe !== undefined) this.#collect(taken, this.#observe);
      this.push(taken);
    } else {
      this.#prefix = Buffer.concat([this.#prefix, taken]);
      if (this.#prefix.length === PREFIX_BYTES) this.#begin();
    }
    return taken.length;
  }

  #collect(taken: Buffer, observe: (message: Buffer) => void): void {
    this.#body.push(taken);
    if (this.#left > 0) return;
    observe(Buffer.concat(this.#body));
    this.#body = [];
  }

  #begin(): void {
    this.#count += 1;
    if (this.isBrokenOff) {
      this.push(null);
      return;
    }
    this.#tell();
    this.#left = this.#prefix.readUInt32BE(1);
    this.push(this.#prefix);
    this.#prefix = Buffer.alloc(0);
  }
}

function forward(
  upstream: ClientHttp2Session,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  messages: Messages,
): ClientHttp2Stream | undefined {
  if (stream.closed || upstream.destroyed) return undefined;
  const call = upstream.request(headers);
  let trailers: OutgoingHttpHeaders = {};
  stream.pipe(call);
  stream.once('close', () => call.close(constants.NGHTTP2_CANCEL));
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  call.once('response', (response, flags) => {
    if (stream.closed) return;
    const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    stream.respond(response, endStream ? { endStream } : { waitForTrailers: true });
    if (!endStream) call.pipe(messages).pipe(stream, { end: false });
  });
  call.once('trailers', (received: IncomingHttpHeaders) => {
    if (!messages.isBrokenOff) trailers = received;
  });
  messages.once('end', () => {
    if (messages.isBrokenOff) {
      trailers = { 'grpc-status': String(UNAVAILABLE), 'grpc-message': 'the answer broke off' };
      call.close(constants.NGHTTP2_CANCEL);
    }
    stream.end();
  });
  call.once('error', () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  return call;
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
