/** What every socket of the process shares: where it logs and counts, its clock, and the bounds on memory. */
import { type Clock, type Counters, type Log, systemClock } from '@cmbs/shared';
import { MAX_RECEIVED_BYTES_HELD, MAX_UNSENT_BYTES_HELD } from '@cmbs/shared/limits';
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

/** All sockets of a process, and what they may take together. */
export class SocketContext {
  /** What peers have sent, and is not whole or not wanted yet. */
  readonly received = new SocketMemory(MAX_RECEIVED_BYTES_HELD);
  /** What peers have not read. */
  readonly unsent = new SocketMemory(MAX_UNSENT_BYTES_HELD);
  readonly #held = new Set<Held>();
  #closed = false;

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
