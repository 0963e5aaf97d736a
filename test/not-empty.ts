/**
 * The items of a computed list that a test checks one by one. Throws if the list is empty, since the test would
 * then pass.
 */
export function notEmpty<T>(items: Iterable<T>): readonly T[] {
  const all = [...items];
  if (all.length === 0) throw new Error('the list is empty, so nothing was tested');
  return all;
}
