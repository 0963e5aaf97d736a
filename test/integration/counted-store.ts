/** A store that counts the documents that are read, as Firestore bills them: a query that finds nothing is one read. */
import type { Store } from '@cmbs/shared/store';

export interface CountedStore {
  readonly store: Store;
  /** Documents that `work` reads, outside of transactions. */
  readonly readsOf: (work: () => Promise<unknown>) => Promise<number>;
  /** Documents of a collection that were read so far. */
  readonly readsIn: (collection: string) => number;
}

export function countedStore(store: Store): CountedStore {
  const reads = new Map<string, number>();
  const readsIn = (collection: string): number => reads.get(collection) ?? 0;
  const count = (collection: string, documents: number): void =>
    void reads.set(collection, readsIn(collection) + documents);
  const all = (): number => [...reads.values()].reduce((sum, documents) => sum + documents, 0);
  const counted: Store = {
    get: (...args) => {
      count(args[0], 1);
      return store.get(...args);
    },
    getAll: (...args) => {
      count(args[0], args[1].length);
      return store.getAll(...args);
    },
    query: async (...args) => {
      const page = await store.query(...args);
      count(args[0].collection, Math.max(1, page.docs.length));
      return page;
    },
    count: (...args) => store.count(...args),
    measure: (...args) => store.measure(...args),
    transact: (...args) => store.transact(...args),
    create: (...args) => store.create(...args),
    watch: (...args) => store.watch(...args),
    sweep: (limit) => store.sweep(limit),
    close: () => store.close(),
  };
  return {
    store: counted,
    readsIn,
    readsOf: async (work) => {
      const before = all();
      await work();
      return all() - before;
    },
  };
}
