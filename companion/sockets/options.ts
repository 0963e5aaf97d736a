/** What every socket of the process shares: where it logs and counts, its clock, and the bounds on memory. */
import { type Clock, type Counters, type Log, systemClock } from '@cmbs/shared';
import { MAX_RECEIVED_BYTES_HELD, MAX_UNSENT_BYTES_HELD } from '@cmbs/shared/limits';
import type { AddressPolicy } from '../address-policy';
import { parseAddress, type Address } from '../transports';
import { SocketMemory } from './memory';

/** What each of the socket classes is given. */
export interface SocketEnvironment {
  readonly context: SocketContext;
  readonly log: Log;
  readonly counters: Counters;
  readonly clock?: Clock;
}

export function clockOf(environment: SocketEnvironment): Clock {
  return environment.clock ?? systemClock;
}

/** What the context closes at the end, if its owner has not. */
export interface Held {
  destroy(): void;
}

/** All sockets of a process, what they may take together, and the rules for their addresses. */
export class SocketContext {
  /** What peers have sent, and is not whole or not wanted yet. */
  readonly received = new SocketMemory(MAX_RECEIVED_BYTES_HELD);
  /** What peers have not read. */
  readonly unsent = new SocketMemory(MAX_UNSENT_BYTES_HELD);
  /** Paths of Unix sockets that are bound here. */
  readonly paths = new Set<string>();
  readonly #held = new Set<Held>();
  #closed = false;

  /** @param addresses which addresses may be bound and connected to; any, without */
  constructor(readonly addresses?: AddressPolicy) {}

  /** The address to connect to. @throws CmbsError when it is none, or the rules refuse it */
  toDial(text: string): Address {
    return this.addresses?.toDial(text) ?? parseAddress(text);
  }

  /** Keeps a socket until {@link release}. False when the context is closed, and then the socket is, too. */
  hold(socket: Held): boolean {
    if (this.#closed) socket.destroy();
    else this.#held.add(socket);
    return !this.#closed;
  }

  release(socket: Held): void {
    this.#held.delete(socket);
  }

  /** Sockets that are open now. */
  get size(): number {
    return this.#held.size;
  }

  /** Closes what is still open; the owners should have done so before, in their own order. */
  close(): void {
    this.#closed = true;
    for (const socket of [...this.#held]) {
      this.release(socket);
      socket.destroy();
    }
  }
}
