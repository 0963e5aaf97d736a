/** Ends of waiting: a signal that aborts, or a bound in time. What was waited for may still go on, unheard. */
import { CmbsError } from '../errors';

/** Distinct from what a transaction's body throws: the wait for it is over, whatever it read. */
export class GivenUp extends CmbsError {}

/**
 * Runs `task` no longer than its caller waits and than `boundMs`, after which it rejects with `late()`. A body that is
 * left behind can do no harm: its transaction has ended, so its reads and writes throw.
 */
export async function withinDeadline<T>(
  task: () => Promise<T>,
  signal: AbortSignal | undefined,
  boundMs: number | undefined,
  late: () => Error = heldTooLong,
): Promise<T> {
  if (signal === undefined && boundMs === undefined) return task();
  let timer: NodeJS.Timeout | undefined;
  try {
    return await abortable<T>(signal, (resolve, reject) => {
      if (boundMs !== undefined) {
        timer = setTimeout(() => reject(late()), boundMs);
      }
      task().then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
  }
}

function heldTooLong(): GivenUp {
  const message = 'The transaction took too long while others waited for it; repeat the request.';
  return new GivenUp('unavailable', message);
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

export function abortedError(signal: AbortSignal): GivenUp {
  return new GivenUp(
    'deadline_exceeded',
    'The time for this request is over; if it was to write, the outcome is unknown.',
    { cause: signal.reason },
  );
}
