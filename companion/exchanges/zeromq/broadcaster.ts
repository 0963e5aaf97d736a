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
import { HARD_MESSAGE_BYTES, MAX_UNSENT_BYTES } from './limits';
import { type Clock } from '@cmbs/shared';
import type { Address } from '@cmbs/shared/broker';
import type { BroadcastConnection, ConnectionState } from '../exchange';
import { PeerConnection } from './peer-connection';
import { Drops } from './drops';
import { codeOf } from './errno';
import { clockOf, sendingOptions, type SocketEnvironment } from './options';
import { type PrivateSocket } from './private-socket';
import { LONG_HEADER, SHORT_HEADER, SUBSCRIBED, UNSUBSCRIBED } from './zmtp';

/** Subscriptions of one peer, and bytes of them: each broadcast is compared with all. Ours are one, of no bytes. */
const MAX_PEER_SUBSCRIPTIONS = 1000;
const MAX_PEER_SUBSCRIPTION_BYTES = 64 * 1024;
/**
 * Milliseconds after which a broadcast that met a full connection may be tried again, at first and at most. A peer that
 * reads empties 1000 messages in ten milliseconds and must not wait for us; one that hangs must not keep us busy.
 */
const BROADCAST_RETRY_MS = 2;
const BROADCAST_RETRY_MAX_MS = 32;

/** Bytes that a message of one frame has on the wire (RFC 23). */
function frameBytes({ length }: Buffer): number {
  return length + (length > 255 ? LONG_HEADER : SHORT_HEADER);
}

export class Broadcaster implements BroadcastConnection {
  readonly #connection: PeerConnection<XPublisher>;
  readonly #clock: Clock;
  readonly #drops: Drops;
  readonly #subscriptionListeners = new Set<(subscribed: boolean) => void>();
  readonly #stateListeners = new Set<(state: ConnectionState) => void>();
  readonly #writableListeners = new Set<() => void>();
  /** Prefixes that the peer is subscribed to, and how many times; it alone decides what it gets. */
  readonly #subscriptions = new Map<string, number>();
  #subscriptionBytes = 0;
  /** Bytes that were handed to the present socket, with the headers of their frames. */
  #handedBytes = 0;
  /** What the last message added to that. */
  #lastBytes = 0;
  #cancelRetry: (() => void) | undefined;
  #retryMs = BROADCAST_RETRY_MS;
  #closed = false;

  /** Connects at once, in the background. @throws CmbsError `bad_attribute` for an address that is not one, `forbidden` */
  constructor(
    address: Address | string,
    private readonly options: SocketEnvironment,
  ) {
    const peer = typeof address === 'string' ? options.context.toDial(address) : address;
    this.#clock = clockOf(options);
    this.#drops = new Drops('broadcaster', peer.text, options.log, options.counters);
    this.#connection = new PeerConnection<XPublisher>(
      peer,
      {
        type: 'XPUB',
        maxMessageBytes: HARD_MESSAGE_BYTES,
        drops: this.#drops,
        // `noDrop`: a full connection refuses a message instead of dropping it silently. All subscriptions are shown,
        // also those that come again: each message of the peer has to be seen for the window to be exact.
        create: () =>
          new XPublisher({ ...sendingOptions(options.context), noDrop: true, verbosity: 'allSubsUnsubs' }),
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
    return this.#subscriptions.size > 0 && !this.#closed;
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
    const frame = typeof body === 'string' ? Buffer.from(body) : body;
    // libzmq counts messages only.
    if (this.#waitingBytes > MAX_UNSENT_BYTES) return this.#refuse();
    this.#lastBytes = this.#isWanted(frame) ? frameBytes(frame) : 0;
    this.#handedBytes += this.#lastBytes;
    try {
      return socket.send(frame).then(this.#taken, this.#refused);
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
    await this.#connection.close();
  }

  readonly #taken = (): true => {
    this.#retryMs = BROADCAST_RETRY_MS;
    return true;
  };

  readonly #refused = (error: unknown): false => {
    this.#handedBytes -= this.#lastBytes;
    this.#lastBytes = 0;
    if (codeOf(error) !== 'EAGAIN') {
      this.options.log.error('broadcast not sent', { address: this.address, cause: error });
    }
    return this.#refuse();
  };

  #refuse(): false {
    this.options.counters.add('cmbs_broadcasts_refused');
    if (!this.#closed) {
      const before = this.#connection.bytesFromSocket;
      this.#cancelRetry ??= this.#clock.after(this.#retryMs, () => {
        this.#cancelRetry = undefined;
        this.#settleAccount(before);
        this.#retryMs = Math.min(2 * this.#retryMs, BROADCAST_RETRY_MAX_MS);
        for (const listener of [...this.#writableListeners]) listener();
      });
    }
    return false;
  }

  /** Bytes that were handed over and that the peer has not read, about. */
  get #waitingBytes(): number {
    return Math.max(0, this.#handedBytes - this.#connection.bytesFromSocket) + this.#connection.unsentBytes;
  }

  /** libzmq drops what matches no subscription, and knows of a change a little earlier than we do. */
  #settleAccount(bytesBefore: number): void {
    const { bytesFromSocket, unsentBytes } = this.#connection;
    if (unsentBytes === 0 && bytesFromSocket === bytesBefore) this.#handedBytes = bytesFromSocket;
  }

  #isWanted(body: Buffer): boolean {
    if (this.#subscriptions.has('')) return true;
    for (const prefix of this.#subscriptions.keys()) {
      if (body.toString('latin1', 0, prefix.length) === prefix) return true;
    }
    return false;
  }

  #opened(socket: PrivateSocket<XPublisher>): void {
    this.#handedBytes = 0;
    this.#forgetSubscriptions();
    void this.#receive(socket);
  }

  async #receive(socket: PrivateSocket<XPublisher>): Promise<void> {
    try {
      for (;;) {
        const [frame] = await socket.receive();
        if (socket.socket !== this.#connection.socket) return;
        if (frame?.[0] === SUBSCRIBED) this.#subscribe(frame.toString('latin1', 1));
        else if (frame?.[0] === UNSUBSCRIBED) this.#unsubscribe(frame.toString('latin1', 1));
        else this.#drops.note('not_a_subscription');
      }
    } catch (error) {
      if (!socket.closed)
        this.options.log.error('receiving subscriptions failed', { address: this.address, cause: error });
    }
  }

  #subscribe(prefix: string): void {
    const times = this.#subscriptions.get(prefix) ?? 0;
    this.#subscriptions.set(prefix, times + 1);
    if (times > 0) return;
    this.#subscriptionBytes += prefix.length;
    if (
      this.#subscriptions.size > MAX_PEER_SUBSCRIPTIONS ||
      this.#subscriptionBytes > MAX_PEER_SUBSCRIPTION_BYTES
    ) {
      this.#connection.cut('too_many_subscriptions');
    } else if (this.#subscriptions.size === 1) this.#tell(true);
  }

  #unsubscribe(prefix: string): void {
    const times = this.#subscriptions.get(prefix) ?? 0;
    if (times > 1) this.#subscriptions.set(prefix, times - 1);
    if (times !== 1) return;
    this.#subscriptions.delete(prefix);
    this.#subscriptionBytes -= prefix.length;
    if (this.#subscriptions.size === 0) this.#tell(false);
  }

  #forgetSubscriptions(): void {
    const had = this.#subscriptions.size > 0;
    this.#subscriptions.clear();
    this.#subscriptionBytes = 0;
    if (had) this.#tell(false);
  }

  #tell(subscribed: boolean): void {
    for (const listener of [...this.#subscriptionListeners]) listener(subscribed);
  }

  #changed(state: ConnectionState): void {
    // A connection that is gone takes its subscriptions with it.
    if (state !== 'up') this.#forgetSubscriptions();
    for (const listener of [...this.#stateListeners]) listener(state);
  }
}
