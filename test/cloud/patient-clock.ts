import { systemClock, type Clock } from '@cmbs/shared';

/** Milliseconds from which a wait counts as long: tests let a minute pass at least. */
const LONG_MS = 60_000;

/** The system clock, except that long timers wait until the test moves the time. */
export class PatientClock implements Clock {
  readonly #waiting = new Map<() => void, number>();
  #passed = 0;

  now(): number {
    return systemClock.now() + this.#passed;
  }

  elapsed(): number {
    return systemClock.elapsed() + this.#passed;
  }

  after(ms: number, task: () => void): () => void {
    if (ms < LONG_MS) return systemClock.after(ms, task);
    this.#waiting.set(task, ms);
    return () => this.#waiting.delete(task);
  }

  /** Moves the time ahead and runs the timers that are due. */
  pass(ms: number): void {
    this.#passed += ms;
    for (const [task, due] of [...this.#waiting]) {
      if (due <= ms && this.#waiting.delete(task)) task();
    }
  }
}
