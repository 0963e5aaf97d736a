import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CmbsError, type LogFields, silentLog, systemClock } from '@cmbs/shared';
import { ONCE_LIMITS, type OnceLimits } from '@cmbs/shared/services/modules';
import type { Store } from '@cmbs/shared/store';
import { takeTask } from '../../../shared/services/modules/once';
import { openTemporaryStore, type TemporaryStore } from '../../contract/temporary-store';
import { becomes, deferred, within } from '../../waits';
import { bundleProgram, type BundledProgram } from '../bundled-program';
import { serveStore } from './shared-store';
import { WorkerProgram } from './support';

/** Long enough for a busy machine to renew in time, short enough to wait for. */
const LIMITS: OnceLimits = { ttlMs: 3000, marginMs: 1000, renewMs: 200 };

/** Longer than a process stands still on a busy machine: only a killed one may be taken for dead. */
const KILLED: OnceLimits = { ttlMs: 8000, marginMs: 2000, renewMs: 300 };

const TASK = { module: 'table', version: '1', name: 'fill' };

let opened: TemporaryStore;

beforeEach(async () => {
  opened = await openTemporaryStore();
});
afterEach(() => opened.close());

describe('a task that runs once', () => {
  const options = (holder: string, more: Partial<Parameters<typeof takeTask>[1]> = {}) => ({
    store: opened.store,
    clock: systemClock,
    log: silentLog,
    holder,
    limits: LIMITS,
    ...more,
  });

  it('is given to one of many, and the others go on when it is done', async () => {
    const runs: string[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        const task = await takeTask(TASK, options(`holder ${at}`), new AbortController().signal);
        if (task === undefined) {
          expect(runs).toHaveLength(1);
          return;
        }
        runs.push(`holder ${at}`);
        await task.end(true);
      }),
    );
    expect(runs).toHaveLength(1);
    await expect(takeTask(TASK, options('later'), new AbortController().signal)).resolves.toBeUndefined();
  });

  it('runs once more for another version, and not again for the version before', async () => {
    for (const version of ['1', '2']) {
      const task = await takeTask({ ...TASK, version }, options('one'), new AbortController().signal);
      expect(task).toBeDefined();
      await task?.end(true);
    }
    for (const version of ['1', '2']) {
      await expect(
        takeTask({ ...TASK, version }, options('two'), new AbortController().signal),
      ).resolves.toBeUndefined();
    }
  });

  it('is given to the next one when it was not done', async () => {
    const first = await takeTask(TASK, options('one'), new AbortController().signal);
    const second = takeTask(TASK, options('two'), new AbortController().signal);
    await first?.end(false);
    const task = await within(second, 'the second one gets the task');
    expect(task).toBeDefined();
    await task?.end(true);
  });

  it('is taken over when its holder renews no more, which then knows it', async () => {
    // The holder's writes fail from now on.
    let isCut = false;
    const cut: Pick<Store, 'transact' | 'watch'> = {
      watch: (...scope) => opened.store.watch(...scope),
      transact: (...work) =>
        isCut ? Promise.reject(new CmbsError('unavailable', 'cut off')) : opened.store.transact(...work),
    };
    const first = await takeTask(TASK, options('one', { store: cut }), new AbortController().signal);
    isCut = true;
    const lost = deferred();
    first?.lost.addEventListener('abort', () => lost.resolve());
    const second = takeTask(TASK, options('two'), new AbortController().signal);
    await within(lost.promise, 'the first one knows that it may have lost the task');
    const task = await within(second, 'the second one takes the task over');
    expect(task).toBeDefined();
    isCut = false;
    await first?.end(true);
    // What the first one says does not count any more.
    const third = takeTask(TASK, options('three'), new AbortController().signal);
    await task?.end(true);
    await expect(within(third, 'the task is done')).resolves.toBeUndefined();
  });

  it('is renewed for as long as it runs', async () => {
    const task = await takeTask(
      TASK,
      options('one', { limits: { ...LIMITS, renewMs: 10 } }),
      new AbortController().signal,
    );
    await becomes(() => renewals >= 3, 'the lease is renewed', 30_000);
    expect(task?.lost.aborted).toBe(false);
    await task?.end(true);
  });
  let renewals = 0;
  let endWatch = (): void => undefined;
  beforeEach(() => {
    renewals = 0;
    const watch = opened.store.watch({ collection: 'module-tasks' }, () => (renewals += 1));
    endWatch = () => watch.end();
  });
  afterEach(() => endWatch());

  it('does not take an error of the store for another holder, and logs it', async () => {
    let failures = 2;
    const failing: Pick<Store, 'transact' | 'watch'> = {
      watch: (...scope) => opened.store.watch(...scope),
      transact: (...work) => {
        failures -= 1;
        return failures >= 0
          ? Promise.reject(new CmbsError('unavailable', 'no answer'))
          : opened.store.transact(...work);
      },
    };
    const lines: [string, LogFields | undefined][] = [];
    const log = { ...silentLog, warn: (text: string, fields?: LogFields) => void lines.push([text, fields]) };
    const task = await takeTask(TASK, options('one', { store: failing, log }), new AbortController().signal);
    expect(task).toBeDefined();
    await task?.end(true);
    expect(lines.map(([text]) => text)).toEqual(
      Array.from({ length: 2 }, () => 'a task of a module could not be taken; trying again'),
    );
  });

  it('stops waiting when it is told to', async () => {
    const first = await takeTask(TASK, options('one'), new AbortController().signal);
    const stop = new AbortController();
    const second = takeTask(TASK, options('two', { limits: ONCE_LIMITS }), stop.signal);
    stop.abort();
    await expect(within(second, 'the wait ends')).resolves.toBeUndefined();
    await first?.end(true);
  });
});

describe('once, in modules of several processes', () => {
  let worker: WorkerProgram;
  let program: BundledProgram;
  let directory: string;
  const children: Child[] = [];

  /** A process with a host, and what its modules tell. */
  class Child {
    readonly events: unknown[] = [];
    readonly process: ChildProcess;
    output = '';

    constructor(limits: OnceLimits) {
      this.process = fork(program.path, [directory, worker.path, JSON.stringify(limits)], {
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      this.process.on('message', (message: object) => {
        if ('event' in message) this.events.push(message.event);
      });
      for (const output of [this.process.stdout, this.process.stderr]) {
        output?.on('data', (text: Buffer) => (this.output += text.toString()));
      }
      serveStore(this.process, opened.store);
      children.push(this);
    }

    async tells(event: string): Promise<void> {
      await becomes(() => this.events.includes(event), `${event}: ${this.output}`);
    }

    answer(): void {
      this.process.send({ answer: true });
    }

    async kill(): Promise<void> {
      if (this.process.exitCode !== null || this.process.signalCode !== null) return;
      const exited = once(this.process, 'exit');
      this.process.kill('SIGKILL');
      await within(exited, 'the process has ended');
    }
  }

  beforeAll(() => {
    worker = new WorkerProgram();
    program = bundleProgram('test/integration/modules/host-child.ts');
  });
  afterAll(() => {
    worker.remove();
    program.remove();
  });
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cmbs-modules-'));
    mkdirSync(join(directory, 'table'));
  });
  afterEach(async () => {
    await Promise.all(children.splice(0).map((child) => child.kill()));
    rmSync(directory, { recursive: true });
  });

  const write = (fill: string): void =>
    writeFileSync(
      join(directory, 'table', 'index.mjs'),
      `export const version = '1';
export const methods = { get: { documentation: 'D.', signatures: ['any'], call: () => 1 } };
export async function startup(server) {
  await server.test.tell('startup');
  await server.once('fill', async () => {
${fill}
  });
}
`,
    );

  it('runs in one of them, and startup in each', async () => {
    write("await server.test.tell('filled');");
    const all = Array.from({ length: 4 }, () => new Child(ONCE_LIMITS));
    for (const child of all) await child.tells('open');
    expect(all.flatMap(({ events }) => events.filter((event) => event === 'filled'))).toHaveLength(1);
    expect(all.map(({ events }) => events.filter((event) => event === 'startup').length)).toEqual([1, 1, 1, 1]);
  });

  it('runs in another one when the process that runs it is killed', async () => {
    write("await server.test.ask('filling'); await server.test.tell('filled');");
    const first = new Child(KILLED);
    await first.tells('filling');
    const second = new Child(KILLED);
    await second.tells('startup');
    expect(second.events).not.toContain('filling');
    await first.kill();
    await second.tells('filling');
    second.answer();
    await second.tells('open');
    expect(second.events.filter((event) => event === 'filled')).toHaveLength(1);
    // Done for good: a process that starts later does not run it.
    const third = new Child(KILLED);
    await third.tells('open');
    expect(third.events).not.toContain('filling');
  });
});
