/**
 * Broadcasts to one peer: one XPUB that connects to the SUB which the peer has bound (docs/wire.md).
 *
 * Each peer has an XPUB of its own, since one that several peers share tells that a subscription came, but not whose. A
 * message is taken only while the peer is subscribed, because PUB sockets drop messages without a subscriber. A message
 * that is not taken stays with the caller.
 *
 * There is no acknowledgement: messages that were taken and not yet written when the connection breaks are lost.
 */
import { XPublisher } from 'zeromq';
import type { Address } from '@cmbs/shared/broker';
import type { BroadcastConnection, ConnectionState } from '../exchange';
import { codeOf } from './errno';
import { HARD_MESSAGE_BYTES, MAX_UNSENT_BYTES } from './limits';
import { sendingOptions, type SocketEnvironment } from './options';
import { PeerSocket } from './peer-socket';
import { Subscriptions } from './subscriptions';
import { LONG_HEADER, SHORT_HEADER, SUBSCRIBED, UNSUBSCRIBED } from './zmtp';

/**
 * Milliseconds after which a broadcast that met a full connection may be tried again, at first and at most. A peer that
 * reads takes 1000 messages in ten milliseconds and must not wait for us; one that hangs must not keep us busy.
 */
const BROADCAST_RETRY_MS = 2;
const BROADCAST_RETRY_MAX_MS = 32;

/** Bytes that a message of one frame has on the wire (RFC 23). */
function frameBytes({ length }: Buffer): number {
  return length + (length > 255 ? LONG_HEADER : SHORT_HEADER);
}

export class Broadcaster extends PeerSocket<XPublisher> implements BroadcastConnection {
  readonly #subscriptionListeners = new Set<(subscribed: boolean) => void>();
  readonly #writableListeners = new Set<() => void>();
  readonly #subscriptions = new Subscriptions();
  /** Bytes that were handed to the present socket, with the headers of their frames. */
  #handedBytes = 0;
  /** How much of that is the last message. */
  #lastBytes = 0;
  #cancelRetry: (() => void) | undefined;
  #retryMs = BROADCAST_RETRY_MS;

  /** Connects at once, in the background. @throws CmbsError `bad_attribute`, `forbidden`, as {@link PeerSocket} does */
  constructor(address: Address | string, environment: SocketEnvironment) {
    super(address, environment, {
      name: 'broadcaster',
      messages: 'subscriptions',
      type: 'XPUB',
      maxMessageBytes: HARD_MESSAGE_BYTES,
      // `noDrop`: a full connection refuses a message instead of dropping it silently. All subscriptions are shown,
      // repeated ones too: the receive window is exact only when each message of the peer is seen.
      create: () =>
        new XPublisher({ ...sendingOptions(environment.context), noDrop: true, verbosity: 'allSubsUnsubs' }),
    });
    this.connection.open();
  }

  get subscribed(): boolean {
    return this.#subscriptions.size > 0 && !this.isClosed;
  }

  /** Calls `listener` each time {@link subscribed} changes, until the returned function is called. */
  onSubscription(listener: (subscribed: boolean) => void): () => void {
    this.#subscriptionListeners.add(listener);
    return () => void this.#subscriptionListeners.delete(listener);
  }

  /**
   * Calls `listener` when a message that a full connection refused may be tried again, until the returned function is
   * called. XPUB has no event for this; a timer calls, later with each refusal in a row.
   */
  onWritable(listener: () => void): () => void {
    this.#writableListeners.add(listener);
    return () => void this.#writableListeners.delete(listener);
  }

  /**
   * Hands one message to the connection, in the order of the calls. False when the peer is not subscribed or the
   * connection is full: then nothing was sent, and the caller keeps the message. To keep the order, send the next
   * message after this one was taken.
   */
  send(body: Buffer | string): boolean | Promise<boolean> {
    const { socket } = this.connection;
    if (!this.subscribed || socket === undefined) return false;
    const frame = typeof body === 'string' ? Buffer.from(body) : body;
    // libzmq limits the number of messages, not their bytes.
    if (this.#waitingBytes > MAX_UNSENT_BYTES) return this.#refuse();
    this.#lastBytes = this.#subscriptions.match(frame) ? frameBytes(frame) : 0;
    this.#handedBytes += this.#lastBytes;
    try {
      return socket.send(frame).then(this.#taken, this.#refused);
    } catch (error) {
      return this.#refused(error); // the socket was closed under us
    }
  }

  override async close(): Promise<void> {
    this.#subscriptionListeners.clear();
    this.#writableListeners.clear();
    this.#cancelRetry?.();
    await super.close();
  }

  protected opened(): void {
    this.#handedBytes = 0;
    this.#forgetSubscriptions();
  }

  protected changed(state: ConnectionState): void {
    // The subscriptions end with their connection.
    if (state !== 'up') this.#forgetSubscriptions();
  }

  protected take([frame]: readonly Buffer[], isPresent: boolean): void {
    if (!isPresent) return;
    if (frame?.[0] === SUBSCRIBED) this.#subscribe(frame.toString('latin1', 1));
    else if (frame?.[0] === UNSUBSCRIBED) this.#unsubscribe(frame.toString('latin1', 1));
    else this.drops.note('not_a_subscription');
  }

  readonly #taken = (): true => {
    this.#retryMs = BROADCAST_RETRY_MS;
    return true;
  };

  readonly #refused = (error: unknown): false => {
    this.#handedBytes -= this.#lastBytes;
    this.#lastBytes = 0;
    if (codeOf(error) !== 'EAGAIN') {
      this.environment.log.error('broadcast not sent', { address: this.address, cause: error });
    }
    return this.#refuse();
  };

  #refuse(): false {
    this.environment.counters.add('cmbs_broadcasts_refused');
    if (!this.isClosed) {
      const before = this.connection.bytesFromSocket;
      this.#cancelRetry ??= this.clock.after(this.#retryMs, () => {
        this.#cancelRetry = undefined;
        this.#correctHandedBytes(before);
        this.#retryMs = Math.min(2 * this.#retryMs, BROADCAST_RETRY_MAX_MS);
        for (const listener of [...this.#writableListeners]) listener();
      });
    }
    return false;
  }

  /** Estimate of the bytes that were handed over and that the peer has not read. */
  get #waitingBytes(): number {
    return Math.max(0, this.#handedBytes - this.connection.bytesFromSocket) + this.connection.unsentBytes;
  }

  /** libzmq drops messages that match no subscription, and knows of a change a little earlier than we do. */
  #correctHandedBytes(bytesBefore: number): void {
    const { bytesFromSocket, unsentBytes } = this.connection;
    if (unsentBytes === 0 && bytesFromSocket === bytesBefore) this.#handedBytes = bytesFromSocket;
  }

  #subscribe(prefix: string): void {
    const { size } = this.#subscriptions;
    this.#subscriptions.add(prefix);
    if (this.#subscriptions.isTooLarge) this.connection.cut('too_many_subscriptions');
    else if (size === 0) this.#tell(true);
  }

  #unsubscribe(prefix: string): void {
    const { size } = this.#subscriptions;
    this.#subscriptions.remove(prefix);
    if (size > 0 && this.#subscriptions.size === 0) this.#tell(false);
  }

  #forgetSubscriptions(): void {
    const { size } = this.#subscriptions;
    this.#subscriptions.clear();
    if (size > 0) this.#tell(false);
  }

  #tell(subscribed: boolean): void {
    for (const listener of [...this.#subscriptionListeners]) listener(subscribed);
  }
}
