/**
 * Precedence of transactions that run again. A write that does not depend on what was read, such as an increment, never
 * has a conflict, so that a few threads that increment one counter all the time would let no transaction on the counter
 * through. After a conflict such writes of this process wait a moment for the transaction.
 */
import type { Clock } from '../../clock';
import { untilOr } from '../../waiting';

/** Milliseconds for which other writes wait: longer than the pause before a transaction runs again, and its reads. */
const PRECEDENCE_MS = 300;
/** Milliseconds for which one write waits, whatever transactions do. */
const MAX_WAIT_MS = 500;

interface Given {
  readonly over: Promise<void>;
  readonly end: () => void;
  cancel: () => void;
}

export class Precedence {
  readonly #clock: Clock;
  /** By the id of the entry; each for a moment. */
  readonly #given = new Map<string, Given>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A transaction that has read these entries will run again. */
  give(ids: readonly string[]): void {
    for (const id of ids) {
      const given = this.#given.get(id) ?? made();
      this.#given.set(id, given);
      given.cancel();
      given.cancel = this.#clock.after(PRECEDENCE_MS, () => this.end([id]));
    }
  }

  /** A transaction on these entries has ended. */
  end(ids: readonly string[]): void {
    for (const id of ids) {
      const given = this.#given.get(id);
      this.#given.delete(id);
      given?.cancel();
      given?.end();
    }
  }

  /** Resolves when an entry can be written: at once, unless a transaction has precedence. */
  async wait(id: string): Promise<void> {
    const given = this.#given.get(id);
    if (given !== undefined) await untilOr(given.over, this.#clock, MAX_WAIT_MS);
  }
}

function made(): Given {
  let end = (): void => undefined;
  const over = new Promise<void>((resolve) => (end = resolve));
  return { over, end: () => end(), cancel: () => undefined };
}
