/** The items of a computed list that a test looks at one by one; throws when there are none, for it would pass then. */
export function notEmpty<T>(items: Iterable<T>): readonly T[] {
  const all = [...items];
  if (all.length === 0) throw new Error('the list is empty, so nothing was tested');
  return all;
}
