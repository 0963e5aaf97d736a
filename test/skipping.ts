/**
 * Tests that cannot run everywhere. The reason is part of the name of a skipped test; the reporter lists the reasons at
 * the end of a run, and fails a run with a skipped test that has none.
 */
import { isNightly } from './extent';

/** The name of a skipped test or group. */
export const skippedName = (name: string, reason: string): string => `${name} [skipped: ${reason}]`;

type Define = (name: string, run: () => unknown, timeoutMs?: number) => void;

export const NO_PYZMQ = 'needs python3 with pyzmq (python3-zmq)';

/** `it`, skipped when there is a reason. */
export function itUnless(reason: string | undefined): Define {
  return (name, run, timeoutMs) =>
    reason === undefined
      ? it(name, run as () => Promise<unknown>, timeoutMs)
      : it.skip(skippedName(name, reason), run as () => Promise<unknown>, timeoutMs);
}

/** `describe`, skipped when there is a reason. */
export function describeUnless(reason: string | undefined): (name: string, tests: () => void) => void {
  return (name, tests) =>
    reason === undefined ? describe(name, tests) : describe.skip(skippedName(name, reason), tests);
}

export const missingInCi = (why: string): Error => new Error(`CI must not skip these tests. ${why}`);

export function isCi(): boolean {
  return !['', '0', 'false'].includes(process.env.CI ?? '');
}

/**
 * `it`, for tests that need what a user may not have. Without it they are skipped; in CI, which has it, they fail.
 * @param missing what is missing; undefined when it is there
 */
export function itNeeding(missing: string | undefined): Define {
  if (missing === undefined || !isCi()) return itUnless(missing);
  return (name) =>
    it(name, () => {
      throw missingInCi(missing);
    });
}

const NIGHTLY = isNightly ? undefined : 'nightly only';

/** For tests that repeat a kind of test in `npm test` with more or for longer. */
export const itNightly = itUnless(NIGHTLY);
export const describeNightly = describeUnless(NIGHTLY);
