/** The cost of knowing the topics of a deployment: Firestore charges for each document that is read. */
import { silentLog, systemClock } from '@cmbs/shared';
import { pubsubBus } from '@cmbs/shared/bus/pubsub';
import { COMPANION_LOOK_MS, WATCH_FALLBACK_MS } from '@cmbs/shared/limits';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import type { Store } from '@cmbs/shared/store';
import { eventually } from '../e2e/harness';
import { PatientClock } from './patient-clock';
import { describeOnEmulators, uniqueProject } from './support';

const TOPICS = 30;

/** A store that counts the documents of the registry's topics that are read from it. */
class CountedStore {
  topicsRead = 0;
  readonly store: Store;

  constructor(store: Store) {
    const counted = (collection: string, number: number): void => {
      if (collection === 'bus-topics') this.topicsRead += number;
    };
    this.store = {
      get: (collection, ...rest) => {
        counted(collection, 1);
        return store.get(collection, ...rest);
      },
      getAll: (collection, ids, ...rest) => {
        counted(collection, ids.length);
        return store.getAll(collection, ids, ...rest);
      },
      query: async (query, ...rest) => {
        const page = await store.query(query, ...rest);
        counted(query.collection, page.docs.length);
        return page;
      },
      count: (...what) => store.count(...what),
      measure: (...what) => store.measure(...what),
      transact: (...what) => store.transact(...what),
      create: (...what) => store.create(...what),
      watch: (...what) => store.watch(...what),
      sweep: (limit) => store.sweep(limit),
      close: () => store.close(),
    };
  }
}

describeOnEmulators('the registry of topics', (hosts) => {
  process.env.PUBSUB_EMULATOR_HOST = hosts.pubsub;
  const projectId = uniqueProject();
  const clock = new PatientClock();
  const store = openFirestoreStore({ projectId, emulatorHost: hosts.firestore, clock: systemClock });
  const counted = new CountedStore(store);
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
    const before = counted.topicsRead;
    clock.pass(WATCH_FALLBACK_MS);
    await publish('second');
    await receives('second');
    clock.pass(WATCH_FALLBACK_MS);
    await publish('third');
    await receives('third');
    expect(counted.topicsRead - before).toBeLessThan(TOPICS / 2);
  });

  it('is not read completely for an unchanged subscription or its consumer', async () => {
    // Creating a subscription requires the topics.
    await here.setSubscription({ name: 'second', layer: 'l32', patterns: ['fourth'] });
    const before = counted.topicsRead;
    await here.setSubscription({ name: 'reader', layer: 'l32', patterns: ['>'] });
    await here.setSubscription({ name: 'second', layer: 'l32', patterns: ['fourth'] });
    here.consume('second', async ({ topic }) => void received.push(`${topic} again`), { maxInFlight: 10 });
    await publish('fourth');
    await receives('fourth again');
    expect(counted.topicsRead - before).toBeLessThan(TOPICS / 2);
  });

  it('is read completely from time to time, in case the watch missed a change', async () => {
    const before = counted.topicsRead;
    clock.pass(COMPANION_LOOK_MS);
    await eventually(
      () => counted.topicsRead - before,
      (read) => read >= TOPICS,
      'all topics are read',
    );
  });
});
