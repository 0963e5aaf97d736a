import { systemClock, type Clock } from '@cmbs/shared';

/** Milliseconds from which on a wait is a long one: a minute is the shortest that tests want to let pass. */
const LONG_MS = 60_000;

/** The system's clock, except that long timers wait until the test lets the time pass. */
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

  /** Lets the time pass: runs the timers that are due by then. */
  pass(ms: number): void {
    this.#passed += ms;
    for (const [task, due] of [...this.#waiting]) {
      if (due <= ms && this.#waiting.delete(task)) task();
    }
  }
}
