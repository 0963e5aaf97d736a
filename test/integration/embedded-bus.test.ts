/** The embedded bus at its limits, which these tests lower. */
import { newId, silentLog } from '@cmbs/shared';
import type { Bus, BusDelivery } from '@cmbs/shared/bus';
import type { Store } from '@cmbs/shared/store';
import { embeddedBus } from '@cmbs/shared/bus/embedded';
import { BUS_MAX_ATTEMPTS } from '../../shared/bus/limits';
import { MAX_INLINE_MESSAGE_CHARS } from '../../shared/bus/embedded/limits';
import { ManualClock } from '../contract/manual-clock';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

const MAX_BACKLOG = 20;
const limits = { maxBacklog: MAX_BACKLOG, maxWaiting: 3, maxNew: 4, pageSize: 2 };

let opened: TemporaryStore;
let clock: ManualClock;
let bus: Bus;
/** The next random numbers. */
let chance: number;

const openBus = (store: Store = opened.store): Bus =>
  embeddedBus({ store, clock, newId, log: silentLog, random: () => chance, limits });

beforeEach(async () => {
  opened = await openTemporaryStore();
  clock = new ManualClock(opened.now());
  chance = 1;
  bus = openBus();
  await bus.setSubscription({ name: 'reader', layer: 'l32', patterns: ['a'] });
});
afterEach(async () => {
  await bus.close();
  await opened.close();
});

const publish = (data: string, orderingKey?: string): Promise<string> =>
  bus.publish('l32', 'a', { data, attributes: {}, ...(orderingKey === undefined ? {} : { orderingKey }) });

/** A promise and the function that resolves it. */
function signal(): { fire: () => void; fired: Promise<void> } {
  let fire = (): void => undefined;
  const fired = new Promise<void>((resolve) => {
    fire = resolve;
  });
  return { fire: () => fire(), fired };
}

it('the embedded bus makes half of each back-off random, so that deliveries that failed together are not retried together', async () => {
  chance = 0;
  const taken = signal();
  bus.consume(
    'reader',
    async ({ attempt }) => {
      if (attempt === 1) throw new Error('the first time');
      taken.fire();
    },
    { maxInFlight: 1 },
  );
  await publish('x');
  await clock.waiting();
  expect(clock.runNext()).toBe(125);
  await taken.fired;
});

it('the embedded bus backs off longer after each failure, up to 15 s, and then makes a dead letter', async () => {
  const attempts: number[] = [];
  const stored = signal();
  const dead: [BusDelivery, string][] = [];
  bus.consume(
    'reader',
    async ({ attempt }) => {
      attempts.push(attempt);
      throw new Error(`failure ${attempt}`);
    },
    {
      maxInFlight: 1,
      onDeadLetter: async (delivery, reason) => {
        dead.push([delivery, reason]);
        stored.fire();
      },
    },
  );
  const id = await publish('poison');
  const waits: number[] = [];
  while (waits.length < BUS_MAX_ATTEMPTS - 1) {
    await clock.waiting();
    waits.push(clock.runNext());
  }
  await stored.fired;
  expect(waits.slice(0, 8)).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  expect(attempts).toEqual(Array.from({ length: BUS_MAX_ATTEMPTS }, (_, i) => i + 1));
  expect(dead).toEqual([
    [
      { id, topic: 'a', message: { data: 'poison', attributes: {} }, attempt: BUS_MAX_ATTEMPTS },
      `failure ${BUS_MAX_ATTEMPTS}`,
    ],
  ]);
  await bus.close();
  expect(await opened.store.count({ collection: 'bus-delivery' }, 10)).toBe(0);
});

it('the embedded bus keeps a delivery until its dead letter is stored, without calling the handler again', async () => {
  let calls = 0;
  const reasons: string[] = [];
  const stored = signal();
  bus.consume('reader', () => Promise.reject(new Error(`failure ${++calls}`)), {
    maxInFlight: 1,
    onDeadLetter: async (_, reason) => {
      reasons.push(reason);
      if (reasons.length === 1) throw new Error('not now');
      stored.fire();
    },
  });
  await publish('poison');
  for (let wait = 0; wait < BUS_MAX_ATTEMPTS; wait++) {
    await clock.waiting();
    clock.runNext();
  }
  await stored.fired;
  expect(calls).toBe(BUS_MAX_ATTEMPTS);
  expect(reasons).toEqual(Array(2).fill(`failure ${BUS_MAX_ATTEMPTS}`));
});

it('the embedded bus remembers failed attempts over a restart and offers the delivery at once', async () => {
  const failed = bus.consume('reader', () => Promise.reject(new Error('not yet')), { maxInFlight: 1 });
  await publish('1');
  await clock.waiting();
  clock.runNext();
  await clock.waiting();
  await failed.close();
  await bus.close();
  bus = openBus(await opened.reopen());
  const attempt = await new Promise<number>((resolve) => {
    bus.consume('reader', async (delivery) => resolve(delivery.attempt), { maxInFlight: 1 });
  });
  expect(attempt).toBe(3);
});

it('the embedded bus refuses a publication for a subscription with a full backlog, and accepts it when there is room', async () => {
  await bus.setSubscription({ name: 'quick', layer: 'l32', patterns: ['>'] });
  const results = await Promise.allSettled(Array.from({ length: MAX_BACKLOG + 5 }, (_, i) => publish(String(i))));
  const refused = results.filter((result) => result.status === 'rejected');
  expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual(Array(5).fill('queue_full'));
  expect(await opened.store.count({ collection: 'bus-delivery' }, 1000)).toBe(2 * MAX_BACKLOG);
  await expect(publish('still full')).rejects.toMatchObject({ code: 'queue_full' });

  for (const name of ['reader', 'quick']) {
    const emptied = signal();
    let n = 0;
    const consumer = bus.consume(
      name,
      async () => {
        if (++n === MAX_BACKLOG) emptied.fire();
      },
      { maxInFlight: 4 },
    );
    await emptied.fired;
    await consumer.close();
  }
  await publish('room');
});

it('the embedded bus delivers everything once although each delivery fails first and most are not in memory', async () => {
  const data = Array.from({ length: 18 }, (_, i) => String(i));
  await Promise.all(data.map((each) => publish(each)));
  const failedOnce = new Set<string>();
  const taken: string[] = [];
  const all = signal();
  bus.consume(
    'reader',
    async ({ message }) => {
      if (!failedOnce.has(message.data)) {
        failedOnce.add(message.data);
        throw new Error('first time');
      }
      taken.push(message.data);
      if (taken.length === data.length) all.fire();
    },
    { maxInFlight: 2 },
  );
  let done = false;
  void all.fired.then(() => {
    done = true;
  });
  const finished = (): boolean => done;
  while (!finished()) {
    await Promise.race([clock.waiting(), all.fired]);
    if (!finished()) clock.runNext();
  }
  expect([...taken].sort()).toEqual([...data].sort());
});

it('the embedded bus reads its backlog again when more is published than it remembers', async () => {
  const started = signal();
  const go = signal();
  const all = signal();
  const taken: string[] = [];
  bus.consume(
    'reader',
    async ({ message }) => {
      started.fire();
      await go.fired;
      taken.push(message.data);
      if (taken.length === 16) all.fire();
    },
    { maxInFlight: 1 },
  );
  await publish('0', 'k');
  await started.fired;
  for (let i = 1; i < 16; i++) await publish(String(i), 'k');
  go.fire();
  await all.fired;
  expect(taken).toEqual(Array.from({ length: 16 }, (_, i) => String(i)));
});

it('the embedded bus stores one copy of a large message until all subscriptions have acknowledged it', async () => {
  const names = ['reader', 'second', 'third'];
  for (const name of names) await bus.setSubscription({ name, layer: 'l32', patterns: ['a'] });
  const data = 'x'.repeat(MAX_INLINE_MESSAGE_CHARS + 1);
  await publish(data);
  const { docs } = await opened.store.query({ collection: 'bus-delivery', limit: 10 });
  expect(docs).toHaveLength(3);
  expect(docs.every((doc) => JSON.stringify(doc.value).length < 1000)).toBe(true);
  expect(await opened.store.count({ collection: 'bus-message' }, 10)).toBe(1);
  for (const name of names) {
    const seen = await new Promise<string>((resolve) => {
      bus.consume(name, async ({ message }) => resolve(message.data), { maxInFlight: 1 });
    });
    expect(seen === data).toBe(true);
  }
  await bus.close();
  expect(await opened.store.count({ collection: 'bus-message' }, 10)).toBe(0);
});

it('the embedded bus gives later publications later ids even if the clock was set back before a restart', async () => {
  const before = await publish('1');
  await bus.close();
  const store = await opened.reopen();
  clock = new ManualClock(clock.now() - 3_600_000);
  bus = openBus(store);
  const after = await publish('2');
  expect(after > before).toBe(true);
});

it('the embedded bus finishes the removal of a subscription that a restart interrupted', async () => {
  for (let i = 0; i < 10; i++) await publish(String(i));
  const removal = bus.removeSubscription('reader');
  await Promise.all([removal, bus.close()]);
  const store = await opened.reopen();
  bus = openBus(store);
  const gone = new Promise<void>((resolve) => {
    const check = async (): Promise<void> => {
      if ((await store.count({ collection: 'bus-removed-stream' }, 1)) === 0) resolve();
    };
    store.watch({ collection: 'bus-removed-stream' }, () => void check());
    void check();
  });
  await gone;
  expect(await store.count({ collection: 'bus-delivery' }, 100)).toBe(0);
});

it('the embedded bus accepts one consumer per subscription', async () => {
  const consumer = bus.consume('reader', async () => undefined, { maxInFlight: 1 });
  expect(() => bus.consume('reader', async () => undefined, { maxInFlight: 1 })).toThrow(
    expect.objectContaining({ code: 'conflict' }) as Error,
  );
  await consumer.close();
  await bus.consume('reader', async () => undefined, { maxInFlight: 1 }).close();
});
