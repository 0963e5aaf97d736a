/** Collects receipts that are written after the reply, so that they share a commit. */
import type { Clock } from '../clock';
import { MAX_COMMIT_WRITES } from '../limits';

/**
 * Receipts that are answered and not written yet: fewer than may wait for a commit (`MAX_QUEUED_COMMITS`), so that a
 * flood of such messages leaves room for other writes.
 */
const MAX_UNWRITTEN_RECEIPTS = 4000;
/** Milliseconds that a receipt waits for others: a commit for each would take longer than the rest of its handling. */
const BATCH_WAIT_MS = 5;

export class ReceiptBatch {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #most: number;
  #unwritten = 0;
  /** Starts of the writes that wait for others to share their commit. */
  readonly #waiting: (() => void)[] = [];
  #cancelTimer: (() => void) | undefined;
  /** Arrivals that wait until a receipt is written, oldest first. */
  readonly #waitingForRoom: (() => void)[] = [];
  readonly #waitingForAll: (() => void)[] = [];

  /** @param most receipts that may be answered and not written */
  constructor(clock: Pick<Clock, 'after'>, most = MAX_UNWRITTEN_RECEIPTS) {
    this.#clock = clock;
    this.#most = most;
  }

  /** Resolves when there is room for one more receipt. `write` runs together with others; `written` settles as it does. */
  async add(write: () => Promise<void>): Promise<{ readonly written: Promise<void> }> {
    while (this.#unwritten >= this.#most) {
      await new Promise<void>((resolve) => this.#waitingForRoom.push(resolve));
    }
    // In the same turn as the check: many arrivals may go on at once, when the inbox that they wait for is measured.
    this.#unwritten += 1;
    const written = new Promise<void>((resolve) => this.#waiting.push(resolve))
      .then(write)
      .finally(() => this.#written());
    if (this.#waiting.length >= MAX_COMMIT_WRITES) this.#writeNow();
    else this.#cancelTimer ??= this.#clock.after(BATCH_WAIT_MS, () => this.#writeNow());
    return { written };
  }

  /** Waits until every receipt is written. */
  async flush(): Promise<void> {
    this.#writeNow();
    if (this.#unwritten > 0) await new Promise<void>((resolve) => this.#waitingForAll.push(resolve));
  }

  #writeNow(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const start of this.#waiting.splice(0)) start();
  }

  #written(): void {
    this.#unwritten -= 1;
    this.#waitingForRoom.shift()?.();
    if (this.#unwritten === 0) for (const resolve of this.#waitingForAll.splice(0)) resolve();
  }
}
