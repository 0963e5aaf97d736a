/** The back-off that the whole product uses before a retry. */
import { backOff } from '@cmbs/shared';

describe('the back-off', () => {
  it('doubles with each failure, up to its limit', () => {
    const pauses = [1, 2, 3, 4, 5, 6].map((failures) => backOff(failures, 100, 1000, () => 1));
    expect(pauses).toEqual([100, 200, 400, 800, 1000, 1000]);
  });

  it('stays at its limit after any number of failures', () => {
    expect(backOff(5000, 100, 1000, () => 1)).toBe(1000);
  });

  it('makes its second half random', () => {
    expect([0, 0.5, 1].map((chance) => backOff(1, 100, 1000, () => chance))).toEqual([50, 75, 100]);
  });
});
