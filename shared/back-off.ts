/** Back-off: how long to wait between attempts. */

/** A source of numbers from 0 to below 1; an option, so that tests can choose them. */
export type Random = () => number;

/**
 * Milliseconds to wait before the next attempt. The wait doubles from `first` up to `most` milliseconds; its second half
 * is random, so that callers that failed together do not retry together.
 * @param failures failures in a row: 1, 2, …
 */
export function backOff(failures: number, first: number, most: number, random: Random): number {
  const longest = Math.min(first * 2 ** (failures - 1), most);
  return longest * (0.5 + random() / 2);
}
