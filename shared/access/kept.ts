/** Answers that are kept for a short time, so that a rule that has changed is effective soon. */
import type { Clock } from '../clock';

/** An answer, and when it was asked for. */
export interface Kept<T> {
  readonly value: T;
  /** Milliseconds since the epoch from which on the answer must be asked for again. */
  readonly until: number;
}

export interface KeptOptions<T> {
  readonly clock: Clock;
  /** Milliseconds for which an answer is kept. */
  readonly keepMs: number;
  /** Answers in memory, at most. */
  readonly most: number;
  readonly ask: (key: string) => Promise<T>;
}

export class KeptAnswers<T> {
  readonly #options: KeptOptions<T>;
  /** In the order in which they were asked for. */
  readonly #answers = new Map<string, Kept<T>>();
  /** Questions under way, so that many requests at the same time ask once. */
  readonly #asking = new Map<string, Promise<Kept<T>>>();
  /** Raised when everything is forgotten. */
  #generation = 0;

  constructor(options: KeptOptions<T>) {
    this.#options = options;
  }

  /** The answer if it is in memory. */
  known(key: string): Kept<T> | undefined {
    const kept = this.#answers.get(key);
    return kept !== undefined && this.#options.clock.now() < kept.until ? kept : undefined;
  }

  get(key: string): Promise<Kept<T>> {
    const kept = this.known(key);
    if (kept !== undefined) return Promise.resolve(kept);
    const under = this.#asking.get(key);
    if (under !== undefined) return under;
    const asking = this.#ask(key).finally(() => {
      if (this.#asking.get(key) === asking) this.#asking.delete(key);
    });
    this.#asking.set(key, asking);
    return asking;
  }

  async #ask(key: string): Promise<Kept<T>> {
    const { clock, keepMs, ask } = this.#options;
    const generation = this.#generation;
    // Counted from before the question: the answer may be older than its arrival.
    const until = clock.now() + keepMs;
    const kept = { value: await ask(key), until };
    if (generation === this.#generation) this.#keep(key, kept);
    return kept;
  }

  #keep(key: string, kept: Kept<T>): void {
    this.#answers.delete(key);
    this.#answers.set(key, kept);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= this.#options.most) return;
      this.#answers.delete(oldest);
    }
  }

  /** Forgets everything, also the answers to questions that are under way. */
  forget(): void {
    this.#generation += 1;
    this.#answers.clear();
    this.#asking.clear();
  }
}
