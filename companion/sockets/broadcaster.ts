/**
 * Broadcasts to one peer: one XPUB that connects to the SUB which the peer has bound, as the original's PUB did.
 *
 * There is one per peer since an XPUB shared by several shows that a subscription came and not whose. A message is
 * taken only while the peer's subscription is up: PUB sockets drop what nobody is subscribed to, which is how the
 * original lost all of its broadcasts. What is not taken stays with the caller.
 *
 * There is no acknowledgement: what was taken and not yet written when the connection breaks is lost.
 */
import { XPublisher } from 'zeromq';
import { BROADCAST_RETRY_MAX_MS, BROADCAST_RETRY_MS } from '@cmbs/shared/limits';
import { type Clock } from '@cmbs/shared';
import { type Address, parseAddress } from '../transports';
import { Connection, type ConnectionState } from './connection';
import { Drops } from './drops';
import { codeOf } from './errno';
import { clockOf, connectOptions, type SocketEnvironment } from './options';

/** First byte of what an XPUB receives. */
const SUBSCRIBED = 1;
const UNSUBSCRIBED = 0;

export class Broadcaster {
  readonly #connection: Connection<XPublisher>;
  readonly #clock: Clock;
  readonly #drops: Drops;
  readonly #subscriptionListeners = new Set<(subscribed: boolean) => void>();
  readonly #stateListeners = new Set<(state: ConnectionState) => void>();
  readonly #writableListeners = new Set<() => void>();
  /**
   * Distinct prefixes that the peer is subscribed to; it alone decides what it gets. Only the frames count: libzmq
   * merges a subscription that comes again before the old connection has gone, and then reports neither.
   */
  #subscriptions = 0;
  #cancelRetry: (() => void) | undefined;
  #retryMs = BROADCAST_RETRY_MS;
  #closed = false;

  /** Connects at once, in the background. @throws CmbsError `bad_attribute` for an address that is not one */
  constructor(
    address: Address | string,
    private readonly options: SocketEnvironment,
  ) {
    const peer = typeof address === 'string' ? parseAddress(address) : address;
    this.#clock = clockOf(options);
    this.#drops = new Drops('broadcaster', peer.text, options.log, options.counters, this.#clock);
    this.#connection = new Connection<XPublisher>(
      peer,
      {
        // `immediate`: a connection that is gone takes its subscriptions with it; without, messages would pile up for
        // it unseen. `noDrop`: a full connection refuses a message instead of dropping it silently.
        create: (ipv6) =>
          new XPublisher({ ...connectOptions(options.context), ipv6, immediate: true, noDrop: true }),
        opened: (socket) => this.#opened(socket),
        changed: (state) => this.#changed(state),
      },
      options,
    );
    this.#connection.open();
  }

  get address(): string {
    return this.#connection.address.text;
  }

  /** `down` = refused: nobody listens there, or what listens does not fit. `up` does not mean subscribed. */
  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** In a few words, why {@link state} is `down`. */
  get why(): string {
    return this.#connection.why;
  }

  get subscribed(): boolean {
    return this.#subscriptions > 0 && !this.#closed;
  }

  /** Calls `listener` each time the subscription goes up or down, until the returned function is called. */
  onSubscription(listener: (subscribed: boolean) => void): () => void {
    this.#subscriptionListeners.add(listener);
    return () => void this.#subscriptionListeners.delete(listener);
  }

  /** Calls `listener` at every change of {@link state}, until the returned function is called. */
  onState(listener: (state: ConnectionState) => void): () => void {
    this.#stateListeners.add(listener);
    return () => void this.#stateListeners.delete(listener);
  }

  /**
   * Calls `listener` when a message that was refused by a full connection may be tried again, until the returned
   * function is called. XPUB has no event for it: this is a timer, from `BROADCAST_RETRY_MS` on
   * longer with each refusal in a row.
   */
  onWritable(listener: () => void): () => void {
    this.#writableListeners.add(listener);
    return () => void this.#writableListeners.delete(listener);
  }

  /**
   * Hands one message to the connection, in the order of the calls. False when the subscription is not up or the
   * connection is full: then nothing was sent, and the caller keeps the message. To keep the order, send the next
   * one when this one was taken.
   */
  send(body: Buffer | string): boolean | Promise<boolean> {
    const socket = this.#connection.socket;
    if (!this.subscribed || socket === undefined) return false;
    try {
      return socket.send(body).then(this.#taken, this.#refused);
    } catch (error) {
      return this.#refused(error); // the socket was closed under us
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#subscriptionListeners.clear();
    this.#stateListeners.clear();
    this.#writableListeners.clear();
    this.#cancelRetry?.();
    this.#connection.close();
  }

  readonly #taken = (): true => {
    this.#retryMs = BROADCAST_RETRY_MS;
    return true;
  };

  readonly #refused = (error: unknown): false => {
    if (codeOf(error) !== 'EAGAIN') {
      this.options.log.error('broadcast not sent', { address: this.address, cause: error });
    }
    this.options.counters.add('cmbs_broadcasts_refused');
    if (!this.#closed) {
      this.#cancelRetry ??= this.#clock.after(this.#retryMs, () => {
        this.#cancelRetry = undefined;
        this.#retryMs = Math.min(2 * this.#retryMs, BROADCAST_RETRY_MAX_MS);
        for (const listener of [...this.#writableListeners]) listener();
      });
    }
    return false;
  };

  #opened(socket: XPublisher): void {
    this.#setSubscriptions(0);
    void this.#receive(socket);
  }

  async #receive(socket: XPublisher): Promise<void> {
    try {
      for (;;) {
        const [frame] = await socket.receive();
        if (socket !== this.#connection.socket) return;
        if (frame?.[0] === SUBSCRIBED) this.#setSubscriptions(this.#subscriptions + 1);
        else if (frame?.[0] === UNSUBSCRIBED) this.#setSubscriptions(Math.max(0, this.#subscriptions - 1));
        else this.#drops.note('not_a_subscription');
      }
    } catch (error) {
      if (!socket.closed)
        this.options.log.error('receiving subscriptions failed', { address: this.address, cause: error });
    }
  }

  #setSubscriptions(count: number): void {
    const before = this.#subscriptions > 0;
    this.#subscriptions = count;
    const after = count > 0;
    if (before === after) return;
    for (const listener of [...this.#subscriptionListeners]) listener(after);
  }

  #changed(state: ConnectionState): void {
    // A socket that is gone tells nothing any more; the next one starts without a subscription.
    if (this.#connection.socket === undefined) this.#setSubscriptions(0);
    for (const listener of [...this.#stateListeners]) listener(state);
  }
}
