/** The cost of knowing the topics of a deployment: Firestore charges for each document that is read. */
import { silentLog, systemClock } from '@cmbs/shared';
import { pubsubBus } from '@cmbs/shared/bus/pubsub';
import { COMPANION_LOOK_MS, WATCH_FALLBACK_MS } from '@cmbs/shared/limits';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import { eventually } from '../e2e/harness';
import { countedStore } from '../integration/counted-store';
import { PatientClock } from './patient-clock';
import { describeOnEmulators, uniqueProject } from './support';

const TOPICS = 30;
const SUBSCRIPTIONS = 30;

describeOnEmulators('the registry of topics', (hosts) => {
  process.env.PUBSUB_EMULATOR_HOST = hosts.pubsub;
  const projectId = uniqueProject();
  const clock = new PatientClock();
  const store = openFirestoreStore({ projectId, emulatorHost: hosts.firestore, clock: systemClock });
  const counted = countedStore(store);
  const parts = { projectId, prefix: 'cmbs', log: silentLog, isEmulated: true };
  const there = pubsubBus({ ...parts, store, clock: systemClock });
  const here = pubsubBus({ ...parts, store: counted.store, clock });
  const received: string[] = [];

  const publish = (topic: string): Promise<string> => there.publish('l32', topic, { data: 'x', attributes: {} });
  const receives = (topic: string): Promise<unknown> =>
    eventually(
      () => received,
      (topics) => topics.includes(topic),
      `${topic} is followed`,
    );

  beforeAll(async () => {
    await here.setSubscription({ name: 'reader', layer: 'l32', patterns: ['>'] });
    for (let at = 0; at < TOPICS; at += 1) await publish(`known.${at}`);
    here.consume('reader', async ({ topic }) => void received.push(topic), { maxInFlight: 10 });
    await eventually(
      () => new Set(received).size,
      (size) => size === TOPICS,
      'all topics are followed',
    );
    await publish('first');
    await receives('first');
  });
  afterAll(async () => {
    await here.close();
    await there.close();
    await store.close();
  });

  it('is not read completely for a new topic or every minute', async () => {
    const before = counted.readsIn('bus-topics');
    clock.pass(WATCH_FALLBACK_MS);
    await publish('second');
    await receives('second');
    clock.pass(WATCH_FALLBACK_MS);
    await publish('third');
    await receives('third');
    expect(counted.readsIn('bus-topics') - before).toBeLessThan(TOPICS / 2);
  });

  it('is not read completely for an unchanged subscription or its consumer', async () => {
    // Creating a subscription requires the topics.
    await here.setSubscription({ name: 'second', layer: 'l32', patterns: ['fourth'] });
    const before = counted.readsIn('bus-topics');
    await here.setSubscription({ name: 'reader', layer: 'l32', patterns: ['>'] });
    await here.setSubscription({ name: 'second', layer: 'l32', patterns: ['fourth'] });
    here.consume('second', async ({ topic }) => void received.push(`${topic} again`), { maxInFlight: 10 });
    await publish('fourth');
    await receives('fourth again');
    expect(counted.readsIn('bus-topics') - before).toBeLessThan(TOPICS / 2);
  });

  it('is read once, as far as topics begin like the patterns, for a new, a changed and a removed subscription', async () => {
    const readsOf = async (work: () => Promise<void>): Promise<number> => {
      const before = counted.readsIn('bus-topics');
      await work();
      return counted.readsIn('bus-topics') - before;
    };
    const set = (...patterns: readonly string[]) =>
      readsOf(() => here.setSubscription({ name: 'third', layer: 'l32', patterns }));
    await publish('apart.one');
    await publish('apart.two');
    await receives('apart.two');
    // The two topics, their retirement, and the topic without wildcards.
    for (const patterns of [['apart.*'], ['apart.one', 'nothing.>'], ['apart.>', 'apart.one']]) {
      expect(await set(...patterns)).toBeLessThanOrEqual(6);
    }
    expect(await readsOf(() => here.removeSubscription('third'))).toBeLessThanOrEqual(6);
    const all = await set('>');
    expect(all).toBeGreaterThanOrEqual(TOPICS);
    expect(all).toBeLessThan(2 * TOPICS);
    await here.removeSubscription('third');
  });

  it('is read completely from time to time, in case the watch missed a change', async () => {
    const before = counted.readsIn('bus-topics');
    clock.pass(COMPANION_LOOK_MS);
    await eventually(
      () => counted.readsIn('bus-topics') - before,
      (read) => read >= TOPICS,
      'all topics are read',
    );
  });

  describe('when a function publishes on a new topic', () => {
    const other = pubsubBus({ ...parts, store: counted.store, clock: systemClock });
    afterAll(() => other.close());
    const readsToPublish = async (topic: string): Promise<number> => {
      const before = counted.readsIn('bus-subscriptions');
      await other.publish('l32', topic, { data: 'x', attributes: {} });
      await receives(topic);
      return counted.readsIn('bus-subscriptions') - before;
    };

    beforeAll(async () => {
      for (let at = 0; at < SUBSCRIPTIONS; at += 1) {
        await there.setSubscription({
          name: `other-${at}`,
          layer: 'l32',
          patterns: [`other.${at}.>`, `exact.${at}`],
        });
      }
      await readsToPublish('fifth');
    });

    it('is read for the subscriptions whose patterns begin like the topic only', async () => {
      expect(await readsToPublish('sixth')).toBeLessThan(SUBSCRIPTIONS / 2);
      expect(await readsToPublish('other.of.this')).toBeLessThan(SUBSCRIPTIONS / 2);
    });

    it('has the subscriptions that release 1.0 stored, without index entries', async () => {
      await store.transact(async (tx) => {
        const reader = await tx.get('bus-subscriptions', 'reader');
        tx.put('bus-subscriptions', 'reader', { ...reader?.value, attached: 'pull' });
        tx.delete('meta', 'subscription-keys');
      });
      const upgraded = pubsubBus({ ...parts, store: counted.store, clock: systemClock });
      await upgraded.publish('l32', 'seventh', { data: 'x', attributes: {} });
      await receives('seventh');
      await upgraded.close();
      expect(await readsToPublish('eighth')).toBeLessThan(SUBSCRIPTIONS / 2);
    });

    it('has a subscription that a companion of release 1.0 wrote later, once a companion of this release has set it', async () => {
      await store.transact(async (tx) => {
        const reader = await tx.get('bus-subscriptions', 'reader');
        tx.put('bus-subscriptions', 'reader', { ...reader?.value, attached: 'pull' });
      });
      await here.setSubscription({ name: 'reader', layer: 'l32', patterns: ['>'] });
      await readsToPublish('ninth');
    });
  });
});
