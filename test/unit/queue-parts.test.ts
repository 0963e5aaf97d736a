/** Parts of both kinds of destination queue: the order of items, and the choice of items that are sent together. */
import { InFlightMessage, type QueueItem } from '../../companion/delivery/in-flight-message';
import { OrderedItems } from '../../companion/delivery/ordered-items';
import { itemsAhead } from '../../companion/delivery/prepared-frames';
import { QueueReader } from '../../companion/delivery/queue-reader';
import { RequestFailures, requestWindow } from '../../companion/delivery/request-failures';
import { RetryTimer } from '../../companion/delivery/retry-timer';
import { WatchedMessages } from '../../companion/delivery/watched-messages';
import { DESTINATION_BYTES } from '../../companion/limits';
import { ANONYMOUS, silentLog } from '@cmbs/shared';
import { ManualClock } from '../contract/manual-clock';

function item(
  sequence: string,
  { bytes = 10, orderingKey }: { bytes?: number; orderingKey?: string } = {},
): QueueItem {
  const message = new InFlightMessage({
    id: sequence,
    wireId: sequence,
    message: `/cmbs/message/${sequence}`,
    layer: 'l1',
    from: '/cmbs/member/alice',
    principal: ANONYMOUS,
    createdAt: 1,
    orderedAt: 1,
    sequence: 1,
    expiresAt: 2,
    receivers: [],
    bytes,
    sender: 'here/alice',
    ...(orderingKey === undefined ? {} : { orderingKey }),
  });
  return { message, key: 'k', address: 'tcp://127.0.0.1:1', sequence, tries: 0 };
}

const sequences = (items: Iterable<QueueItem>): readonly string[] => [...items].map(({ sequence }) => sequence);

describe('the items of a queue', () => {
  const itemsOf = (...all: readonly QueueItem[]): OrderedItems => {
    const items = new OrderedItems();
    for (const each of all) items.insert(each);
    return items;
  };

  test('keep the order of their messages, in whatever order they are added', () => {
    expect(sequences(itemsOf(item('c'), item('a'), item('d'), item('b')))).toEqual(['a', 'b', 'c', 'd']);
  });

  test('are added once', () => {
    const one = item('a');
    const items = itemsOf(one);
    expect([items.insert(one), items.length]).toEqual([false, 1]);
  });

  test('return to the store from a given position on', () => {
    const items = itemsOf(item('a'), item('b'), item('c'));
    expect([sequences(items.takeBehind('a')), sequences(items)]).toEqual([['b', 'c'], ['a']]);
    expect([sequences(items.takeBehind('')), items.length]).toEqual([['a'], 0]);
  });
});

describe('the reader of a queue', () => {
  it('lets nothing go before messages that went back to the store during its read', async () => {
    const stored: QueueItem[] = [];
    const items = new OrderedItems();
    let isConnected = true;
    let reads: ((waiting: { items: QueueItem[]; upTo: string }) => void)[] = [];
    const reader = new QueueReader({
      environment: { clock: new ManualClock(), log: silentLog, backOff: () => 1 },
      outbox: {
        readWaiting: () => new Promise((resolve) => reads.push(resolve)),
        firstWaiting: () => Promise.resolve(undefined),
        watchedMessages: new WatchedMessages(),
        evicted: () => undefined,
        hasRoom: true,
      },
      destination: () => ({ address: 'tcp://127.0.0.1:1', via: 'request' }),
      items,
      isBehind: false,
      inFlight: () => 0,
      isConnected: () => isConnected,
      isDraining: () => false,
      isClosed: () => false,
      insert: (one) => void items.insert(one),
      evict: (behind) => void stored.push(...items.takeBehind(behind)),
      counted: () => undefined,
      ended: () => undefined,
    });
    /** Ends the read under way with what the store has that the queue did not hold when the read began. */
    const endRead = async (...read: readonly QueueItem[]): Promise<void> => {
      const ending = reads;
      reads = [];
      for (const end of ending) end({ items: [...read], upTo: '' });
      await new Promise(setImmediate);
    };
    expect(reader.admits(item('1'))).toBe(true);
    items.insert(item('1'));
    reader.expect();
    reader.readOn();
    expect(reads).toHaveLength(1);
    // The connection breaks: what is held goes back to the store. A later message comes, and the connection is back.
    isConnected = false;
    stored.push(...items.takeAll());
    reader.expect();
    expect(reader.admits(item('2'))).toBe(true);
    items.insert(item('2'));
    isConnected = true;
    await endRead();
    expect(reader.isBehind).toBe(true);
    await endRead(...stored);
    expect(reader.isBehind).toBe(false);
    expect(sequences(items)).toEqual(['1', '2']);
  });
});

describe('the items that are sent together', () => {
  test('fit into the window', () => {
    const items = ['a', 'b', 'c', 'd'].map((sequence) => item(sequence));
    expect(sequences(itemsAhead(items, { most: 3, inFlight: [item('0')] }))).toEqual(['a', 'b']);
  });

  test('fit into the bytes in flight, except that a larger message goes alone', () => {
    const large = item('a', { bytes: DESTINATION_BYTES + 1 });
    expect(sequences(itemsAhead([large, item('b')], { most: 9 }))).toEqual(['a']);
    expect(sequences(itemsAhead([item('a'), item('b', { bytes: DESTINATION_BYTES })], { most: 9 }))).toEqual([
      'a',
    ]);
    expect(sequences(itemsAhead([large], { most: 9, inFlight: [item('0')] }))).toEqual([]);
  });

  test('end before a second message of one ordering group', () => {
    const items = [item('a', { orderingKey: 'k' }), item('b'), item('c', { orderingKey: 'k' }), item('d')];
    expect(sequences(itemsAhead(items, { most: 9, isInGroups: true }))).toEqual(['a', 'b']);
    expect(sequences(itemsAhead(items, { most: 9 }))).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('the failures of a peer', () => {
  test('count once for all requests of one round, and make the queue back off at the third', () => {
    const failures = new RequestFailures();
    const fail = (): boolean => {
      const { round } = failures;
      failures.failed(round);
      return failures.failed(round);
    };
    expect([fail(), fail(), fail()]).toEqual([false, false, true]);
    failures.succeeded();
    expect([failures.isFailing, fail()]).toEqual([false, false]);
  });

  test('limit the queue to one request at a time after a break, until as many replies came as were in flight', () => {
    const failures = new RequestFailures();
    failures.suspect(2);
    expect(requestWindow(failures.isFailing)).toBe(1);
    failures.replied();
    failures.replied();
    expect(requestWindow(failures.isFailing)).toBeGreaterThan(1);
  });
});

test('the next attempt comes after the back-off of the failures in a row, and replaces an earlier one', () => {
  const clock = new ManualClock();
  const timer = new RetryTimer({ clock, backOff: (failures) => failures * 100 });
  const ran: string[] = [];
  timer.failed(() => ran.push('first'));
  timer.failed(() => ran.push('second'));
  clock.advance(199);
  expect(ran).toEqual([]);
  clock.advance(1);
  expect(ran).toEqual(['second']);
  timer.succeeded();
  expect(timer.failures).toBe(0);
});
