/** Answers that are kept for a short time, so that a rule that has changed is effective soon. */
import type { Clock } from '../clock';

/** An answer, and how long it holds. */
export interface Kept<T> {
  readonly value: T;
  /** Milliseconds of the monotonic clock from which on the answer must be asked for again. */
  readonly until: number;
}

/** An answer larger than one part in so many of all is not kept. */
const LARGEST_PART = 4;
/** Characters that an answer has in memory besides its key and its value. */
const OVERHEAD_CHARS = 100;

interface Entry<T> extends Kept<T> {
  readonly chars: number;
}

export interface KeptMapOptions<T> {
  readonly clock: Pick<Clock, 'elapsed'>;
  /** Characters of all keys and values together, at most. */
  readonly maxChars: number;
  /** Characters of a value. */
  readonly charsOf: (value: T) => number;
}

/** Answers within a bound of characters; the one that was added longest ago goes first. */
export class KeptMap<T> {
  readonly #options: KeptMapOptions<T>;
  readonly #entries = new Map<string, Entry<T>>();
  #chars = 0;
  /** Raised when everything is forgotten, so that an answer to an earlier question is not added. */
  #generation = 0;

  constructor(options: KeptMapOptions<T>) {
    this.#options = options;
  }

  get generation(): number {
    return this.#generation;
  }

  get(key: string): Kept<T> | undefined {
    const entry = this.#entries.get(key);
    return entry !== undefined && this.#options.clock.elapsed() < entry.until ? entry : undefined;
  }

  /** @param generation when the question was asked */
  add(key: string, { value, until }: Kept<T>, generation: number): void {
    if (generation !== this.#generation) return;
    const { charsOf, maxChars } = this.#options;
    const chars = key.length + charsOf(value) + OVERHEAD_CHARS;
    this.#remove(key);
    // It would push out everything else.
    if (chars > maxChars / LARGEST_PART) return;
    this.#entries.set(key, { value, until, chars });
    this.#chars += chars;
    for (const oldest of this.#entries.keys()) {
      if (this.#chars <= maxChars) return;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#chars -= entry.chars;
  }

  forget(): void {
    this.#generation += 1;
    this.#entries.clear();
    this.#chars = 0;
  }
}

export interface KeptAnswersOptions<T> extends KeptMapOptions<T> {
  /** Milliseconds for which an answer is kept. */
  readonly keepMs: number;
  readonly ask: (key: string) => Promise<T>;
}

/** Asks for answers that are not kept, once for many callers at the same time. */
export class KeptAnswers<T> {
  readonly #options: KeptAnswersOptions<T>;
  readonly #answers: KeptMap<T>;
  readonly #asking = new Map<string, Promise<Kept<T>>>();

  constructor(options: KeptAnswersOptions<T>) {
    this.#options = options;
    this.#answers = new KeptMap(options);
  }

  get(key: string): Promise<Kept<T>> {
    const kept = this.#answers.get(key);
    if (kept !== undefined) return Promise.resolve(kept);
    const known = this.#asking.get(key);
    if (known !== undefined) return known;
    const asking = this.#ask(key).finally(() => {
      if (this.#asking.get(key) === asking) this.#asking.delete(key);
    });
    this.#asking.set(key, asking);
    return asking;
  }

  async #ask(key: string): Promise<Kept<T>> {
    const { clock, keepMs, ask } = this.#options;
    const { generation } = this.#answers;
    // Counted from before the question: the answer may be older than its arrival.
    const until = clock.elapsed() + keepMs;
    const kept = { value: await ask(key), until };
    this.#answers.add(key, kept, generation);
    return kept;
  }

  /** Forgets everything, also the answers to questions that are under way. */
  forget(): void {
    this.#answers.forget();
    this.#asking.clear();
  }
}
