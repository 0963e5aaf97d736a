import { report } from '../bench/report';
import type { Row } from '../bench/rounds';
import { runCases } from '../bench/run-cases';

const row: Row = {
  what: 'requests',
  ours: 10,
  against: 'node:http',
  other: 20,
  unit: '1/s',
  ratio: 0.5,
  low: 0.4,
  high: 0.6,
};

const cases = {
  first: () => Promise.resolve([row]),
  broken: () => Promise.reject(new Error('no answer 200\nto GET /')),
  last: () => Promise.resolve([{ ...row, what: 'messages' }]),
};

describe('the bench', () => {
  it('keeps the figures of the other cases when one fails, and marks that one', async () => {
    const told: string[] = [];
    const { rows, failures } = await runCases(cases, [], (line) => told.push(line));
    expect(rows.map(({ what }) => what)).toEqual(['requests', 'messages']);
    expect(failures).toEqual([{ name: 'broken', why: 'Error: no answer 200' }]);
    expect(told).toEqual(expect.arrayContaining(['first …', 'broken …', 'last …']));
    const text = report(rows, failures, 1);
    expect(text).toMatch(/^\| requests .*0\.50/m);
    expect(text).toMatch(/^\| messages .*0\.50/m);
    expect(text).toMatch(/^\| broken .*FAILED +\|$/m);
    expect(text).toContain('\n- broken: Error: no answer 200\n');
  });

  it('says that a counterpart is not installed, and how a counterpart differs', () => {
    const note = 'It syncs every two minutes.';
    const unmeasured = { what: 'topics', against: 'RabbitMQ', why: 'not installed' };
    const text = report([{ ...row, note }, unmeasured], [], 1);
    expect(text).toMatch(/^\| topics +\| – +\| RabbitMQ .*\| not installed +\|$/m);
    expect(text).toContain(`\n- requests (node:http): ${note}\n`);
    expect(report([row], [], 1)).not.toContain('What differs');
  });

  it('runs only the cases that are named, and reports no failure when there is none', async () => {
    const { rows, failures } = await runCases(cases, ['last'], () => undefined);
    expect(rows.map(({ what }) => what)).toEqual(['messages']);
    expect(failures).toEqual([]);
    expect(report(rows, failures, 1)).not.toMatch(/failed/i);
  });
});
