/**
 * A process that runs schedules, for tests with several processes. Its module `test` tells the parent of each call, as
 * `{"event":[…]}` with the name of the method and the arguments. The method `hang` never answers, and neither does `again`,
 * which is idempotent, in a process with the argument `hangs`.
 */
import { type Log, newId, silentLog, systemClock } from '@cmbs/shared';
import { standardServices, type Value } from '@cmbs/shared/services';
import { type RunnerLimits, ScheduleRunner, type ScheduleRunnerOptions } from '@cmbs/shared/services/builtin';

const line =
  (level: string) =>
  (message: string, fields: object = {}): void => {
    process.stdout.write(`${level} ${message} ${JSON.stringify(fields)}\n`);
  };
const log: Log = { ...silentLog, warn: line('warn'), error: line('error') };

export function runSchedules(store: ScheduleRunnerOptions['store'], limits: Partial<RunnerLimits>): void {
  const services = standardServices({ clock: systemClock, newId });
  const tell = (event: readonly Value[]): void => void process.send?.({ event });
  const described = { documentation: 'For a test.', signatures: [['any']], flags: { anyArguments: true } };
  services.register({
    name: 'test',
    methods: {
      tell: {
        ...described,
        call: (_context, args) => {
          tell(['tell', ...args]);
          return args;
        },
      },
      hang: {
        ...described,
        call: (_context, args) => {
          tell(['hang', ...args]);
          return new Promise(() => undefined);
        },
      },
      again: {
        ...described,
        flags: { idempotent: true, anyArguments: true },
        call: (_context, args) => {
          tell(['again', ...args]);
          return process.argv.includes('hangs') ? new Promise(() => undefined) : args;
        },
      },
    },
  });
  ScheduleRunner.start({
    store,
    clock: systemClock,
    log,
    newId,
    services,
    isValid: async () => true,
    limits,
  });
  // The parent ends this process.
  setInterval(() => undefined, 60_000);
  process.on('disconnect', () => process.exit());
}
