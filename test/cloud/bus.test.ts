/** The bus contract on Pub/Sub, with the registry in Firestore. */
import { silentLog, systemClock } from '@cmbs/shared';
import type { Bus } from '@cmbs/shared/bus';
import { pubsubBus } from '@cmbs/shared/bus/pubsub';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import { busContract } from '../contract/bus-contract';
import { describeOnEmulators, uniqueProject } from './support';

describeOnEmulators('Pub/Sub', (hosts) => {
  process.env.PUBSUB_EMULATOR_HOST = hosts.pubsub;
  busContract('Pub/Sub', async () => {
    const projectId = uniqueProject();
    const store = openFirestoreStore({ projectId, emulatorHost: hosts.firestore, clock: systemClock });
    const open = (): Bus =>
      pubsubBus({ projectId, prefix: 'cmbs', store, clock: systemClock, log: silentLog, isEmulated: true });
    let bus = open();
    return {
      bus,
      reopen: async () => {
        await bus.close();
        bus = open();
        return bus;
      },
      close: async () => {
        await bus.close();
        await store.close();
      },
    };
  });
});
