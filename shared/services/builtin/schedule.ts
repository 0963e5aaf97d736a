/** The module `schedule`: calls of methods at a time, every so often, or by a cron expression. */
import { isDate } from 'node:util/types';
import type { Principal } from '../../principal';
import { Fault, FAULT } from '../fault';
import type { MethodFlags, ServiceMethod, ServiceModule } from '../module';
import { MAX_PAGE_SCHEDULES, PAGE_SCHEDULES } from '../schedules/limits';
import { type LastRun, ownerOf, type Schedule } from '../schedules/record';
import type { Found, NewSchedule, Schedules } from '../schedules/schedules';
import { decodedText } from '../stored-value';
import { asType, type Struct, type Value } from '../value';

/** What the module needs. */
export type ScheduleBook = Pick<Schedules, 'create' | 'get' | 'list' | 'cancel' | 'pause' | 'resume' | 'runNow'>;

const OPTIONS =
  'The optional last argument is a struct: title; first (time; not for at) and until (the last time; not for at); ' +
  'runs (at most so many; not for at); missed, which says what becomes of times that passed while nothing ran: ' +
  'once (one run for all of them, the default) or skip.';
const FAULTS =
  'Fault -32602 for what cannot be a schedule, -32000 for a call that the caller may not make or when there are too ' +
  'many schedules.';
const UNKNOWN = 'Fault -32000 (not_found) for a schedule that the caller does not have.';

export function scheduleModule(schedules: ScheduleBook): ServiceModule {
  const creates = (
    what: string,
    types: readonly (readonly string[])[],
    read: (args: readonly Value[]) => NewSchedule,
  ): ServiceMethod => ({
    documentation: `${what} Returns the id of the schedule. The calls run for the caller, once in the deployment for each time. ${OPTIONS} ${FAULTS}`,
    signatures: types.flatMap((one) => [
      ['string', ...one],
      ['string', ...one, 'struct'],
    ]),
    call: ({ principal }, args) => schedules.create(principal, read(args)),
  });
  const withId = (
    documentation: string,
    result: string,
    call: (principal: Principal, id: string) => Promise<Value>,
    flags?: MethodFlags,
  ): ServiceMethod => ({
    documentation: `${documentation} ${UNKNOWN}`,
    signatures: [[result, 'string']],
    ...(flags === undefined ? {} : { flags }),
    call: ({ principal }, args) => {
      const [id] = args;
      return call(principal, textIn(id, 'The id of the schedule'));
    },
  });
  return {
    name: 'schedule',
    methods: {
      at: creates(
        'Calls a method at a time: takes the time, the name of the method and the array of its arguments.',
        [['dateTime.iso8601', 'string', 'array']],
        ([time, method, args, options]) => ({
          when: { kind: 'at', time: timeIn(time, 'The time') },
          ...callIn(method, args),
          ...readOptions(options, []),
        }),
      ),
      every: creates(
        'Calls a method every so many seconds, 1 or more: takes the seconds, the name of the method and the array of its ' +
          'arguments. The first time is one interval from now unless first says otherwise; the others follow it without ' +
          'drift.',
        [
          ['int', 'string', 'array'],
          ['double', 'string', 'array'],
        ],
        ([seconds, method, args, options]) => {
          const { first, ...others } = readOptions(options, ['first', 'until', 'runs']);
          const everyMs = Math.round(numberIn(seconds, 'The seconds') * 1000);
          return {
            when: { kind: 'every', everyMs, ...(first === undefined ? {} : { first }) },
            ...callIn(method, args),
            ...others,
          };
        },
      ),
      cron: creates(
        'Calls a method by a cron expression of five fields, or six with seconds first: takes the expression, the time ' +
          'zone (such as Europe/Berlin or UTC), the name of the method and the array of its arguments.',
        [['string', 'string', 'string', 'array']],
        ([expression, zone, method, args, options]) => {
          const { first, ...others } = readOptions(options, ['first', 'until', 'runs']);
          return {
            when: {
              kind: 'cron',
              expression: textIn(expression, 'The cron expression'),
              zone: textIn(zone, 'The time zone'),
              ...(first === undefined ? {} : { first }),
            },
            ...callIn(method, args),
            ...others,
          };
        },
      ),
      get: withId(
        'Returns a schedule: what it calls and when, its state (active, running, paused or ended), the next time, how often ' +
          'it has run, failed and been skipped, and its last run with the outcome (answer, fault or unknown).',
        'struct',
        async (principal, id) => shown({ id, schedule: await schedules.get(principal, id) }, 'whole'),
        { idempotent: true },
      ),
      list: {
        documentation:
          'Returns a page of the schedules of the caller, of all schedules for an administrator, without their arguments ' +
          'and results: a struct with schedules and, when there are more, next. The optional argument is a struct: limit ' +
          `(1 to ${MAX_PAGE_SCHEDULES}, ${PAGE_SCHEDULES} by default) and after (next of the page before).`,
        signatures: [['struct'], ['struct', 'struct']],
        flags: { idempotent: true },
        call: async ({ principal }, args) => {
          const { limit = PAGE_SCHEDULES, after, ...others } = args.length === 0 ? {} : structIn(args[0]);
          refuseOthers(others, 'limit and after');
          const number = numberIn(limit, 'limit');
          if (!Number.isInteger(number) || number < 1 || number > MAX_PAGE_SCHEDULES) {
            throw new Fault(FAULT.invalidParams, `limit is a whole number from 1 to ${MAX_PAGE_SCHEDULES}.`);
          }
          const page = { limit: number, ...(after === undefined ? {} : { after: textIn(after, 'after') }) };
          const { found, next } = await schedules.list(principal, page);
          return {
            schedules: found.map((one) => shown(one, 'short')),
            ...(next === undefined ? {} : { next }),
          };
        },
      },
      cancel: withId(
        'Deletes a schedule, and returns true. A run that has begun goes on to its end.',
        'boolean',
        async (principal, id) => {
          await schedules.cancel(principal, id);
          return true;
        },
      ),
      pause: withId(
        'Has a schedule run no more until it is resumed, and returns the schedule.',
        'struct',
        async (principal, id) => shown({ id, schedule: await schedules.pause(principal, id) }, 'whole'),
        { idempotent: true },
      ),
      resume: withId(
        'Has a paused schedule go on with the times that come, and returns the schedule.',
        'struct',
        async (principal, id) => shown({ id, schedule: await schedules.resume(principal, id) }, 'whole'),
        { idempotent: true },
      ),
      run_now: withId(
        'Has a schedule run once more as soon as possible, also a paused one, and returns the schedule.',
        'struct',
        async (principal, id) => shown({ id, schedule: await schedules.runNow(principal, id) }, 'whole'),
      ),
    },
  };
}

function callIn(method: Value | undefined, args: Value | undefined): Pick<NewSchedule, 'method' | 'args'> {
  if (!Array.isArray(args)) throw new Fault(FAULT.invalidParams, 'The arguments of the call are an array.');
  return { method: textIn(method, 'The name of the method'), args: args as readonly Value[] };
}

function textIn(value: Value | undefined, what: string): string {
  if (typeof value !== 'string') throw new Fault(FAULT.invalidParams, `${what} is a string.`);
  return value;
}

function numberIn(value: Value | undefined, what: string): number {
  const number = value === undefined ? undefined : asType('double', value);
  if (number === undefined) throw new Fault(FAULT.invalidParams, `${what} is a number.`);
  return Number(typeof number === 'object' && number !== null && 'source' in number ? number.source : number);
}

/** Milliseconds since the epoch. */
function timeIn(value: Value | undefined, what: string): number {
  const time = value === undefined ? undefined : asType('dateTime.iso8601', value);
  if (!isDate(time) || Number.isNaN(time.getTime())) {
    throw new Fault(FAULT.invalidParams, `${what} is a date and time, in JSON as in RFC 3339.`);
  }
  return time.getTime();
}

function structIn(value: Value | undefined): Partial<Record<string, Value>> {
  const struct = value === undefined ? undefined : asType('struct', value);
  if (struct === undefined) throw new Fault(FAULT.invalidParams, 'The last argument is a struct of options.');
  return { ...(struct as Struct) };
}

function refuseOthers(others: Partial<Record<string, Value>>, known: string): void {
  const [other] = Object.keys(others);
  if (other === undefined) return;
  const shownName = JSON.stringify(other.slice(0, MAX_SHOWN_OPTION_CHARS));
  throw new Fault(FAULT.invalidParams, `There is no option ${shownName}; the options are ${known}.`);
}

/** Characters of the name of an option that a fault shows. */
const MAX_SHOWN_OPTION_CHARS = 64;

type Options = Pick<NewSchedule, 'title' | 'until' | 'runs' | 'missed'> & { readonly first?: number };

function readOptions(value: Value | undefined, also: readonly ('first' | 'until' | 'runs')[]): Options {
  if (value === undefined) return {};
  const { title, missed, first, until, runs, ...others } = structIn(value);
  const given = { first, until, runs };
  for (const name of ['first', 'until', 'runs'] as const) {
    if (given[name] !== undefined && !also.includes(name)) {
      throw new Fault(FAULT.invalidParams, `A schedule for one time has no option ${name}.`);
    }
  }
  refuseOthers(others, ['title', ...also, 'missed'].join(', '));
  if (missed !== undefined && missed !== 'once' && missed !== 'skip') {
    throw new Fault(FAULT.invalidParams, 'missed is "once" or "skip".');
  }
  return {
    ...(title === undefined ? {} : { title: textIn(title, 'title') }),
    ...(missed === undefined ? {} : { missed }),
    ...(first === undefined ? {} : { first: timeIn(first, 'first') }),
    ...(until === undefined ? {} : { until: timeIn(until, 'until') }),
    ...(runs === undefined ? {} : { runs: numberIn(runs, 'runs') }),
  };
}

/** A schedule as its owner sees it. A list is short: without arguments and results. */
function shown({ id, schedule }: Found, form: 'whole' | 'short'): Struct {
  const { principal, title, method, args, timing, until, left, missed, state, reason, created } = schedule;
  const { due, extra, run, runs, failures, skipped, last } = schedule;
  const nextTime = extra?.due ?? (state === 'active' ? due : undefined);
  return {
    id,
    owner: ownerOf(principal),
    ...(title === undefined ? {} : { title }),
    method,
    ...(form === 'short' ? {} : { args: decodedText(args) }),
    ...shownTiming(timing),
    ...(until === undefined ? {} : { until: new Date(until) }),
    ...(left === undefined ? {} : { runs_left: left }),
    missed,
    state: run === undefined ? state : 'running',
    ...(reason === undefined ? {} : { reason }),
    created: new Date(created),
    ...(nextTime === undefined ? {} : { next: new Date(nextTime) }),
    runs,
    failures,
    skipped,
    ...(last === undefined ? {} : { last: shownRun(last, form) }),
  };
}

function shownTiming(timing: Schedule['timing']): Struct {
  switch (timing.kind) {
    case 'at':
      return { time: new Date(timing.time) };
    case 'every':
      return { every: timing.everyMs / 1000, first: new Date(timing.first) };
    case 'cron': {
      const { expression, zone, first } = timing;
      return { cron: expression, time_zone: zone, ...(first === undefined ? {} : { first: new Date(first) }) };
    }
  }
}

const shownRun = ({ due, started, ended, outcome, fault, result }: LastRun, form: 'whole' | 'short'): Struct => ({
  due: new Date(due),
  started: new Date(started),
  ended: new Date(ended),
  outcome,
  ...(fault === undefined ? {} : { fault: { code: fault.code, text: fault.text } }),
  ...(result === undefined || form === 'short' ? {} : { result: decodedText(result) }),
});
