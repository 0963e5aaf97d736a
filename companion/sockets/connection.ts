/**
 * The connection of one socket to one peer: dials, waits for the handshake, tells when the peer is up, that nobody
 * listens there, and that it was lost; and connects again, with back-off. A host name is resolved at each attempt, so
 * that a name that moved is followed.
 *
 * Where others than this machine's users choose addresses, an attempt that fails is told after one fixed time in the same
 * words, whatever has come of it (address-policy.ts): a scan must not tell closed ports from open ones.
 */
import { connect, type NetConnectOpts } from 'node:net';
import { type Clock, CmbsError } from '@cmbs/shared';
import { CONNECT_TIMEOUT_MS, RECONNECT_FIRST_MS, RECONNECT_MAX_MS } from '@cmbs/shared/limits';
import { type Address } from '../transports';
import { type Drops } from './drops';
import { codeOf } from './errno';
import { clockOf, type SocketEnvironment } from './options';
import { Peer } from './peer';
import { type Endpoint, isNamed, literalEndpoint, resolveEndpoint } from './resolve';
import { type SocketType } from './zmtp';

/**
 * `connecting`: an attempt is under way whose outcome is not known; `up`: the peer speaks ZMTP with us; `down`: the
 * last attempt failed, further ones are made in the background.
 */
export type ConnectionState = 'connecting' | 'up' | 'down';

export interface ConnectionOwner {
  readonly type: SocketType;
  readonly maxMessageBytes: number;
  readonly drops: Drops;
  message(frames: Buffer[]): void;
  /** The peer takes more, after it was full. */
  writable(): void;
  /** @param lost the peer was up and went away; what was sent to it and not answered will not be answered */
  changed(state: ConnectionState, lost: boolean): void;
}

/** Where the present attempt stands; `waiting` = between two attempts. */
type Phase = 'dialing' | 'accepted' | 'up' | 'waiting';

/** What has come of an attempt, in words for a user. */
function whyNot(error: Error): string {
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

export class Connection {
  #state: ConnectionState = 'connecting';
  #phase: Phase = 'waiting';
  /** Closes what the present attempt has opened; no callback comes after it. */
  #abandon = (): void => undefined;
  #peer: Peer | undefined;
  #why = 'not tried yet';
  #attemptAtMs = 0;
  #backOffMs = RECONNECT_FIRST_MS;
  #cancelTimer = (): void => undefined;
  /** Set while the failure of the present attempt is not told yet, whether or not it is known. */
  #cancelAnswer: (() => void) | undefined;
  #closed = false;
  /** Counts the attempts, so that a resolution that ends late can tell that it is not wanted any more. */
  #generation = 0;
  readonly #clock: Clock;

  constructor(
    readonly address: Address,
    private readonly owner: ConnectionOwner,
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

  /** The peer to send to, while it is up. */
  get peer(): Peer | undefined {
    return this.#peer;
  }

  /** Starts the first attempt. */
  start(): void {
    if (this.environment.context.hold(this)) this.#open();
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
      this.#open();
    }
    return this.#state;
  }

  /** Sends what was handed over and closes; no callback comes after the call. */
  async close(): Promise<void> {
    const peer = this.#peer;
    this.#stop();
    if (peer === undefined) this.#abandon();
    else await peer.end();
  }

  /** Closes at once. */
  destroy(): void {
    this.#stop();
    this.#abandon();
  }

  #stop(): void {
    this.#closed = true;
    this.#generation += 1;
    this.#cancelTimer();
    this.#stopAnswer();
    this.#peer = undefined;
    this.#state = 'down';
    this.#why = 'closed here';
    this.environment.context.release(this);
  }

  #open(): void {
    if (this.#closed) return;
    this.#discard();
    this.#stopAnswer();
    this.#phase = 'dialing';
    this.#attemptAtMs = this.#clock.now();
    this.#answerLater(isNamed(this.address) ? undefined : this.address.host);
    if (isNamed(this.address)) void this.#resolveAndDial(this.#generation);
    else this.#dial(literalEndpoint(this.address));
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

  #dial({ ip, port, path }: Endpoint): void {
    const to: NetConnectOpts = path === undefined ? { host: ip ?? '', port: port ?? 0 } : { path };
    const socket = connect(to);
    this.#abandon = () => {
      socket.on('error', () => undefined);
      socket.destroy();
    };
    const generation = this.#generation;
    const isPresent = (): boolean => generation === this.#generation;
    const onError = (error: Error): void => {
      if (isPresent()) this.#failed(whyNot(error));
    };
    socket.once('error', onError);
    this.#after(CONNECT_TIMEOUT_MS, () => this.#failed('nobody answers there'));
    socket.once('connect', () => {
      if (!isPresent()) return;
      socket.off('error', onError);
      this.#cancelTimer();
      this.#phase = 'accepted';
      this.#attemptAtMs = this.#clock.now();
      const peer = new Peer(
        socket,
        {
          ready: () => {
            if (isPresent()) this.#up(peer);
          },
          message: (_peer, frames) => {
            if (isPresent()) this.owner.message(frames);
            return true;
          },
          writable: () => {
            if (isPresent()) this.owner.writable();
          },
          gone: () => {
            if (isPresent()) this.#gone();
          },
        },
        {
          type: this.owner.type,
          maxMessageBytes: this.owner.maxMessageBytes,
          environment: this.environment,
          drops: this.owner.drops,
        },
      );
      this.#abandon = () => peer.destroy();
    });
  }

  #up(peer: Peer): void {
    this.#stopAnswer();
    this.#phase = 'up';
    this.#backOffMs = RECONNECT_FIRST_MS;
    this.#peer = peer;
    this.#change('up');
  }

  #gone(): void {
    if (this.#phase !== 'up') {
      this.#failed('it does not speak ZMTP, or not with our socket');
      return;
    }
    this.#discard();
    this.#phase = 'waiting';
    this.#attemptAtMs = this.#clock.now();
    this.#why = 'the connection was lost';
    this.#after(RECONNECT_FIRST_MS, () => this.#open());
    this.#change('connecting', true);
  }

  #failed(why: string): void {
    this.#discard();
    if (this.#cancelAnswer !== undefined) return;
    this.#phase = 'waiting';
    this.#attemptAtMs = this.#clock.now();
    this.#why = why;
    this.#after(this.#backOffMs, () => this.#open());
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
    this.#peer = undefined;
    this.#abandon();
    this.#abandon = () => undefined;
  }
}
