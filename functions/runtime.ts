/**
 * What a function process works with. The program that assembles provides it; the first request makes it, once a
 * process, so that an instance that only starts pays nothing.
 */
import { CmbsError } from '@cmbs/shared';
import type { SitePolicy } from '@cmbs/shared/sites';
import type { App } from './app';
import { MAX_WAIT_S } from '@cmbs/shared/limits';

/** Milliseconds that a deployed function works on a request: the longest wait that may be asked for, and a margin. */
const FUNCTION_DEADLINE_MS = (MAX_WAIT_S + 5) * 1000;

export interface Runtime {
  readonly app: App;
  /** Public URL without a slash at the end: a function's own host is not the one that others know. */
  readonly publicUrl: string | undefined;
  /** How many addresses at the end of `X-Forwarded-For` come from front ends that are trusted. */
  readonly trustedProxies: number;
  readonly maxBodyBytes: number;
  readonly sites: SitePolicy;
  /** Milliseconds that a request has; {@link FUNCTION_DEADLINE_MS} when absent. */
  readonly deadlineMs?: number;
}

let make: (() => Promise<Runtime>) | undefined;
let made: Promise<Runtime> | undefined;

/** Says how this process gets its runtime; `factory` runs at the first request, and again only after it failed. */
export function provideRuntime(factory: () => Promise<Runtime>): void {
  make = factory;
  made = undefined;
}

/** Gives this process a runtime that is assembled already. */
export function useRuntime(runtime: Runtime): void {
  provideRuntime(() => Promise.resolve(runtime));
}

/** The runtime of this process, or `unavailable`. */
export async function currentRuntime(): Promise<Runtime & { readonly deadlineMs: number }> {
  if (make === undefined) {
    throw new CmbsError(
      'unavailable',
      'This function has no store to work with; deploy it with the program that provides one.',
    );
  }
  const current = (made ??= make());
  try {
    return { deadlineMs: FUNCTION_DEADLINE_MS, ...(await current) };
  } catch (cause) {
    // The next request tries again: what was away at a cold start may be back.
    if (made === current) made = undefined;
    throw cause instanceof CmbsError
      ? cause
      : new CmbsError('unavailable', 'This function cannot reach what it works with; try again later.', { cause });
  }
}
