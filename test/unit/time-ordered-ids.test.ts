import { timeOrderedIds } from '@cmbs/shared';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('identifiers in the order of time', () => {
  test('are UUIDs of version 7 that begin with the milliseconds of their creation', () => {
    const id = timeOrderedIds({ now: () => Date.parse('2030-01-31T12:00:00.123Z') })();
    expect(id).toMatch(UUID_V7);
    expect(parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toBe(Date.parse('2030-01-31T12:00:00.123Z'));
  });

  test('sort by their creation, also within a millisecond and when the counter overflows', () => {
    const next = timeOrderedIds({ now: () => 1_900_000_000_000 });
    const ids = Array.from({ length: 10_000 }, next);
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(UUID_V7);
  });

  test('stay in order when the clock is set back', () => {
    const times = [2000, 1000, 1500, 2001];
    const next = timeOrderedIds({ now: () => times.shift() ?? 0 });
    const ids = [next(), next(), next(), next()];
    expect([...ids].sort()).toEqual(ids);
  });

  test('differ between two sources in one millisecond', () => {
    const clock = { now: () => 1_900_000_000_000 };
    expect(timeOrderedIds(clock)()).not.toBe(timeOrderedIds(clock)());
  });
});
