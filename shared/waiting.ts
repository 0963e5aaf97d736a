/** Waits that end early: when somebody does not want them any more, or when it took too long. */
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

/** What `work` comes to, or the error of `late` after `ms`; what it comes to then is nobody's concern. */
export function inTime<T>(clock: Clock, ms: number, work: () => Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(late()));
    work().then(resolve, reject).finally(cancel);
  });
}

/** Resolves after `ms`, or when the signal aborts. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  // A promise of its own: one that is shared and never settles would remember everybody who waited.
  return untilOr(new Promise<never>(() => undefined), clock, ms, signal);
}
