/**
 * Requests to one peer: many in flight over one DEALER, each answered in one frame by a plain `REP` peer or by our own
 * {@link Replier}.
 *
 * On the wire: `[correlation, empty, body]`; the peer repeats the frames before the empty one (RFC 28). A reply without
 * a correlation of ours is counted and ignored, even when only one request is in flight: it may be the late answer to a
 * request that timed out, and a wrong answer is worse than none.
 *
 * A requester does not retry. A request fails with a {@link PeerError} whose reason tells the caller whether to send
 * again (`lost`, `timeout`: the peer may have acted on it) or to wait (`no_listener`: not sent).
 */
import { Dealer } from 'zeromq';
import { CmbsError } from '@cmbs/shared';
import type { Address } from '@cmbs/shared/broker';
import {
  type ConnectionState,
  PeerError,
  type PeerErrorReason,
  type RequestConnection,
  type RequestOptions,
} from '../exchange';
import { Deadlines } from './deadlines';
import { codeOf } from './errno';
import { HARD_MESSAGE_BYTES, HARD_REPLY_BYTES } from './limits';
import { sendingOptions, type SocketEnvironment } from './options';
import { PeerSocket } from './peer-socket';
import { type PendingRequest, PendingRequests } from './pending-requests';

/** Requests to one peer that were sent and not answered; the throughput curve is flat well before. */
const MAX_REQUESTS_IN_FLIGHT = 256;
/** Requests to one peer that wait for a connection or a place in flight; beyond, the caller is told `queue_full`. */
const MAX_REQUESTS_WAITING = 1000;
/** Milliseconds that a request has by default: the default wait of a send action (docs/layers.md). */
const DEFAULT_REQUEST_TIMEOUT_MS = 10_000;

const CORRELATION_BYTES = 4;
const EMPTY = Buffer.alloc(0);
/** Milliseconds in which replies that came before a loss are read. */
const LATE_REPLIES_MS = 200;
/** Milliseconds until a request is sent again that met a connection which is up and not attached yet. */
const SEND_AGAIN_MS = 1;

export interface RequesterOptions extends SocketEnvironment {
  readonly maxInFlight?: number;
  readonly maxWaiting?: number;
}

export class Requester extends PeerSocket<Dealer> implements RequestConnection {
  readonly #maxWaiting: number;
  readonly #requests: PendingRequests;
  readonly #deadlines: Deadlines;
  /** Connections so far; the present one has this number. */
  #connections = 0;

  /** Connects at once, in the background. @throws CmbsError `bad_attribute`, `forbidden`, as {@link PeerSocket} does */
  constructor(address: Address | string, options: RequesterOptions) {
    super(address, options, {
      name: 'requester',
      messages: 'replies',
      type: 'DEALER',
      maxMessageBytes: HARD_REPLY_BYTES,
      create: () => new Dealer(sendingOptions(options.context)),
    });
    this.#maxWaiting = options.maxWaiting ?? MAX_REQUESTS_WAITING;
    this.#requests = new PendingRequests(options.maxInFlight ?? MAX_REQUESTS_IN_FLIGHT);
    this.#deadlines = new Deadlines(
      this.clock,
      (nowMs) => this.#expire(nowMs),
      () => this.pending > 0,
    );
    this.connection.open();
  }

  /** Connects again now if the peer was absent, unless the last attempt is very recent; returns the state after that. */
  connectNow(): ConnectionState {
    // A socket with replies still to be read is not replaced.
    if (!this.isClosed && this.state !== 'up' && this.#requests.inFlightCount === 0) this.connection.connectNow();
    return this.state;
  }

  /** Requests that have no outcome yet. */
  get pending(): number {
    return this.#requests.size;
  }

  /**
   * Sends one request; resolves with the body of the reply.
   * @throws PeerError with one of {@link PeerErrorReason}
   * @throws CmbsError `queue_full` when too many requests wait, `too_large` when no peer could take the body
   */
  request(
    body: Buffer | string,
    { timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS, signal }: RequestOptions = {},
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(body, signal);
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      const id = this.#requests.nextId();
      const onAbort = signal === undefined ? undefined : () => this.#fail(id, 'aborted');
      const deadlineMs = this.clock.now() + timeoutMs;
      const pending: PendingRequest = { id, body, deadlineMs, resolve, reject, signal, onAbort, connection: 0 };
      if (onAbort !== undefined) signal?.addEventListener('abort', onAbort, { once: true });
      this.#deadlines.watch();
      const mayGo = this.state === 'up' && this.#requests.waitingCount === 0 && this.#requests.hasRoomFor(pending);
      if (mayGo) this.#send(pending);
      else this.#requests.wait(pending);
    });
  }

  /** Rejects requests without a reply (`closed`) and closes the socket. */
  override async close(): Promise<void> {
    const closed = super.close();
    for (const { id } of this.#requests.all) this.#fail(id, 'closed');
    await closed;
  }

  protected opened(): void {
    // Requests go out when the peer is up.
  }

  protected changed(state: ConnectionState, lost: boolean): void {
    if (state === 'up') {
      this.#connections += 1;
      this.#sendWaiting();
    } else if (state === 'down') {
      for (const { id } of [...this.#requests.waiting]) this.#fail(id, 'no_listener');
    }
    if (lost) this.#failLost(this.#connections, this.clock.now() + LATE_REPLIES_MS);
  }

  protected take(frames: readonly Buffer[]): void {
    const [correlation, empty, body] = frames;
    if (correlation?.length !== CORRELATION_BYTES || empty?.length !== 0 || body === undefined) {
      this.drops.note('malformed_reply', { frames: frames.length });
      return;
    }
    const pending = this.#requests.sent(correlation.readUInt32BE());
    if (pending === undefined) {
      this.drops.note('unknown_reply', { bytes: body.length });
      return;
    }
    // Of a reply in several frames the first is taken, as a plain `REQ` reader does.
    if (frames.length > 3) this.drops.note('extra_reply_frames', { frames: frames.length });
    this.#settle(pending);
    pending.resolve(body);
    this.#sendWaiting();
  }

  /** Why a request cannot even wait. */
  #refusal(body: Buffer | string, signal: AbortSignal | undefined): Error | undefined {
    if (this.isClosed) return this.#error('closed', false);
    if (signal?.aborted === true) return this.#error('aborted', false);
    if (
      body.length > HARD_MESSAGE_BYTES ||
      (typeof body === 'string' && Buffer.byteLength(body) > HARD_MESSAGE_BYTES)
    ) {
      return new CmbsError(
        'too_large',
        `A message may have at most ${String(HARD_MESSAGE_BYTES)} bytes; send less.`,
      );
    }
    if (this.connectNow() === 'down') return this.#error('no_listener', false);
    if (this.#requests.waitingCount >= this.#maxWaiting) {
      return new CmbsError('queue_full', `Too many requests wait for ${this.address}; try again in a second.`, {
        headers: { 'Retry-After': '1' },
      });
    }
    return undefined;
  }

  #send(pending: PendingRequest): void {
    const { socket } = this.connection;
    if (socket === undefined) {
      this.#requests.wait(pending);
      return;
    }
    this.#requests.send(pending, this.#connections);
    const correlation = Buffer.allocUnsafe(CORRELATION_BYTES);
    correlation.writeUInt32BE(pending.id);
    // The high-water mark is above what may be in flight, so that a send is refused only when there is no connection.
    try {
      socket.send([correlation, EMPTY, pending.body]).catch((error: unknown) => this.#notSent(pending, error));
    } catch (error) {
      this.#notSent(pending, error); // the socket was closed under us
    }
  }

  #notSent(pending: PendingRequest, error: unknown): void {
    if (!this.#requests.putBack(pending)) return;
    if (codeOf(error) !== 'EAGAIN') {
      this.environment.log.error('request not sent', { address: this.address, cause: error });
      this.#fail(pending.id, 'lost');
      return;
    }
    this.clock.after(SEND_AGAIN_MS, () => this.#sendWaiting());
  }

  #sendWaiting(): void {
    for (const pending of this.#requests.waiting) {
      if (this.state !== 'up' || !this.#requests.hasRoomFor(pending)) return;
      this.#send(pending);
    }
  }

  /**
   * Fails requests that were sent on a connection that is gone, once the replies that came before the loss are read, and
   * goes on with a new socket.
   */
  #failLost(connection: number, deadlineMs: number): void {
    if (connection === this.#connections && this.connection.underWay > 0 && this.clock.now() < deadlineMs) {
      setImmediate(() => this.#failLost(connection, deadlineMs));
      return;
    }
    for (const pending of this.#requests.inFlight) {
      if (pending.connection <= connection) this.#fail(pending.id, 'lost');
    }
    if (connection === this.#connections) this.connection.renew();
  }

  #fail(id: number, reason: PeerErrorReason): void {
    const pending = this.#requests.find(id);
    if (pending === undefined) return;
    const sent = this.#requests.sent(id) !== undefined;
    this.#settle(pending);
    this.environment.counters.add('cmbs_requests_failed', { reason });
    pending.reject(this.#error(reason, sent));
    if (sent) this.#sendWaiting();
  }

  #settle(pending: PendingRequest): void {
    this.#requests.remove(pending);
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener('abort', pending.onAbort);
  }

  #expire(nowMs: number): void {
    for (const { id, deadlineMs } of this.#requests.all) {
      if (deadlineMs <= nowMs) this.#fail(id, 'timeout');
    }
  }

  #error(reason: PeerErrorReason, sent: boolean): PeerError {
    return new PeerError(reason, this.address, this.#sentence(reason), sent);
  }

  #sentence(reason: PeerErrorReason): string {
    switch (reason) {
      case 'no_listener':
        return `No peer can be reached at ${this.address}: ${this.connection.why}.`;
      case 'timeout':
        return `The peer at ${this.address} did not reply in time.`;
      case 'lost':
        return `The connection to ${this.address} was lost before the reply came.`;
      case 'closed':
        return `The socket to ${this.address} was closed before the reply came.`;
      case 'aborted':
        return `The request to ${this.address} was aborted by its caller.`;
    }
  }
}
