/** Schedules in Firestore that two processes run. */
import type { RunnerLimits } from '@cmbs/shared/services/builtin';
import { bundleProgram, type BundledProgram } from '../integration/bundled-program';
import { ScheduleChild, ScheduledStore, schedulesOf } from '../integration/schedule-children';
import { describeOnEmulators } from './support';
import { openTemporaryFirestore, type TemporaryFirestore } from './temporary-firestore';

/** Long enough for a busy machine to renew in time, short enough to wait for. */
const LIMITS: Partial<RunnerLimits> = { ttlMs: 5000, marginMs: 1500, renewMs: 500 };

describeOnEmulators('schedules in Firestore', ({ firestore }) => {
  let program: BundledProgram;
  let opened: TemporaryFirestore;
  let scheduled: ScheduledStore;

  beforeAll(async () => {
    program = bundleProgram('test/cloud/schedule-child.ts');
    opened = await openTemporaryFirestore(firestore);
    scheduled = new ScheduledStore(() => opened.store);
  });
  afterEach(() => scheduled.kill());
  afterAll(async () => {
    await opened.close();
    program.remove();
  });

  const start = (...args: readonly string[]): ScheduleChild =>
    scheduled.keep(new ScheduleChild(program, JSON.stringify(LIMITS), firestore, opened.projectId, ...args));

  it('run once for each due time, and the other process goes on when one is killed during a call', async () => {
    const now = Date.now();
    const names = Array.from({ length: 12 }, (_, nth) => `n${nth}`);
    const at = (name: string): Promise<string> =>
      scheduled.create({ when: { kind: 'at', time: now }, method: 'test.tell', args: [name] });
    const ids = await Promise.all(names.slice(0, 6).map(at));
    const [first, second] = [start(), start()];
    const isEnded = ({ state }: { readonly state: string }): boolean => state === 'ended';
    for (const id of ids) await scheduled.becomes(id, isEnded, 'it has run');
    // Both wait now; a new schedule wakes them.
    for (const id of await Promise.all(names.slice(6).map(at))) await scheduled.becomes(id, isEnded, 'it has run');
    expect(scheduled.events.map(([, name]) => name).toSorted()).toEqual(names.toSorted());

    const hanging = await scheduled.create({ when: { kind: 'at', time: now }, method: 'test.hang', args: [] });
    const running = await scheduled.becomes(hanging, ({ run }) => run !== undefined, 'it runs');
    await scheduled.becomes(hanging, () => scheduled.events.some(([name]) => name === 'hang'), 'it is called');
    const holder = first.events.some(([name]) => name === 'hang') ? first : second;
    await holder.kill();
    expect(await scheduled.becomes(hanging, isEnded, 'it was interrupted')).toMatchObject({
      runs: 1,
      last: { outcome: 'unknown', due: running.run?.due },
    });
    expect(scheduled.events.filter(([name]) => name === 'hang')).toHaveLength(1);
    expect(await schedulesOf(opened.store).list({ kind: 'user', name: 'alice' }, { limit: 5 })).toMatchObject({
      found: Array.from({ length: 5 }, () => ({ schedule: { state: 'ended' } })),
      next: expect.any(String) as string,
    });
  });
});
