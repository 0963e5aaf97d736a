import { structuredLog, type StructuredLogOptions } from '@cmbs/shared/structured-log';

const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

function logged(
  options: Partial<StructuredLogOptions>,
  write: (log: ReturnType<typeof structuredLog>) => void,
): Record<string, unknown>[] {
  const lines: string[] = [];
  write(structuredLog({ least: 'info', ...options, write: (line) => lines.push(line) }));
  return lines.map((line) => {
    expect(line.endsWith('\n')).toBe(true);
    expect(line.trimEnd()).not.toContain('\n');
    return JSON.parse(line) as Record<string, unknown>;
  });
}

describe('a line of the structured log', () => {
  it('is one JSON object with the fields of Cloud Logging', () => {
    const [line] = logged({ project: 'some-project', labels: { part: 'companion' } }, (log) =>
      log.info('request', { event: 'request', ms: 3, trace: TRACE }),
    );
    expect(line).toEqual({
      severity: 'INFO',
      message: 'request',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      event: 'request',
      ms: 3,
      'logging.googleapis.com/trace': 'projects/some-project/traces/0af7651916cd43dd8448eb211c80319c',
      'logging.googleapis.com/spanId': 'b7ad6b7169203331',
      'logging.googleapis.com/trace_sampled': true,
      'logging.googleapis.com/labels': { part: 'companion' },
    });
  });

  it('has the severities of Cloud Logging, and lines below the least severity are omitted', () => {
    const lines = logged({ least: 'debug' }, (log) => {
      log.debug('a');
      log.info('b');
      log.warn('c');
      log.error('d');
    });
    expect(lines.map(({ severity }) => severity)).toEqual(['DEBUG', 'INFO', 'WARNING', 'ERROR']);
    expect(
      logged({ least: 'warn' }, (log) => {
        log.info('b');
        log.warn('c');
      }),
    ).toHaveLength(1);
    expect(logged({ least: 'silent' }, (log) => log.error('d'))).toEqual([]);
  });

  it('keeps its own fields when a caller gives fields with the same names', () => {
    const [line] = logged({}, (log) =>
      log.info('sent', { message: 'other', severity: 'EMERGENCY', time: 'never' }),
    );
    expect(line).toMatchObject({ message: 'sent', severity: 'INFO' });
    expect(line?.time).not.toBe('never');
  });

  it('is one line of JSON with any value in it', () => {
    const [line] = logged({}, (log) =>
      log.error('bad', { text: 'a\nb\u2028c"', error: new TypeError('no'), gone: undefined, trace: 'nonsense' }),
    );
    expect(line).toMatchObject({
      text: 'a\nb\u2028c"',
      error: expect.stringContaining('TypeError: no') as string,
    });
    expect(line).not.toHaveProperty('logging.googleapis.com/trace');
  });

  it('cuts long values off', () => {
    const [line] = logged({}, (log) => log.warn('long', { text: 'x'.repeat(1_000_000) }));
    expect((line?.text as string).length).toBeLessThan(10_000);
  });
});
