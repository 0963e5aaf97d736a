/**
 * The connection of one socket to one peer, as its observer reports it: whether it is up, that nobody listens there,
 * that it was lost; and the reconnection where libzmq has none.
 *
 * What libzmq 4.3.5 reports:
 * - nobody listens: `close` and `connect:retry` within milliseconds (a local path that is not there: the same); it
 *   tries again by itself, 100 ms to 2 s apart;
 * - a peer that is there: `connect`, then `handshake`;
 * - a peer that goes away: `disconnect`, then `connect:retry`;
 * - a socket of a type that does not fit, or a peer that breaks ZMTP: `disconnect` and never again anything. A silent
 *   or an HTTP server: `connect` and then nothing, or a reconnection every 100 ms for ever. In these cases the socket
 *   is replaced by a new one, with our own back-off.
 * - a host name: see resolve.ts; each attempt is a new socket, so that a name that moved is followed.
 */
import { type Event, type Socket } from 'zeromq';
import { type Clock } from '@cmbs/shared';
import { HANDSHAKE_TIMEOUT_MS, RECONNECT_FIRST_MS, RECONNECT_MAX_MS } from '@cmbs/shared/limits';
import { type Address } from '../transports';
import { clockOf, type SocketEnvironment } from './options';
import { type Endpoint, isNamed, literalEndpoint, resolveEndpoint } from './resolve';

/**
 * `connecting`: an attempt is under way whose outcome is not known; `up`: the peer speaks ZMTP with us; `down`: the
 * last attempt failed, further ones are made in the background.
 */
export type ConnectionState = 'connecting' | 'up' | 'down';

/** Milliseconds beyond libzmq's own handshake time-out, and until a lost connection that libzmq gave up is replaced. */
const GRACE_MS = 250;

export interface ConnectionOwner<S extends Socket> {
  /** Makes a socket, not connected yet. */
  create(ipv6: boolean): S;
  /** A new socket is in use from here on; an older one is closed. */
  opened(socket: S): void;
  /** @param lost the peer was up and went away; what was sent to it and not answered will not be answered */
  changed(state: ConnectionState, lost: boolean): void;
}

/** Where the present attempt stands; `waiting` = between two attempts. */
type Phase = 'dialing' | 'accepted' | 'up' | 'waiting';

export class Connection<S extends Socket> {
  #state: ConnectionState = 'connecting';
  #phase: Phase = 'waiting';
  #socket: S | undefined;
  #why = 'not tried yet';
  #attemptAtMs = 0;
  #backOffMs = RECONNECT_FIRST_MS;
  #cancelTimer = (): void => undefined;
  #closed = false;
  /** Counts the sockets, so that a resolution that ends late can tell that it is not wanted any more. */
  #generation = 0;
  readonly #clock: Clock;

  constructor(
    readonly address: Address,
    private readonly owner: ConnectionOwner<S>,
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
    return this.#socket;
  }

  /** Starts the first attempt. */
  open(): void {
    if (this.#closed) return;
    this.#discard();
    this.#phase = 'dialing';
    this.#attemptAtMs = this.#clock.now();
    if (isNamed(this.address)) void this.#resolveAndDial(this.#generation);
    else this.#dial(literalEndpoint(this.address));
  }

  /**
   * Asks for the present truth: tries again now unless the peer is up, an attempt is under way, or the last one is
   * so recent that its outcome still holds.
   */
  hurry(): ConnectionState {
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
    const socket = this.#socket;
    if (socket !== undefined) socket.linger = 0;
    this.#discard();
    this.#phase = 'waiting';
    this.#after(RECONNECT_FIRST_MS, () => this.open());
  }

  /** Closes the socket; no callback comes after it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#discard();
    this.#state = 'down';
    this.#why = 'closed here';
  }

  async #resolveAndDial(generation: number): Promise<void> {
    let endpoint: Endpoint;
    try {
      endpoint = await resolveEndpoint(this.address, this.#clock);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.environment.log.debug('name not resolved', { address: this.address.text, error });
      this.#failed('its name cannot be resolved', true);
      return;
    }
    if (generation === this.#generation) this.#dial(endpoint);
  }

  #dial(endpoint: Endpoint): void {
    try {
      const socket = this.environment.context.hold(this.owner.create(endpoint.ipv6));
      this.#socket = socket;
      void this.#observe(socket);
      this.owner.opened(socket);
      socket.connect(endpoint.text);
    } catch (error) {
      // No descriptor or no place for a socket is left; one may be later.
      this.environment.log.error('a socket could not be opened', { address: this.address.text, cause: error });
      this.#failed('no socket could be opened here', true);
    }
  }

  async #observe(socket: S): Promise<void> {
    const events = socket.events;
    try {
      for (;;) {
        const event = await events.receive();
        if (event.type === 'end') return;
        if (socket === this.#socket) this.#on(event);
      }
    } catch (error) {
      if (socket !== this.#socket || this.#closed) return; // a closed socket ends its observer with an error
      this.environment.log.error('connection observer failed', { address: this.address.text, cause: error });
      this.#failed('the connection could not be observed', true);
    }
  }

  #on(event: Event): void {
    switch (event.type) {
      case 'connect:delay':
        this.#cancelTimer();
        this.#phase = 'dialing';
        this.#attemptAtMs = this.#clock.now();
        return;
      case 'connect':
        this.#phase = 'accepted';
        this.#attemptAtMs = this.#clock.now();
        this.#after(HANDSHAKE_TIMEOUT_MS + GRACE_MS, () => this.#failed('it does not speak ZMTP', true));
        return;
      case 'handshake':
        this.#cancelTimer();
        this.#phase = 'up';
        this.#backOffMs = RECONNECT_FIRST_MS;
        this.#change('up');
        return;
      case 'disconnect':
        if (this.#phase === 'up') this.#lost();
        else if (this.#phase === 'accepted') this.#failed('it does not speak ZMTP, or not with our socket', true);
        return;
      case 'close': // over `ipc` a retry that fails shows by this alone
        this.#failed('nobody listens there', isNamed(this.address));
        return;
      case 'connect:retry':
        // After `disconnect` this only announces the next attempt.
        if (this.#phase === 'dialing') this.#failed('nobody answers there', isNamed(this.address));
        else if (this.#phase === 'waiting') this.#cancelTimer();
        return;
      default: // the other events concern bound sockets, or explain the `disconnect` that follows
        return;
    }
  }

  #lost(): void {
    this.#phase = 'waiting';
    this.#attemptAtMs = this.#clock.now();
    this.#why = 'the connection was lost';
    // libzmq announces its next attempt at once, or, when the peer broke the protocol, never.
    this.#after(GRACE_MS, () => this.open());
    this.#change('connecting', true);
  }

  /** @param replace libzmq would not try again, or not in the way that is wanted */
  #failed(why: string, replace: boolean): void {
    this.#phase = 'waiting';
    this.#attemptAtMs = this.#clock.now();
    this.#why = why;
    if (replace) {
      this.#discard();
      this.#after(this.#backOffMs, () => this.open());
      this.#backOffMs = Math.min(2 * this.#backOffMs, RECONNECT_MAX_MS);
    }
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
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket !== undefined) this.environment.context.release(socket);
  }
}
