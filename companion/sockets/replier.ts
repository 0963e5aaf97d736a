/**
 * The bound side of request and reply: what ZeroMQ calls a ROUTER, which serves plain `REQ` peers and DEALERs with many
 * in flight side by side.
 *
 * On the wire: `[…envelope, empty, body]`; the reply echoes all frames up to the empty one. Each request gets one reply:
 * the handler's, or an error that the caller of {@link Replier.bind} words. Where no empty frame is, there is no
 * envelope to reply to: counted and dropped.
 *
 * While as many handlers run as may, or have as many bytes, nothing more is read: each peer waits with one message, and
 * they go on in turn.
 */
import { type Clock, CmbsError, toCmbsError } from '@cmbs/shared';
import {
  DEADLINE_SWEEP_MS,
  DRAIN_MS,
  HANDLER_TIMEOUT_MS,
  HARD_MESSAGE_BYTES,
  MAX_ENVELOPE_FRAMES,
  MAX_FRAME_BYTES,
  MAX_HANDLED_BYTES,
  MAX_HANDLERS,
} from '@cmbs/shared/limits';
import { type Address, parseAddress } from '../transports';
import { BoundSocket } from './bound';
import { Drops } from './drops';
import { clockOf, type SocketEnvironment } from './options';
import { type Peer } from './peer';
import { quiet } from './turns';

export interface EnvelopeInfo {
  /** The connection that the request came by; a peer that reconnects has another. */
  readonly peer: Peer;
  /** Frames between the peer and the empty one: 0 for a plain `REQ`, 1 for our {@link Requester}. */
  readonly hops: number;
}

export type Reply = Buffer | string;
export type RequestHandler = (body: Buffer, envelope: EnvelopeInfo) => Promise<Reply> | Reply;

export interface ReplierOptions extends SocketEnvironment {
  /**
   * Words the reply for a request that has no other: `bad_request` (not one frame), `too_large`,
   * `deadline_exceeded`, or what the handler threw (`internal` unless it is a CmbsError).
   */
  readonly errorReply: (error: CmbsError) => Reply;
  /** Handlers at the same time; while that many run, nothing is received. */
  readonly maxConcurrent?: number;
  /** Bytes of a body that the handler is given. */
  readonly softLimit?: number;
  readonly handlerTimeoutMs?: number;
}

/** A request whose handler has not ended. */
interface Running {
  readonly peer: Peer;
  /** All up to the empty one. */
  readonly envelope: readonly Buffer[];
  readonly bodyBytes: number;
  readonly deadlineMs: number;
}

export class Replier {
  readonly #clock: Clock;
  readonly #drops: Drops;
  readonly #maxConcurrent: number;
  readonly #softLimit: number;
  readonly #handlerTimeoutMs: number;
  readonly #running = new Set<Running>();
  #runningBytes = 0;
  #received = 0;
  #sweeping = false;
  /** Peers wait for a handler to end. */
  #isPaused = false;
  /** Called when the last handler ends. */
  #idle: (() => void) | undefined;
  #released = false;
  #closing: Promise<void> | undefined;

  private constructor(
    /** Where it listens; with the port that the system chose where the address left it open. */
    readonly address: string,
    private readonly socket: BoundSocket,
    private readonly handler: RequestHandler,
    private readonly options: ReplierOptions,
  ) {
    this.#clock = clockOf(options);
    this.#drops = new Drops('replier', address, options.log, options.counters, this.#clock);
    this.#maxConcurrent = options.maxConcurrent ?? MAX_HANDLERS;
    this.#softLimit = options.softLimit ?? MAX_FRAME_BYTES;
    this.#handlerTimeoutMs = options.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS;
    socket.serve({ message: (peer, frames) => this.#take(peer, frames) }, this.#drops);
  }

  /**
   * Listens at an address.
   * @throws CmbsError `bad_attribute` for an address that is not one, `conflict` with the reason when it cannot be had
   */
  static async bind(
    address: Address | string,
    handler: RequestHandler,
    options: ReplierOptions,
  ): Promise<Replier> {
    const at = typeof address === 'string' ? parseAddress(address, { bind: true, anyPort: true }) : address;
    const limits = { type: 'ROUTER', maxMessageBytes: HARD_MESSAGE_BYTES } as const;
    const socket = await BoundSocket.bind(at, { ...limits, environment: options });
    return new Replier(socket.endpoint, socket, handler, options);
  }

  /** Handlers that run now. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * Answers what was received, for `drainMs` at most, then closes; afterwards the port is free. What is not answered
   * by then is counted. Calling it again waits for the same close.
   */
  close(drainMs: number = DRAIN_MS): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    const deadlineMs = this.#clock.now() + drainMs;
    const isLate = (): boolean => this.#clock.now() >= deadlineMs;
    do {
      await quiet(() => this.#received, isLate);
      if (this.#running.size === 0) break;
      await this.#becomesIdle(deadlineMs - this.#clock.now());
    } while (!isLate());
    this.#released = true;
    for (const { bodyBytes } of this.#running) this.#drops.note('unanswered_at_close', { bytes: bodyBytes });
    this.#running.clear();
    await this.socket.close();
  }

  async #becomesIdle(withinMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(Math.max(0, withinMs), resolve);
      this.#idle = () => {
        cancel();
        resolve();
      };
    });
    this.#idle = undefined;
  }

  get #isSaturated(): boolean {
    return this.#running.size >= this.#maxConcurrent || this.#runningBytes >= MAX_HANDLED_BYTES;
  }

  /** False while no handler is free. */
  #take(peer: Peer, frames: Buffer[]): boolean {
    if (this.#released) return true; // its peer is being closed
    if (this.#isSaturated) {
      if (!this.#isPaused) this.options.counters.add('cmbs_socket_paused', { socket: 'replier' });
      this.#isPaused = true;
      return false;
    }
    this.#received += 1;
    const hops = frames.findIndex(({ length }) => length === 0);
    if (hops < 0 || hops > MAX_ENVELOPE_FRAMES) {
      this.#drops.note('no_envelope', { frames: frames.length });
      return true;
    }
    const envelope = frames.slice(0, hops + 1);
    const body = frames[hops + 1];
    if (body === undefined || frames.length !== hops + 2) {
      this.#drops.note('not_one_frame');
      this.#refuse(peer, envelope, new CmbsError('bad_request', 'A request must have one frame; send it as one.'));
      return true;
    }
    if (body.length > this.#softLimit) {
      this.#drops.note('too_large', { bytes: body.length });
      const message = `A message may have at most ${String(this.#softLimit)} bytes; send less.`;
      this.#refuse(peer, envelope, new CmbsError('too_large', message));
      return true;
    }
    this.#handle(peer, envelope, body);
    return true;
  }

  #handle(peer: Peer, envelope: readonly Buffer[], body: Buffer): void {
    let outcome: Promise<Reply> | Reply;
    try {
      outcome = this.handler(body, { peer, hops: envelope.length - 1 });
    } catch (error) {
      this.#refuse(peer, envelope, error);
      return;
    }
    if (typeof outcome === 'string' || Buffer.isBuffer(outcome)) {
      this.#reply(peer, envelope, outcome);
      return;
    }
    const deadlineMs = this.#clock.now() + this.#handlerTimeoutMs;
    const running: Running = { peer, envelope, bodyBytes: body.length, deadlineMs };
    this.#running.add(running);
    this.#runningBytes += running.bodyBytes;
    this.#sweep();
    outcome.then(
      (reply) => {
        if (this.#end(running)) this.#reply(peer, envelope, reply);
      },
      (error: unknown) => {
        if (this.#end(running)) this.#refuse(peer, envelope, error);
      },
    );
  }

  /** False when the request had its end before: its handler came too late. */
  #end(running: Running): boolean {
    if (!this.#running.delete(running)) {
      this.#drops.note('late_reply');
      return false;
    }
    this.#runningBytes -= running.bodyBytes;
    if (this.#isPaused && !this.#isSaturated) {
      this.#isPaused = false;
      // After the reply to this one, which the caller sends.
      setImmediate(() => this.socket.resume(() => !this.#isSaturated));
    }
    if (this.#running.size === 0) this.#idle?.();
    return true;
  }

  #sweep(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#clock.after(DEADLINE_SWEEP_MS, () => {
      this.#sweeping = false;
      const now = this.#clock.now();
      for (const running of [...this.#running]) {
        if (running.deadlineMs > now || !this.#end(running)) continue;
        this.#drops.note('handler_timeout');
        this.#refuse(
          running.peer,
          running.envelope,
          new CmbsError('deadline_exceeded', 'The request took too long; try it again.'),
        );
      }
      if (this.#running.size > 0) this.#sweep();
    });
  }

  #refuse(peer: Peer, envelope: readonly Buffer[], thrown: unknown): void {
    const error = toCmbsError(thrown);
    if (!(thrown instanceof CmbsError)) {
      this.options.log.error('a request handler failed', { address: this.address, cause: thrown });
      this.options.counters.add('cmbs_handler_failures', { socket: 'replier' });
    }
    let reply: Reply;
    try {
      reply = this.options.errorReply(error);
    } catch (failure) {
      this.options.log.error('an error reply could not be worded', { address: this.address, cause: failure });
      reply = '';
    }
    this.#reply(peer, envelope, reply);
  }

  #reply(peer: Peer, envelope: readonly Buffer[], reply: Reply): void {
    // A peer that left or does not read cannot have it; counted, since the handler has done its work.
    if (peer.isFull) this.#drops.note('peer_does_not_read');
    else if (!peer.send([...envelope, reply])) this.#drops.note('peer_gone');
  }
}
