/**
 * Turns at documents, for the transactions of this process that were outrun at them. Without, of many that change one
 * document each would read it again for every one that gets ahead of it.
 */
import { type Deadline } from './deadline';
import { withinDeadline } from '../giving-up';

/** Milliseconds that such a transaction waits for others of this process at the same document, before it goes on. */
const FIRESTORE_TURN_MS = 1000;

export class KeyedMutex {
  /** By path: done when everybody in line has had their turn. */
  readonly #lines = new Map<string, Promise<void>>();

  /**
   * Resolves, to what ends the turn, when it has come; or after a while without it, since a body may wait for another
   * transaction at the same document. Rejects when the caller gives up.
   */
  async lock(path: string, bounds: Deadline): Promise<() => void> {
    const before = this.#lines.get(path) ?? Promise.resolve();
    let endTurn: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      endTurn = resolve;
    });
    const line = before.then(() => done);
    this.#lines.set(path, line);
    void line.then(() => {
      if (this.#lines.get(path) === line) this.#lines.delete(path);
    });
    try {
      await withinDeadline(() => before, bounds.signal, Math.min(FIRESTORE_TURN_MS, bounds.left));
    } catch (error) {
      if (bounds.signal?.aborted === true) {
        endTurn();
        throw error;
      }
      // Long enough: it goes on without the turn, and gives it up with its own.
    }
    return endTurn;
  }
}
