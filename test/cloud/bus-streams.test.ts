/** Messages of ended streams and of stalled consumers on Pub/Sub are delivered later. */
import { silentLog, systemClock } from '@cmbs/shared';
import { pubsubBus } from '@cmbs/shared/bus/pubsub';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import { eventually } from '../e2e/harness';
import { PATIENCE_MS } from '../patience';
import { GrpcProxy } from './grpc-proxy';
import { SHORT_LEASES } from './short-leases';
import { describeOnEmulators, uniqueProject } from './support';
import { itNightly } from '../skipping';

const MIB = 1024 * 1024;

describeOnEmulators('Pub/Sub', (hosts) => {
  process.env.PUBSUB_EMULATOR_HOST = hosts.pubsub;
  describe('a consumer of many topics', () => {
    const warnings: string[] = [];
    const projectId = uniqueProject();
    const store = openFirestoreStore({ projectId, emulatorHost: hosts.firestore, clock: systemClock });
    const bus = pubsubBus({
      projectId,
      prefix: 'cmbs',
      store,
      clock: systemClock,
      log: { ...silentLog, warn: (message) => void warnings.push(message) },
      isEmulated: true,
      limits: SHORT_LEASES,
    });
    let goOn = (): void => undefined;
    const free = new Promise<void>((resolve) => (goOn = resolve));
    afterAll(async () => {
      goOn();
      await bus.close();
      await store.close();
    });

    itNightly(
      'keeps little in memory while it is stalled, delays no other consumer, and receives everything when it resumes',
      async () => {
        const ordered = Array.from({ length: 10 }, (_, at) => `sensors.${at}`);
        const loose = Array.from({ length: 30 }, (_, at) => `sensors.loose-${at}`);
        const topics = [...ordered, ...loose];
        const rounds = ['first', 'second', 'third'];
        const namesOf = (topic: string): readonly string[] => rounds.map((round) => `${round} of ${topic}`);
        const publish = async (to: readonly string[], orderingKey: string): Promise<void> => {
          for (const round of rounds) {
            for (const topic of to) {
              const attributes = { name: `${round} of ${topic}` };
              await bus.publish('l32', topic, { data: 'x'.repeat(MIB / 2), attributes, orderingKey });
            }
          }
        };
        await bus.setSubscription({ name: 'stuck', layer: 'l32', patterns: ['sensors.*'] });
        await bus.setSubscription({ name: 'quick', layer: 'l32', patterns: ['sensors.*', 'mark'] });
        // Published before any consumer reads: then the emulator sends all messages of a key at once, and all again when
        // their leases have run out. Of a key of which only the first messages went by a stream that is closed, the
        // emulator offers the rest by the next stream before it offers those again; Pub/Sub itself starts again at the
        // first message that was not acknowledged, and so keeps the order.
        await publish(ordered, 'key');
        /** Distinct names of publications in the order of their first arrival. */
        const offered = new Set<string>();
        bus.consume(
          'stuck',
          async ({ message: { attributes } }) => {
            offered.add(attributes.name ?? '');
            await free;
          },
          { maxInFlight: topics.length },
        );
        const received = new Set<string>();
        bus.consume('quick', async ({ message: { attributes } }) => void received.add(attributes.name ?? ''), {
          maxInFlight: 10,
        });
        await publish(loose, '');
        await bus.publish('l32', 'mark', { data: 'x', attributes: { name: 'mark' } });
        const all = topics.length * rounds.length;
        await eventually(
          () => received.size,
          (size) => size === all + 1,
          'the other consumer receives all messages',
        );
        await eventually(
          () => warnings,
          (said) => said.some((line) => line.startsWith('a consumer is stalled')),
          'the streams are closed',
        );
        expect(offered.size).toBeGreaterThan(5);
        expect(offered.size).toBeLessThan(topics.length);
        goOn();
        // Messages that were under way when the streams closed arrive again after their leases expired.
        await eventually(
          () => offered.size,
          (size) => size === all,
          'all messages are offered',
          SHORT_LEASES.ackDeadlineS * 1000 + PATIENCE_MS,
        );
        for (const topic of ordered) {
          const order = [...offered].filter((name) => name.endsWith(` ${topic}`));
          expect(order).toEqual(namesOf(topic));
        }
      },
    );
  });

  it('retries a delivery before later ones with its ordering key, even after the stream ended', async () => {
    const proxy = await GrpcProxy.listen(hosts.pubsub);
    process.env.PUBSUB_EMULATOR_HOST = proxy.host;
    const projectId = uniqueProject();
    const store = openFirestoreStore({ projectId, emulatorHost: hosts.firestore, clock: systemClock });
    const bus = pubsubBus({
      projectId,
      prefix: 'cmbs',
      store,
      clock: systemClock,
      log: silentLog,
      isEmulated: true,
      limits: SHORT_LEASES,
    });
    let isStarted = false;
    let fail = (): void => undefined;
    const failed = new Promise<void>((resolve) => (fail = resolve));
    try {
      await bus.setSubscription({ name: 'reader', layer: 'l32', patterns: ['a'] });
      const accepted: string[] = [];
      bus.consume(
        'reader',
        async ({ message: { data } }) => {
          if (!isStarted) {
            isStarted = true;
            await failed;
            throw new Error('not yet');
          }
          accepted.push(data);
        },
        { maxInFlight: 10 },
      );
      const publish = (data: string): Promise<string> =>
        bus.publish('l32', 'a', { data, attributes: {}, orderingKey: 'key' });
      const answers = (count: number): Promise<number> =>
        eventually(
          () => proxy.messagesOf('StreamingPull'),
          (came) => came >= count,
          `${count} answers come by streams`,
          SHORT_LEASES.ackDeadlineS * 1000 + PATIENCE_MS,
        );
      await publish('first');
      await answers(1);
      await publish('second');
      await answers(2);
      proxy.cut();
      // The emulator offers the second message again although the first one is not settled.
      await answers(3);
      await publish('third');
      fail();
      await eventually(
        () => accepted,
        (all) => ['first', 'second', 'third'].every((data) => all.includes(data)),
        'all messages are accepted',
        SHORT_LEASES.ackDeadlineS * 1000 + PATIENCE_MS,
      );
      expect([...new Set(accepted)]).toEqual(['first', 'second', 'third']);
    } finally {
      fail();
      await bus.close();
      await store.close();
      await proxy.close();
      process.env.PUBSUB_EMULATOR_HOST = hosts.pubsub;
    }
  });
});
