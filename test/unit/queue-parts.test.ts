/** Parts of both kinds of destination queue: the order of items, and the choice of items that are sent together. */
import { InFlightMessage, type QueueItem } from '../../companion/delivery/in-flight-message';
import { OrderedItems } from '../../companion/delivery/ordered-items';
import { itemsAhead } from '../../companion/delivery/prepared-frames';
import { RequestFailures, requestWindow } from '../../companion/delivery/request-failures';
import { RetryTimer } from '../../companion/delivery/retry-timer';
import { DESTINATION_BYTES } from '../../companion/limits';
import { ANONYMOUS } from '@cmbs/shared';
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
