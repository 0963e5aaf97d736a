/** How the consumers of one process share the memory for what they have in hand. */
import { FlowControl, type FlowCredit } from '../../shared/bus/pubsub/flow-control';

const TOTAL = 64_000_000;
const SMALL = 1000;

describe('the budget of deliveries', () => {
  let budget: FlowControl;
  /** Names of the consumers that were told of room. */
  let told: string[];
  beforeEach(() => {
    budget = new FlowControl(TOTAL);
    told = [];
  });

  const consumer = (name = 'any'): FlowCredit => budget.credit(() => told.push(name));
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
    late.release(SMALL);
    expect(late.isFull).toBe(false);
    expect(told).toEqual(['any']);
  });

  it('has room again when half of a share is free', () => {
    const share = consumer('first');
    const held = stuck(share);
    share.release(SMALL);
    expect([share.isFull, told]).toEqual([true, []]);
    share.release(held / 2);
    expect([share.isFull, told]).toEqual([false, ['first']]);
  });

  it('tells of room that others have made', () => {
    const large = consumer('large');
    large.take(TOTAL - 4 * SMALL);
    const share = consumer('small');
    share.take(SMALL);
    expect(share.isFull).toBe(true);
    large.release(TOTAL - 4 * SMALL);
    expect(told).toEqual(['large', 'small']);
  });
});
