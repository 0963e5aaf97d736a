/**
 * The memory that deliveries in hand may take, over all consumers of a process.
 *
 * Each may hold a part of what is free, not of the whole: one that is alone gets much, and however many sit on theirs,
 * something is left for the next (the "dynamic threshold" of shared buffers, Choudhury and Hahne 1998). Who has nothing
 * in hand may take a delivery, however large and full everything is, so that nobody waits for somebody else for ever.
 */

/** One consumer may hold one part in so many of what is free of them: more than a stream, and thirty are no dead end. */
const BUDGET_PARTS = 4;

interface Pool {
  /** Bytes; less than none after deliveries that may always be taken. */
  free: number;
  readonly full: Set<FlowCredit>;
}

export class FlowControl {
  readonly #pool: Pool;

  constructor(bytes: number) {
    this.#pool = { free: bytes, full: new Set() };
  }

  /** For one consumer. `onRoom` is called when it was full and is not any more. */
  credit(onRoom: () => void): FlowCredit {
    return new FlowCredit(this.#pool, onRoom);
  }
}

export class FlowCredit {
  readonly #pool: Pool;
  readonly #onRoom: () => void;
  #held = 0;

  constructor(pool: Pool, onRoom: () => void) {
    this.#pool = pool;
    this.#onRoom = onRoom;
  }

  /** Nothing more should come. */
  get isFull(): boolean {
    return this.#pool.full.has(this);
  }

  /** What has come is taken, full or not. */
  take(bytes: number): void {
    this.#held += bytes;
    this.#pool.free -= bytes;
    if (this.#held >= this.#most) this.#pool.full.add(this);
  }

  release(bytes: number): void {
    this.#held -= bytes;
    this.#pool.free += bytes;
    for (const share of [...this.#pool.full]) share.#lookForRoom();
  }

  get #most(): number {
    return Math.max(this.#pool.free, 0) / BUDGET_PARTS;
  }

  /** Half of it has to be free: to stop and start streams with each delivery would cost more than what they bring. */
  #lookForRoom(): void {
    if (this.#held > 0 && this.#held > this.#most / 2) return;
    this.#pool.full.delete(this);
    this.#onRoom();
  }
}
