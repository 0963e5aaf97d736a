/** How long an operation may take and who may end it earlier; every wait of the engine goes by it. */
import { setMaxListeners } from 'node:events';
import { abortable, abortedError } from '../giving-up';

/** Milliseconds. Clocks differ by one or two: what ends at the deadline may end just before it. */
const SHORTEST_CALL_MS = 10;

export class Deadline {
  readonly signal: AbortSignal | undefined;
  /** By the monotonic clock: a wall clock that is set must not end or prolong a wait. */
  readonly #endsAt: number;

  constructor(ms: number, signal: AbortSignal | undefined) {
    this.signal = signal;
    // Each call of an operation listens while it is under way; Node would warn of a leak at the eleventh.
    if (signal !== undefined) setMaxListeners(0, signal);
    this.#endsAt = performance.now() + ms;
  }

  /** Milliseconds. */
  get left(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  /** There is no time for another call. */
  get isOver(): boolean {
    return this.left < SHORTEST_CALL_MS || this.signal?.aborted === true;
  }

  /** Throws `deadline_exceeded` when the caller has given up. */
  assertWanted(): void {
    if (this.signal?.aborted === true) throw abortedError(this.signal);
  }

  /** Throws `deadline_exceeded` when the caller has given up, `late()` when there is no more time. */
  assertLeft(late: () => Error): void {
    this.assertWanted();
    if (this.isOver) throw late();
  }

  /** Waits; no longer than there is time. Rejects when the caller gives up. */
  async pause(ms: number): Promise<void> {
    this.assertWanted();
    let timer: NodeJS.Timeout | undefined;
    await abortable<unknown>(
      this.signal,
      (resolve) => {
        timer = setTimeout(resolve, Math.min(ms, this.left));
      },
      () => clearTimeout(timer),
    );
  }
}
