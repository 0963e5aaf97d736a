/** Waits with a deadline. */
import { inTime } from '@cmbs/shared';
import { ManualClock } from '../contract/manual-clock';

describe('work with a deadline', () => {
  const late = (): Error => new Error('late');
  let clock: ManualClock;
  beforeEach(() => {
    clock = new ManualClock();
  });

  it('resolves with its result and leaves no timer', async () => {
    await expect(inTime(clock, 1000, async () => 'done', late)).resolves.toBe('done');
    expect(() => clock.runNext()).toThrow('Nothing waits');
  });

  it('rejects with its own error', async () => {
    const failing = inTime(clock, 1000, () => Promise.reject(new Error('broken')), late);
    await expect(failing).rejects.toThrow('broken');
    expect(() => clock.runNext()).toThrow('Nothing waits');
  });

  it('rejects with the late error at its deadline, and a later result is ignored', async () => {
    let fail = (): void => undefined;
    const never = new Promise<never>((_, reject) => (fail = () => reject(new Error('after all'))));
    const waiting = inTime(clock, 1000, () => never, late);
    expect(clock.runNext()).toBe(1000);
    await expect(waiting).rejects.toThrow('late');
    fail();
    await expect(waiting).rejects.toThrow('late');
  });
});
