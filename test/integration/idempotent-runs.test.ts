/** Work that runs once for a key, in several processes on one store, which two instances stand for. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CmbsError, silentLog, systemClock } from '@cmbs/shared';
import { IdempotentRuns, type IdempotentRunsOptions } from '@cmbs/shared/occi';
import type { Store } from '@cmbs/shared/store';
import { openSqliteStore } from '@cmbs/shared/store/sqlite';
import { ManualClock } from '../contract/manual-clock';
import { deferred } from '../waits';

const RUN_MS = 60_000;

let store: Store;
let clock: ManualClock;
let directory: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cmbs-runs-'));
  // Documents expire by the clock of the store.
  clock = new ManualClock(systemClock.now());
  store = await openSqliteStore({ directory, clock, log: silentLog, acceptDataLoss: false });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const runsOf = (runner: string, more: Partial<IdempotentRunsOptions> = {}): IdempotentRuns =>
  new IdempotentRuns({ store, clock, runner, isAlone: false, runMs: RUN_MS, ...more });

const request = (key = 'one', fingerprint = 'body') => ({ key, owner: 'user:alice', fingerprint });
const { signal } = new AbortController();
const unknown = (why: string): string => `unknown: ${why}`;
const never = { run: () => Promise.reject(new Error('It ran again.')), unknown };
const codeOf = (asked: Promise<unknown>): Promise<unknown> =>
  asked.catch((error: unknown) => (error as CmbsError).code);

it('another process waits for the answer', async () => {
  const answer = deferred<string>();
  const begun = deferred();
  const run = (): Promise<string> => {
    begun.resolve();
    return answer.promise;
  };
  const first = runsOf('a').once(request(), { run, unknown }, signal);
  await begun.promise;
  const second = runsOf('b').once(request(), never, signal);
  await clock.waiting();
  answer.resolve('the answer');
  expect(await first).toBe('the answer');
  expect(await second).toBe('the answer');
  expect(await runsOf('c').once(request(), never, signal)).toBe('the answer');
  expect(await codeOf(runsOf('c').once(request('one', 'other'), never, signal))).toBe('idempotency_mismatch');
});

it('work of a process that has died is answered "unknown" after its time, and then for good', async () => {
  const late = deferred<string>();
  const begun = deferred();
  const run = (): Promise<string> => {
    begun.resolve();
    return late.promise;
  };
  const dead = runsOf('a').once(request(), { run, unknown }, signal);
  await begun.promise;
  const second = runsOf('b').once(request(), never, signal);
  await clock.waiting();
  clock.advance(RUN_MS + 1);
  const answer = await second;
  expect(answer).toMatch(/^unknown: The request was cut off/);
  // It was not dead, only slow: the answer that was given stays.
  late.resolve('too late');
  expect(await dead).toBe(answer);
  expect(await runsOf('b').once(request(), never, signal)).toBe(answer);
});

it('where no other process uses the store, work of another runner was cut off', async () => {
  const begun = deferred();
  const run = (): Promise<string> => {
    begun.resolve();
    return new Promise(() => undefined);
  };
  void runsOf('a').once(request(), { run, unknown }, signal);
  await begun.promise;
  const alone = runsOf('b', { isAlone: true });
  expect(await alone.once(request(), never, signal)).toMatch(/^unknown: /);
});

it('a caller that leaves does not end the work; a failure of the work is not repeated', async () => {
  const runs = runsOf('a');
  const gone = new AbortController();
  const answer = deferred<string>();
  const begun = deferred();
  const run = (): Promise<string> => {
    begun.resolve();
    return answer.promise;
  };
  const first = runs.once(request(), { run, unknown }, gone.signal);
  await begun.promise;
  gone.abort();
  expect(await codeOf(first)).toBe('deadline_exceeded');
  answer.resolve('done');
  expect(await runs.once(request(), never, signal)).toBe('done');

  const fails = { run: () => Promise.reject(new CmbsError('unavailable', 'No store.')), unknown };
  expect(await codeOf(runs.once(request('fails'), fails, signal))).toBe('unavailable');
  expect(await runs.once(request('fails'), never, signal)).toMatch(/^unknown: /);
  const refused = { run: () => Promise.reject(new CmbsError('unauthenticated', 'Who?')), unknown };
  expect(await codeOf(runs.once(request('refused'), refused, signal))).toBe('unauthenticated');
  // Nothing was done, so that a request with credentials may follow.
  expect(await runs.once(request('refused'), { run: () => Promise.resolve('now'), unknown }, signal)).toBe('now');
});

it('answers that are too large are not kept, and too many requests at a time are refused', async () => {
  const runs = runsOf('a', { maxKeptChars: 10, maxRunning: 1 });
  const large = 'x'.repeat(11);
  expect(await runs.once(request(), { run: () => Promise.resolve(large), unknown }, signal)).toBe(large);
  expect(await runs.once(request(), never, signal)).toMatch(/^unknown: The request has run, but its answer/);
  const answer = deferred<string>();
  const first = runs.once(request('first'), { run: () => answer.promise, unknown }, signal);
  expect(await codeOf(runs.once(request('second'), never, signal))).toBe('queue_full');
  answer.resolve('');
  expect(await first).toBe('');
});

it('requests with too many bytes at a time are refused, but one alone always runs', async () => {
  const runs = runsOf('a', { maxRunningBytes: 10 });
  const answer = deferred<string>();
  const first = runs.once(request('first'), { bytes: 11, run: () => answer.promise, unknown }, signal);
  expect(await codeOf(runs.once(request('second'), { ...never, bytes: 1 }, signal))).toBe('queue_full');
  answer.resolve('done');
  expect(await first).toBe('done');
  const small = { bytes: 5, run: () => Promise.resolve('small'), unknown };
  const both = ['second', 'third'].map((key) => runs.once(request(key), small, signal));
  expect(await Promise.all(both)).toEqual(['small', 'small']);
});
