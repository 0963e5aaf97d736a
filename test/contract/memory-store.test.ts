import { silentLog, systemClock, type Clock } from '@cmbs/shared';
import { MemoryStore, type MemoryData } from '../../examples/extending/memory-store';
import { storeContract } from './store-contract';

storeContract('the example in memory', async () => {
  const start = Date.now();
  let ahead = 0;
  const clock: Clock = { ...systemClock, now: () => start + ahead };
  const data: MemoryData = new Map();
  let store = new MemoryStore(clock, silentLog, data);
  return {
    store,
    advance: (ms) => {
      ahead += ms;
    },
    now: () => clock.now(),
    reopen: async () => {
      await store.close();
      store = new MemoryStore(clock, silentLog, data);
      return store;
    },
    close: () => store.close(),
  };
});
