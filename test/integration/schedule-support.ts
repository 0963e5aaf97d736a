/** A store with schedules and their runners, by a clock that only the test moves. */
import { allowAll, type Authorize, type LogFields, newId, type Principal, silentLog } from '@cmbs/shared';
import { Fault, type Services, standardServices, type Value } from '@cmbs/shared/services';
import {
  type RunnerLimits,
  type ScheduleLimits,
  scheduleModule,
  ScheduleRunner,
  Schedules,
} from '@cmbs/shared/services/builtin';
import type { Store } from '@cmbs/shared/store';
import { MemoryStore } from '../../examples/extending/memory-store';
import { scheduleOf, type Schedule, SCHEDULES } from '../../shared/services/schedules/record';
import { ManualClock } from '../contract/manual-clock';
import { becomes } from '../waits';

export const ALICE: Principal = { kind: 'user', name: 'alice' };
export const START = Date.parse('2026-03-01T00:00:00Z');
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** A call that a runner made. */
export interface Called {
  readonly method: string;
  readonly at: number;
  readonly principal: Principal;
  readonly args: readonly Value[];
}

export interface ShopOptions {
  readonly authorize?: Authorize;
  readonly isAdministrator?: (principal: Principal) => Promise<boolean>;
  readonly isValid?: (principal: Principal, ownerSince?: number) => Promise<boolean>;
  readonly limits?: Partial<ScheduleLimits>;
}

export interface RunnerSettings {
  readonly isAlone?: boolean;
  readonly limits?: Partial<RunnerLimits>;
  readonly store?: Store;
}

type Method = (args: readonly Value[], signal: AbortSignal) => Promise<Value> | Value;

export class Shop {
  readonly clock = new ManualClock(START);
  readonly store = new MemoryStore(this.clock, silentLog);
  readonly calls: Called[] = [];
  readonly outcomes: string[] = [];
  /** Warnings and errors; each call has a line of its own besides. */
  readonly lines: { readonly level: string; readonly message: string; readonly fields: LogFields }[] = [];
  readonly services: Services;
  readonly #options: ShopOptions;
  readonly #runners: ScheduleRunner[] = [];
  /** The methods of the module `test`; `echo` returns its arguments. */
  readonly methods: Record<string, Method> = {};

  constructor(options: ShopOptions = {}) {
    this.#options = options;
    const { authorize = allowAll, isAdministrator = async () => false, limits = {} } = options;
    this.services = standardServices({ clock: this.clock, newId, authorize });
    const method = (name: string, idempotent: boolean) => ({
      documentation: 'For a test.',
      signatures: [['any']],
      flags: { idempotent, anyArguments: true },
      call: ({ principal, signal }: { principal: Principal; signal: AbortSignal }, args: readonly Value[]) => {
        this.calls.push({ method: name, at: this.clock.now(), principal, args });
        return this.methods[name]?.(args, signal) ?? args;
      },
    });
    const names = { echo: false, other: false, again: true };
    this.services.register({
      name: 'test',
      methods: Object.fromEntries(Object.entries(names).map(([name, flag]) => [name, method(name, flag)])),
    });
    this.services.register(
      scheduleModule(
        new Schedules({
          store: this.store,
          clock: this.clock,
          newId,
          authorize,
          services: this.services,
          isAdministrator,
          limits,
        }),
      ),
    );
  }

  start({ isAlone = false, limits = {}, store = this.store }: RunnerSettings = {}): ScheduleRunner {
    const write =
      (level: string) =>
      (message: string, fields: LogFields = {}): void =>
        void this.lines.push({ level, message, fields });
    const runner = ScheduleRunner.start({
      store,
      clock: this.clock,
      log: { ...silentLog, warn: write('warn'), error: write('error') },
      newId,
      services: this.services,
      isValid: this.#options.isValid ?? (async () => true),
      onOutcome: (outcome) => void this.outcomes.push(outcome),
      isAlone,
      limits,
    });
    this.#runners.push(runner);
    return runner;
  }

  /** Closes a runner. Calls in flight have a second of the clock, which passes in steps. */
  async stop(runner: ScheduleRunner): Promise<void> {
    let isClosed = false;
    const closing = runner.close(SECOND).then(() => (isClosed = true));
    await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, LOOK_MS))]);
    await becomes(() => {
      if (!isClosed) this.clock.advance(SECOND / 10);
      return isClosed;
    }, 'the runner is closed');
  }

  call(method: string, args: readonly Value[], principal: Principal = ALICE): Promise<Value> {
    return this.services.call(method, args, { principal, signal: new AbortController().signal, log: silentLog });
  }

  /** The fault of a call. @throws Error when it succeeds */
  async fault(method: string, args: readonly Value[], principal: Principal = ALICE): Promise<Fault> {
    const outcome = await this.call(method, args, principal).then(
      (value) => new Error(`${method} returned ${JSON.stringify(value)}.`),
      (thrown: unknown) => thrown,
    );
    if (!(outcome instanceof Fault)) throw outcome;
    return outcome;
  }

  async create(method: string, args: readonly Value[], principal: Principal = ALICE): Promise<string> {
    return (await this.call(`schedule.${method}`, args, principal)) as string;
  }

  async stored(id: string): Promise<Schedule> {
    const doc = await this.store.get(SCHEDULES, id);
    if (doc === undefined) throw new Error(`There is no schedule ${id}.`);
    return scheduleOf(doc);
  }

  /** Moves the clock, and waits until the schedule is as wanted. */
  async advance(ms: number, id: string, wanted: (schedule: Schedule) => boolean, what: string): Promise<Schedule> {
    this.clock.advance(ms);
    return this.becomes(id, wanted, what);
  }

  async becomes(id: string, wanted: (schedule: Schedule) => boolean, what: string): Promise<Schedule> {
    let last: Schedule | undefined;
    let isReading = false;
    const read = async (): Promise<void> => {
      isReading = true;
      last = await this.stored(id);
      isReading = false;
    };
    await becomes(
      () => {
        if (!isReading) void read();
        return last !== undefined && wanted(last);
      },
      what,
      PATIENCE,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
    });
    return last as Schedule;
  }

  async close(): Promise<void> {
    for (const runner of this.#runners) await this.stop(runner);
    await this.store.close();
  }
}

/** Milliseconds for a runner without calls to close, before the clock moves. */
const LOOK_MS = 50;
const PATIENCE = 20_000;
/** `date` as milliseconds. */
export const time = (date: string): number => Date.parse(date);
