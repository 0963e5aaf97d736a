/**
 * The memory that all connections of a process take together, in one direction: bytes of messages that are not whole or
 * not received yet, or bytes that peers have not read. Each connection has a limit of its own; this limit is for many
 * connections at once. Beyond it, the connection that takes the most is cut off.
 */
export interface MemoryHolder {
  /** Called when this connection is to be cut off. */
  overflow(): void;
}

export class SocketMemory {
  readonly #limit: number;
  readonly #held = new Map<MemoryHolder, number>();
  #total = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held by all connections. */
  get total(): number {
    return this.#total;
  }

  /** Sets how much a connection holds now. */
  set(holder: MemoryHolder, bytes: number): void {
    this.#total += bytes - (this.#held.get(holder) ?? 0);
    if (bytes === 0) this.#held.delete(holder);
    else this.#held.set(holder, bytes);
    while (this.#total > this.#limit) this.#cutLargest();
  }

  #cutLargest(): void {
    let largest: MemoryHolder | undefined;
    let most = 0;
    for (const [holder, bytes] of this.#held) {
      if (bytes > most) [largest, most] = [holder, bytes];
    }
    if (largest === undefined) return;
    this.#held.delete(largest);
    this.#total -= most;
    largest.overflow();
  }
}
