/** The memory for deliveries of all consumers in a process. */
import { FlowControl, type FlowCredit } from '../../shared/bus/pubsub/flow-control';

const TOTAL = 64_000_000;
const SMALL = 1000;

describe('flow control', () => {
  let flowControl: FlowControl;
  /** Names of the consumers whose credit became available again. */
  let resumed: string[];
  beforeEach(() => {
    flowControl = new FlowControl(TOTAL);
    resumed = [];
  });

  const consumer = (name = 'any'): FlowCredit => flowControl.credit(() => resumed.push(name));
  /** Uses up the credit and releases nothing; returns the bytes. */
  const useUp = (credit = consumer()): number => {
    let used = 0;
    for (; !credit.isFull && used <= TOTAL; used += SMALL) credit.take(SMALL);
    return used;
  };

  it('gives one consumer a part of the free memory', () => {
    const used = useUp();
    expect(used).toBeGreaterThan(TOTAL / 8);
    expect(used).toBeLessThan(TOTAL / 4);
  });

  it('leaves some memory to the next consumer, however many have used up their credit', () => {
    const used = Array.from({ length: 20 }, () => useUp());
    expect(used.reduce((sum, one) => sum + one)).toBeLessThan(TOTAL);
    expect(useUp()).toBeGreaterThan(TOTAL / 1000);
  });

  it('lets a consumer without deliveries take one, however much memory is used, and no second one', () => {
    consumer().take(TOTAL + 1);
    const late = consumer();
    expect(late.isFull).toBe(false);
    late.take(SMALL);
    expect(late.isFull).toBe(true);
    late.release(SMALL);
    expect(late.isFull).toBe(false);
    expect(resumed).toEqual(['any']);
  });

  it('makes credit available again when half of it is free', () => {
    const credit = consumer('first');
    const used = useUp(credit);
    credit.release(SMALL);
    expect([credit.isFull, resumed]).toEqual([true, []]);
    credit.release(used / 2);
    expect([credit.isFull, resumed]).toEqual([false, ['first']]);
  });

  it('makes credit available again when another consumer releases memory', () => {
    const large = consumer('large');
    large.take(TOTAL - 4 * SMALL);
    const credit = consumer('small');
    credit.take(SMALL);
    expect(credit.isFull).toBe(true);
    large.release(TOTAL - 4 * SMALL);
    expect(resumed).toEqual(['large', 'small']);
  });
});
