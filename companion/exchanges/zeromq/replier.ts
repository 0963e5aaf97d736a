/**
 * The bound side of request and reply: one ROUTER that serves plain `REQ` peers, and DEALERs with many requests in
 * flight, side by side.
 *
 * On the wire: `[peer, …envelope, empty, body]`; the reply repeats all frames up to the empty one (RFC 28). Each request
 * gets one reply: the handler's, or an error that the caller of {@link Replier.bind} words. A message without an empty
 * frame has no envelope to reply to; it is counted and dropped.
 *
 * While all handlers are busy, or the bodies that they work on fill `MAX_HANDLED_BYTES`, nothing is received, and soon
 * nothing more is read from peers.
 */
import { Router } from 'zeromq';
import { type Clock, CmbsError, type Counters, type Log, toCmbsError } from '@cmbs/shared';
import type { Address } from '@cmbs/shared/broker';
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import { BoundSocket } from './bound';
import { Deadlines } from './deadlines';
import { type Drops } from './drops';
import { codeOf } from './errno';
import { Intake } from './intake';
import { DRAIN_MS, HANDLER_TIMEOUT_MS, HARD_MESSAGE_BYTES } from './limits';
import { clockOf, sendingOptions, type SocketEnvironment } from './options';

/** Bytes of requests whose handlers run, for one bound socket; beyond, nothing more is received. */
const MAX_HANDLED_BYTES = 16 * 1024 * 1024;
/** Handlers that run at the same time for one bound socket; while all are busy, nothing more is received. */
const MAX_HANDLERS = 256;
/** Frames before the empty one that a request's envelope may have: each hop through a ROUTER adds one. */
const MAX_ENVELOPE_FRAMES = 16;

export interface EnvelopeInfo {
  /** The connection that brought the request; a peer that reconnects has another. */
  readonly peer: Buffer;
  /** Frames between the peer and the empty one: 0 for a plain `REQ`, 1 for our {@link Requester}. */
  readonly hops: number;
}

export type Reply = Buffer | string;
export type RequestHandler = (body: Buffer, envelope: EnvelopeInfo) => Promise<Reply> | Reply;

export interface ReplierOptions extends SocketEnvironment {
  /**
   * Words the reply for a request that has no other: `bad_request` (not one frame), `too_large`,
   * `deadline_exceeded`, or the error of the handler (`internal` unless that is a CmbsError).
   */
  readonly errorReply: (error: CmbsError) => Reply;
  /** Handlers at the same time; while that many run, nothing is received. */
  readonly maxConcurrent?: number;
  /** Largest body in bytes that the handler is given. */
  readonly softLimit?: number;
  /** Milliseconds that a handler has. */
  readonly handlerTimeoutMs?: number;
}

/** A request whose handler has not ended. */
interface Running {
  readonly frames: Buffer[];
  readonly bodyBytes: number;
  readonly deadlineMs: number;
}

export class Replier {
  /** Where it listens; with the port that the system chose where the address left the port open. */
  readonly address: string;
  readonly #bound: BoundSocket<Router>;
  readonly #handler: RequestHandler;
  readonly #errorReply: ReplierOptions['errorReply'];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #counters: Counters;
  readonly #drops: Drops;
  readonly #maxConcurrent: number;
  readonly #softLimit: number;
  readonly #handlerTimeoutMs: number;
  readonly #intake: Intake<Router>;
  readonly #deadlines: Deadlines;
  readonly #running = new Set<Running>();
  #runningBytes = 0;

  private constructor(bound: BoundSocket<Router>, handler: RequestHandler, options: ReplierOptions) {
    this.address = bound.endpoint;
    this.#bound = bound;
    this.#handler = handler;
    this.#errorReply = options.errorReply;
    this.#clock = clockOf(options);
    this.#log = options.log;
    this.#counters = options.counters;
    this.#drops = bound.drops;
    this.#maxConcurrent = options.maxConcurrent ?? MAX_HANDLERS;
    this.#softLimit = options.softLimit ?? MAX_FRAME_BYTES;
    this.#handlerTimeoutMs = options.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS;
    this.#deadlines = new Deadlines(
      this.#clock,
      (nowMs) => this.#expire(nowMs),
      () => this.#running.size > 0,
    );
    this.#intake = new Intake(
      bound,
      {
        name: 'replier',
        messages: 'requests',
        isBusy: () => this.#running.size > 0,
        isFull: () => this.#running.size >= this.#maxConcurrent || this.#runningBytes >= MAX_HANDLED_BYTES,
        take: (frames) => this.#take([...frames]),
        abandon: () => this.#abandon(),
      },
      options,
    );
  }

  /**
   * Listens at an address.
   * @throws CmbsError `bad_attribute` when the text is not an address, `conflict` with the reason when the address
   * cannot be opened
   */
  static async bind(
    address: Address | string,
    handler: RequestHandler,
    options: ReplierOptions,
  ): Promise<Replier> {
    const create = (): Router =>
      // `mandatory`: a reply to a peer that has left or does not read is refused to us, so that we can count it.
      new Router({ ...sendingOptions(options.context), mandatory: true });
    const bound = await BoundSocket.bind(address, create, {
      name: 'replier',
      type: 'ROUTER',
      maxMessageBytes: HARD_MESSAGE_BYTES,
      addedFrames: 1,
      environment: options,
    });
    return new Replier(bound, handler, options);
  }

  /** Handlers that run now. */
  get running(): number {
    return this.#running.size;
  }

  /**
   * Answers received requests, for `drainMs` at most, then closes; afterwards the address is free. Requests that are not
   * answered by then are counted. A second call waits for the same close.
   */
  close(drainMs: number = DRAIN_MS): Promise<void> {
    return this.#intake.close(drainMs);
  }

  #abandon(): void {
    for (const { bodyBytes } of this.#running) this.#drops.note('unanswered_at_close', { bytes: bodyBytes });
    this.#running.clear();
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
    this.#handle(frames, body, { peer, hops });
  }

  #handle(frames: Buffer[], body: Buffer, envelope: EnvelopeInfo): void {
    let outcome: Promise<Reply> | Reply;
    try {
      outcome = this.#handler(body, envelope);
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
    this.#deadlines.watch();
    outcome.then(
      (reply) => {
        if (this.#end(running)) this.#reply(frames, reply);
      },
      (error: unknown) => {
        if (this.#end(running)) this.#refuse(frames, error);
      },
    );
  }

  /** False when the request was ended before: its handler is too late. */
  #end(running: Running): boolean {
    if (!this.#running.delete(running)) {
      this.#drops.note('late_reply');
      return false;
    }
    this.#runningBytes -= running.bodyBytes;
    this.#intake.resume();
    if (this.#running.size === 0) this.#intake.becameIdle();
    return true;
  }

  #expire(nowMs: number): void {
    for (const running of [...this.#running]) {
      if (running.deadlineMs > nowMs || !this.#end(running)) continue;
      this.#drops.note('handler_timeout');
      const error = new CmbsError('deadline_exceeded', 'The request took too long; try it again.');
      this.#refuse(running.frames, error);
    }
  }

  #refuse(frames: Buffer[], thrown: unknown): void {
    const error = toCmbsError(thrown);
    if (!(thrown instanceof CmbsError)) {
      this.#log.error('a request handler failed', { address: this.address, cause: thrown });
      this.#counters.add('cmbs_handler_failures', { socket: 'replier' });
    }
    let reply: Reply;
    try {
      reply = this.#errorReply(error);
    } catch (failure) {
      this.#log.error('an error reply could not be worded', { address: this.address, cause: failure });
      reply = '';
    }
    this.#reply(frames, reply);
  }

  /** @param frames of the request. The reply takes the place of the body, the last frame, so that no frame is copied. */
  #reply(frames: Buffer[], reply: Reply): void {
    const message: Reply[] = frames;
    message[message.length - 1] = reply;
    try {
      this.#bound.socket.send(message).catch(this.#onSendFailed);
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
