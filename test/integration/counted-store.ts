/** A store that counts the documents that are read, as Firestore bills them: a query that finds nothing is one read. */
import type { Store } from '@cmbs/shared/store';

export interface CountedStore {
  readonly store: Store;
  /** Documents that `work` reads, outside of transactions. */
  readonly readsOf: (work: () => Promise<unknown>) => Promise<number>;
}

export function countedStore(store: Store): CountedStore {
  let reads = 0;
  const counted: Store = {
    get: (...args) => {
      reads += 1;
      return store.get(...args);
    },
    getAll: (...args) => {
      reads += args[1].length;
      return store.getAll(...args);
    },
    query: async (...args) => {
      const page = await store.query(...args);
      reads += Math.max(1, page.docs.length);
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
    readsOf: async (work) => {
      const before = reads;
      await work();
      return reads - before;
    },
  };
}
