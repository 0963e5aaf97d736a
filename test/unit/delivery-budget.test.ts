/** How the consumers of one process share the memory for what they have in hand. */
import { DeliveryBudget, type Share } from '@cmbs/shared/bus/pubsub/delivery-budget';

const TOTAL = 64_000_000;
const SMALL = 1000;

describe('the budget of deliveries', () => {
  let budget: DeliveryBudget;
  /** Names of the consumers that were told of room. */
  let told: string[];
  beforeEach(() => {
    budget = new DeliveryBudget(TOTAL);
    told = [];
  });

  const consumer = (name = 'any'): Share => budget.share(() => told.push(name));
  /** Takes until it is full, and never gives back; bytes. */
  const stuck = (share = consumer()): number => {
    let held = 0;
    for (; !share.isFull; held += SMALL) share.take(SMALL);
    return held;
  };

  it('gives one consumer a part of what is free', () => {
    const held = stuck();
    expect(held).toBeGreaterThan(TOTAL / 8);
    expect(held).toBeLessThan(TOTAL / 4);
  });

  it('leaves something to the next, however many are stuck', () => {
    const held = Array.from({ length: 20 }, () => stuck());
    expect(held.reduce((sum, one) => sum + one)).toBeLessThan(TOTAL);
    expect(stuck()).toBeGreaterThan(TOTAL / 1000);
  });

  it('lets whoever has nothing in hand take one delivery, however large, and no second one', () => {
    consumer().take(TOTAL + 1);
    const late = consumer();
    expect(late.isFull).toBe(false);
    late.take(SMALL);
    expect(late.isFull).toBe(true);
    late.giveBack(SMALL);
    expect(late.isFull).toBe(false);
    expect(told).toEqual(['any']);
  });

  it('has room again when half of a share is free', () => {
    const share = consumer('first');
    const held = stuck(share);
    share.giveBack(SMALL);
    expect([share.isFull, told]).toEqual([true, []]);
    share.giveBack(held / 2);
    expect([share.isFull, told]).toEqual([false, ['first']]);
  });

  it('tells of room that others have made', () => {
    const large = consumer('large');
    large.take(TOTAL - 4 * SMALL);
    const share = consumer('small');
    share.take(SMALL);
    expect(share.isFull).toBe(true);
    large.giveBack(TOTAL - 4 * SMALL);
    expect(told).toEqual(['large', 'small']);
  });
});
