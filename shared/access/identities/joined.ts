/** Waits for work that several requests share. */
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { inTime } from '../../waiting';

export interface JoinOptions {
  readonly clock: Clock;
  /** Milliseconds to wait. */
  readonly ms: number;
  /** Signal of the request that waits. */
  readonly signal: AbortSignal;
  /** The error when the work takes longer. */
  readonly late: () => CmbsError;
}

/**
 * The result of shared work. A request that leaves early does not stop the work, because others wait for it too.
 *
 * @throws CmbsError `request_timeout` when the signal aborts
 */
export async function joined<T>(work: Promise<T>, { clock, ms, signal, late }: JoinOptions): Promise<T> {
  let leave = (): void => undefined;
  const left = new Promise<never>((_, reject) => {
    leave = () =>
      reject(new CmbsError('request_timeout', 'The request was aborted before its caller was known; repeat it.'));
  });
  // Both may reject after the race.
  left.catch(() => undefined);
  work.catch(() => undefined);
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    return await inTime(clock, ms, () => Promise.race([left, work]), late);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
