/** Limits the bytes that are in use at the same time; callers that ask for more wait in order. */

/** Bytes of frames that are in flight to any peer, or about to be. */
const MAX_OUTGOING_BYTES = 128 * 1024 * 1024;
/** One part in this many is for peers that have failed: peers that hang must leave room for those that answer. */
const FAILING_PARTS = 4;

interface Asking {
  readonly bytes: number;
  readonly grant: (release: () => void) => void;
}

interface Pool {
  readonly most: number;
  used: number;
  readonly waiting: Asking[];
}

export class ByteSemaphore {
  readonly #good: Pool;
  readonly #failing: Pool;

  constructor(bytes = MAX_OUTGOING_BYTES) {
    const failing = Math.floor(bytes / FAILING_PARTS);
    this.#failing = { most: failing, used: 0, waiting: [] };
    this.#good = { most: bytes - failing, used: 0, waiting: [] };
  }

  /**
   * Resolves with a function that gives the bytes back.
   * @param isFailing the bytes are for a peer that has failed; such peers share a part of their own
   */
  take(bytes: number, isFailing: boolean): Promise<() => void> {
    const pool = isFailing ? this.#failing : this.#good;
    return new Promise((resolve) => {
      pool.waiting.push({ bytes, grant: resolve });
      this.#grant(pool);
    });
  }

  #grant(pool: Pool): void {
    for (let next = pool.waiting[0]; next !== undefined; next = pool.waiting[0]) {
      // A frame that is larger than the limit goes alone.
      if (pool.used > 0 && pool.used + next.bytes > pool.most) return;
      pool.waiting.shift();
      const { bytes } = next;
      pool.used += bytes;
      let isHeld = true;
      next.grant(() => {
        if (!isHeld) return;
        isHeld = false;
        pool.used -= bytes;
        this.#grant(pool);
      });
    }
  }
}
