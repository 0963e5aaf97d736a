/** A clock that only the test moves. */
import { type Clock } from '@cmbs/shared';

interface Task {
  readonly due: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #now: number;
  readonly #tasks = new Set<Task>();
  #noticed: (() => void)[] = [];

  constructor(start = 1_700_000_000_000) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): () => void {
    const task = { due: this.#now + delayMs, run };
    this.#tasks.add(task);
    for (const notice of this.#noticed.splice(0)) notice();
    return () => this.#tasks.delete(task);
  }

  /** Resolves when a task waits for this clock. */
  async waiting(): Promise<void> {
    if (this.#tasks.size === 0) await new Promise<void>((resolve) => this.#noticed.push(resolve));
  }

  /** Moves to the next task and runs it; returns the milliseconds by which the clock moved. */
  runNext(): number {
    const [next] = [...this.#tasks].sort((a, b) => a.due - b.due);
    if (next === undefined) throw new Error('Nothing waits for the clock.');
    const ahead = Math.max(0, next.due - this.#now);
    this.#now += ahead;
    this.#tasks.delete(next);
    next.run();
    return ahead;
  }

  /** Moves the clock ahead and runs the tasks that become due. */
  advance(ms: number): void {
    const end = this.#now + ms;
    while ([...this.#tasks].some(({ due }) => due <= end)) this.runNext();
    this.#now = end;
  }
}
