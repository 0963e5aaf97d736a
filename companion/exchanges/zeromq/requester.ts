/**
 * Requests to one peer: many in flight over one DEALER, each answered by a plain `REP` peer or by our own
 * {@link Replier} in one frame.
 *
 * On the wire: `[correlation, empty, body]`; the peer echoes what stands before the empty frame. A reply that does
 * not carry a correlation of ours is counted and ignored, even when just one request is in flight: it may be the late
 * answer to one that timed out, and a wrong answer is worse than none.
 *
 * There is no retry here. A request fails with a {@link PeerError} whose reason tells the caller whether to send
 * again (`lost`, `timeout`: the peer may have acted on it) or to wait (`no_listener`: it never left).
 */
import { Dealer } from 'zeromq';
import { type Clock, CmbsError } from '@cmbs/shared';
import { DEADLINE_SWEEP_MS, HARD_MESSAGE_BYTES, HARD_REPLY_BYTES } from './limits';
import type { Address } from '@cmbs/shared/broker';
import {
  type ConnectionState,
  PeerError,
  type PeerErrorReason,
  type RequestConnection,
  type RequestOptions,
  type StateListener,
} from '../exchange';
import { PeerConnection } from './peer-connection';
import { Drops } from './drops';
import { codeOf } from './errno';
import { clockOf, sendingOptions, type SocketEnvironment } from './options';
import { type PrivateSocket } from './private-socket';

/** Bytes of requests to one peer that were sent and not answered. */
const MAX_REQUEST_BYTES_IN_FLIGHT = 8 * 1024 * 1024;
/** Requests to one peer that were sent and not answered; the throughput curve is flat well before. */
const MAX_REQUESTS_IN_FLIGHT = 256;
/** Requests to one peer that wait for a connection or a place in flight; beyond, the caller is told `queue_full`. */
const MAX_REQUESTS_WAITING = 1000;
/** Milliseconds of a request that names no time-out: the default wait of a send action (docs/layers.md). */
const DEFAULT_REQUEST_TIMEOUT_MS = 10_000;

export interface RequesterOptions extends SocketEnvironment {
  readonly maxInFlight?: number;
  readonly maxWaiting?: number;
}

interface Pending {
  readonly id: number;
  readonly body: Buffer | string;
  readonly deadlineMs: number;
  readonly resolve: (reply: Buffer) => void;
  readonly reject: (error: Error) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
  /** The connection it was sent on, counted; 0 while it waits. */
  connection: number;
}

const CORRELATION_BYTES = 4;
const EMPTY = Buffer.alloc(0);
/** Milliseconds for replies that came before a loss to be read. */
const LATE_REPLIES_MS = 200;
/** Milliseconds until a send is tried again that met a connection which is up but not attached yet. */
const SEND_AGAIN_MS = 1;

export class Requester implements RequestConnection {
  readonly #connection: PeerConnection<Dealer>;
  readonly #clock: Clock;
  readonly #drops: Drops;
  readonly #maxInFlight: number;
  readonly #maxWaiting: number;
  readonly #listeners = new Set<StateListener>();
  /** Both in the order of their requests. */
  #waiting = new Map<number, Pending>();
  readonly #inFlight = new Map<number, Pending>();
  #inFlightBytes = 0;
  #lastId = 0;
  #connections = 0;
  #sweeping = false;
  #closed = false;

  /** Connects at once, in the background. @throws CmbsError `bad_attribute` for an address that is not one, `forbidden` */
  constructor(
    address: Address | string,
    private readonly options: RequesterOptions,
  ) {
    const peer = typeof address === 'string' ? options.context.toDial(address) : address;
    this.#clock = clockOf(options);
    this.#drops = new Drops('requester', peer.text, options.log, options.counters);
    this.#maxInFlight = options.maxInFlight ?? MAX_REQUESTS_IN_FLIGHT;
    this.#maxWaiting = options.maxWaiting ?? MAX_REQUESTS_WAITING;
    this.#connection = new PeerConnection<Dealer>(
      peer,
      {
        type: 'DEALER',
        maxMessageBytes: HARD_REPLY_BYTES,
        drops: this.#drops,
        create: () => new Dealer(sendingOptions(options.context)),
        opened: (socket) => void this.#receive(socket),
        changed: (state, lost) => this.#changed(state, lost),
      },
      options,
    );
    this.#connection.open();
  }

  get address(): string {
    return this.#connection.address.text;
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** Looks at once whether a peer that is not there is back, unless that was done just now; gives the state since. */
  connectNow(): ConnectionState {
    // A socket with replies still to be read is not replaced.
    if (!this.#closed && this.state !== 'up' && this.#inFlight.size === 0) this.#connection.connectNow();
    return this.state;
  }

  /** Requests that have no outcome yet. */
  get pending(): number {
    return this.#waiting.size + this.#inFlight.size;
  }

  /** Calls `listener` at every change of {@link state}, until the returned function is called. */
  onState(listener: StateListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Sends one request; resolves with the body of the reply.
   * @throws PeerError see its reasons
   * @throws CmbsError `queue_full` when too many wait, `too_large` when no peer could take the body
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
      const id = this.#nextId();
      const onAbort = signal === undefined ? undefined : () => this.#fail(id, 'aborted');
      const deadlineMs = this.#clock.now() + timeoutMs;
      const pending: Pending = { id, body, deadlineMs, resolve, reject, signal, onAbort, connection: 0 };
      if (onAbort !== undefined) signal?.addEventListener('abort', onAbort, { once: true });
      this.#sweep();
      if (this.state === 'up' && this.#waiting.size === 0 && this.#hasRoom(pending)) this.#send(pending);
      else this.#waiting.set(id, pending);
    });
  }

  /** Rejects what has no reply (`closed`) and closes the socket. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    const closed = this.#connection.close();
    for (const id of [...this.#waiting.keys(), ...this.#inFlight.keys()]) this.#fail(id, 'closed');
    await closed;
  }

  /** Why a request cannot even wait. */
  #refusal(body: Buffer | string, signal: AbortSignal | undefined): Error | undefined {
    if (this.#closed) return this.#error('closed', false);
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
    if (this.#waiting.size >= this.#maxWaiting) {
      return new CmbsError('queue_full', `Too many requests wait for ${this.address}; try again in a second.`, {
        headers: { 'Retry-After': '1' },
      });
    }
    return undefined;
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#inFlight.has(this.#lastId) || this.#waiting.has(this.#lastId));
    return this.#lastId;
  }

  #hasRoom({ body }: Pending): boolean {
    if (this.#inFlight.size === 0) return true;
    if (this.#inFlight.size >= this.#maxInFlight) return false;
    return this.#inFlightBytes + body.length <= MAX_REQUEST_BYTES_IN_FLIGHT;
  }

  #send(pending: Pending): void {
    const socket = this.#connection.socket;
    if (socket === undefined) {
      this.#waiting.set(pending.id, pending);
      return;
    }
    pending.connection = this.#connections;
    this.#inFlight.set(pending.id, pending);
    this.#inFlightBytes += pending.body.length;
    const correlation = Buffer.allocUnsafe(CORRELATION_BYTES);
    correlation.writeUInt32BE(pending.id);
    // The high-water mark is above what may be in flight, so that a send is refused only when there is no connection.
    try {
      socket.send([correlation, EMPTY, pending.body]).catch((error: unknown) => this.#notSent(pending, error));
    } catch (error) {
      this.#notSent(pending, error); // the socket was closed under us
    }
  }

  /** Back to its place among those that wait: nothing of it has left. */
  #notSent(pending: Pending, error: unknown): void {
    if (!this.#leaveFlight(pending)) return;
    pending.connection = 0;
    this.#waiting.set(pending.id, pending);
    this.#waiting = new Map([...this.#waiting].sort(([one], [other]) => one - other));
    if (codeOf(error) !== 'EAGAIN') {
      this.options.log.error('request not sent', { address: this.address, cause: error });
      this.#fail(pending.id, 'lost');
      return;
    }
    this.#clock.after(SEND_AGAIN_MS, () => this.#pump());
  }

  #leaveFlight(pending: Pending): boolean {
    if (!this.#inFlight.delete(pending.id)) return false;
    this.#inFlightBytes -= pending.body.length;
    return true;
  }

  #pump(): void {
    for (const [id, pending] of this.#waiting) {
      if (this.state !== 'up' || !this.#hasRoom(pending)) return;
      this.#waiting.delete(id);
      this.#send(pending);
    }
  }

  async #receive(socket: PrivateSocket<Dealer>): Promise<void> {
    try {
      for (;;) {
        const frames = await socket.receive();
        this.#onReply(frames);
      }
    } catch (error) {
      if (!socket.closed)
        this.options.log.error('receiving replies failed', { address: this.address, cause: error });
    }
  }

  #onReply(frames: readonly Buffer[]): void {
    const [correlation, empty, body] = frames;
    if (correlation?.length !== CORRELATION_BYTES || empty?.length !== 0 || body === undefined) {
      this.#drops.note('malformed_reply', { frames: frames.length });
      return;
    }
    const pending = this.#inFlight.get(correlation.readUInt32BE());
    if (pending === undefined) {
      this.#drops.note('unknown_reply', { bytes: body.length });
      return;
    }
    // A plain peer that replies in several frames has its first one taken, as a plain `REQ` reader does.
    if (frames.length > 3) this.#drops.note('extra_reply_frames', { frames: frames.length });
    this.#settle(pending);
    pending.resolve(body);
    if (this.#waiting.size > 0) this.#pump();
  }

  #changed(state: ConnectionState, lost: boolean): void {
    if (state === 'up') {
      this.#connections += 1;
      this.#pump();
    } else if (state === 'down') {
      for (const id of [...this.#waiting.keys()]) this.#fail(id, 'no_listener');
    }
    if (lost) this.#failLost(this.#connections, this.#clock.now() + LATE_REPLIES_MS);
    for (const listener of [...this.#listeners]) listener(state);
  }

  /**
   * Fails what was sent on a connection that is gone, once the replies that came before the loss are read, and goes on
   * with a new socket.
   */
  #failLost(connection: number, deadlineMs: number): void {
    if (connection === this.#connections && this.#connection.underWay > 0 && this.#clock.now() < deadlineMs) {
      setImmediate(() => this.#failLost(connection, deadlineMs));
      return;
    }
    for (const pending of [...this.#inFlight.values()]) {
      if (pending.connection <= connection) this.#fail(pending.id, 'lost');
    }
    if (connection === this.#connections) this.#connection.renew();
  }

  #fail(id: number, reason: PeerErrorReason): void {
    const pending = this.#inFlight.get(id) ?? this.#waiting.get(id);
    if (pending === undefined) return;
    const sent = this.#inFlight.has(id);
    this.#settle(pending);
    this.options.counters.add('cmbs_requests_failed', { reason });
    pending.reject(this.#error(reason, sent));
    if (sent && this.#waiting.size > 0) this.#pump();
  }

  #settle(pending: Pending): void {
    if (!this.#leaveFlight(pending)) this.#waiting.delete(pending.id);
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener('abort', pending.onAbort);
  }

  /** Looks at every deadline in turn while something is pending. */
  #sweep(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#clock.after(DEADLINE_SWEEP_MS, () => {
      this.#sweeping = false;
      const now = this.#clock.now();
      for (const each of [this.#inFlight, this.#waiting]) {
        for (const pending of [...each.values()]) {
          if (pending.deadlineMs <= now) this.#fail(pending.id, 'timeout');
        }
      }
      if (this.pending > 0) this.#sweep();
    });
  }

  #error(reason: PeerErrorReason, sent: boolean): PeerError {
    return new PeerError(reason, this.address, this.#sentence(reason), sent);
  }

  #sentence(reason: PeerErrorReason): string {
    switch (reason) {
      case 'no_listener':
        return `No peer can be reached at ${this.address}: ${this.#connection.why}.`;
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
