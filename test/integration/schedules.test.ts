import { CmbsError, type Principal } from '@cmbs/shared';
import { ExactNumber } from '../../shared/exact-json';
import { FAULT, type Value } from '@cmbs/shared/services';
import { RUNNER_LIMITS } from '@cmbs/shared/services/builtin';
import type { Store } from '@cmbs/shared/store';
import { SCHEDULES, scheduleOf, WAKING, writeSchedule } from '../../shared/services/schedules/record';
import { becomes, deferred } from '../waits';
import { ALICE, HOUR, MINUTE, SECOND, Shop, START, time } from './schedule-support';

const BOB: Principal = { kind: 'user', name: 'bob' };

let shop: Shop;
beforeEach(() => {
  shop = new Shop();
});
afterEach(() => shop.close());

const called = (): readonly number[] => shop.calls.map(({ at }) => (at - START) / SECOND);
const becomesCalled = (times: number): Promise<void> =>
  becomes(() => shop.calls.length === times, `${times} calls: ${JSON.stringify(called())}`);
const isEnded = ({ state }: { readonly state: string }): boolean => state === 'ended';
const idle = ({ run }: { readonly run?: unknown }): boolean => run === undefined;

describe('a schedule for one time', () => {
  it('calls the method once at that time, for its owner, with exactly its arguments', async () => {
    const args: readonly Value[] = [
      Uint8Array.of(0, 255, 10),
      new Date('2026-01-02T03:04:05.678Z'),
      new ExactNumber('12345678901234567890'),
      { $: ['bytes', 'no'], '': null, nested: { $: [new Date(0)] }, text: '\u0000\u{1f600}"\\' },
      JSON.parse('{"__proto__":1}') as Value,
      [-0.5, true, []],
    ];
    const id = await shop.create('at', [new Date(START + MINUTE), 'test.echo', args]);
    shop.start();
    shop.clock.advance(MINUTE - 1);
    expect(await shop.stored(id)).toMatchObject({ runs: 0, state: 'active', due: START + MINUTE });
    const ended = await shop.advance(1, id, isEnded, 'it has run');
    expect(shop.calls).toEqual([{ method: 'echo', at: START + MINUTE, principal: ALICE, args }]);
    expect(ended).toMatchObject({ runs: 1, failures: 0, last: { due: START + MINUTE, outcome: 'answer' } });
    const shown = (await shop.call('schedule.get', [id])) as { readonly last: { readonly result: Value } };
    expect(shown.last.result).toEqual(args);
    expect(shop.outcomes).toEqual(['answer']);
  });

  it('runs at once for a caller whose clock is a little slow', async () => {
    shop.start();
    await shop.create('at', [new Date(START - 59 * SECOND), 'test.echo', []]);
    await becomesCalled(1);
  });

  it('wakes a process that waits for something much later', async () => {
    shop.start();
    const later = await shop.create('at', [new Date(START + HOUR), 'test.other', []]);
    await shop.clock.waiting();
    const soon = await shop.create('at', [new Date(START + 10 * SECOND), 'test.echo', []]);
    await shop.advance(10 * SECOND, soon, isEnded, 'the sooner one runs');
    expect(called()).toEqual([10]);
    await shop.advance(HOUR, later, isEnded, 'the later one runs');
  });
});

describe('a schedule that repeats', () => {
  it('keeps its phase, also when a run begins late', async () => {
    const first = new Date(START + 10 * SECOND);
    const id = await shop.create('every', [60, 'test.echo', [], { first, runs: 4 }]);
    shop.start();
    const step = async (ms: number, runs: number): Promise<void> => {
      await shop.advance(ms, id, (now) => now.runs === runs && idle(now), `run ${runs}`);
    };
    await step(10 * SECOND, 1);
    await step(67 * SECOND, 2); // seven seconds late
    await step(53 * SECOND, 3);
    await step(60 * SECOND, 4);
    expect(called()).toEqual([10, 77, 130, 190]);
    expect(await shop.stored(id)).toMatchObject({ state: 'ended', left: 0, last: { due: START + 190 * SECOND } });
  });

  it('begins within its interval when its first time has passed', async () => {
    const first = new Date(START - 25 * SECOND);
    const id = await shop.create('every', [10.5, 'test.echo', [], { first }]);
    expect((await shop.stored(id)).due).toBe(START + 6.5 * SECOND);
  });

  it('follows a cron expression and ends at its last time', async () => {
    const until = new Date('2026-03-01T02:00:00Z');
    const id = await shop.create('cron', ['0 * * * *', 'Europe/Berlin', 'test.echo', [], { until }]);
    shop.start();
    for (const runs of [1, 2])
      await shop.advance(HOUR, id, (now) => now.runs === runs && idle(now), `run ${runs}`);
    expect(called()).toEqual([3600, 7200]);
    expect(await shop.stored(id)).toMatchObject({ state: 'ended' });
  });

  it.each([
    ['once', 1, 3],
    ['skip', 0, 4],
  ] as const)('with missed times has a policy: %s', async (missed, runs, skipped) => {
    const id = await shop.create('every', [HOUR / SECOND, 'test.echo', [], { missed }]);
    shop.clock.advance(4 * HOUR + 30 * MINUTE);
    shop.start();
    const now = await shop.becomes(id, (one) => one.skipped === skipped && idle(one), 'it has caught up');
    expect(now).toMatchObject({ runs, due: START + 5 * HOUR });
    expect(shop.calls).toHaveLength(runs);
    if (runs === 1) expect(now.last?.due).toBe(START + 4 * HOUR);
    await shop.advance(30 * MINUTE, id, (one) => one.runs === runs + 1, 'the next time is not missed');
  });

  it('that skips missed times runs when it is late by less than a minute', async () => {
    const id = await shop.create('cron', ['0 * * * *', 'UTC', 'test.echo', [], { missed: 'skip' }]);
    shop.clock.advance(2 * HOUR + 59 * SECOND);
    shop.start();
    const now = await shop.becomes(id, (one) => one.runs === 1 && idle(one), 'it runs');
    expect(now).toMatchObject({ skipped: 1, last: { due: START + 2 * HOUR } });
  });

  it('counts missed times of a cron expression up to a bound, and finds the latest', async () => {
    const id = await shop.create('cron', ['*/5 * * * * *', 'UTC', 'test.echo', []]);
    shop.clock.advance(3 * HOUR + 2 * SECOND);
    shop.start();
    const now = await shop.becomes(id, (one) => one.runs === 1 && idle(one), 'it has caught up');
    expect(now).toMatchObject({
      skipped: 99,
      last: { due: START + 3 * HOUR },
      due: START + 3 * HOUR + 5 * SECOND,
    });
  });

  it('does not run twice at a time: times that come meanwhile are skipped', async () => {
    const answer = deferred<Value>();
    shop.methods.echo = () => answer.promise;
    const id = await shop.create('every', [5, 'test.echo', []]);
    shop.start();
    shop.clock.advance(5 * SECOND);
    await becomesCalled(1);
    shop.clock.advance(7 * SECOND);
    expect(await shop.call('schedule.get', [id])).toMatchObject({ state: 'running', runs: 1 });
    answer.resolve(1);
    delete shop.methods.echo;
    await shop.becomes(id, (one) => one.skipped === 1, 'it is skipped');
    expect(await shop.stored(id)).toMatchObject({ runs: 1, due: START + 15 * SECOND });
    await shop.advance(3 * SECOND, id, (one) => one.runs === 2 && idle(one), 'it goes on');
    expect(called()).toEqual([5, 15]);
  });
});

describe('an owner', () => {
  it('pauses, resumes, runs and cancels a schedule, and nobody else does', async () => {
    const id = await shop.create('every', [10, 'test.echo', ['a'], { title: 'tick' }]);
    for (const method of ['get', 'pause', 'resume', 'run_now', 'cancel']) {
      const fault = await shop.fault(`schedule.${method}`, [id], BOB);
      expect(fault).toMatchObject({
        code: FAULT.refused,
        data: { code: 'not_found' },
        message: `There is no schedule "${id}".`,
      });
    }
    expect(await shop.call('schedule.list', [], BOB)).toEqual({ schedules: [] });
    expect(await shop.call('schedule.pause', [id])).toMatchObject({ state: 'paused', title: 'tick', args: ['a'] });
    shop.start();
    shop.clock.advance(25 * SECOND);
    await shop.call('schedule.run_now', [id]);
    await shop.becomes(id, (one) => one.runs === 1 && idle(one), 'it runs although it is paused');
    expect(called()).toEqual([25]);
    const resumed = (await shop.call('schedule.resume', [id])) as { readonly next: Date };
    expect(resumed).toMatchObject({ state: 'active', next: new Date(START + 30 * SECOND), skipped: 0 });
    await shop.advance(5 * SECOND, id, (one) => one.runs === 2 && idle(one), 'it goes on');
    expect(await shop.call('schedule.cancel', [id])).toBe(true);
    expect(await shop.fault('schedule.get', [id])).toMatchObject({ data: { code: 'not_found' } });
  });

  it('can run a schedule while it runs: the runs follow each other', async () => {
    const answers = [deferred<Value>(), deferred<Value>()];
    let at = 0;
    shop.methods.echo = () => answers[at++]?.promise ?? null;
    const id = await shop.create('every', [HOUR / SECOND, 'test.echo', []]);
    shop.start();
    await shop.call('schedule.run_now', [id]);
    await becomesCalled(1);
    await shop.call('schedule.run_now', [id]);
    await shop.call('schedule.run_now', [id]);
    expect(shop.calls).toHaveLength(1);
    answers[0]?.resolve(null);
    await becomesCalled(2);
    answers[1]?.resolve(null);
    expect(await shop.becomes(id, (one) => one.runs === 2 && idle(one), 'both have run')).toMatchObject({
      due: START + HOUR,
    });
  });

  it('cancels or pauses a schedule that runs: the call goes on, and nothing follows', async () => {
    const answer = deferred<Value>();
    const signals: AbortSignal[] = [];
    shop.methods.echo = (_args, signal) => {
      signals.push(signal);
      return answer.promise;
    };
    const cancelled = await shop.create('every', [1, 'test.echo', []]);
    const pausedOne = await shop.create('every', [1, 'test.echo', []]);
    shop.start();
    shop.clock.advance(SECOND);
    await becomesCalled(2);
    await shop.call('schedule.cancel', [cancelled]);
    await shop.call('schedule.pause', [pausedOne]);
    // Renewals find that the schedule is gone.
    shop.clock.advance(2 * RUNNER_LIMITS.renewMs);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false]);
    answer.resolve('done');
    const now = await shop.becomes(pausedOne, (one) => idle(one), 'the run ends');
    expect(now).toMatchObject({ state: 'paused', runs: 1, last: { outcome: 'answer' } });
    expect(await shop.store.get(SCHEDULES, cancelled)).toBeUndefined();
  });

  it('with a token has the schedules of that token; the user has all; an administrator has those of all', async () => {
    const ROOT: Principal = { kind: 'user', name: 'root' };
    await shop.close();
    shop = new Shop({ isAdministrator: async ({ name }) => name === 'root' });
    const token: Principal = { ...ALICE, token: '/cmbs/access/token/one' };
    const other: Principal = { ...ALICE, token: '/cmbs/access/token/two' };
    const byToken = await shop.create('every', [10, 'test.echo', []], token);
    const byUser = await shop.create('every', [10, 'test.echo', []]);
    const byBob = await shop.create('every', [10, 'test.echo', []], BOB);
    const idsFor = async (principal: Principal): Promise<ReadonlySet<string>> => {
      const { schedules } = (await shop.call('schedule.list', [], principal)) as {
        readonly schedules: readonly { readonly id: string }[];
      };
      return new Set(schedules.map(({ id }) => id));
    };
    expect(await idsFor(token)).toEqual(new Set([byToken]));
    expect(await idsFor(other)).toEqual(new Set());
    expect(await idsFor(ALICE)).toEqual(new Set([byToken, byUser]));
    expect(await idsFor(ROOT)).toEqual(new Set([byToken, byUser, byBob]));
    expect(await idsFor({ ...ROOT, token: '/cmbs/access/token/three' })).toEqual(new Set());
    expect(await shop.fault('schedule.cancel', [byUser], token)).toMatchObject({ data: { code: 'not_found' } });
    await shop.call('schedule.cancel', [byBob], ROOT);
    await shop.call('schedule.cancel', [byToken], ALICE);
  });

  it('reads the list in pages', async () => {
    for (let at = 0; at < 5; at += 1) await shop.create('every', [10 + at, 'test.echo', [at]]);
    const seen: unknown[] = [];
    let after: string | undefined;
    do {
      const page = (await shop.call('schedule.list', [
        { limit: 2, ...(after === undefined ? {} : { after }) },
      ])) as {
        readonly schedules: readonly { readonly every: number; readonly args?: unknown }[];
        readonly next?: string;
      };
      expect(page.schedules.length).toBeLessThanOrEqual(2);
      expect(page.schedules.every(({ args }) => args === undefined)).toBe(true);
      seen.push(...page.schedules.map(({ every }) => every));
      after = page.next;
    } while (after !== undefined);
    expect(new Set(seen)).toEqual(new Set([10, 11, 12, 13, 14]));
    expect(await shop.fault('schedule.list', [{ after: 'nonsense' }])).toMatchObject({
      data: { code: 'bad_request' },
    });
  });
});

describe('a call that fails', () => {
  it('is recorded, and the schedule goes on', async () => {
    let fails = true;
    shop.methods.echo = () => {
      if (fails) throw new CmbsError('conflict', 'x'.repeat(5000));
      return 'fine';
    };
    const id = await shop.create('every', [10, 'test.echo', []]);
    shop.start();
    const failed = await shop.advance(10 * SECOND, id, (one) => one.failures === 1, 'it fails');
    expect(failed.last).toMatchObject({
      outcome: 'fault',
      fault: { code: FAULT.refused, text: 'x'.repeat(1000) },
    });
    fails = false;
    const fine = await shop.advance(10 * SECOND, id, (one) => one.runs === 2 && idle(one), 'it runs again');
    expect(fine).toMatchObject({ failures: 1, state: 'active', last: { outcome: 'answer', result: '"fine"' } });
    expect(shop.outcomes).toEqual(['fault', 'answer']);
  });

  it('of a method that does not exist is recorded', async () => {
    const id = await shop.create('at', [new Date(START), 'no.such', []]);
    shop.start();
    expect((await shop.becomes(id, isEnded, 'it ends')).last?.fault?.code).toBe(FAULT.methodNotFound);
  });

  it('has a deadline as every call has', async () => {
    shop.methods.echo = () => new Promise(() => undefined);
    const id = await shop.create('at', [new Date(START), 'test.echo', []]);
    shop.start();
    await becomesCalled(1);
    for (let s = 0; s < 25; s += 1) {
      shop.clock.advance(SECOND);
      await new Promise(setImmediate);
    }
    expect((await shop.becomes(id, isEnded, 'it ends')).last?.fault?.code).toBe(FAULT.deadlineExceeded);
  });

  it('does not keep a large result, nor one that is no value', async () => {
    const id = await shop.create('every', [1, 'test.echo', []]);
    shop.start();
    const results = [
      'x'.repeat(RUNNER_LIMITS.resultBytes + 1),
      'é'.repeat(RUNNER_LIMITS.resultBytes - 10),
      NaN,
      (() => 1) as never,
    ];
    for (const [at, result] of results.entries()) {
      shop.methods.echo = () => result;
      const now = await shop.advance(SECOND, id, (one) => one.runs === at + 1 && idle(one), `run ${at}`);
      expect(now.last).toMatchObject({ outcome: 'answer' });
      expect(now.last?.result).toBeUndefined();
    }
  });
});

describe('a method whose result is a secret', () => {
  it('is refused, since the result of a run is stored', async () => {
    let calls = 0;
    const secret = async (): Promise<Value> => `secret ${(calls += 1)}`;
    const described = { documentation: 'For a test.', signatures: [['string']], flags: { secret: true } };
    shop.services.register({ name: 'safe', methods: { open: { ...described, call: secret } } });
    shop.start();
    const entries = [[{ methodName: 'safe.open', params: [] }]];
    const direct = await shop.create('at', [new Date(START + SECOND), 'safe.open', []]);
    const inside = await shop.create('at', [new Date(START + SECOND), 'system.multicall', entries]);
    const { last } = await shop.advance(SECOND, direct, isEnded, 'it was refused');
    expect(last).toMatchObject({ outcome: 'fault', fault: { code: FAULT.refused } });
    const multicall = await shop.becomes(inside, isEnded, 'its call was refused');
    expect(multicall.last?.result).toContain(`"faultCode":${FAULT.refused}`);
    expect(calls).toBe(0);
  });
});

describe('a right that is lost', () => {
  it('pauses the schedule after five refusals in a row, with the reason, until it is resumed', async () => {
    let isAllowed = true;
    await shop.close();
    shop = new Shop({
      authorize: async (_principal, _operation, { path }) => {
        if (path === 'service:test.echo' && !isAllowed) throw new CmbsError('forbidden', 'You may not do this.');
      },
    });
    const id = await shop.create('every', [10, 'test.echo', []]);
    shop.start();
    await shop.advance(10 * SECOND, id, (one) => one.runs === 1 && idle(one), 'it runs');
    isAllowed = false;
    for (let run = 2; run <= 6; run += 1) {
      await shop.advance(10 * SECOND, id, (one) => one.runs === run && idle(one), `run ${run}`);
    }
    expect(shop.calls).toHaveLength(1);
    expect(await shop.call('schedule.get', [id])).toMatchObject({
      state: 'paused',
      reason: 'The call was refused 5 times in a row: You may not do this.',
      failures: 5,
      last: { outcome: 'fault', fault: { code: FAULT.refused } },
    });
    expect(shop.lines.map(({ message }) => message)).toEqual(['a schedule is paused']);
    isAllowed = true;
    const resumed = (await shop.call('schedule.resume', [id])) as object;
    expect(resumed).not.toHaveProperty('reason');
    await shop.advance(10 * SECOND, id, (one) => one.runs === 7 && idle(one), 'it runs again');
    expect(shop.calls).toHaveLength(2);
  });

  it('pauses a schedule whose method does not exist, after as many', async () => {
    const id = await shop.create('every', [10, 'test.eko', []]);
    shop.start();
    for (let run = 1; run <= 5; run += 1) {
      await shop.advance(10 * SECOND, id, (one) => one.runs === run && idle(one), `run ${run}`);
    }
    expect(await shop.call('schedule.get', [id])).toMatchObject({
      state: 'paused',
      reason: expect.stringContaining('There is no method "test.eko"') as string,
    });
  });

  it('counts refusals in a row only', async () => {
    let refuses = true;
    await shop.close();
    shop = new Shop({ isValid: async () => !refuses });
    const id = await shop.create('every', [10, 'test.echo', []], { ...ALICE, token: '/cmbs/access/token/gone' });
    shop.start();
    for (let run = 1; run <= 9; run += 1) {
      refuses = run !== 5;
      await shop.advance(10 * SECOND, id, (one) => one.runs === run && idle(one), `run ${run}`);
    }
    expect(await shop.stored(id)).toMatchObject({ state: 'active', refusals: 4, failures: 8 });
    expect(shop.calls).toHaveLength(1);
  });

  it('refuses a new schedule for a call that the caller may not make', async () => {
    await shop.close();
    shop = new Shop({
      authorize: async (_principal, operation, resource) => {
        if (operation === 'service.call' && resource.path === 'service:test.other') {
          throw new CmbsError('forbidden', 'No.');
        }
      },
    });
    expect(await shop.fault('schedule.every', [10, 'test.other', []])).toMatchObject({
      data: { code: 'forbidden' },
    });
  });
});

describe('bounds', () => {
  it('hold for the schedules of one owner that have not ended', async () => {
    await shop.close();
    shop = new Shop({ limits: { ofOwner: 3 } });
    const ids = [];
    for (let at = 0; at < 3; at += 1)
      ids.push(await shop.create('at', [new Date(START + at * HOUR), 'test.echo', []]));
    expect(await shop.fault('schedule.every', [10, 'test.echo', []])).toMatchObject({
      data: { code: 'queue_full' },
    });
    await shop.create('every', [10, 'test.echo', []], BOB);
    shop.start();
    await shop.becomes(ids[0] ?? '', isEnded, 'one has ended');
    await shop.create('every', [10, 'test.echo', []]);
    const together = await Promise.allSettled(
      Array.from({ length: 10 }, () =>
        shop.create('every', [10, 'test.echo', []], { kind: 'user', name: 'carol' }),
      ),
    );
    expect(together.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(3);
    await shop.create('every', [10, 'test.echo', []], { kind: 'user', name: 'dora' });
  });

  it('hold for all schedules', async () => {
    await shop.close();
    shop = new Shop({ limits: { all: 2 } });
    await shop.create('every', [10, 'test.echo', []]);
    await shop.create('every', [10, 'test.echo', []], BOB);
    expect(await shop.fault('schedule.every', [10, 'test.echo', []], BOB)).toMatchObject({
      data: { code: 'queue_full' },
      message: 'This deployment has 2 schedules already; some must end or be cancelled.',
    });
  });

  it('hold for the calls at a time, and every schedule runs', async () => {
    let inFlight = 0;
    let most = 0;
    const release: (() => void)[] = [];
    shop.methods.echo = async () => {
      inFlight += 1;
      most = Math.max(most, inFlight);
      await new Promise<void>((resolve) => release.push(resolve));
      inFlight -= 1;
      return null;
    };
    for (let at = 0; at < 100; at += 1) await shop.create('at', [new Date(START + SECOND), 'test.echo', [at]]);
    shop.start({ limits: { concurrency: 4 } });
    shop.clock.advance(SECOND);
    await becomes(() => {
      if (inFlight === 4 || shop.calls.length === 100) for (const go of release.splice(0)) go();
      return shop.outcomes.length === 100;
    }, 'all have run');
    expect(most).toBe(4);
    expect(new Set(shop.calls.map(({ args }) => args[0])).size).toBe(100);
  });

  it('hold for the schedules of one owner that have ended: the latest stay', async () => {
    shop.start();
    const ids: string[] = [];
    for (let at = 0; at < 60; at += 1) {
      const id = await shop.create('at', [new Date(shop.clock.now()), 'test.echo', []]);
      await becomesCalled(at + 1);
      await becomes(() => shop.outcomes.length === at + 1, 'it has ended');
      shop.clock.advance(1);
      ids.push(id);
    }
    const count = async (): Promise<number> => shop.store.count({ collection: SCHEDULES }, 100);
    let counted = Infinity;
    await becomes(() => {
      void count().then((now) => (counted = now));
      return counted <= 30;
    }, 'few are kept');
    const [latest, oldest] = [
      await shop.store.get(SCHEDULES, ids[59] ?? ''),
      await shop.store.get(SCHEDULES, ids[0] ?? ''),
    ];
    expect(latest).toBeDefined();
    expect(oldest).toBeUndefined();
  });
});

describe('arguments that make no schedule', () => {
  const at = (ms: number): Date => new Date(START + ms);
  it.each<[string, string, readonly Value[], RegExp]>([
    ['no arguments', 'at', [], / takes /],
    ['too many arguments', 'at', [at(0), 'test.echo', [], {}, 1], / takes /],
    ['a time that is none', 'at', ['tomorrow', 'test.echo', []], / takes /],
    ['a time that does not exist', 'at', ['2026-02-30T00:00:00Z', 'test.echo', []], / takes /],
    ['an invalid date', 'at', [new Date(NaN), 'test.echo', []], /is a date and time/],
    ['a time that has passed', 'at', [at(-2 * MINUTE), 'test.echo', []], /has passed/],
    ['a time in a hundred years', 'at', ['2126-01-01T00:00:00Z', 'test.echo', []], /ten years/],
    ['a name without a module', 'at', [at(0), 'echo', []], /A method has a name/],
    ['a name with three parts', 'at', [at(0), 'a.b.c', []], /A method has a name/],
    ['a private name', 'at', [at(0), 'test._x', []], /A method has a name/],
    ['a very long name', 'at', [at(0), `test.${'x'.repeat(300)}`, []], /A method has a name/],
    ['a name that is no text', 'at', [at(0), 7, []], / takes /],
    ['arguments that are no array', 'at', [at(0), 'test.echo', { 0: 1 }], / takes /],
    ['large arguments', 'at', [at(0), 'test.echo', ['x'.repeat(16 * 1024)]], /at most 16384 bytes/],
    [
      'large arguments of control characters',
      'at',
      [at(0), 'test.echo', ['\u0001'.repeat(4000)]],
      /at most 16384/,
    ],
    ['deep arguments', 'at', [at(0), 'test.echo', [nested(500)]], /cannot be stored/],
    ['a number that is none', 'at', [at(0), 'test.echo', [NaN]], /cannot be stored/],
    ['options that are no struct', 'at', [at(0), 'test.echo', [], []], / takes /],
    ['an unknown option', 'at', [at(0), 'test.echo', [], { constructor: 1 }], /There is no option "constructor"/],
    ['a first time for at', 'at', [at(0), 'test.echo', [], { first: at(1) }], /has no option first/],
    ['runs for at', 'at', [at(0), 'test.echo', [], { runs: 1 }], /has no option runs/],
    ['an empty title', 'at', [at(0), 'test.echo', [], { title: ' ' }], /A title has/],
    ['a long title', 'at', [at(0), 'test.echo', [], { title: 'x'.repeat(256) }], /A title has/],
    ['another policy', 'at', [at(0), 'test.echo', [], { missed: 'all' }], /"once" or "skip"/],
    ['no interval', 'every', [0, 'test.echo', []], /The interval has from 1/],
    ['a short interval', 'every', [0.999, 'test.echo', []], /The interval has from 1/],
    ['a negative interval', 'every', [-1, 'test.echo', []], /The interval/],
    ['an endless interval', 'every', [1e300, 'test.echo', []], /The interval/],
    ['an interval that is no number', 'every', ['10', 'test.echo', []], / takes /],
    [
      'an exact interval',
      'every',
      [new ExactNumber('123456789012345678901234567890'), 'test.echo', []],
      /The interval/,
    ],
    ['half a run', 'every', [10, 'test.echo', [], { runs: 0.5 }], /whole number from 1/],
    ['no run', 'every', [10, 'test.echo', [], { runs: 0 }], /whole number from 1/],
    ['a last time before the first', 'every', [10, 'test.echo', [], { until: at(5000) }], /never due/],
    ['an empty expression', 'cron', ['', 'UTC', 'test.echo', []], /needs five fields/],
    ['four fields', 'cron', ['* * * *', 'UTC', 'test.echo', []], /needs five fields/],
    ['seven fields', 'cron', ['0 0 0 1 1 * 9999', 'UTC', 'test.echo', []], /needs five fields/],
    ['a time as expression', 'cron', ['2026-05-01T00:00:00', 'UTC', 'test.echo', []], /no time/],
    ['an event as expression', 'cron', ['@reboot', 'UTC', 'test.echo', []], /cannot be used/],
    ['a minute that does not exist', 'cron', ['60 * * * *', 'UTC', 'test.echo', []], /Invalid value for minute/],
    ['a step of nothing', 'cron', ['*/0 * * * *', 'UTC', 'test.echo', []], /cannot be used/],
    ['a day that never comes', 'cron', ['0 0 31 2,4,6,9,11 *', 'UTC', 'test.echo', []], /never due/],
    ['a day in many years', 'cron', ['0 0 29 2 +MON', 'UTC', 'test.echo', []], /ten years/],
    ['a long expression', 'cron', [`${'0,'.repeat(200)}0 * * * *`, 'UTC', 'test.echo', []], /at most 255/],
    ['no zone', 'cron', ['* * * * *', '', 'test.echo', []], /time zone is not known/],
    ['an offset as zone', 'cron', ['* * * * *', '+02:00', 'test.echo', []], /time zone is not known/],
    ['an unknown zone', 'cron', ['* * * * *', 'Europe/Atlantis', 'test.echo', []], /time zone is not known/],
  ])('%s', async (_what, method, args, says) => {
    const fault = await shop.fault(`schedule.${method}`, args);
    expect(fault.code).toBe(FAULT.invalidParams);
    expect(fault.message).toMatch(says);
    expect(await shop.store.count({ collection: SCHEDULES }, 1)).toBe(0);
  });

  it.each<[string, readonly Value[]]>([
    ['an id that the store refuses', ['\u0000'.repeat(3)]],
    ['a long id', ['x'.repeat(10_000)]],
    ['an empty id', ['']],
    ['an id with a path', ['../schedules/x']],
  ])('%s names no schedule', async (_what, args) => {
    for (const method of ['get', 'cancel', 'pause', 'resume', 'run_now']) {
      expect(await shop.fault(`schedule.${method}`, args)).toMatchObject({ data: { code: 'not_found' } });
    }
  });
});

function nested(levels: number): Value {
  let value: Value = [];
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

describe('a runner that stops', () => {
  it('ends calls in flight, and records that their outcome is unknown', async () => {
    const aborted: boolean[] = [];
    shop.methods.echo = (_args, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => {
          aborted.push(true);
          reject(new Error('aborted'));
        }),
      );
    const id = await shop.create('every', [HOUR / SECOND, 'test.echo', []]);
    const runner = shop.start();
    shop.clock.advance(HOUR);
    await becomesCalled(1);
    await shop.stop(runner);
    expect(aborted).toEqual([true]);
    const now = await shop.stored(id);
    expect(now).toMatchObject({
      runs: 1,
      failures: 1,
      last: { outcome: 'unknown', fault: { code: FAULT.outcomeUnknown } },
      due: START + 2 * HOUR,
    });
    expect(now.run).toBeUndefined();
    // The time is not run again.
    shop.start();
    await shop.advance(HOUR, id, (one) => one.runs === 2, 'the next time');
    expect(shop.calls).toHaveLength(2);
  });

  it('leaves an idempotent call to the next process, three times at most', async () => {
    shop.methods.again = () => new Promise(() => undefined);
    const id = await shop.create('at', [new Date(START), 'test.again', ['x']]);
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const runner = shop.start();
      await becomesCalled(attempt);
      await shop.stop(runner);
    }
    expect(await shop.stored(id)).toMatchObject({
      state: 'ended',
      runs: 1,
      failures: 1,
      last: { outcome: 'unknown' },
    });
    expect(shop.outcomes).toEqual(['unknown']);
  });

  it('takes a run back that was stored while it began to stop', async () => {
    const id = await shop.create('at', [new Date(START), 'test.echo', []]);
    const stored = deferred();
    const goOn = deferred();
    // The store answers late that the run is stored.
    const slow: Store = Object.assign(Object.create(shop.store) as Store, {
      query: (...query: Parameters<Store['query']>) => shop.store.query(...query),
      watch: (...watch: Parameters<Store['watch']>) => shop.store.watch(...watch),
      transact: async (...work: Parameters<Store['transact']>) => {
        const result: unknown = await shop.store.transact(...work);
        stored.resolve();
        await goOn.promise;
        return result;
      },
    });
    const runner = shop.start({ store: slow });
    await stored.promise;
    const closing = runner.close(SECOND);
    goOn.resolve();
    await closing;
    expect(shop.calls).toHaveLength(0);
    expect(await shop.stored(id)).toMatchObject({ runs: 0, state: 'active', extra: { attempts: 0 } });
    shop.start();
    await shop.becomes(id, isEnded, 'it runs after all');
    expect(shop.calls).toHaveLength(1);
    expect(await shop.stored(id)).toMatchObject({ runs: 1 });
  });
});

describe('several processes', () => {
  it('run each due time once', async () => {
    const ids: string[] = [];
    for (let at = 0; at < 20; at += 1) ids.push(await shop.create('every', [10, 'test.echo', [at], { runs: 5 }]));
    for (let at = 0; at < 3; at += 1) shop.start();
    for (let round = 1; round <= 5; round += 1) {
      shop.clock.advance(10 * SECOND);
      for (const id of ids) await shop.becomes(id, (one) => one.runs === round && idle(one), `round ${round}`);
    }
    const seen = shop.calls.map(({ at, args }) => `${at}/${Number(args[0])}`);
    expect(seen).toHaveLength(100);
    expect(new Set(seen).size).toBe(100);
    for (const id of ids) expect(await shop.stored(id)).toMatchObject({ state: 'ended', skipped: 0 });
  });

  /** Has a process that does not exist run the schedule. */
  async function haveDeadProcessRun(id: string, isIdempotent: boolean): Promise<void> {
    await shop.store.transact(async (tx) => {
      const doc = await tx.get(SCHEDULES, id);
      const schedule = scheduleOf(doc as NonNullable<typeof doc>);
      const run = {
        id: 'r',
        holder: 'dead',
        renewals: 0,
        due: START,
        started: START,
        attempt: 1,
        isIdempotent,
        isAsked: false,
      };
      writeSchedule(tx, id, { ...schedule, runs: 1, run }, { lookAt: START + SECOND });
    });
  }

  async function renew(id: string): Promise<void> {
    await shop.store.transact(async (tx) => {
      const doc = await tx.get(SCHEDULES, id);
      const schedule = scheduleOf(doc as NonNullable<typeof doc>);
      const { run } = schedule;
      if (run === undefined) throw new Error('It does not run.');
      writeSchedule(
        tx,
        id,
        { ...schedule, run: { ...run, renewals: run.renewals + 1 } },
        { lookAt: shop.clock.now() },
      );
    });
  }

  it('leave a run alone while it is renewed, and record that it was interrupted when it is not', async () => {
    const id = await shop.create('every', [HOUR / SECOND, 'test.echo', []]);
    await haveDeadProcessRun(id, false);
    shop.start();
    const marker = await shop.create('every', [10, 'test.other', []]);
    for (let round = 1; round <= 4; round += 1) {
      await renew(id);
      await shop.advance(10 * SECOND, marker, (one) => one.runs === round && idle(one), `the marker ${round}`);
    }
    expect((await shop.stored(id)).run?.holder).toBe('dead');
    const ttl = RUNNER_LIMITS.ttlMs;
    const now = await shop.advance(ttl, id, idle, 'it was interrupted');
    expect(now).toMatchObject({
      state: 'active',
      failures: 1,
      last: { outcome: 'unknown', due: START },
      due: START + HOUR,
    });
    expect(shop.calls.filter(({ method }) => method === 'echo')).toHaveLength(0);
    await shop.advance(HOUR, id, (one) => one.runs === 2 && idle(one), 'the next time');
  });

  it('run the call again when its method is idempotent', async () => {
    const id = await shop.create('at', [new Date(START + HOUR), 'test.again', []]);
    await haveDeadProcessRun(id, true);
    shop.start();
    await becomes(() => {
      shop.clock.advance(SECOND);
      return shop.calls.length === 1;
    }, 'it is run again');
    await shop.becomes(id, (one) => one.extra === undefined && idle(one), 'it has run');
    expect(await shop.stored(id)).toMatchObject({ runs: 1, failures: 0, last: { outcome: 'answer', due: START } });
  });

  it('need not wait for a lease when there is no other process', async () => {
    const id = await shop.create('every', [HOUR / SECOND, 'test.echo', []]);
    await haveDeadProcessRun(id, false);
    shop.start({ isAlone: true });
    await shop.becomes(id, (one) => one.failures === 1 && idle(one), 'it was interrupted');
  });

  it('give a call up when they cannot renew it', async () => {
    let isCut = false;
    const cut: Store = Object.assign(Object.create(shop.store) as Store, {
      query: (...query: Parameters<Store['query']>) => shop.store.query(...query),
      watch: (...watch: Parameters<Store['watch']>) => shop.store.watch(...watch),
      transact: (...work: Parameters<Store['transact']>) =>
        isCut ? Promise.reject(new CmbsError('unavailable', 'cut off')) : shop.store.transact(...work),
    });
    const signals: AbortSignal[] = [];
    shop.methods.echo = (_args, signal) => {
      signals.push(signal);
      return new Promise(() => undefined);
    };
    const id = await shop.create('at', [new Date(START), 'test.echo', []]);
    shop.start({ store: cut });
    await becomesCalled(1);
    isCut = true;
    await becomes(() => {
      shop.clock.advance(SECOND);
      return signals[0]?.aborted === true;
    }, 'the call is given up');
    expect(shop.clock.now() - START).toBeLessThanOrEqual(RUNNER_LIMITS.ttlMs);
    shop.start();
    await becomes(() => {
      shop.clock.advance(SECOND);
      return shop.outcomes.length === 1;
    }, 'another process records it');
    expect(await shop.stored(id)).toMatchObject({ state: 'ended', last: { outcome: 'unknown' } });
  });
});

it('goes on after errors of the store, which are logged', async () => {
  let failures = 3;
  const failing: Store = Object.assign(Object.create(shop.store) as Store, {
    watch: (...watch: Parameters<Store['watch']>) => shop.store.watch(...watch),
    transact: (...work: Parameters<Store['transact']>) => shop.store.transact(...work),
    query: (...query: Parameters<Store['query']>) => {
      failures -= 1;
      return failures >= 0
        ? Promise.reject(new CmbsError('unavailable', 'no answer'))
        : shop.store.query(...query);
    },
  });
  await shop.create('at', [new Date(time('2026-03-01T00:00:01Z')), 'test.echo', []]);
  shop.start({ store: failing });
  await becomes(() => {
    shop.clock.advance(100);
    return shop.calls.length === 1;
  }, 'it runs');
  expect(shop.lines.map(({ level }) => level)).toEqual(['warn', 'warn', 'warn']);
});

it('pauses a schedule whose times it cannot compute, and runs the others', async () => {
  const id = await shop.create('cron', ['* * * * *', 'UTC', 'test.echo', []]);
  await shop.store.transact(async (tx) => {
    const doc = await tx.get(SCHEDULES, id);
    const schedule = scheduleOf(doc as NonNullable<typeof doc>);
    // As a later runtime may not know a zone any more.
    const timing = { kind: 'cron', expression: '* * * * *', zone: 'Europe/Atlantis' } as const;
    writeSchedule(tx, id, { ...schedule, timing, due: START });
  });
  const other = await shop.create('at', [new Date(START), 'test.other', []]);
  shop.start();
  await shop.becomes(id, ({ state }) => state === 'paused', 'it is paused');
  expect((await shop.stored(id)).reason).toMatch(/cannot be computed/);
  await shop.becomes(other, isEnded, 'the other one runs');
  expect(shop.lines.map(({ level }) => level)).toEqual(['error']);
});

it('is not woken by a schedule that is due much later, so that the watch reads few documents', async () => {
  const { store } = shop;
  const woken: string[] = [];
  const watch = store.watch(WAKING, (changes) => woken.push(...changes.map(({ id }) => id)));
  await watch.ready;
  const later = await shop.create('every', [HOUR / SECOND, 'test.echo', []]);
  const soon = await shop.create('every', [MINUTE / SECOND, 'test.echo', []]);
  await shop.call('schedule.run_now', [later]);
  await becomes(() => woken.length === 2, 'both wake');
  expect(woken).toEqual([soon, later]);
  watch.end();
});

it('does not run a stored schedule that it cannot read, and runs the others', async () => {
  await shop.store.transact(async (tx) => tx.put(SCHEDULES, 'broken', { nonsense: true }, { order: '0' }));
  const id = await shop.create('at', [new Date(START), 'test.echo', []]);
  shop.start();
  await shop.becomes(id, isEnded, 'the other one runs');
  expect(shop.lines[0]?.message).toBe('a stored schedule cannot be read; it does not run');
});
