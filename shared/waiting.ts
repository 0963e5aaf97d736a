/** Waits that end early when somebody does not want them any more. */
import type { Clock } from './clock';

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Resolves when `event` does, after `ms`, or when a signal aborts; and leaves nothing behind that waits. */
export async function untilOr(
  event: Promise<unknown>,
  clock: Clock,
  ms: number,
  signal?: AbortSignal,
): Promise<void> {
  let cancel = (): void => undefined;
  let leave = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    cancel = clock.after(ms, resolve);
    leave = resolve;
    signal?.addEventListener('abort', leave, { once: true });
    if (signal?.aborted === true) resolve();
  });
  try {
    await Promise.race([event, over]);
  } finally {
    cancel();
    signal?.removeEventListener('abort', leave);
  }
}

/** Resolves after `ms`, or when the signal aborts. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  // A promise of its own: one that is shared and never settles would remember everybody who waited.
  return untilOr(new Promise<never>(() => undefined), clock, ms, signal);
}
