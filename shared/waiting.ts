/** Waits that end early: when somebody does not want them any more, or when it took too long. */
import type { Clock } from './clock';
import { CmbsError } from './errors';

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

/** Long work of several callers in portions: one portion per turn of the event loop, in the order of the calls. */
const line: (() => void)[] = [];
let isTaken = false;

function giveTurn(): void {
  const next = line.shift();
  isTaken = next !== undefined;
  if (next === undefined) return;
  setImmediate(giveTurn);
  next();
}

/** To be awaited before each portion of long work: input and output of everybody else go between. */
export function nextTurn(): Promise<void> {
  if (isTaken) return new Promise((resolve) => line.push(resolve));
  isTaken = true;
  setImmediate(giveTurn);
  return Promise.resolve();
}

/** Refuses (`request_timeout`) to go on with work of which nobody would hear. */
export function requireWanted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new CmbsError(
      'request_timeout',
      'The request was given up before all of it was done; ask for what is left.',
    );
  }
}
