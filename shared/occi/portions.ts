/** Reads a page in portions, so that other requests do not wait for the whole page. */
import { nextTurn, requireWanted } from '../waiting';

export interface Portioned {
  /** Ends the work between two portions. */
  readonly signal?: AbortSignal;
  /** Resolves when there is memory for a page of several portions; called once. */
  readonly claim?: () => Promise<void>;
}

/** The page is larger than a portion, and {@link Portioned.claim} has not been called. */
class LargePage extends Error {}

/** The portions of one page: its reader awaits {@link next} before each. */
export class Portions {
  readonly #signal: AbortSignal | undefined;
  readonly #isSmall: boolean;
  #count = 0;

  constructor(signal: AbortSignal | undefined, isSmall: boolean) {
    this.#signal = signal;
    this.#isSmall = isSmall;
  }

  /** @throws CmbsError if the client no longer waits for the page */
  async next(): Promise<void> {
    requireWanted(this.#signal);
    this.#count += 1;
    if (this.#isSmall && this.#count > 1) throw new LargePage();
    await nextTurn();
  }
}

/**
 * Reads a page. If a page is larger than a portion, reading starts again when there is memory for the page, because hundreds
 * of waiting pages would otherwise hold a portion each.
 */
export async function inPortions<T>(
  { signal, claim }: Portioned,
  read: (portions: Portions) => Promise<T>,
): Promise<T> {
  if (claim === undefined) return read(new Portions(signal, false));
  try {
    return await read(new Portions(signal, true));
  } catch (error) {
    if (!(error instanceof LargePage)) throw error;
  }
  await claim();
  return read(new Portions(signal, false));
}
