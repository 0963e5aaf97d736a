/**
 * Broadcasts to one peer: what ZeroMQ calls an XPUB, which connects to the SUB that the peer has bound, as the original's
 * PUB did.
 *
 * A message is taken only while the peer's subscription is up: PUB sockets drop what nobody is subscribed to, which is
 * how the original lost all of its broadcasts. What is not taken stays with the caller.
 *
 * There is no acknowledgement: what was taken and not yet written when the connection breaks is lost.
 */
import { MAX_PEER_SUBSCRIPTION_BYTES, MAX_PEER_SUBSCRIPTIONS } from '@cmbs/shared/limits';
import { type Address } from '../transports';
import { Connection, type ConnectionState } from './connection';
import { Drops } from './drops';
import { clockOf, type SocketEnvironment } from './options';
import { SUBSCRIBED, UNSUBSCRIBED } from './zmtp';

export class Broadcaster {
  readonly #connection: Connection;
  readonly #drops: Drops;
  readonly #subscriptionListeners = new Set<(subscribed: boolean) => void>();
  readonly #stateListeners = new Set<(state: ConnectionState) => void>();
  readonly #writableListeners = new Set<() => void>();
  /** The prefixes that the peer is subscribed to, by their bytes as text; they alone decide what it gets. */
  readonly #prefixes = new Map<string, Buffer>();
  #prefixBytes = 0;
  #awaitsMemory = false;
  #closed = false;

  /** Connects at once, in the background. @throws CmbsError `bad_attribute` for an address that is not one, `forbidden` */
  constructor(
    address: Address | string,
    private readonly options: SocketEnvironment,
  ) {
    const peer = typeof address === 'string' ? options.context.toDial(address) : address;
    this.#drops = new Drops('broadcaster', peer.text, options.log, options.counters, clockOf(options));
    this.#connection = new Connection(
      peer,
      {
        type: 'XPUB',
        maxMessageBytes: MAX_PEER_SUBSCRIPTION_BYTES,
        drops: this.#drops,
        message: (frames) => this.#onSubscription(frames),
        writable: () => this.#tellWritable(),
        changed: (state, lost) => this.#changed(state, lost),
      },
      options,
    );
    this.#connection.start();
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
    return this.#prefixes.size > 0 && !this.#closed;
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
   * function is called.
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
  send(body: Buffer | string): boolean {
    const { peer } = this.#connection;
    if (peer === undefined || !this.subscribed) return false;
    if (!this.#isWanted(body)) return true; // as of any PUB: what the peer is not subscribed to is not sent
    if (!peer.isFull && !this.#isMemoryScarce()) return peer.send([body]);
    this.options.counters.add('cmbs_broadcasts_refused');
    return false;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#subscriptionListeners.clear();
    this.#stateListeners.clear();
    this.#writableListeners.clear();
    await this.#connection.close();
  }

  #isMemoryScarce(): boolean {
    const { unsent } = this.options.context;
    if (!unsent.isScarce) return false;
    if (!this.#awaitsMemory) {
      this.#awaitsMemory = true;
      unsent.whenPlenty(() => {
        this.#awaitsMemory = false;
        this.#tellWritable();
      });
    }
    return true;
  }

  #tellWritable(): void {
    for (const listener of [...this.#writableListeners]) listener();
  }

  #isWanted(body: Buffer | string): boolean {
    if (this.#prefixes.has('')) return true;
    const bytes = Buffer.from(body);
    for (const prefix of this.#prefixes.values()) {
      if (bytes.subarray(0, prefix.length).equals(prefix)) return true;
    }
    return false;
  }

  #onSubscription(frames: readonly Buffer[]): void {
    const [frame] = frames;
    const kind = frames.length === 1 ? frame?.[0] : undefined;
    if (frame === undefined || (kind !== SUBSCRIBED && kind !== UNSUBSCRIBED)) {
      this.#drops.note('not_a_subscription');
      return;
    }
    const before = this.#prefixes.size > 0;
    const prefix = Buffer.from(frame.subarray(1));
    const key = prefix.toString('latin1');
    if (kind === SUBSCRIBED && !this.#prefixes.has(key)) {
      this.#prefixes.set(key, prefix);
      this.#prefixBytes += prefix.length;
    } else if (kind === UNSUBSCRIBED && this.#prefixes.delete(key)) {
      this.#prefixBytes -= prefix.length;
    }
    if (this.#prefixes.size > MAX_PEER_SUBSCRIPTIONS || this.#prefixBytes > MAX_PEER_SUBSCRIPTION_BYTES) {
      this.#connection.peer?.cut('too_many_subscriptions');
    }
    this.#tellSubscription(before);
  }

  #tellSubscription(before: boolean): void {
    const after = this.#prefixes.size > 0;
    if (before === after) return;
    for (const listener of [...this.#subscriptionListeners]) listener(after);
  }

  #changed(state: ConnectionState, lost: boolean): void {
    if (lost) {
      // The subscriptions of a connection go with it.
      const before = this.#prefixes.size > 0;
      this.#prefixes.clear();
      this.#prefixBytes = 0;
      this.#tellSubscription(before);
    }
    for (const listener of [...this.#stateListeners]) listener(state);
  }
}
