/** The order, the back-off and the dead letters of a consumer, on any bus. */
import { CmbsError, silentCounters, silentLog } from '@cmbs/shared';
import type { BusDelivery } from '@cmbs/shared/bus';
import {
  type DeliveryEngine,
  DeliverySchedule,
  type DeliveryScheduleOptions,
  type Scheduled,
} from '../../shared/bus/delivery-schedule';
import { BUS_MAX_ATTEMPTS } from '../../shared/bus/limits';
import { ManualClock } from '../contract/manual-clock';

interface Entry extends Scheduled {
  readonly data: string;
}

const entryOf = (data: string, group?: string, more: Partial<Scheduled> = {}): Entry => ({
  data,
  group,
  failedAttempts: 0,
  ...more,
});

/** Settles all promises that are due. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the schedule of deliveries', () => {
  let clock: ManualClock;
  /** Events of the deliveries, in order. */
  let events: string[];
  /** Running handlers by the data of their delivery. */
  let handlers: Map<string, { readonly resolve: () => void; readonly reject: (error: unknown) => void }>;

  beforeEach(() => {
    clock = new ManualClock();
    events = [];
    handlers = new Map();
  });

  const engineOf = (more: Partial<DeliveryEngine<Entry>> = {}): DeliveryEngine<Entry> => ({
    open: ({ data }, attempt) =>
      Promise.resolve({ id: data, topic: 'a', message: { data, attributes: {} }, attempt }),
    settle: async ({ data }) => void events.push(`settle ${data}`),
    mayBackOff: () => true,
    handBack: ({ data }) => void events.push(`hand back ${data}`),
    onRemoved: ({ data }) => void events.push(`remove ${data}`),
    ...more,
  });

  const scheduleOf = (
    options: Partial<DeliveryScheduleOptions<Entry>> = {},
    engine: Partial<DeliveryEngine<Entry>> = {},
  ): DeliverySchedule<Entry> =>
    new DeliverySchedule<Entry>({
      name: 'reader',
      maxInFlight: 10,
      handler: ({ message: { data }, attempt }) => {
        events.push(`handle ${data} ${attempt}`);
        return new Promise((resolve, reject) => handlers.set(data, { resolve, reject }));
      },
      engine: engineOf(engine),
      clock,
      log: silentLog,
      counters: silentCounters,
      random: () => 1,
      ...options,
    });

  const succeed = async (data: string): Promise<void> => {
    handlers.get(data)?.resolve();
    await settled();
  };
  const fail = async (data: string, error: unknown = new Error('not yet')): Promise<void> => {
    handlers.get(data)?.reject(error);
    await settled();
  };
  const handled = (): string[] => events.filter((event) => event.startsWith('handle '));

  it('calls handlers up to its limit, and then in the order in which deliveries were added', async () => {
    const schedule = scheduleOf({ maxInFlight: 2 });
    for (const data of ['1', '2', '3']) schedule.add(entryOf(data));
    await settled();
    expect(handled()).toEqual(['handle 1 1', 'handle 2 1']);
    expect(schedule.hasRoom).toBe(false);
    await succeed('2');
    expect(handled()).toEqual(['handle 1 1', 'handle 2 1', 'handle 3 1']);
    await succeed('3');
    expect(schedule.hasRoom).toBe(true);
  });

  it('reports when a handler is free', async () => {
    let rooms = 0;
    const schedule = scheduleOf({ onRoom: () => (rooms += 1) });
    schedule.add(entryOf('1'));
    await settled();
    await succeed('1');
    expect(rooms).toBe(1);
  });

  it('handles the deliveries of a group one at a time, and other deliveries meanwhile', async () => {
    const schedule = scheduleOf();
    schedule.add(entryOf('k1', 'k'));
    schedule.add(entryOf('k2', 'k'));
    schedule.add(entryOf('other'));
    await settled();
    expect(handled()).toEqual(['handle k1 1', 'handle other 1']);
    await fail('k1');
    expect(handled()).toHaveLength(2);
    expect(clock.runNext()).toBe(250);
    await settled();
    await succeed('k1');
    expect(handled()).toEqual(['handle k1 1', 'handle other 1', 'handle k1 2', 'handle k2 1']);
  });

  it('doubles the back-off with each failure, and does not count outages', async () => {
    const schedule = scheduleOf();
    schedule.add(entryOf('1'));
    const delays: number[] = [];
    const errors = [
      new Error('first'),
      new CmbsError('unavailable', 'The store is down.'),
      new CmbsError('deadline_exceeded', 'The store did not answer.'),
      new Error('second'),
    ];
    for (const error of errors) {
      await settled();
      await fail('1', error);
      delays.push(clock.runNext());
    }
    await settled();
    expect(delays).toEqual([250, 250, 500, 500]);
    expect(handled().map((event) => event.slice('handle 1 '.length))).toEqual(['1', '2', '2', '2', '3']);
  });

  const start = (schedule: DeliverySchedule<Entry>, entry: Entry): Promise<void> => {
    schedule.add(entry);
    return settled();
  };

  it('makes a dead letter after the last attempt, and then handles the next of the group', async () => {
    const letters: [BusDelivery, string][] = [];
    const schedule = scheduleOf({ onDeadLetter: async (...letter) => void letters.push(letter) });
    await start(schedule, entryOf('k1', 'k', { failedAttempts: BUS_MAX_ATTEMPTS - 1 }));
    schedule.add(entryOf('k2', 'k'));
    await fail('k1');
    expect(letters.map(([{ id, attempt }, reason]) => [id, attempt, reason])).toEqual([
      ['k1', BUS_MAX_ATTEMPTS, 'not yet'],
    ]);
    expect(events).toEqual([`handle k1 ${BUS_MAX_ATTEMPTS}`, 'settle k1', 'remove k1', 'handle k2 1']);
  });

  it('makes a dead letter at once of an error that is not retryable', async () => {
    const schedule = scheduleOf({}, { deadLetter: async ({ data }) => void events.push(`dead letter ${data}`) });
    await start(schedule, entryOf('1'));
    await fail('1', new CmbsError('bad_request', 'This is not a message.'));
    expect(events).toEqual(['handle 1 1', 'dead letter 1', 'settle 1', 'remove 1']);
  });

  it('makes a dead letter of a delivery that would expire during its back-off', async () => {
    const schedule = scheduleOf({}, { deadLetter: async ({ data }) => void events.push(`dead letter ${data}`) });
    await start(schedule, entryOf('1', undefined, { expiresAt: clock.now() + 100 }));
    await fail('1');
    expect(events).toContain('dead letter 1');
  });

  it('stores a dead letter again when that failed, without another call of the handler', async () => {
    let stores = 0;
    const schedule = scheduleOf(
      {},
      {
        deadLetter: async () => {
          stores += 1;
          if (stores === 1) throw new Error('the store is down');
        },
      },
    );
    await start(schedule, entryOf('1', undefined, { failedAttempts: BUS_MAX_ATTEMPTS - 1 }));
    await fail('1');
    expect(clock.runNext()).toBe(15_000);
    await settled();
    expect([stores, handled().length]).toEqual([2, 1]);
    expect(events).toContain('settle 1');
  });

  it('stores the number of failed attempts, and drops a delivery that the bus no longer has', async () => {
    const stored: number[] = [];
    const schedule = scheduleOf(
      {},
      {
        storeAttempts: async ({ failedAttempts }) => {
          stored.push(failedAttempts);
          return stored.length < 2;
        },
      },
    );
    schedule.add(entryOf('1'));
    await settled();
    await fail('1');
    clock.runNext();
    await settled();
    await fail('1');
    expect(stored).toEqual([1, 2]);
    expect(events.at(-1)).toBe('remove 1');
    expect(() => clock.runNext()).toThrow('Nothing waits');
  });

  it('returns a delivery that must not back off in this process', async () => {
    const schedule = scheduleOf({}, { mayBackOff: () => false });
    schedule.add(entryOf('1'));
    await settled();
    await fail('1');
    expect(events).toEqual(['handle 1 1', 'hand back 1', 'remove 1']);
  });

  it('withdraws the deliveries that no handler has, in their order, and starts no handler', async () => {
    const schedule = scheduleOf();
    const all = ['1', '2', '3'].map((data) => entryOf(data, 'k'));
    const failed = entryOf('failed');
    for (const entry of [...all, failed]) schedule.add(entry);
    await settled();
    await fail('failed');
    expect(schedule.isBackingOff(failed)).toBe(true);
    expect(schedule.withdraw([...all, failed]).map(({ data }) => data)).toEqual(['2', '3', 'failed']);
    expect(schedule.group('k')).toEqual([all[0]]);
    // The handler of the first delivery of the group is still running, and another delivery starts the next handler.
    schedule.add(entryOf('other'));
    await settled();
    await succeed('other');
    await succeed('1');
    expect(handled()).toEqual(['handle 1 1', 'handle failed 1', 'handle other 1']);
    expect(() => clock.runNext()).toThrow('Nothing waits');
  });

  it('waits for running handlers when it is closed, starts no more, and returns deliveries that fail', async () => {
    const schedule = scheduleOf({ maxInFlight: 1 });
    schedule.add(entryOf('1'));
    schedule.add(entryOf('2'));
    await settled();
    let isClosed = false;
    const closed = schedule.close().then(() => (isClosed = true));
    await settled();
    expect(isClosed).toBe(false);
    await fail('1');
    await closed;
    expect(events).toEqual(['handle 1 1', 'hand back 1', 'remove 1']);
  });
});
