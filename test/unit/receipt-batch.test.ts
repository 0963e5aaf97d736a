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

test('there is room again once one of too many receipts is written, even if its write fails', async () => {
  const batch = new ReceiptBatch(new ManualClock());
  let fail = (): void => undefined;
  const failing = batch.add(
    () => new Promise((_, reject) => (fail = () => reject(new Error('the store is away')))),
  );
  const { write } = writes();
  let room = batch.room();
  let count = 1;
  while (await Promise.race([room.then(() => true), turn().then(() => false)])) {
    void batch.add(write);
    count += 1;
    if (count === 100_000) throw new Error('the batch has no limit');
    room = batch.room();
  }
  fail();
  await expect(failing).rejects.toThrow('the store is away');
  await room;
});
