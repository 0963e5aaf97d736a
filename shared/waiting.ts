/** Waits that end at a deadline or when a signal aborts, and turns for long work. */
import type { Clock } from './clock';
import { CmbsError } from './errors';

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Resolves when `event` does, after `ms` milliseconds, or when the signal aborts; leaves no timer or listener. */
export async function untilOr(
  event: Promise<unknown>,
  clock: Pick<Clock, 'after'>,
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

/** The result of `work`; rejects with the error of `late` after `ms` milliseconds. A later result is ignored. */
export function inTime<T>(clock: Clock, ms: number, work: () => Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => reject(late()));
    work().then(resolve, reject).finally(cancel);
  });
}

/** Resolves after `ms` milliseconds, or when the signal aborts. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  // A new promise for each call: a shared one that never settles would keep a reaction of every caller.
  return untilOr(new Promise<never>(() => undefined), clock, ms, signal);
}

/** Callers of {@link nextTurn}, in the order of their calls. */
const waiting: (() => void)[] = [];
let isTaken = false;

function giveTurn(): void {
  const next = waiting.shift();
  isTaken = next !== undefined;
  if (next === undefined) return;
  setImmediate(giveTurn);
  next();
}

/**
 * Resolves in a turn of the event loop of its own, one caller for each turn. Awaited before each portion of long work, so
 * that other requests run in between.
 */
export function nextTurn(): Promise<void> {
  if (isTaken) return new Promise((resolve) => waiting.push(resolve));
  isTaken = true;
  setImmediate(giveTurn);
  return Promise.resolve();
}

/** Stops work whose caller no longer waits. @throws CmbsError `request_timeout` */
export function requireWanted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new CmbsError(
      'request_timeout',
      'The request was aborted before all of its work was done; repeat it for the rest.',
    );
  }
}
