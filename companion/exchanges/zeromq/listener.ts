/**
 * The bound side of broadcasts: one SUB that is subscribed to everything, whose messages are handled one after the
 * other in the order of their arrival.
 *
 * A bound SUB attaches a new peer, and so sends it the subscription, only inside a socket call: a receive is pending
 * at all times, except while the buffer is full.
 */
import { Subscriber } from 'zeromq';
import { type Clock } from '@cmbs/shared';
import { DRAIN_MS, HANDLER_TIMEOUT_MS, HARD_MESSAGE_BYTES } from './limits';
import { MAX_FRAME_BYTES } from '@cmbs/shared/limits';
import { type Address, parseAddress } from '@cmbs/shared/broker';
import { BoundSocket } from './bound';
import { type Drops } from './drops';
import { clockOf, commonOptions, type SocketEnvironment } from './options';
import { Draining } from './draining';

/** Broadcasts received and not handled yet; while it is full nothing more is received. */
const MAX_BROADCASTS_BUFFERED = 1000;
/** Bytes of the same. */
const MAX_BROADCAST_BYTES_BUFFERED = 16 * 1024 * 1024;

export type BroadcastHandler = (body: Buffer) => void | Promise<void>;

export interface ListenerOptions extends SocketEnvironment {
  /** Bytes of a body that the handler is given; a larger one is counted and dropped. */
  readonly softLimit?: number;
  /** Milliseconds after which a handler that has not ended holds up the next message no longer. */
  readonly handlerTimeoutMs?: number;
}

export class Listener {
  readonly #clock: Clock;
  readonly #drops: Drops;
  readonly #draining: Draining;
  readonly #softLimit: number;
  readonly #handlerTimeoutMs: number;
  readonly #buffer: Buffer[] = [];
  #bufferedBytes = 0;
  #received = 0;
  /** The handler whose end the next message waits for. */
  #current: object | undefined;
  #resume: (() => void) | undefined;
  #released = false;
  #closing: Promise<void> | undefined;

  private constructor(
    /** Where it listens; with the port that the system chose where the address left it open. */
    readonly address: string,
    private readonly bound: BoundSocket<Subscriber>,
    private readonly handler: BroadcastHandler,
    private readonly options: ListenerOptions,
  ) {
    this.#clock = clockOf(options);
    this.#drops = bound.drops;
    this.#draining = new Draining(this.#clock, {
      received: () => this.#received,
      underWay: () => bound.underWay,
      isBusy: () => this.#isBusy,
    });
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
    handler: BroadcastHandler,
    options: ListenerOptions,
  ): Promise<Listener> {
    const at = typeof address === 'string' ? parseAddress(address, { bind: true, anyPort: true }) : address;
    const create = (): Subscriber => {
      const socket = new Subscriber(commonOptions(options.context));
      socket.subscribe();
      return socket;
    };
    const bound = await BoundSocket.bind(at, create, {
      name: 'listener',
      type: 'SUB',
      maxMessageBytes: HARD_MESSAGE_BYTES,
      environment: options,
    });
    return new Listener(bound.endpoint, bound, handler, options);
  }

  /** Messages that were received and wait for the handler. */
  get buffered(): number {
    return this.#buffer.length;
  }

  /** Handles what was received, for `drainMs` at most, then closes; afterwards the port is free. */
  close(drainMs: number = DRAIN_MS): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    await this.#draining.ended(drainMs);
    this.#released = true;
    if (this.#buffer.length > 0) this.#drops.note('unhandled_at_close', { messages: this.#buffer.length });
    this.#buffer.length = 0;
    this.#resume?.();
    await this.bound.close();
  }

  get #isBusy(): boolean {
    return this.#current !== undefined;
  }

  get #isFull(): boolean {
    return this.#buffer.length >= MAX_BROADCASTS_BUFFERED || this.#bufferedBytes >= MAX_BROADCAST_BYTES_BUFFERED;
  }

  async #receive(): Promise<void> {
    try {
      while (!this.#released) {
        if (this.#isFull) {
          this.options.counters.add('cmbs_socket_paused', { socket: 'listener' });
          await new Promise<void>((resolve) => (this.#resume = resolve));
          this.#resume = undefined;
          continue;
        }
        const frames = await this.bound.receive();
        this.#received += 1;
        this.#take(frames);
      }
    } catch (error) {
      if (!this.bound.closed)
        this.options.log.error('receiving broadcasts failed', { address: this.address, cause: error });
    }
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
      outcome = this.handler(body);
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

  /** Goes on after the handler `ended`, unless that was done when its time was over. */
  #next(ended: object): void {
    if (this.#current !== ended) return;
    this.#current = undefined;
    while (!this.#isBusy) {
      const body = this.#buffer.shift();
      if (body === undefined) break;
      this.#bufferedBytes -= body.length;
      this.#handle(body);
    }
    if (!this.#isFull) this.#resume?.();
    if (!this.#isBusy) this.#draining.becameIdle();
  }

  #failed(error: unknown): void {
    this.options.log.error('a broadcast handler failed', { address: this.address, cause: error });
    this.options.counters.add('cmbs_handler_failures', { socket: 'listener' });
  }
}
