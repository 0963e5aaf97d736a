import { silentLog } from '@cmbs/shared';
import { OrderClock } from '@cmbs/shared/broker';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';

let temporary: TemporaryStore;
beforeEach(async () => {
  temporary = await openTemporaryStore();
});
afterEach(() => temporary.close());

const open = (now: () => number): Promise<OrderClock> =>
  OrderClock.open({ now }, { store: temporary.store, log: silentLog });

test('an order clock follows the wall clock and never goes back', async () => {
  let wall = 1_000_000;
  const clock = await open(() => wall);
  expect(clock.now()).toBe(1_000_000);
  wall += 5;
  expect(clock.now()).toBe(1_000_005);
  wall -= 500_000;
  expect(clock.now()).toBe(1_000_005);
  await clock.close();
});

test('a reopened order clock returns only later times, however far ahead the clock was', async () => {
  let wall = 1_000_000;
  let last = 0;
  for (let opening = 0; opening < 4; opening += 1) {
    const clock = await open(() => wall);
    expect(clock.now()).toBeGreaterThan(last);
    for (let step = 0; step < 100; step += 1) {
      wall += 40_000;
      const now = clock.now();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
      // Like a process that ends while it reserves more time.
      if (step % 3 === 0) await clock.close();
    }
    wall -= 3_000_000;
    await clock.close();
  }
});
