/** Times the next attempt: after each failure in a row the pause is longer. */
import type { Clock } from '@cmbs/shared';

export interface RetryTimerParts {
  readonly clock: Clock;
  /** Milliseconds before the next attempt, by the number of failures in a row. */
  readonly backOff: (failures: number) => number;
}

export class RetryTimer {
  readonly #parts: RetryTimerParts;
  #failures = 0;
  #cancel: (() => void) | undefined;

  constructor(parts: RetryTimerParts) {
    this.#parts = parts;
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#failures;
  }

  /** An attempt failed: runs `retry` after a pause, in place of an earlier one that waits. */
  failed(retry: () => void): void {
    const { clock, backOff } = this.#parts;
    this.cancel();
    this.#failures += 1;
    this.#cancel = clock.after(backOff(this.#failures), retry);
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** Cancels the attempt that waits; the failures still count. */
  cancel(): void {
    this.#cancel?.();
  }
}
