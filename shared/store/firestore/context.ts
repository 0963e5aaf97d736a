/**
 * The context of the engine's operations: the client, the clock, the log, randomness; retries and errors.
 *
 * Reads are repeated here and not by Google's client, whose retries know neither the deadline of the whole operation nor
 * the caller's signal (`test/cloud/store-faults.test.ts`, "after a transient fault" and "does not answer").
 */
import { backOff, type Random } from '../../back-off';
import { type Clock, type NewId } from '../../clock';
import { CmbsError } from '../../errors';
import { FIRESTORE_ATTEMPTS, FIRESTORE_RETRY_MAX_MS, FIRESTORE_RETRY_MS } from './limits';
import { type Log } from '../../log';
import { STATUS, statusOf } from '../../grpc-status';
import { type Deadline } from './deadline';
import { type FirestoreClient } from './client';
import { closedError, isTransient, toStoreError } from './errors';
import { abortedError, Cancelled } from '../cancellation';

export interface Context {
  readonly connection: FirestoreClient;
  readonly clock: Pick<Clock, 'now'>;
  readonly log: Log;
  readonly newId: NewId;
  /** From 0 to below 1. */
  readonly random: Random;
}

/** Makes a call that changes nothing, and repeats it after a transient error, within the deadline. */
export async function repeated<T>(
  { random }: Pick<Context, 'random'>,
  deadline: Deadline,
  call: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!isTransient(error) || attempt >= FIRESTORE_ATTEMPTS || deadline.isOver) throw error;
      await deadline.pause(backOff(attempt, FIRESTORE_RETRY_MS, FIRESTORE_RETRY_MAX_MS, random));
    }
  }
}

/** The error for the caller of an operation that certainly wrote nothing. Errors that are not Firestore's stay. */
export function refusal(
  { connection, log }: Pick<Context, 'connection' | 'log'>,
  deadline: Deadline,
  error: unknown,
  kind: 'read' | 'write',
): unknown {
  if (statusOf(error) === undefined) {
    if (error instanceof CmbsError && !(error instanceof Cancelled)) logRefusal(log, error);
    return error;
  }
  if (deadline.signal?.aborted === true) return abortedError(deadline.signal);
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

/** Logs errors with a cause that the caller does not see. Transient ones are warnings, because callers repeat them. */
function logRefusal(log: Log, { code, cause }: CmbsError): void {
  if (cause === undefined) return;
  const passes = isTransient(cause) || statusOf(cause) === STATUS.deadlineExceeded;
  log[passes ? 'warn' : 'error']('the store refused a request', { code, cause });
}
