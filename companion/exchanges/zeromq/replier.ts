/**
 * The bound side of request and reply: one ROUTER that serves plain `REQ` peers and DEALERs with many in flight side
 * by side.
 *
 * On the wire: `[peer, …envelope, empty, body]`; the reply echoes all frames up to the empty one. Each request gets
 * one reply: the handler's, or an error that the caller of {@link Replier.bind} words. Where no empty frame is, there
 * is no envelope to reply to: counted and dropped.
 *
 * While all handlers are busy, or the bodies that they work on fill `MAX_HANDLED_BYTES`, nothing is received, and soon
 * nothing more is read from peers.
 */
import { Router } from 'zeromq';
import { type Clock, CmbsError, toCmbsError } from '@cmbs/shared';
import { DEADLINE_SWEEP_MS, DRAIN_MS, HANDLER_TIMEOUT_MS, HARD_MESSAGE_BYTES } from './limits';
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import { type Address, parseAddress } from '@cmbs/shared/broker';
import { BoundSocket } from './bound';
import { type Drops } from './drops';
import { codeOf } from './errno';
import { clockOf, sendingOptions, type SocketEnvironment } from './options';
import { Draining } from './draining';

/** Bytes of requests whose handlers run, for one bound socket; beyond, nothing more is received. */
const MAX_HANDLED_BYTES = 16 * 1024 * 1024;
/** Handlers that run at the same time for one bound socket; while all are busy nothing more is received. */
const MAX_HANDLERS = 256;
/** Frames before the empty one that a request's envelope may have: each hop through a ROUTER adds one. */
const MAX_ENVELOPE_FRAMES = 16;

export interface EnvelopeInfo {
  /** The connection that the request came by; a peer that reconnects has another. */
  readonly peer: Buffer;
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
  readonly frames: Buffer[];
  readonly bodyBytes: number;
  readonly deadlineMs: number;
}

export class Replier {
  readonly #clock: Clock;
  readonly #drops: Drops;
  readonly #draining: Draining;
  readonly #maxConcurrent: number;
  readonly #softLimit: number;
  readonly #handlerTimeoutMs: number;
  readonly #running = new Set<Running>();
  #runningBytes = 0;
  #received = 0;
  #sweeping = false;
  /** Continues the receive loop that waits for a handler to end. */
  #resume: (() => void) | undefined;
  #released = false;
  #closing: Promise<void> | undefined;

  private constructor(
    /** Where it listens; with the port that the system chose where the address left it open. */
    readonly address: string,
    private readonly bound: BoundSocket<Router>,
    private readonly handler: RequestHandler,
    private readonly options: ReplierOptions,
  ) {
    this.#clock = clockOf(options);
    this.#drops = bound.drops;
    this.#draining = new Draining(this.#clock, {
      received: () => this.#received,
      underWay: () => bound.underWay,
      isBusy: () => this.#running.size > 0,
    });
    this.#maxConcurrent = options.maxConcurrent ?? MAX_HANDLERS;
    this.#softLimit = options.softLimit ?? MAX_FRAME_BYTES;
    this.#handlerTimeoutMs = options.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS;
    void this.#receive();
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
    const create = (): Router =>
      // `mandatory`: what a peer that left or does not read cannot take is refused to us, so that it can be counted.
      new Router({ ...sendingOptions(options.context), mandatory: true });
    const bound = await BoundSocket.bind(at, create, {
      name: 'replier',
      type: 'ROUTER',
      maxMessageBytes: HARD_MESSAGE_BYTES,
      addedFrames: 1,
      environment: options,
    });
    return new Replier(bound.endpoint, bound, handler, options);
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
    await this.#draining.ended(drainMs);
    this.#released = true;
    for (const { bodyBytes } of this.#running) this.#drops.note('unanswered_at_close', { bytes: bodyBytes });
    this.#running.clear();
    this.#resume?.();
    await this.bound.close();
  }

  get #isSaturated(): boolean {
    return this.#running.size >= this.#maxConcurrent || this.#runningBytes >= MAX_HANDLED_BYTES;
  }

  async #receive(): Promise<void> {
    try {
      while (!this.#released) {
        if (this.#isSaturated) {
          this.options.counters.add('cmbs_socket_paused', { socket: 'replier' });
          await new Promise<void>((resolve) => (this.#resume = resolve));
          this.#resume = undefined;
          continue;
        }
        const frames = await this.bound.receive();
        this.#received += 1;
        this.#take([...frames]);
      }
    } catch (error) {
      if (!this.bound.closed)
        this.options.log.error('receiving requests failed', { address: this.address, cause: error });
    }
  }

  #take(frames: Buffer[]): void {
    const empty = frames.findIndex((frame, index) => index > 0 && frame.length === 0);
    const hops = empty - 1;
    const [peer] = frames;
    if (peer === undefined || empty < 0 || hops > MAX_ENVELOPE_FRAMES) {
      this.#drops.note('no_envelope', { frames: frames.length });
      return;
    }
    const body = frames[empty + 1];
    if (body === undefined || frames.length !== empty + 2) {
      frames.length = empty + 2; // leaves room for the reply in the place of the body
      this.#drops.note('not_one_frame');
      this.#refuse(frames, new CmbsError('bad_request', 'A request must have one frame; send it as one.'));
      return;
    }
    if (body.length > this.#softLimit) {
      this.#drops.note('too_large', { bytes: body.length });
      const message = `A message may have at most ${String(this.#softLimit)} bytes; send less.`;
      this.#refuse(frames, new CmbsError('too_large', message));
      return;
    }

    let outcome: Promise<Reply> | Reply;
    try {
      outcome = this.handler(body, { peer, hops });
    } catch (error) {
      this.#refuse(frames, error);
      return;
    }
    if (typeof outcome === 'string' || Buffer.isBuffer(outcome)) {
      this.#reply(frames, outcome);
      return;
    }
    const deadlineMs = this.#clock.now() + this.#handlerTimeoutMs;
    const running: Running = { frames, bodyBytes: body.length, deadlineMs };
    this.#running.add(running);
    this.#runningBytes += running.bodyBytes;
    this.#sweep();
    outcome.then(
      (reply) => {
        if (this.#end(running)) this.#reply(frames, reply);
      },
      (error: unknown) => {
        if (this.#end(running)) this.#refuse(frames, error);
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
    this.#resume?.();
    if (this.#running.size === 0) this.#draining.becameIdle();
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
          running.frames,
          new CmbsError('deadline_exceeded', 'The request took too long; try it again.'),
        );
      }
      if (this.#running.size > 0) this.#sweep();
    });
  }

  #refuse(frames: Buffer[], thrown: unknown): void {
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
    this.#reply(frames, reply);
  }

  /** @param frames of the request, its body the last: the reply takes that place, and no frame is copied */
  #reply(frames: Buffer[], reply: Reply): void {
    const message: Reply[] = frames;
    message[message.length - 1] = reply;
    try {
      this.bound.socket.send(message).catch(this.#onSendFailed);
    } catch (error) {
      this.#onSendFailed(error); // the socket was closed under us
    }
  }

  readonly #onSendFailed = (error: unknown): void => {
    switch (codeOf(error)) {
      case 'EHOSTUNREACH':
        this.#drops.note('peer_gone');
        return;
      case 'EAGAIN':
        this.#drops.note('peer_does_not_read');
        return;
      default:
        this.#drops.note('reply_not_sent', { error });
    }
  };
}
