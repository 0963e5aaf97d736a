/** How a reader of an inbox waits for entries that are free. */

/** Milliseconds after which a waiting reader looks again in any case; the watch tells it of arrivals. */
const LOOK_AGAIN_MS = 15_000;
/** Least milliseconds between two looks: another process may see a lease end a little later. */
const LEAST_PAUSE_MS = 50;

/** A page without entries. */
interface EmptyPage {
  /** Cursor of the next page. */
  readonly next?: string;
  /** Milliseconds until the first lease of a skipped entry ends. */
  readonly leaseEndsInMs?: number;
}

/**
 * Where a reader that waits reads next, and how long it waits. Behind as many leased entries as one read looks at there
 * may be others, so it goes on from there before it waits.
 */
export class InboxWaiting {
  readonly #start: string | undefined;
  #next: string | undefined;
  #leaseEndsInMs = Infinity;

  constructor(start?: string) {
    this.#start = start;
    this.#next = start;
  }

  /** For the options of the next read. */
  get cursor(): { readonly cursor?: string } {
    return this.#next === undefined ? {} : { cursor: this.#next };
  }

  /**
   * Milliseconds to wait for an arrival after a page without entries; 0: read on. No change in the store tells that a
   * lease ends.
   */
  pauseAfter({ next, leaseEndsInMs = Infinity }: EmptyPage): number {
    this.#leaseEndsInMs = Math.min(this.#leaseEndsInMs, leaseEndsInMs);
    this.#next = next ?? this.#start;
    if (next !== undefined) return 0;
    const pauseMs = Math.min(LOOK_AGAIN_MS, Math.max(LEAST_PAUSE_MS, this.#leaseEndsInMs));
    this.#leaseEndsInMs = Infinity;
    return pauseMs;
  }
}
