import { CmbsError } from '@cmbs/shared';
import { KeyedSequence } from '../../companion/keyed-sequence';

/** Work that a test ends. */
function work(): {
  readonly begin: () => Promise<string>;
  readonly isBegun: () => boolean;
  end: (error?: Error) => void;
} {
  let isBegun = false;
  let end: (error?: Error) => void = () => undefined;
  const done = new Promise<string>((resolve, reject) => {
    end = (error) => (error === undefined ? resolve('done') : reject(error));
  });
  return {
    begin: () => {
      isBegun = true;
      return done;
    },
    isBegun: () => isBegun,
    end: (error) => end(error),
  };
}

const away = new CmbsError('queue_full', 'Later.');
const settled = async (promises: readonly Promise<unknown>[]): Promise<readonly string[]> =>
  (await Promise.allSettled(promises)).map(({ status }) => status);

test('work under one key runs one after the other, and work under different keys at the same time', async () => {
  const order = new KeyedSequence();
  const [first, second, other] = [work(), work(), work()];
  const both = [order.run('a', first.begin), order.run('a', second.begin)];
  const aside = order.run('b', other.begin);
  expect([first, second, other].map((one) => one.isBegun())).toEqual([true, false, true]);
  second.end();
  other.end();
  await aside;
  expect(second.isBegun()).toBe(false);
  first.end();
  expect(await Promise.all(both)).toEqual(['done', 'done']);
});

test('work behind a failure that is retried fails with it, and does not overtake the retry', async () => {
  const order = new KeyedSequence();
  const [first, second, third] = [work(), work(), work()];
  const all = [first, second, third].map(({ begin }) => order.run('a', begin));
  first.end(away);
  expect(await settled(all)).toEqual(['rejected', 'rejected', 'rejected']);
  expect([second.isBegun(), third.isBegun()]).toEqual([false, false]);
  // A new request for the same work runs it.
  second.end();
  expect(await order.run('a', second.begin)).toBe('done');
});

test('work behind a permanent failure runs', async () => {
  const order = new KeyedSequence();
  const [first, second] = [work(), work()];
  const both = [order.run('a', first.begin), order.run('a', second.begin)];
  first.end(new CmbsError('bad_request', 'Never.'));
  second.end();
  expect(await settled(both)).toEqual(['rejected', 'fulfilled']);
});
