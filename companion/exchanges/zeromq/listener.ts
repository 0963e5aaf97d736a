/**
 * The bound side of broadcasts: one SUB that is subscribed to everything. It handles messages one after the other, in
 * the order of their arrival.
 *
 * A bound SUB attaches a new peer, and so sends it the subscription, only inside a socket call. Therefore a receive is
 * pending at all times, except while the buffer is full.
 */
import { Subscriber } from 'zeromq';
import { type Clock, type Counters, type Log } from '@cmbs/shared';
import type { Address } from '@cmbs/shared/broker';
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import { BoundSocket } from './bound';
import { type Drops } from './drops';
import { Intake } from './intake';
import { DRAIN_MS, HANDLER_TIMEOUT_MS, HARD_MESSAGE_BYTES } from './limits';
import { clockOf, commonOptions, type SocketEnvironment } from './options';

/** Broadcasts that were received and are not handled yet; while the buffer is full, nothing more is received. */
const MAX_BROADCASTS_BUFFERED = 1000;
/** Bytes of the same. */
const MAX_BROADCAST_BYTES_BUFFERED = 16 * 1024 * 1024;

export type BroadcastHandler = (body: Buffer) => void | Promise<void>;

export interface ListenerOptions extends SocketEnvironment {
  /** Largest body in bytes that the handler is given; a larger one is counted and dropped. */
  readonly softLimit?: number;
  /** Milliseconds after which the next message no longer waits for a handler that has not ended. */
  readonly handlerTimeoutMs?: number;
}

export class Listener {
  /** Where it listens; with the port that the system chose where the address left the port open. */
  readonly address: string;
  readonly #handler: BroadcastHandler;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #counters: Counters;
  readonly #drops: Drops;
  readonly #softLimit: number;
  readonly #handlerTimeoutMs: number;
  readonly #intake: Intake<Subscriber>;
  readonly #buffer: Buffer[] = [];
  #bufferedBytes = 0;
  /** The handler whose end the next message waits for. */
  #current: object | undefined;

  private constructor(bound: BoundSocket<Subscriber>, handler: BroadcastHandler, options: ListenerOptions) {
    this.address = bound.endpoint;
    this.#handler = handler;
    this.#clock = clockOf(options);
    this.#log = options.log;
    this.#counters = options.counters;
    this.#drops = bound.drops;
    this.#softLimit = options.softLimit ?? MAX_FRAME_BYTES;
    this.#handlerTimeoutMs = options.handlerTimeoutMs ?? HANDLER_TIMEOUT_MS;
    this.#intake = new Intake(
      bound,
      {
        name: 'listener',
        messages: 'broadcasts',
        isBusy: () => this.#isBusy,
        isFull: () => this.#isFull,
        take: (frames) => this.#take(frames),
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
    handler: BroadcastHandler,
    options: ListenerOptions,
  ): Promise<Listener> {
    const create = (): Subscriber => {
      const socket = new Subscriber(commonOptions(options.context));
      socket.subscribe();
      return socket;
    };
    const bound = await BoundSocket.bind(address, create, {
      name: 'listener',
      type: 'SUB',
      maxMessageBytes: HARD_MESSAGE_BYTES,
      environment: options,
    });
    return new Listener(bound, handler, options);
  }

  /** Messages that were received and wait for the handler. */
  get buffered(): number {
    return this.#buffer.length;
  }

  /** Handles received messages, for `drainMs` at most, then closes; afterwards the address is free. */
  close(drainMs: number = DRAIN_MS): Promise<void> {
    return this.#intake.close(drainMs);
  }

  #abandon(): void {
    if (this.#buffer.length > 0) this.#drops.note('unhandled_at_close', { messages: this.#buffer.length });
    this.#buffer.length = 0;
  }

  get #isBusy(): boolean {
    return this.#current !== undefined;
  }

  get #isFull(): boolean {
    return this.#buffer.length >= MAX_BROADCASTS_BUFFERED || this.#bufferedBytes >= MAX_BROADCAST_BYTES_BUFFERED;
  }

  #take(frames: readonly Buffer[]): void {
    const [body] = frames;
    if (body === undefined || frames.length > 1) {
      this.#drops.note('not_one_frame', { frames: frames.length });
    } else if (body.length > this.#softLimit) {
      this.#drops.note('too_large', { bytes: body.length });
    } else if (this.#isBusy) {
      this.#buffer.push(body);
      this.#bufferedBytes += body.length;
    } else {
      this.#handle(body);
    }
  }

  #handle(body: Buffer): void {
    let outcome: void | Promise<void>;
    try {
      outcome = this.#handler(body);
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (outcome === undefined) return;
    const current = {};
    this.#current = current;
    const cancel = this.#clock.after(this.#handlerTimeoutMs, () => {
      this.#drops.note('handler_timeout');
      this.#next(current);
    });
    outcome.then(
      () => {
        cancel();
        this.#next(current);
      },
      (error: unknown) => {
        cancel();
        this.#failed(error);
        this.#next(current);
      },
    );
  }

  /** Goes on after the handler `ended`, unless its time was over before. */
  #next(ended: object): void {
    if (this.#current !== ended) return;
    this.#current = undefined;
    while (!this.#isBusy) {
      const body = this.#buffer.shift();
      if (body === undefined) break;
      this.#bufferedBytes -= body.length;
      this.#handle(body);
    }
    if (!this.#isFull) this.#intake.resume();
    if (!this.#isBusy) this.#intake.becameIdle();
  }

  #failed(error: unknown): void {
    this.#log.error('a broadcast handler failed', { address: this.address, cause: error });
    this.#counters.add('cmbs_handler_failures', { socket: 'listener' });
  }
}
