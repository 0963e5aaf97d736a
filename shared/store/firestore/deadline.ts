/**
 * The deadline of an operation and the signal of its caller; every wait of the engine keeps both
 * (`test/cloud/store-faults.test.ts`, "does not answer").
 */
import { setMaxListeners } from 'node:events';
import { abortable, abortedError } from '../cancellation';

/** Milliseconds that a call needs at least: timers are inexact by one or two. */
const SHORTEST_CALL_MS = 10;

export class Deadline {
  readonly signal: AbortSignal | undefined;
  /** By the monotonic clock, which setting the time does not change. */
  readonly #endsAt: number;

  constructor(ms: number, signal: AbortSignal | undefined) {
    this.signal = signal;
    // Each call of an operation adds a listener; Node would warn of a leak at the eleventh.
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

  /** @throws CmbsError `deadline_exceeded` when the caller has aborted */
  assertNotAborted(): void {
    if (this.signal?.aborted === true) throw abortedError(this.signal);
  }

  /** @throws CmbsError `deadline_exceeded` when the caller has aborted; `late()` when no time is left */
  assertLeft(late: () => Error): void {
    this.assertNotAborted();
    if (this.isOver) throw late();
  }

  /** Waits for `ms`, or for the time left. Rejects when the caller aborts. */
  async pause(ms: number): Promise<void> {
    this.assertNotAborted();
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
