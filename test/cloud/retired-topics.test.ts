/** A topic that no subscription matches any more is read to its end, and then its Pub/Sub subscription is removed. */
import { silentLog, systemClock } from '@cmbs/shared';
import { pubsubBus } from '@cmbs/shared/bus/pubsub';
import { RETIRED_IDLE_MS } from '../../shared/bus/pubsub/limits';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import { eventually } from '../e2e/harness';
import { GrpcProxy } from './grpc-proxy';
import { Outside } from './outside';
import { PatientClock } from './patient-clock';
import { describeOnEmulators, uniqueProject } from './support';

describeOnEmulators('a retired topic', (hosts) => {
  test('is not created again when Pub/Sub ends its stream before the registry drops the topic', async () => {
    const projectId = uniqueProject();
    const proxy = await GrpcProxy.listen(hosts.pubsub);
    const outside = new Outside(hosts, projectId);
    process.env.PUBSUB_EMULATOR_HOST = proxy.host;
    const clock = new PatientClock();
    const store = openFirestoreStore({ projectId, emulatorHost: hosts.firestore, clock: systemClock });
    let forget = (): void => undefined;
    let mayForget = Promise.resolve();
    const transact = store.transact.bind(store);
    store.transact = async (...what) => {
      await mayForget;
      return transact(...what);
    };
    const errors: string[] = [];
    const bus = pubsubBus({
      projectId,
      prefix: 'cmbs',
      store,
      clock,
      log: { ...silentLog, error: (message) => void errors.push(message) },
      isEmulated: true,
    });
    try {
      const received: string[] = [];
      const arrives = async (topic: string): Promise<void> => {
        await bus.publish('l32', topic, { data: 'x', attributes: {} });
        await eventually(
          () => received,
          (topics) => topics.includes(topic),
          `a message on ${topic} arrives`,
        );
      };
      await bus.setSubscription({ name: 'reader', layer: 'l32', patterns: ['before'] });
      bus.consume('reader', async ({ topic }) => void received.push(topic), { maxInFlight: 10 });
      await arrives('before');
      await bus.setSubscription({ name: 'reader', layer: 'l32', patterns: ['after'] });
      await arrives('after');

      mayForget = new Promise((resolve) => (forget = resolve));
      clock.pass(RETIRED_IDLE_MS);
      const made = proxy.callsOf('CreateSubscription');
      await eventually(
        () => [proxy.callsOf('DeleteSubscription'), proxy.callsOf('CreateSubscription') - made] as const,
        ([removals, makings]) => removals > 1 || makings > 0,
        'the end of the stream is noticed',
      );
      forget();
      expect(proxy.callsOf('CreateSubscription')).toBe(made);
      const names = await outside.names('subscriptions');
      expect(names.filter((name) => name.includes('reader'))).toEqual([expect.stringContaining('after')]);
      await arrives('after');
      expect(errors).toEqual([]);
      // A topic that matches again is created again.
      await bus.setSubscription({ name: 'reader', layer: 'l32', patterns: ['before', 'after'] });
      received.splice(0);
      await arrives('before');
    } finally {
      forget();
      process.env.PUBSUB_EMULATOR_HOST = hosts.pubsub;
      await bus.close();
      await outside.close();
      await store.close();
      await proxy.close();
    }
  });
});
