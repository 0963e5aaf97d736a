/** Waits that have an end. */
import { inTime } from '@cmbs/shared';
import { ManualClock } from '../contract/manual-clock';

describe('what has to be done in time', () => {
  const late = (): Error => new Error('late');
  let clock: ManualClock;
  beforeEach(() => {
    clock = new ManualClock();
  });

  it('gives what it comes to, and leaves nothing behind that waits', async () => {
    await expect(inTime(clock, 1000, async () => 'done', late)).resolves.toBe('done');
    expect(() => clock.runNext()).toThrow('Nothing waits');
  });

  it('fails as it fails', async () => {
    const failing = inTime(clock, 1000, () => Promise.reject(new Error('broken')), late);
    await expect(failing).rejects.toThrow('broken');
    expect(() => clock.runNext()).toThrow('Nothing waits');
  });

  it('is given up when it takes longer, whatever becomes of it', async () => {
    let fail = (): void => undefined;
    const never = new Promise<never>((_, reject) => (fail = () => reject(new Error('after all'))));
    const waiting = inTime(clock, 1000, () => never, late);
    expect(clock.runNext()).toBe(1000);
    await expect(waiting).rejects.toThrow('late');
    fail();
    await expect(waiting).rejects.toThrow('late');
  });
});
