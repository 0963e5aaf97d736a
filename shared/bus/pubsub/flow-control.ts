/**
 * Flow control over all consumers of a process: the memory that their deliveries may take. Google's client limits each
 * subscription by itself (`test/unit/flow-control.test.ts`).
 *
 * A consumer's credit is a fraction of the memory that is free, not of the total: one consumer alone may use much, and
 * however many have used up their credit, some is left for the next ("dynamic thresholds" for shared buffers, Choudhury
 * and Hahne 1998). A consumer without a delivery may always take one, however large it is, so that no consumer waits
 * for another for ever.
 */

/** A consumer may use one part in so many of the free memory: more than one stream brings, and enough for thirty consumers. */
const CREDIT_PARTS = 4;

interface Pool {
  /** Bytes; negative after deliveries that had to be taken. */
  free: number;
  readonly full: Set<FlowCredit>;
}

export class FlowControl {
  readonly #pool: Pool;

  /** @param bytes that the deliveries of all consumers may take */
  constructor(bytes: number) {
    this.#pool = { free: bytes, full: new Set() };
  }

  /** The credit of one consumer. `onRoom` is called when the credit was used up and is available again. */
  credit(onRoom: () => void): FlowCredit {
    return new FlowCredit(this.#pool, onRoom);
  }
}

export class FlowCredit {
  readonly #pool: Pool;
  readonly #onRoom: () => void;
  #used = 0;

  constructor(pool: Pool, onRoom: () => void) {
    this.#pool = pool;
    this.#onRoom = onRoom;
  }

  /** The credit is used up: the consumer should receive no more. */
  get isFull(): boolean {
    return this.#pool.full.has(this);
  }

  /** Counts a delivery that has arrived, even when the credit is used up. */
  take(bytes: number): void {
    this.#used += bytes;
    this.#pool.free -= bytes;
    if (this.#used >= this.#limit) this.#pool.full.add(this);
  }

  release(bytes: number): void {
    this.#used -= bytes;
    this.#pool.free += bytes;
    for (const credit of [...this.#pool.full]) credit.#resume();
  }

  get #limit(): number {
    return Math.max(this.#pool.free, 0) / CREDIT_PARTS;
  }

  /** Waits until half of the credit is free: to stop and start streams with each delivery would cost more than it brings. */
  #resume(): void {
    if (this.#used > 0 && this.#used > this.#limit / 2) return;
    this.#pool.full.delete(this);
    this.#onRoom();
  }
}
