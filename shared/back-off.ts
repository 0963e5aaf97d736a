/** How long to wait before something that failed is tried again. */

/** A number from 0 to 1; passed in, as time is. */
export type Random = () => number;

/**
 * Milliseconds before it is tried again after the `failures`-th failure in a row (1, 2, …): doubling from `first` up to
 * `most`, of which the second half is left to chance, so that those that failed together do not come back together.
 */
export function backOff(failures: number, first: number, most: number, random: Random): number {
  const longest = Math.min(first * 2 ** (failures - 1), most);
  return longest * (0.5 + random() / 2);
}
