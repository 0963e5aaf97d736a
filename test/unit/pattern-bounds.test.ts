import { matchesPattern } from '../../shared/occi/pattern';
import { processorMs } from './processor-time';

const regex = (source: string): { form: 'regex'; source: string } => ({ form: 'regex', source });

describe('a pattern that is slow on purpose', () => {
  const slow = regex('(?:(?:a|b)*(?:b|a)*){50}c');
  const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

  beforeEach(nextTurn);
  afterEach(nextTurn);

  it('is not matched against a long value', () => {
    expect(() => matchesPattern('ab'.repeat(500_000), slow, false)).toThrow(/too long for its pattern/);
  });

  it('blocks one turn of the event loop for a second at most, and does not block the next turn', async () => {
    const matchAll = (): void => {
      for (let value = 0; value < 1000; value += 1) matchesPattern('ab'.repeat(5000), slow, false);
    };
    const ms = processorMs(() => expect(matchAll).toThrow(/takes too long/));
    expect(ms).toBeLessThan(5000); // a second, on a slow machine
    await nextTurn();
    expect(matchesPattern('abc', regex('[a-z]+'), false)).toBe(true);
  });

  it('is not confused with a pattern that waits while other processes have the processor', () => {
    let now = performance.now();
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => (now += 10_000));
    try {
      for (let value = 0; value < 10; value += 1) {
        expect(matchesPattern('abc', regex('[a-z]+'), false)).toBe(true);
      }
    } finally {
      clock.mockRestore();
    }
  });

  it('does not limit simple patterns, even on a megabyte', () => {
    expect(matchesPattern('a'.repeat(1_000_000), regex('.*'), false)).toBe(true);
  });
});
