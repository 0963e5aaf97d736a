/** A page is read in portions, so that nobody else waits for the whole of it. */
import { nextTurn, requireWanted } from '../waiting';

export interface Portioned {
  /** Ends the work between two portions. */
  readonly signal?: AbortSignal;
  /** Resolves when there is room for a page that has more than a portion; called once. */
  readonly claim?: () => Promise<void>;
}

/** The page turned out large before there was room for it. */
class LargePage extends Error {}

/** What the reading of one page awaits before each portion. */
export class Portions {
  readonly #signal: AbortSignal | undefined;
  readonly #isSmall: boolean;
  #count = 0;

  constructor(signal: AbortSignal | undefined, isSmall: boolean) {
    this.#signal = signal;
    this.#isSmall = isSmall;
  }

  /** Rejects when nobody waits for the page any more. */
  async next(): Promise<void> {
    requireWanted(this.#signal);
    this.#count += 1;
    if (this.#isSmall && this.#count > 1) throw new LargePage();
    await nextTurn();
  }
}

/**
 * Reads a page. One that turns out large is begun anew when there is room for it: hundreds that wait would hold a
 * portion each otherwise.
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
