/** Processes that run schedules, and what they call. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { allowAll, newId, type Principal, systemClock } from '@cmbs/shared';
import { standardServices } from '@cmbs/shared/services';
import { type NewSchedule, Schedules } from '@cmbs/shared/services/builtin';
import type { Store } from '@cmbs/shared/store';
import { scheduleOf, type Schedule, SCHEDULES } from '../../shared/services/schedules/record';
import { eventually } from '../e2e/harness';
import { becomes, within } from '../waits';
import type { BundledProgram } from './bundled-program';

const ALICE: Principal = { kind: 'user', name: 'alice' };

/** The schedules of a store. */
export function schedulesOf(store: Store): Schedules {
  const services = standardServices({ clock: systemClock, newId });
  return new Schedules({
    store,
    clock: systemClock,
    newId,
    authorize: allowAll,
    services,
    isAdministrator: async () => false,
  });
}

export class ScheduleChild {
  /** Calls: the name of the method and the arguments. */
  readonly events: (readonly unknown[])[] = [];
  readonly process: ChildProcess;
  output = '';

  constructor(program: BundledProgram, ...args: readonly string[]) {
    this.process = fork(program.path, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.process.on('message', (message: object) => {
      if ('event' in message) this.events.push(message.event as readonly unknown[]);
    });
    for (const output of [this.process.stdout, this.process.stderr]) {
      output?.on('data', (text: Buffer) => (this.output += text.toString()));
    }
  }

  async calls(method: string): Promise<void> {
    await becomes(() => this.events.some(([name]) => name === method), `${method} is called: ${this.output}`);
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await within(exited, 'the process has ended');
  }
}

/** What the tests do with any store: the processes are started by `child`. */
export class ScheduledStore {
  readonly #store: () => Store;
  readonly #children: ScheduleChild[] = [];

  constructor(store: () => Store) {
    this.#store = store;
  }

  keep(child: ScheduleChild): ScheduleChild {
    this.#children.push(child);
    return child;
  }

  create(call: NewSchedule): Promise<string> {
    return schedulesOf(this.#store()).create(ALICE, call);
  }

  becomes(id: string, wanted: (schedule: Schedule) => boolean, what: string): Promise<Schedule> {
    return eventually(
      async () => {
        const doc = await this.#store().get(SCHEDULES, id);
        if (doc === undefined) throw new Error(`There is no schedule ${id}.`);
        return scheduleOf(doc);
      },
      wanted,
      `${what}: ${this.#children.map(({ output }) => output).join('\n')}`,
    );
  }

  get events(): readonly (readonly unknown[])[] {
    return this.#children.flatMap(({ events }) => events);
  }

  async kill(): Promise<void> {
    await Promise.all(this.#children.splice(0).map((child) => child.kill()));
  }
}
