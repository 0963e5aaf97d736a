/** Schedules in the programs that run them: the local stack, and the companion while it holds its shard. */
import type { Authorize, Clock, Counters, Log, NewId } from '@cmbs/shared';
import { type Access, tokenCheck } from '@cmbs/shared/access';
import type { Services } from '@cmbs/shared/services';
import { type RunnerLimits, scheduleModule, ScheduleRunner, Schedules } from '@cmbs/shared/services/builtin';
import type { PortFunction } from '@cmbs/shared/services/modules';
import type { Store } from '@cmbs/shared/store';

/** Limits of the runs of schedules, in place of the defaults. */
export type ScheduleLimits = Partial<RunnerLimits>;

export interface SchedulingParts {
  readonly store: Store;
  readonly services: Services;
  readonly access: Pick<Access, 'isAdministrator'>;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly counters: Counters;
}

/** Registers the module `schedule`, and runs schedules. */
export class Scheduling {
  readonly #parts: SchedulingParts;

  constructor(parts: SchedulingParts) {
    this.#parts = parts;
    const { store, services, access, authorize, clock, newId } = parts;
    const isAdministrator = access.isAdministrator.bind(access);
    services.register(
      scheduleModule(new Schedules({ store, clock, newId, authorize, services, isAdministrator })),
    );
  }

  /** Runs schedules until the runner is closed. */
  start(isAlone: boolean, limits: ScheduleLimits = {}): ScheduleRunner {
    const { store, services, clock, newId, log, counters } = this.#parts;
    return ScheduleRunner.start({
      store,
      services,
      clock,
      newId,
      log,
      isAlone,
      limits,
      isValid: tokenCheck(store, clock),
      onOutcome: (outcome) => counters.add('cmbs_schedule_runs', { outcome }),
    });
  }
}

/** The methods of the module, as modules of a directory call them: `context.schedule.at(…)`. */
const METHODS = {
  at: 'at',
  every: 'every',
  cron: 'cron',
  get: 'get',
  list: 'list',
  cancel: 'cancel',
  pause: 'pause',
  resume: 'resume',
  runNow: 'run_now',
} as const;

/** The functions for modules. Each is a call of the method, with the decision that every call passes. */
export function scheduleFunctions(services: Pick<Services, 'call'>): Readonly<Record<string, PortFunction>> {
  const callOf =
    (method: string): PortFunction =>
    ({ module: _module, methodName: _methodName, depth, ...caller }, args) =>
      services.call(`schedule.${method}`, args, { ...caller, depth: depth + 1, way: 'method' });
  return Object.fromEntries(Object.entries(METHODS).map(([name, method]) => [`schedule.${name}`, callOf(method)]));
}
