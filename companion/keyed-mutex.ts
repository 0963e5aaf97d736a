/** Work that has to keep its order: one after the other under one name, in the order of the calls. */
import { toCmbsError } from '@cmbs/shared';

export class KeyedMutex {
  readonly #last = new Map<string, Promise<unknown>>();

  /**
   * Does the work when all that was asked for before under the name is done. Where one of them failed and will be asked
   * for again, it fails likewise without being done: it would overtake.
   */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name);
    const mine = before === undefined ? work() : before.then(work, (error: unknown) => afterFailure(error, work));
    this.#last.set(name, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(name) === mine) this.#last.delete(name);
    }
  }
}

function afterFailure<T>(error: unknown, work: () => Promise<T>): Promise<T> {
  if (toCmbsError(error).retryable) throw error;
  return work();
}
