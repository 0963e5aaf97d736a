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

  it('is read completely from time to time, in case the watch missed a change', async () => {
    const before = counted.readsIn('bus-topics');
    clock.pass(COMPANION_LOOK_MS);
    await eventually(
      () => counted.readsIn('bus-topics') - before,
      (read) => read >= TOPICS,
      'all topics are read',
    );
  });
});
