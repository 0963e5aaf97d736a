/** Looks at the deadlines of many requests with one timer, not one per request. */
import type { Clock } from '@cmbs/shared';

/** Milliseconds between two looks. */
const LOOK_MS = 20;

export class Deadlines {
  readonly #clock: Clock;
  readonly #expire: (nowMs: number) => void;
  readonly #isWatching: () => boolean;
  #isScheduled = false;

  /**
   * @param expire ends what has its deadline at or before this time
   * @param isWatching whether anything with a deadline is left
   */
  constructor(clock: Clock, expire: (nowMs: number) => void, isWatching: () => boolean) {
    this.#clock = clock;
    this.#expire = expire;
    this.#isWatching = isWatching;
  }

  /** Something with a deadline was added. */
  watch(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.after(LOOK_MS, () => {
      this.#isScheduled = false;
      this.#expire(this.#clock.now());
      if (this.#isWatching()) this.watch();
    });
  }
}
