import fc from '../property';
import { knownZone, nextDue, passedDue, type Timed } from '../../shared/services/schedules/timing';

const ms = (time: string): number => Date.parse(time);
const cron = (expression: string, zone: string, more: Partial<Timed> = {}): Timed => ({
  timing: { kind: 'cron', expression, zone },
  ...more,
});

/** The next due times in UTC. */
function next(timed: Timed, after: string, count: number): readonly string[] {
  const found: string[] = [];
  let last = ms(after);
  while (found.length < count) {
    const due = nextDue(timed, last);
    if (due === undefined) break;
    found.push(new Date(due).toISOString().replace(':00.000Z', 'Z'));
    last = due;
  }
  return found;
}

describe('in Berlin, where clocks change', () => {
  it('a local time that does not exist in spring counts at the end of the gap', () => {
    expect(next(cron('30 2 * * *', 'Europe/Berlin'), '2026-03-27T12:00Z', 3)).toEqual([
      '2026-03-28T01:30Z',
      '2026-03-29T01:00Z', // 03:00, the first time after the gap
      '2026-03-30T00:30Z',
    ]);
  });

  it('a local time that comes twice in autumn counts once', () => {
    expect(next(cron('30 2 * * *', 'Europe/Berlin'), '2026-10-24T12:00Z', 2)).toEqual([
      '2026-10-25T00:30Z',
      '2026-10-26T01:30Z',
    ]);
  });

  it('an hourly schedule has no gap and no hour twice', () => {
    expect(next(cron('0 * * * *', 'Europe/Berlin'), '2026-03-28T23:30Z', 4)).toEqual([
      '2026-03-29T00:00Z',
      '2026-03-29T01:00Z',
      '2026-03-29T02:00Z',
      '2026-03-29T03:00Z',
    ]);
    expect(next(cron('0 * * * *', 'Europe/Berlin'), '2026-10-24T23:30Z', 4)).toEqual([
      '2026-10-25T00:00Z',
      '2026-10-25T01:00Z',
      '2026-10-25T02:00Z',
      '2026-10-25T03:00Z',
    ]);
  });

  it('a daily time stays the same on the clock of the zone', () => {
    expect(next(cron('0 9 * * *', 'Europe/Berlin'), '2026-03-28T00:00Z', 2)).toEqual([
      '2026-03-28T08:00Z',
      '2026-03-29T07:00Z',
    ]);
    expect(next(cron('0 9 * * *', 'Europe/Berlin'), '2026-10-24T00:00Z', 2)).toEqual([
      '2026-10-24T07:00Z',
      '2026-10-25T08:00Z',
    ]);
  });
});

it('The leap day comes every fourth year, but not in 2100.', () => {
  const leap = cron('0 0 29 2 *', 'UTC');
  expect(next(leap, '2026-01-01T00:00Z', 2)).toEqual(['2028-02-29T00:00Z', '2032-02-29T00:00Z']);
  expect(next(leap, '2096-03-01T00:00Z', 1)).toEqual(['2104-02-29T00:00Z']);
});

it('The first and the last time count.', () => {
  const first = ms('2026-05-01T00:00:00Z');
  const until = ms('2026-05-03T00:00:00Z');
  const daily: Timed = { timing: { kind: 'cron', expression: '0 0 * * *', zone: 'UTC', first }, until };
  expect(next(daily, '2026-01-01T00:00Z', 9)).toEqual([
    '2026-05-01T00:00Z',
    '2026-05-02T00:00Z',
    '2026-05-03T00:00Z',
  ]);
  const every: Timed = { timing: { kind: 'every', first, everyMs: 24 * 3_600_000 }, until };
  expect(next(every, '2026-01-01T00:00Z', 9)).toHaveLength(3);
});

it('A zone has one spelling, and an offset is none.', () => {
  expect(knownZone('europe/BERLIN')).toBe('Europe/Berlin');
  for (const zone of ['+02:00', 'Europe/Atlantis', '', 'UTC\n', '../UTC']) expect(knownZone(zone)).toBeUndefined();
});

describe('for any timing', () => {
  const timings = fc.oneof(
    fc.record({
      kind: fc.constant('every' as const),
      first: fc.integer({ min: -1e9, max: 1e9 }),
      everyMs: fc.integer({ min: 1000, max: 1e8 }),
    }),
    fc.record({
      kind: fc.constant('cron' as const),
      expression: fc.constantFrom(
        '*/7 * * * *',
        '30 2 * * *',
        '*/20 1-3 * * SUN',
        '0 0 29 2 *',
        '15 10,30 2 L * *',
      ),
      zone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
    }),
  );

  it('the due times that have come are those that were next, one after the other', () => {
    fc.assert(
      fc.property(
        timings,
        fc.integer({ min: 0, max: 2e12 }),
        fc.integer({ min: 0, max: 30 }),
        (timing, after, steps) => {
          const due = nextDue({ timing }, after);
          if (due === undefined) return;
          expect(due).toBeGreaterThan(after);
          const all = [due];
          for (let step = 0; step < steps; step += 1) all.push(nextDue({ timing }, all.at(-1) ?? due) ?? due);
          const last = all.at(-1) ?? due;
          const later = nextDue({ timing }, last) ?? last + 1;
          for (const now of [last, later - 1]) {
            expect(passedDue({ timing }, due, now)).toEqual({ last, count: all.length });
          }
          if (timing.kind === 'every') expect(Math.abs((last - timing.first) % timing.everyMs)).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });
});
