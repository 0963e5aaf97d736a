/**
 * Schedules: calls of methods at a time, every so often, or by a cron expression. They belong to the caller who made them,
 * and their calls run for that caller (`runner.ts`), whose right is decided again at each run.
 */
import type { Clock, NewId } from '../../clock';
import { CmbsError } from '../../errors';
import { callerKey, type Authorize, type Principal } from '../../principal';
import type { Page, Store } from '../../store';
import { Fault, FAULT } from '../fault';
import { isServiceName } from '../check-module';
import type { Services } from '../services';
import { encodedText } from '../stored-value';
import type { Value } from '../value';
import {
  MAX_AHEAD_MS,
  MAX_EXPRESSION_CHARS,
  MAX_METHOD_CHARS,
  MAX_PAST_MS,
  MAX_TITLE_CHARS,
  MAX_ZONE_CHARS,
  MIN_INTERVAL_MS,
  SCHEDULE_LIMITS,
  type ScheduleLimits,
} from './limits';
import {
  allSchedules,
  liveSchedules,
  ownerOf,
  ownSchedules,
  type Schedule,
  SCHEDULES,
  scheduleOf,
  storedSchedule,
  writeSchedule,
} from './record';
import { cronOf, knownZone, nextDue, type Timing } from './timing';
import { asked, paused, resumed } from './transitions';

export interface SchedulesOptions {
  readonly store: Pick<Store, 'get' | 'query' | 'count' | 'transact'>;
  readonly clock: Clock;
  readonly newId: NewId;
  /** Asked whether the caller may make the call, when the schedule is made. */
  readonly authorize: Authorize;
  /** Tells who may call a method by default; a method may come later. */
  readonly services: Pick<Services, 'describe'>;
  /** Administrators see and change all schedules. */
  readonly isAdministrator: (principal: Principal) => Promise<boolean>;
  /** When the user was created; undefined for other callers. A user made later under the name is another user. */
  readonly ownerSince?: (principal: Principal) => Promise<number | undefined>;
  readonly limits?: Partial<ScheduleLimits>;
}

/** When to call: times are in milliseconds since the epoch. */
export type When =
  | { readonly kind: 'at'; readonly time: number }
  | { readonly kind: 'every'; readonly everyMs: number; readonly first?: number }
  | { readonly kind: 'cron'; readonly expression: string; readonly zone: string; readonly first?: number };

export interface NewSchedule {
  readonly when: When;
  readonly method: string;
  readonly args: readonly Value[];
  readonly title?: string;
  /** The last time, which counts; not for `at`. */
  readonly until?: number;
  /** Runs at due times, at most; not for `at`. */
  readonly runs?: number;
  /** What becomes of due times that passed while nothing ran: one run for all of them, or none. */
  readonly missed?: 'once' | 'skip';
}

export interface Found {
  readonly id: string;
  readonly schedule: Schedule;
}

/** Milliseconds for which the number of all schedules is known. */
const KNOWN_MS = 60_000;

export class Schedules {
  readonly #options: SchedulesOptions;
  readonly #limits: ScheduleLimits;
  /** Schedules that are being stored, by owner: they count before the store knows them. */
  readonly #arriving = new Map<string, number>();
  #all: { count: number; readonly until: number } | undefined;

  constructor(options: SchedulesOptions) {
    this.#options = options;
    this.#limits = { ...SCHEDULE_LIMITS, ...options.limits };
  }

  /**
   * Stores a schedule; resolves with its id when it is durable.
   * @throws Fault -32602 for what cannot be a schedule, -32000 for a call that the caller may not make; CmbsError
   *   `queue_full` when there are too many schedules
   */
  async create(principal: Principal, wanted: NewSchedule): Promise<string> {
    const { store, clock, newId } = this.#options;
    const now = clock.now();
    const checked = this.#checked(principal, wanted, now);
    await this.#authorizeCall(principal, checked.method);
    const ownerSince = await this.#options.ownerSince?.(principal);
    const schedule: Schedule = { ...checked, ...(ownerSince === undefined ? {} : { ownerSince }) };
    const owner = ownerOf(principal);
    const before = this.#arriving.get(owner) ?? 0;
    this.#arriving.set(owner, before + 1);
    try {
      await this.#checkRoom(owner, before);
      const id = newId();
      await store.transact(async (tx) => {
        if ((await tx.get(SCHEDULES, id)) !== undefined) throw new Error('An id was given twice.');
        writeSchedule(tx, id, schedule, { changedAt: now });
      });
      if (this.#all !== undefined) this.#all.count += 1;
      return id;
    } finally {
      const left = (this.#arriving.get(owner) ?? 1) - 1;
      if (left === 0) this.#arriving.delete(owner);
      else this.#arriving.set(owner, left);
    }
  }

  #checked(principal: Principal, wanted: NewSchedule, now: number): Schedule {
    const { method, args, title, until, runs, missed = 'once' } = wanted;
    checkMethod(method);
    const timing = timingOf(wanted.when, now);
    if (title !== undefined && (title.trim() === '' || title.length > MAX_TITLE_CHARS)) {
      throw invalid(`A title has 1 to ${MAX_TITLE_CHARS} characters.`);
    }
    if (timing.kind === 'at' && (until !== undefined || runs !== undefined)) {
      throw invalid('A schedule for one time has neither a last time nor a number of runs.');
    }
    if (until !== undefined) checkTime('The last time', until, now);
    if (runs !== undefined && (!Number.isSafeInteger(runs) || runs < 1)) {
      throw invalid('The number of runs is a whole number from 1.');
    }
    const timed = { timing, ...(until === undefined ? {} : { until }) };
    const due = timing.kind === 'at' ? timing.time : nextDue(timed, now);
    if (due === undefined) throw invalid('The schedule is never due.');
    if (due > now + MAX_AHEAD_MS) throw invalid('The schedule is due for the first time in more than ten years.');
    return {
      principal,
      ...(title === undefined ? {} : { title }),
      method,
      args: this.#argsText(args),
      ...timed,
      ...(runs === undefined ? {} : { left: runs }),
      missed,
      state: 'active',
      created: now,
      due,
      runs: 0,
      failures: 0,
      skipped: 0,
      refusals: 0,
    };
  }

  #argsText(args: readonly Value[]): string {
    const { argumentBytes } = this.#limits;
    try {
      return encodedText(args, argumentBytes);
    } catch (cause) {
      if (!(cause instanceof Fault) && !(cause instanceof CmbsError)) throw cause;
      throw invalid(`The arguments cannot be stored; they are values of at most ${argumentBytes} bytes in all.`);
    }
  }

  async #authorizeCall(principal: Principal, method: string): Promise<void> {
    const { authorize, services } = this.#options;
    let callers: NonNullable<Parameters<Authorize>[2]['callers']> | undefined;
    try {
      callers = services.describe(method).flags.callers;
    } catch (thrown) {
      // The method may be in another process, or come later.
      if (!(thrown instanceof Fault)) throw thrown;
    }
    await authorize(principal, 'service.call', {
      path: `service:${method}`,
      ...(callers === undefined ? {} : { callers }),
    });
  }

  async #checkRoom(owner: string, arriving: number): Promise<void> {
    const { store, clock } = this.#options;
    const { ofOwner, all } = this.#limits;
    const own = await store.count(liveSchedules(owner), ofOwner);
    if (own + arriving >= ofOwner) {
      throw new CmbsError('queue_full', `You have ${ofOwner} schedules already; cancel some.`);
    }
    if (this.#all === undefined || this.#all.until <= clock.elapsed()) {
      this.#all = { count: await store.count(allSchedules, all), until: clock.elapsed() + KNOWN_MS };
    }
    if (this.#all.count >= all) {
      throw new CmbsError(
        'queue_full',
        `This deployment has ${all} schedules already; some must end or be cancelled.`,
      );
    }
  }

  /** @throws CmbsError `not_found`, in the same words for a schedule of somebody else */
  async get(principal: Principal, id: string): Promise<Schedule> {
    // No document has an id that the store refuses.
    const doc = isId(id) ? await this.#options.store.get(SCHEDULES, id) : undefined;
    return this.#known(principal, id, doc === undefined ? undefined : scheduleOf(doc));
  }

  async #known(principal: Principal, id: string, schedule: Schedule | undefined): Promise<Schedule> {
    if (schedule !== undefined && (isOwn(principal, schedule) || (await this.#mayAll(principal)))) return schedule;
    throw new CmbsError('not_found', `There is no schedule ${JSON.stringify(id.slice(0, MAX_SHOWN_ID_CHARS))}.`);
  }

  /** A token may have fewer rights than the administrator whose it is. */
  async #mayAll(principal: Principal): Promise<boolean> {
    return principal.token === undefined && (await this.#options.isAdministrator(principal));
  }

  /** A page of the schedules that the caller may see. @throws CmbsError `bad_request` for a cursor of something else */
  async list(
    principal: Principal,
    { limit, after }: { readonly limit: number; readonly after?: string },
  ): Promise<{ readonly found: readonly Found[] } & Pick<Page, 'next'>> {
    const scope = (await this.#mayAll(principal)) ? allSchedules : ownSchedules(principal);
    const { docs, next } = await this.#options.store.query({
      ...scope,
      limit,
      ...(after === undefined ? {} : { after }),
    });
    return {
      found: docs.map((doc) => ({ id: doc.id, schedule: scheduleOf(doc) })),
      ...(next === undefined ? {} : { next }),
    };
  }

  /** Deletes a schedule. A run that has begun goes on to its end. */
  async cancel(principal: Principal, id: string): Promise<void> {
    await this.get(principal, id);
    await this.#options.store.transact(async (tx) => {
      if ((await tx.get(SCHEDULES, id)) !== undefined) tx.delete(SCHEDULES, id);
    });
  }

  /** Has the schedule run no more until {@link resume}. @throws CmbsError `conflict` when it has ended */
  pause(principal: Principal, id: string): Promise<Schedule> {
    return this.#change(principal, id, (schedule) => (schedule.state === 'paused' ? schedule : paused(schedule)));
  }

  resume(principal: Principal, id: string): Promise<Schedule> {
    const now = this.#options.clock.now();
    return this.#change(principal, id, (schedule) =>
      schedule.state === 'paused' ? resumed(schedule, now) : schedule,
    );
  }

  /** Has the schedule run once more, now, also when it is paused. */
  runNow(principal: Principal, id: string): Promise<Schedule> {
    const now = this.#options.clock.now();
    return this.#change(principal, id, (schedule) => asked(schedule, now));
  }

  async #change(principal: Principal, id: string, to: (schedule: Schedule) => Schedule): Promise<Schedule> {
    const { store, clock } = this.#options;
    await this.get(principal, id);
    return store.transact(async (tx) => {
      const schedule = await storedSchedule(tx, id);
      if (schedule === undefined) throw new CmbsError('not_found', 'The schedule was cancelled just now.');
      if (schedule.state === 'ended') throw new CmbsError('conflict', 'The schedule has ended; make another one.');
      const changed = to(schedule);
      if (changed !== schedule) writeSchedule(tx, id, changed, { changedAt: clock.now() });
      return changed;
    });
  }
}

/** Characters of an id that an error shows; ids have fewer. */
const MAX_SHOWN_ID_CHARS = 64;
const isId = (text: string): boolean => /^[\w-]{1,64}$/.test(text);

/** An access token has the schedules that were made with it; its user has all of them. */
const isOwn = (caller: Principal, { principal }: Schedule): boolean =>
  ownerOf(caller) === ownerOf(principal) &&
  (caller.token === undefined || callerKey(caller) === callerKey(principal));

const invalid = (text: string): Fault => new Fault(FAULT.invalidParams, text);

function checkMethod(name: string): void {
  const parts = name.split('.');
  if (name.length > MAX_METHOD_CHARS || parts.length !== 2 || !parts.every(isServiceName)) {
    throw invalid('A method has a name such as "message.send".');
  }
}

function checkTime(what: string, time: number, now: number): void {
  if (!(Math.abs(time - now) <= MAX_AHEAD_MS)) throw invalid(`${what} is more than ten years from now.`);
}

const WRONG_FIELDS =
  'it needs five fields (minute, hour, day of the month, month, day of the week), or six with seconds first; ' +
  '"0 9 * * MON-FRI" is 9:00 on working days.';

/** @throws Fault -32602 */
function timingOf(when: When, now: number): Timing {
  switch (when.kind) {
    case 'at':
      checkTime('The time', when.time, now);
      if (when.time < now - MAX_PAST_MS) throw invalid('The time has passed.');
      return when;
    case 'every': {
      const { everyMs } = when;
      if (!(everyMs >= MIN_INTERVAL_MS && everyMs <= MAX_AHEAD_MS)) {
        throw invalid(`The interval has from ${MIN_INTERVAL_MS / 1000} to ${MAX_AHEAD_MS / 1000} seconds.`);
      }
      const first = when.first ?? now + everyMs;
      checkTime('The first time', first, now);
      return { kind: 'every', first, everyMs };
    }
    case 'cron': {
      const { expression, zone, first } = when;
      if (first !== undefined) checkTime('The first time', first, now);
      if (zone.length > MAX_ZONE_CHARS || knownZone(zone) === undefined) {
        throw invalid('The time zone is not known; name one such as "Europe/Berlin" or "UTC".');
      }
      if (expression.length > MAX_EXPRESSION_CHARS) {
        throw invalid(`A cron expression has at most ${MAX_EXPRESSION_CHARS} characters.`);
      }
      try {
        cronOf(expression, zone);
      } catch (cause) {
        // croner says what is wrong, with its own name before it; it would also take seven fields.
        const { message } = cause as Error;
        const why = /\bparts\b/.test(message) ? WRONG_FIELDS : message.replace(/^Cron\w*: /, '');
        throw new Fault(FAULT.invalidParams, `The cron expression cannot be used: ${why}`, undefined, { cause });
      }
      return when;
    }
  }
}
