/** Reports the bytes that one connection holds, in each direction, to the process-wide bounds (memory.ts). */
import type { MemoryHolder, SocketMemory } from './memory';

class Share implements MemoryHolder {
  readonly #memory: SocketMemory;
  #bytes = 0;

  constructor(
    memory: SocketMemory,
    readonly overflow: () => void,
  ) {
    this.#memory = memory;
  }

  /** Tells only changes, since most messages come and go within one chunk. */
  set(bytes: number): void {
    if (bytes === this.#bytes) return;
    this.#bytes = bytes;
    this.#memory.set(this, bytes);
  }
}

export interface SocketMemories {
  readonly received: SocketMemory;
  readonly unsent: SocketMemory;
}

export class RelayMemory {
  readonly #received: Share;
  readonly #unsent: Share;

  /** @param cut called when the connection is the one to be cut off */
  constructor(
    { received, unsent }: SocketMemories,
    cut: (reason: 'too_much_memory' | 'peer_does_not_read') => void,
  ) {
    this.#received = new Share(received, () => cut('too_much_memory'));
    this.#unsent = new Share(unsent, () => cut('peer_does_not_read'));
  }

  /**
   * @param receivedBytes from the peer, and not yet taken by libzmq
   * @param unsentBytes for the peer, and not read by it
   */
  set(receivedBytes: number, unsentBytes: number): void {
    this.#received.set(receivedBytes);
    this.#unsent.set(unsentBytes);
  }
}
