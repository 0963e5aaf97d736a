/**
 * Runs work under one key in the order of the calls, one after the other. Unlike the keyed mutex of the Firestore store,
 * this class never lets work run early, and a failure that is retried fails the work behind it.
 */
import { toCmbsError } from '@cmbs/shared';

export class KeyedSequence {
  readonly #last = new Map<string, Promise<unknown>>();

  /**
   * Runs the work after all earlier work under the key. Where earlier work failed with an error that its caller retries,
   * this fails with the same error and does not run: it would overtake the retry.
   * @throws the error of the work, or that of earlier work
   */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const mine = before === undefined ? work() : before.then(work, (error: unknown) => afterFailure(error, work));
    this.#last.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}

function afterFailure<T>(error: unknown, work: () => Promise<T>): Promise<T> {
  if (toCmbsError(error).retryable) throw error;
  return work();
}
