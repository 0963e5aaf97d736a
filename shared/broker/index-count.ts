/** Whether every document has an index entry that release 1.0 did not write: the documents are counted, and not read. */
import type { Query, Store } from '../store';

/** Documents that are counted. */
const MAX_COUNTED = 1_000_000;

type Terms = NonNullable<Query['where']>;

/** Whether some documents of a query have none of the terms. A document has one of them at most. */
export async function areSomeWithout(
  store: Pick<Store, 'count'>,
  query: Pick<Query, 'collection' | 'where'>,
  terms: Terms,
): Promise<boolean> {
  const { collection, where = [] } = query;
  const differs = async (): Promise<boolean> => {
    const [all, ...found] = await Promise.all([
      store.count({ collection, where }, MAX_COUNTED),
      ...terms.map((term) => store.count({ collection, where: [term] }, MAX_COUNTED)),
    ]);
    return found.reduce((sum, count) => sum + count, 0) < all;
  };
  // Documents come and go between the counts, so a difference counts only when it is there twice.
  return (await differs()) && differs();
}
