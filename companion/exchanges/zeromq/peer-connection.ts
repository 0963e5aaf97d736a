/**
 * The connection of one socket to one peer: dials, waits for the handshake, tells when the peer is up, that nobody
 * listens there, and that it was lost; and connects again, with back-off. A host name is resolved at each attempt, so
 * that a name that moved is followed. Each attempt that reaches a peer has a ZeroMQ socket of its own, behind a relay.
 *
 * Where others than this machine's users choose addresses, the outcome of an attempt that fails is told after one fixed
 * time in the same words, whatever it was (address-policy.ts): a scan must not tell closed ports from open ones.
 */
import { connect, type Socket as Stream } from 'node:net';
import { type Socket } from 'zeromq';
import { type Clock, CmbsError } from '@cmbs/shared';
import { CONNECT_TIMEOUT_MS } from './limits';
import type { Address } from '@cmbs/shared/broker';
import type { ConnectionState } from '../exchange';
import { type Drops } from './drops';
import { codeOf } from './errno';
import { clockOf, type SocketEnvironment } from './options';
import { PrivateSocket } from './private-socket';
import { type CutReason, Relay } from './relay';
import { type Endpoint, isNamed, literalEndpoint, resolveEndpoint } from './resolve';
import { type SocketType } from './zmtp';

/** Milliseconds before the first reconnection; also the age up to which a refusal is answered without a new try. */
const RECONNECT_FIRST_MS = 100;
/** Milliseconds between reconnections at most: a peer that comes back is noticed this fast. */
const RECONNECT_MAX_MS = 2000;

/** Milliseconds that the owner has to read what came before a loss, until the connection is made anew without it. */
const GRACE_MS = 250;

type Receiving = Socket & { receive(): Promise<readonly Buffer[]> };

export interface PeerConnectionOwner<S extends Receiving> {
  readonly type: SocketType;
  /** Bytes of a message above which the peer is cut off. */
  readonly maxMessageBytes: number;
  readonly drops: Drops;
  /** Makes a socket. */
  create(): S;
  /** A new socket is in use from here on; an older one is closed. */
  opened(socket: PrivateSocket<S>): void;
  /** @param lost the peer was up and went away; what was sent to it and not answered will not be answered */
  changed(state: ConnectionState, lost: boolean): void;
}

/** Where the present attempt stands; `waiting` = between two attempts. */
type Phase = 'dialing' | 'accepted' | 'up' | 'waiting';

/** What has come of an attempt to reach a peer, in words for a user. */
function whyNot(error: unknown): string {
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'nobody listens there';
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'ENOMEM':
      return 'no socket could be opened here';
    default:
      return 'nobody answers there';
  }
}

export class PeerConnection<S extends Receiving> {
  #state: ConnectionState = 'connecting';
  #phase: Phase = 'waiting';
  #socket: PrivateSocket<S> | undefined;
  #relay: Relay | undefined;
  /** Ends the attempt to reach the peer. */
  #hangUp = (): void => undefined;
  #why = 'not tried yet';
  #attemptAtMs = 0;
  #backOffMs = RECONNECT_FIRST_MS;
  #cancelTimer = (): void => undefined;
  /** Set while the failure of the present attempt is not told yet, whether or not it is known. */
  #cancelAnswer: (() => void) | undefined;
  #closed = false;
  /** Counts the sockets, so that a resolution that ends late can tell that it is not wanted any more. */
  #generation = 0;
  readonly #clock: Clock;

  constructor(
    readonly address: Address,
    private readonly owner: PeerConnectionOwner<S>,
    private readonly environment: SocketEnvironment,
  ) {
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

  /** Bytes of messages that libzmq has handed to the connection, about, since it is up. */
  get bytesFromSocket(): number {
    return this.#relay?.messageBytesFromLibrary ?? 0;
  }

  /** Bytes that the peer has not read. */
  get unsentBytes(): number {
    return this.#relay?.unsentBytes ?? 0;
  }

  /** Ends the connection because of what the peer did; it is made anew, with back-off. */
  cut(reason: CutReason): void {
    this.#relay?.cut(reason);
  }

  /** Starts the first attempt. */
  open(): void {
    if (this.#closed) return;
    this.#discard();
    this.#stopAnswer();
    this.#phase = 'dialing';
    this.#attemptAtMs = this.#clock.now();
    this.#answerLater(isNamed(this.address) ? undefined : this.address.host);
    if (isNamed(this.address)) void this.#resolveAndDial(this.#generation);
    else this.#dial(literalEndpoint(this.address));
  }

  /**
   * Asks for the present truth: tries again now unless the peer is up, an attempt is under way, or the last one is
   * so recent that its outcome still holds.
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

  /** After a loss: goes on with a new socket, so that nothing of what the old one still holds goes out later. */
  renew(): void {
    if (this.#closed || this.#state === 'up') return;
    if (this.#socket !== undefined) this.#socket.socket.linger = 0;
    this.#discard();
    this.#stopAnswer();
    this.#phase = 'waiting';
    this.#after(RECONNECT_FIRST_MS, () => this.open());
  }

  /** Sends what the socket has and closes it; no callback comes after the call. */
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

  async #resolveAndDial(generation: number): Promise<void> {
    let endpoint: Endpoint;
    try {
      const { addresses } = this.environment.context;
      endpoint = await resolveEndpoint(this.address, this.#clock, (ip) =>
        addresses?.checkDialled(this.address, ip),
      );
    } catch (error) {
      if (generation !== this.#generation) return;
      if (error instanceof CmbsError) {
        this.environment.log.warn('connection refused by the rules', { reason: error.message });
        this.#failed('its address is refused');
        return;
      }
      this.environment.log.debug('name not resolved', { address: this.address.text, error });
      this.#failed('its name cannot be resolved');
      return;
    }
    if (generation !== this.#generation) return;
    this.#answerLater(endpoint.ip);
    this.#dial(endpoint);
  }

  /** From here on a failure of the attempt waits for its time, unless it may be told at once. */
  #answerLater(ip: string | undefined): void {
    if (this.#cancelAnswer !== undefined) return;
    const afterMs = this.environment.context.addresses?.unreachedAfterMs(ip) ?? 0;
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

  #dial({ ip }: Endpoint): void {
    const { path, port = 0 } = this.address;
    const peer = connect(path === undefined ? { host: ip ?? '', port } : { path });
    const generation = this.#generation;
    const onError = (error: Error): void => {
      if (generation === this.#generation) this.#failed(whyNot(error));
    };
    peer.once('error', onError);
    peer.on('error', () => undefined);
    this.#hangUp = () => void peer.destroy();
    this.#after(CONNECT_TIMEOUT_MS, () => this.#failed('nobody answers there'));
    peer.once('connect', () => {
      peer.off('error', onError);
      if (generation !== this.#generation) return;
      this.#cancelTimer();
      this.#phase = 'accepted';
      this.#attemptAtMs = this.#clock.now();
      void this.#attach(peer, generation);
    });
  }

  /** Puts a socket of ours in front of the peer. */
  async #attach(peer: Stream, generation: number): Promise<void> {
    const { environment, owner } = this;
    let socket: PrivateSocket<S>;
    try {
      socket = await PrivateSocket.open(() => owner.create(), environment);
    } catch (error) {
      // No descriptor or no place for a socket is left; one may be later.
      environment.log.error('a socket could not be opened', { address: this.address.text, cause: error });
      peer.destroy();
      if (generation === this.#generation) this.#failed('no socket could be opened here');
      return;
    }
    if (generation !== this.#generation || peer.destroyed) {
      socket.close();
      peer.destroy();
      if (generation === this.#generation) this.#gone(undefined);
      return;
    }
    const { type, maxMessageBytes, drops } = owner;
    const isPresent = (): boolean => generation === this.#generation;
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
    this.#hangUp = () => undefined;
    owner.opened(socket);
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
    this.owner.changed(state, lost);
  }

  #after(delayMs: number, task: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(delayMs, task);
  }

  #discard(): void {
    this.#generation += 1;
    this.#cancelTimer();
    this.#hangUp();
    this.#hangUp = () => undefined;
    this.#relay = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }
}
