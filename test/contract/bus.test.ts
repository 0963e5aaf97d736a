import { newId, silentLog } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus';
import { embeddedBus } from '@cmbs/shared/bus/embedded';
import { busContract } from './bus-contract';
import { openTemporaryStore } from './temporary-store';

busContract('embedded', async () => {
  const opened = await openTemporaryStore();
  let bus: Bus = embeddedBus({ store: opened.store, clock: opened.clock, newId, log: silentLog });
  return {
    bus,
    reopen: async () => {
      await bus.close();
      bus = embeddedBus({ store: await opened.reopen(), clock: opened.clock, newId, log: silentLog });
      return bus;
    },
    close: async () => {
      await bus.close();
      await opened.close();
    },
  };
});
