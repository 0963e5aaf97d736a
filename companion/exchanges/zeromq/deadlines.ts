/** Checks the deadlines of many requests with one timer instead of one for each. */
import type { Clock } from '@cmbs/shared';

/** Milliseconds between two checks. */
const CHECK_MS = 20;

export class Deadlines {
  readonly #clock: Clock;
  readonly #expire: (nowMs: number) => void;
  readonly #isWatching: () => boolean;
  #isScheduled = false;

  /**
   * @param expire ends the requests whose deadline is at or before this time
   * @param isWatching whether any request is left
   */
  constructor(clock: Clock, expire: (nowMs: number) => void, isWatching: () => boolean) {
    this.#clock = clock;
    this.#expire = expire;
    this.#isWatching = isWatching;
  }

  /** A request was added. */
  watch(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.after(CHECK_MS, () => {
      this.#isScheduled = false;
      this.#expire(this.#clock.now());
      if (this.#isWatching()) this.watch();
    });
  }
}
