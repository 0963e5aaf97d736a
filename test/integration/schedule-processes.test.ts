/** Schedules of one SQLite store that several processes run. */
import type { RunnerLimits } from '@cmbs/shared/services/builtin';
import { openTemporaryStore, type TemporaryStore } from '../contract/temporary-store';
import { bundleProgram, type BundledProgram } from './bundled-program';
import { serveStore } from './modules/shared-store';
import { ScheduleChild, ScheduledStore } from './schedule-children';

/** Long enough for a busy machine to renew in time, short enough to wait for. */
const LIMITS: Partial<RunnerLimits> = { ttlMs: 3000, marginMs: 1000, renewMs: 200 };

let program: BundledProgram;
let opened: TemporaryStore;
let scheduled: ScheduledStore;

beforeAll(() => {
  program = bundleProgram('test/integration/schedule-child.ts');
});
afterAll(() => program.remove());
beforeEach(async () => {
  opened = await openTemporaryStore();
  scheduled = new ScheduledStore(() => opened.store);
});
afterEach(async () => {
  await scheduled.kill();
  await opened.close();
});

function start(...args: readonly string[]): ScheduleChild {
  const child = new ScheduleChild(program, JSON.stringify(LIMITS), ...args);
  serveStore(child.process, opened.store);
  return scheduled.keep(child);
}

const isEnded = ({ state }: { readonly state: string }): boolean => state === 'ended';

it('Two processes run each due time once, also of schedules that are made while they wait.', async () => {
  const at = (name: string): Promise<string> =>
    scheduled.create({ when: { kind: 'at', time: Date.now() }, method: 'test.tell', args: [name] });
  const names = Array.from({ length: 40 }, (_, nth) => `n${nth}`);
  const ids = await Promise.all(names.slice(0, 20).map(at));
  const repeated = await scheduled.create({
    when: { kind: 'every', everyMs: 1000 },
    method: 'test.tell',
    args: ['again and again'],
    runs: 2,
  });
  const children = [start(), start()];
  for (const id of ids) await scheduled.becomes(id, isEnded, 'it has run');
  for (const id of await Promise.all(names.slice(20).map(at))) await scheduled.becomes(id, isEnded, 'it has run');
  await scheduled.becomes(repeated, isEnded, 'it has run twice');
  const told = scheduled.events.map(([, name]) => name);
  expect(told.toSorted()).toEqual([...names, 'again and again', 'again and again'].toSorted());
  for (const { output } of children) expect(output).not.toMatch(/^error/m);
});

it('When a process is killed during a call, another one goes on and records that the outcome is unknown.', async () => {
  const id = await scheduled.create({ when: { kind: 'every', everyMs: 1000 }, method: 'test.hang', args: ['x'] });
  const first = start();
  await first.calls('hang');
  const second = start();
  await first.kill();
  const interrupted = await scheduled.becomes(id, ({ failures }) => failures === 1, 'it was interrupted');
  expect(interrupted).toMatchObject({ last: { outcome: 'unknown', fault: { code: -32002 } } });
  // The next due time goes on, in the other process.
  await second.calls('hang');
  expect(first.events).toHaveLength(1);
});

it('A call of an idempotent method is run again when its process was killed.', async () => {
  const id = await scheduled.create({ when: { kind: 'at', time: Date.now() }, method: 'test.again', args: ['x'] });
  const first = start('hangs');
  await first.calls('again');
  const second = start();
  await first.kill();
  expect(await scheduled.becomes(id, isEnded, 'it has run')).toMatchObject({
    runs: 1,
    failures: 0,
    last: { outcome: 'answer', result: '["x"]' },
  });
  expect(second.events).toEqual([['again', 'x']]);
});
