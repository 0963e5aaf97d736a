import { boundedLog, type BoundedLog, type LogFields } from '@cmbs/shared';
import { ManualClock } from '../contract/manual-clock';

const PERIOD_MS = 1000;

function recorded(): { readonly log: BoundedLog; readonly clock: ManualClock; readonly lines: string[] } {
  const lines: string[] = [];
  const line =
    (level: string) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const clock = new ManualClock();
  const log = boundedLog({
    log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
    clock,
    isRecord: ({ event }) => event !== undefined,
    burst: 2,
    periodMs: PERIOD_MS,
  });
  return { log, clock, lines };
}

const repeat = (times: number, write: (n: number) => void): void => {
  for (let n = 1; n <= times; n += 1) write(n);
};

describe('a bounded log', () => {
  it('writes the first lines of a kind, then the latest line of each period with the number of withheld lines', () => {
    const { log, clock, lines } = recorded();
    repeat(100, (n) => log.warn('dropped', { n }));
    expect(lines.splice(0)).toEqual(['warn dropped {"n":1}', 'warn dropped {"n":2}']);
    clock.advance(PERIOD_MS);
    expect(lines.splice(0)).toEqual(['warn dropped {"n":100,"withheld":98}']);
    // Later lines follow at one per period.
    repeat(50, (n) => log.warn('dropped', { n }));
    expect(lines).toEqual([]);
    clock.advance(PERIOD_MS);
    expect(lines.splice(0)).toEqual(['warn dropped {"n":50,"withheld":50}']);
    // After a period without lines, the next line is written at once.
    clock.advance(2 * PERIOD_MS);
    expect(lines).toEqual([]);
    log.warn('dropped', { n: 1 });
    expect(lines).toEqual(['warn dropped {"n":1}']);
  });

  it('writes few lines however many arrive at regular intervals', () => {
    const { log, clock, lines } = recorded();
    repeat(1000, (n) => {
      log.error('request failed', { n });
      clock.advance(PERIOD_MS / 10);
    });
    expect(lines.length).toBeLessThanOrEqual(2 + 100);
  });

  it('tells kinds apart by level, message, error code and service module', () => {
    const { log, lines } = recorded();
    repeat(10, () => {
      log.info('a');
      log.warn('a');
      log.warn('b');
      log.warn('b', { module: 'weather' });
      log.error('failed', { code: 'unavailable' });
      log.error('failed', { code: 'internal' });
    });
    expect(lines).toHaveLength(6 * 2);
  });

  it('writes every record and every debug line', () => {
    const { log, lines } = recorded();
    repeat(10, () => {
      log.warn('a delivery became a dead letter', { event: 'dead_letter' });
      log.debug('read');
    });
    expect(lines).toHaveLength(20);
  });

  it('writes a line for withheld lines when it is flushed', () => {
    const { log, lines } = recorded();
    repeat(5, (n) => log.warn('dropped', { n }));
    lines.splice(0);
    log.flush();
    log.flush();
    expect(lines).toEqual(['warn dropped {"n":5,"withheld":3}']);
  });
});
