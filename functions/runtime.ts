/**
 * The runtime of a function process. The program provides a factory; the first request calls it, so that an instance
 * that only starts connects to nothing.
 */
import { CmbsError } from '@cmbs/shared';
import type { SitePolicy } from '@cmbs/shared/sites';
import type { App } from './app';
import { MAX_WAIT_S } from '@cmbs/shared/limits';

/** Milliseconds for a request at a deployed function: the longest wait that a client may ask for, and a margin. */
const FUNCTION_DEADLINE_MS = (MAX_WAIT_S + 5) * 1000;

/** The app of a function process, and how it reads requests. */
export interface Runtime {
  readonly app: App;
  /** Public URL, without a slash at the end; clients do not use the host of the function itself. */
  readonly publicUrl: string | undefined;
  /** Number of addresses at the end of `X-Forwarded-For` that trusted front ends have added. */
  readonly trustedProxies: number;
  readonly maxBodyBytes: number;
  readonly sites: SitePolicy;
  /** Milliseconds for a request; {@link FUNCTION_DEADLINE_MS} when absent. */
  readonly deadlineMs?: number;
}

let make: (() => Promise<Runtime>) | undefined;
let made: Promise<Runtime> | undefined;

/** Sets the factory of the runtime. It runs at the first request, and again only after it has failed. */
export function provideRuntime(factory: () => Promise<Runtime>): void {
  make = factory;
  made = undefined;
}

/** Sets a runtime that is assembled already. */
export function useRuntime(runtime: Runtime): void {
  provideRuntime(() => Promise.resolve(runtime));
}

/** The runtime of this process. @throws CmbsError `unavailable` when there is none, or its factory fails */
export async function currentRuntime(): Promise<Runtime & { readonly deadlineMs: number }> {
  if (make === undefined) {
    throw new CmbsError(
      'unavailable',
      'This function has no runtime; deploy a program that calls provideRuntime.',
    );
  }
  const current = (made ??= make());
  try {
    return { deadlineMs: FUNCTION_DEADLINE_MS, ...(await current) };
  } catch (cause) {
    // The next request tries again, because the failure may have been transient.
    if (made === current) made = undefined;
    throw cause instanceof CmbsError
      ? cause
      : new CmbsError('unavailable', 'This function cannot reach its store; repeat the request later.', { cause });
  }
}
