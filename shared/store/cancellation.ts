/** Ends a wait when its signal aborts or its time is over. The awaited work may go on; its result is dropped. */
import { CmbsError } from '../errors';

/** The wait for a transaction's body ended. A class of its own, to tell it from errors that the body throws. */
export class Cancelled extends CmbsError {}

/**
 * Awaits `task` until the signal aborts, or for `ms` milliseconds, after which it rejects with `late()`. When the body of
 * a transaction goes on after that, its reads and writes throw, because the transaction has ended.
 */
export async function withinDeadline<T>(
  task: () => Promise<T>,
  signal: AbortSignal | undefined,
  ms: number | undefined,
  late: () => Error = exclusiveTooLong,
): Promise<T> {
  if (signal === undefined && ms === undefined) return task();
  let timer: NodeJS.Timeout | undefined;
  try {
    return await abortable<T>(signal, (resolve, reject) => {
      if (ms !== undefined) {
        timer = setTimeout(() => reject(late()), ms);
      }
      task().then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
  }
}

function exclusiveTooLong(): Cancelled {
  const message = 'The transaction took too long while others waited for it; repeat the request.';
  return new Cancelled('unavailable', message);
}

/** A promise that also ends, `deadline_exceeded`, when the signal aborts; `onAbort` runs just before. */
export function abortable<T>(
  signal: AbortSignal | undefined,
  start: (resolve: (value: T) => void, reject: (error: Error) => void) => void,
  onAbort?: () => void,
): Promise<T> {
  if (signal === undefined) return new Promise<T>(start);
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => {
      onAbort?.();
      reject(abortedError(signal));
    };
    const done = (): void => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort, { once: true });
    const fail = (error: Error): void => {
      done();
      reject(error);
    };
    const succeed = (value: T): void => {
      done();
      resolve(value);
    };
    try {
      start(succeed, fail);
    } catch (error) {
      done();
      throw error;
    }
  });
}

export function abortedError(signal: AbortSignal): Cancelled {
  return new Cancelled(
    'deadline_exceeded',
    'The time for this request is over; if it was to write, the outcome is unknown.',
    { cause: signal.reason },
  );
}
