/**
 * The connection of one socket to one peer. It connects, waits for the handshake, reports when the peer is up, when
 * nobody listens there and when the connection was lost, and connects again with back-off. Each attempt resolves the
 * host name again, so that it follows a name that moved. Each attempt that reaches a peer has a ZeroMQ socket of its own,
 * behind a relay.
 *
 * Where others than this machine's users choose addresses, a failed attempt is reported after a fixed time and in the
 * same words, whatever its reason (address-policy.ts): a scan must not tell closed ports from open ones.
 */
import { type Socket as Stream } from 'node:net';
import { type Clock } from '@cmbs/shared';
import type { Address } from '@cmbs/shared/broker';
import type { ConnectionState } from '../exchange';
import { Dialing } from './dialing';
import { type Drops } from './drops';
import { clockOf, type SocketEnvironment } from './options';
import { PrivateSocket, type Receiving } from './private-socket';
import { type CutReason, Relay } from './relay';
import { isNamed } from './resolve';
import { type SocketType } from './zmtp';

/** Milliseconds before the first reconnection; also how long a refusal is answered without a new attempt. */
const RECONNECT_FIRST_MS = 100;
/** Longest time in milliseconds between reconnections, in which a peer that comes back is noticed. */
const RECONNECT_MAX_MS = 2000;

/** Milliseconds in which the owner reads messages that came before a loss; then the connection is made anew. */
const GRACE_MS = 250;

export interface PeerConnectionOwner<S extends Receiving> {
  readonly type: SocketType;
  /** Bytes of a message above which the peer is cut off. */
  readonly maxMessageBytes: number;
  readonly drops: Drops;
  /** Makes a socket. */
  create(): S;
  /** A new socket is in use from here on; an older one is closed. */
  opened(socket: PrivateSocket<S>): void;
  /** @param lost the peer was up and went away: requests that it has not answered will not be answered */
  changed(state: ConnectionState, lost: boolean): void;
}

/** The state of the present attempt; `waiting` = between two attempts. */
type Phase = 'dialing' | 'accepted' | 'up' | 'waiting';

export class PeerConnection<S extends Receiving> {
  readonly #owner: PeerConnectionOwner<S>;
  readonly #environment: SocketEnvironment;
  readonly #clock: Clock;
  #state: ConnectionState = 'connecting';
  #phase: Phase = 'waiting';
  #socket: PrivateSocket<S> | undefined;
  #relay: Relay | undefined;
  #dialing: Dialing | undefined;
  /** The peer, until it has a relay. */
  #peer: Stream | undefined;
  #why = 'not tried yet';
  #attemptAtMs = 0;
  #backOffMs = RECONNECT_FIRST_MS;
  #cancelTimer = (): void => undefined;
  /** Set until the failure of the present attempt may be told, whether or not it has failed yet. */
  #cancelAnswer: (() => void) | undefined;
  #closed = false;
  /** The number of the attempt: work for an older one that ends late must change nothing. */
  #attempt = 0;

  constructor(
    readonly address: Address,
    owner: PeerConnectionOwner<S>,
    environment: SocketEnvironment,
  ) {
    this.#owner = owner;
    this.#environment = environment;
    this.#clock = clockOf(environment);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** In a few words, why the state is `down`. */
  get why(): string {
    return this.#why;
  }

  /** The socket to send on. */
  get socket(): S | undefined {
    return this.#socket?.socket;
  }

  /** Messages that the peer has sent and the owner has not received. */
  get underWay(): number {
    return this.#socket?.window.messages ?? 0;
  }

  /** Estimate of the bytes of messages that libzmq has handed to the connection since it is up. */
  get bytesFromSocket(): number {
    return this.#relay?.messageBytesFromLibrary ?? 0;
  }

  /** Bytes that the peer has not read. */
  get unsentBytes(): number {
    return this.#relay?.unsentBytes ?? 0;
  }

  /** Ends the connection to the peer for this reason. The socket then connects again, with back-off. */
  cut(reason: CutReason): void {
    this.#relay?.cut(reason);
  }

  /** Starts an attempt. */
  open(): void {
    if (this.#closed) return;
    this.#discard();
    this.#stopAnswer();
    this.#phase = 'dialing';
    this.#attemptAtMs = this.#clock.now();
    this.#answerLater(isNamed(this.address) ? undefined : this.address.host);
    this.#dialing = new Dialing(this.address, this.#environment, {
      resolved: (ip) => this.#answerLater(ip),
      connected: (peer) => this.#connected(peer),
      failed: (why) => this.#failed(why),
    });
  }

  /**
   * Connects again now, unless the peer is up, an attempt is under way, or the last attempt is so recent that its outcome
   * still holds.
   */
  connectNow(): ConnectionState {
    if (this.#closed || this.#state === 'up') return this.#state;
    if (this.#phase !== 'waiting') {
      this.#change('connecting');
    } else if (this.#clock.now() - this.#attemptAtMs >= RECONNECT_FIRST_MS) {
      this.#change('connecting');
      this.open();
    }
    return this.#state;
  }

  /** After a loss: goes on with a new socket, so that nothing that the old socket still holds is sent later. */
  renew(): void {
    if (this.#closed || this.#state === 'up') return;
    if (this.#socket !== undefined) this.#socket.socket.linger = 0;
    this.#discard();
    this.#stopAnswer();
    this.#phase = 'waiting';
    this.#after(RECONNECT_FIRST_MS, () => this.open());
  }

  /** Sends what the socket has and closes it; the owner is called no more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const ended = this.#relay?.ended();
    this.#discard();
    this.#stopAnswer();
    this.#state = 'down';
    this.#why = 'closed here';
    await ended;
  }

  /** From here on, a failure of the attempt is told at its time, unless it may be told at once. */
  #answerLater(ip: string | undefined): void {
    if (this.#cancelAnswer !== undefined) return;
    const afterMs = this.#environment.context.addresses?.unreachedAfterMs(ip) ?? 0;
    if (afterMs === 0) return;
    const delayMs = Math.max(0, this.#attemptAtMs + afterMs - this.#clock.now());
    this.#cancelAnswer = this.#clock.after(delayMs, () => {
      this.#cancelAnswer = undefined;
      this.#failed('no member answers there');
    });
  }

  #stopAnswer(): void {
    this.#cancelAnswer?.();
    this.#cancelAnswer = undefined;
  }

  #connected(peer: Stream): void {
    this.#phase = 'accepted';
    this.#attemptAtMs = this.#clock.now();
    this.#peer = peer;
    void this.#attach(peer, this.#attempt);
  }

  /** Puts a socket of ours in front of the peer. */
  async #attach(peer: Stream, attempt: number): Promise<void> {
    const environment = this.#environment;
    const isPresent = (): boolean => attempt === this.#attempt;
    let socket: PrivateSocket<S>;
    try {
      socket = await PrivateSocket.open(() => this.#owner.create(), environment);
    } catch (cause) {
      // No descriptor or no socket is left; there may be one later.
      environment.log.error('a socket could not be opened', { address: this.address.text, cause });
      peer.destroy();
      if (isPresent()) this.#failed('no socket could be opened here');
      return;
    }
    if (!isPresent() || peer.destroyed) {
      socket.close();
      peer.destroy();
      if (isPresent()) this.#gone(undefined);
      return;
    }
    const { type, maxMessageBytes, drops } = this.#owner;
    const relay: Relay = new Relay(
      peer,
      socket.connect(),
      socket.window,
      {
        ready: () => {
          if (isPresent()) this.#up();
        },
        gone: () => {
          if (isPresent()) this.#gone(relay.cutFor);
        },
      },
      { type, maxMessageBytes, environment, drops },
    );
    this.#socket = socket;
    this.#relay = relay;
    this.#peer = undefined;
    this.#owner.opened(socket);
  }

  #up(): void {
    this.#stopAnswer();
    this.#phase = 'up';
    this.#backOffMs = RECONNECT_FIRST_MS;
    this.#change('up');
  }

  #gone(cutFor: CutReason | undefined): void {
    if (this.#phase === 'up') this.#lost();
    else if (cutFor === 'handshake_timeout') this.#failed('it does not speak ZMTP');
    else this.#failed('it does not speak ZMTP, or not with our socket');
  }

  #lost(): void {
    this.#phase = 'waiting';
    this.#attemptAtMs = this.#clock.now();
    this.#why = 'the connection was lost';
    this.#after(GRACE_MS, () => this.open());
    this.#change('connecting', true);
  }

  #failed(why: string): void {
    if (this.#cancelAnswer !== undefined) {
      this.#discard();
      return;
    }
    this.#phase = 'waiting';
    this.#attemptAtMs = this.#clock.now();
    this.#why = why;
    this.#discard();
    this.#after(this.#backOffMs, () => this.open());
    this.#backOffMs = Math.min(2 * this.#backOffMs, RECONNECT_MAX_MS);
    this.#change('down');
  }

  #change(state: ConnectionState, lost = false): void {
    if (this.#state === state && !lost) return;
    this.#state = state;
    this.#owner.changed(state, lost);
  }

  #after(delayMs: number, task: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(delayMs, task);
  }

  #discard(): void {
    this.#attempt += 1;
    this.#cancelTimer();
    this.#dialing?.cancel();
    this.#dialing = undefined;
    this.#peer?.destroy();
    this.#peer = undefined;
    this.#relay = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }
}
