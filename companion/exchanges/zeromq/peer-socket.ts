/** What requester and broadcaster share: a socket that connects to one peer, and tells whether the peer is there. */
import type { Clock } from '@cmbs/shared';
import type { Address } from '@cmbs/shared/broker';
import type { ConnectionState, StateListener } from '../exchange';
import { Drops } from './drops';
import { clockOf, type SocketEnvironment } from './options';
import { PeerConnection } from './peer-connection';
import type { PrivateSocket, Receiving } from './private-socket';
import type { SocketType } from './zmtp';

export interface PeerSocketKind<S extends Receiving> {
  /** Word for the socket in logs and counters. */
  readonly name: string;
  /** What a message of the peer is, in logs: `replies`. */
  readonly messages: string;
  readonly type: SocketType;
  /** Bytes of a message above which the peer is cut off. */
  readonly maxMessageBytes: number;
  readonly create: () => S;
}

export abstract class PeerSocket<S extends Receiving> {
  protected readonly connection: PeerConnection<S>;
  protected readonly clock: Clock;
  protected readonly drops: Drops;
  protected isClosed = false;
  readonly #stateListeners = new Set<StateListener>();

  /**
   * A subclass calls {@link PeerConnection.open} when it is ready.
   * @throws CmbsError `bad_attribute` when the text is not an address, `forbidden` when the rules refuse the address
   */
  protected constructor(
    address: Address | string,
    protected readonly environment: SocketEnvironment,
    kind: PeerSocketKind<S>,
  ) {
    const peer = typeof address === 'string' ? environment.context.toDial(address) : address;
    this.clock = clockOf(environment);
    this.drops = new Drops(kind.name, peer.text, environment.log, environment.counters);
    this.connection = new PeerConnection<S>(
      peer,
      {
        type: kind.type,
        maxMessageBytes: kind.maxMessageBytes,
        drops: this.drops,
        create: kind.create,
        opened: (socket) => {
          this.opened();
          void this.#receive(socket, kind.messages);
        },
        changed: (state, lost) => {
          this.changed(state, lost);
          for (const listener of [...this.#stateListeners]) listener(state);
        },
      },
      environment,
    );
  }

  get address(): string {
    return this.connection.address.text;
  }

  /** `down`: nobody listens there, or the socket there does not fit ours. */
  get state(): ConnectionState {
    return this.connection.state;
  }

  /** In a few words, why {@link state} is `down`. */
  get why(): string {
    return this.connection.why;
  }

  /** Calls `listener` at every change of {@link state}, until the returned function is called. */
  onState(listener: StateListener): () => void {
    this.#stateListeners.add(listener);
    return () => void this.#stateListeners.delete(listener);
  }

  /** A new socket is in use from here on. */
  protected abstract opened(): void;
  /** @param lost see {@link PeerConnectionOwner.changed} */
  protected abstract changed(state: ConnectionState, lost: boolean): void;
  /** @param isPresent false when the message came by a socket that was replaced since */
  protected abstract take(frames: readonly Buffer[], isPresent: boolean): void;

  async close(): Promise<void> {
    this.isClosed = true;
    this.#stateListeners.clear();
    await this.connection.close();
  }

  async #receive(socket: PrivateSocket<S>, messages: string): Promise<void> {
    try {
      for (;;) {
        const frames = await socket.receive();
        this.take(frames, socket.socket === this.connection.socket);
      }
    } catch (cause) {
      if (socket.closed) return;
      this.environment.log.error(`receiving ${messages} failed`, { address: this.address, cause });
    }
  }
}
