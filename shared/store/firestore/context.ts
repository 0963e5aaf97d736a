/** What the parts of the Firestore engine share. */
import { backOff, type Random } from '../../back-off';
import { type Clock, type NewId } from '../../clock';
import { CmbsError } from '../../errors';
import { FIRESTORE_ATTEMPTS, FIRESTORE_RETRY_MAX_MS, FIRESTORE_RETRY_MS } from './limits';
import { type Log } from '../../log';
import { STATUS, statusOf } from '../../grpc-status';
import { type Deadline } from './deadline';
import { type FirestoreClient } from './client';
import { closedError, isTransient, toStoreError } from './errors';
import { abortedError, GivenUp } from '../giving-up';

export interface Context {
  readonly connection: FirestoreClient;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  readonly newId: NewId;
  /** From 0 to below 1. */
  readonly random: Random;
}

/** Makes a call that changes nothing, several times when Firestore cannot be reached for a moment. */
export async function repeated<T>(
  { random }: Pick<Context, 'random'>,
  bounds: Deadline,
  call: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!isTransient(error) || attempt >= FIRESTORE_ATTEMPTS || bounds.isOver) throw error;
      await bounds.pause(backOff(attempt, FIRESTORE_RETRY_MS, FIRESTORE_RETRY_MAX_MS, random));
    }
  }
}

/**
 * A failed operation, of which it is certain that it wrote nothing, as its caller may see it. What is no answer of
 * Firestore stays as it is.
 */
export function refusal(
  { connection, log }: Pick<Context, 'connection' | 'log'>,
  bounds: Deadline,
  error: unknown,
  kind: 'read' | 'write',
): unknown {
  if (statusOf(error) === undefined) {
    if (error instanceof CmbsError && !(error instanceof GivenUp)) logRefusal(log, error);
    return error;
  }
  if (bounds.signal?.aborted === true) return abortedError(bounds.signal);
  if (connection.isClosed) return closedError();
  const known =
    kind === 'write' && statusOf(error) === STATUS.deadlineExceeded
      ? new CmbsError(
          'unavailable',
          'Firestore did not answer in time, nothing was written; repeat the request.',
          {
            cause: error,
          },
        )
      : toStoreError(error, connection.names);
  logRefusal(log, known);
  return known;
}

/**
 * Only what has a cause that its caller does not see. A moment's trouble is a warning: callers repeat what they can and
 * tell of what they cannot; the rest goes on until somebody acts.
 */
function logRefusal(log: Log, { code, cause }: CmbsError): void {
  if (cause === undefined) return;
  const passes = isTransient(cause) || statusOf(cause) === STATUS.deadlineExceeded;
  log[passes ? 'warn' : 'error']('the store refused a request', { code, cause });
}
