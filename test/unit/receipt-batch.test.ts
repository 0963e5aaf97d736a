import { MAX_COMMIT_WRITES } from '@cmbs/shared/limits';
import { ReceiptBatch } from '../../shared/broker/receipt-batch';
import { ManualClock } from '../contract/manual-clock';

/** Writes that the test ends one by one. */
function writes(): {
  readonly begun: () => number;
  readonly write: () => Promise<void>;
  readonly end: () => void;
} {
  const open: (() => void)[] = [];
  let begun = 0;
  return {
    begun: () => begun,
    write: () => {
      begun += 1;
      return new Promise((resolve) => open.push(resolve));
    },
    end: () => open.shift()?.(),
  };
}

const turn = (): Promise<void> => new Promise(setImmediate);

test('receipts are written together, once the first has waited', async () => {
  const clock = new ManualClock();
  const { begun, write } = writes();
  const batch = new ReceiptBatch(clock);
  for (let number = 0; number < 3; number += 1) void batch.add(write);
  await turn();
  expect(begun()).toBe(0);
  clock.runNext();
  await turn();
  expect(begun()).toBe(3);
});

test('receipts that fill a commit do not wait', async () => {
  const { begun, write } = writes();
  const batch = new ReceiptBatch(new ManualClock());
  for (let number = 0; number < MAX_COMMIT_WRITES; number += 1) void batch.add(write);
  await turn();
  expect(begun()).toBe(MAX_COMMIT_WRITES);
});

test('flush begins every write and waits for the last', async () => {
  const { begun, write, end } = writes();
  const batch = new ReceiptBatch(new ManualClock());
  void batch.add(write);
  void batch.add(write);
  let isFlushed = false;
  const flushed = batch.flush().then(() => (isFlushed = true));
  await turn();
  expect(begun()).toBe(2);
  end();
  await turn();
  expect(isFlushed).toBe(false);
  end();
  await flushed;
});

test('flush of an empty batch ends at once', async () => {
  await new ReceiptBatch(new ManualClock()).flush();
});

test('there is room again once one of too many receipts is written, even if the write fails', async () => {
  const { begun, write } = writes();
  const batch = new ReceiptBatch(new ManualClock(), 2);
  let fail = (): void => undefined;
  const { written } = await batch.add(
    () => new Promise((_, reject) => (fail = () => reject(new Error('the store is away')))),
  );
  await batch.add(write);
  const third = batch.add(write);
  void batch.flush();
  await turn();
  expect(begun()).toBe(1);
  fail();
  await expect(written).rejects.toThrow('the store is away');
  await third;
});

test('receipts that arrive in one turn do not exceed the limit together', async () => {
  const { begun, write, end } = writes();
  const batch = new ReceiptBatch(new ManualClock(), 2);
  // Like frames that waited for the same measurement of their inbox.
  const measured = Promise.resolve();
  const added = Array.from({ length: 5 }, () => measured.then(() => batch.add(write)));
  await turn();
  void batch.flush();
  await turn();
  expect(begun()).toBe(2);
  for (let ended = 0; ended < 5; ended += 1) {
    end();
    await turn();
    void batch.flush();
    await turn();
  }
  await Promise.all(added);
  expect(begun()).toBe(5);
});
