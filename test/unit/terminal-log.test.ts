import { CmbsError } from '@cmbs/shared';
import { stackLog, terminalLog } from '@cmbs/emulator/log';

function logged(write: (log: ReturnType<typeof terminalLog>) => void): readonly string[] {
  const lines: string[] = [];
  write(terminalLog('info', (line) => lines.push(line)));
  return lines.map((line) => line.replace(/^\S+ /, ''));
}

describe('a line at the terminal', () => {
  it('shows an error and its cause', () => {
    const cause = new CmbsError('unavailable', 'The store is away.', { cause: new Error('disk full') });
    expect(logged((log) => log.error('receipt lost', { member: '/cmbs/member/bob', cause }))).toEqual([
      'error receipt lost member=/cmbs/member/bob cause="CmbsError: The store is away. (cause: Error: disk full)"\n',
    ]);
  });

  it('stays one line, whatever value a client sends', () => {
    expect(logged((log) => log.warn('refused', { path: '/a\nerror forged', odd: undefined, list: [1] }))).toEqual([
      'warn  refused path="/a\\nerror forged" list="[1]"\n',
    ]);
  });

  it.each(['request', 'delivery', 'call'])('about a %s is omitted unless the level is debug', (event) => {
    expect(logged((log) => log.info(event, { event }))).toEqual([]);
  });

  it('about a slow call is not omitted', () => {
    expect(logged((log) => log.warn('slow call', { event: 'call' }))).toEqual(['warn  slow call event=call\n']);
  });

  it('is written for each call, however many there are', () => {
    const lines: string[] = [];
    const log = stackLog('debug', (line) => lines.push(line));
    for (let call = 0; call < 10; call++) log.info('call', { event: 'call', call });
    log.flush();
    expect(lines).toHaveLength(10);
  });

  it('is always written when it has the correlation id of a fault', () => {
    const lines: string[] = [];
    const log = stackLog('info', (line) => lines.push(line));
    for (let id = 0; id < 5; id += 1) {
      log.error('failed', { correlationId: `id-${id}` });
      log.error('other');
    }
    expect(lines.filter((line) => line.includes('correlationId=id-'))).toHaveLength(5);
    expect(lines.filter((line) => line.includes('other'))).toHaveLength(3);
  });
});
