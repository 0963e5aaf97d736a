/** Errors of Firestore's client, as errors for the caller. */
import { CmbsError } from '../../errors';
import { STATUS, statusOf } from '../../grpc-status';

function detailsOf(error: unknown): string {
  const { details } = error as { readonly details?: unknown };
  return typeof details === 'string' ? details : String(error);
}

/** The same call may succeed soon. A commit may have been applied, unless the status is `ABORTED`. */
export function isTransient(error: unknown): boolean {
  switch (statusOf(error)) {
    case STATUS.aborted:
    case STATUS.cancelled:
    case STATUS.internal:
    case STATUS.unavailable:
    case STATUS.unknown:
      return true;
    default:
      return false;
  }
}

/**
 * The call never left this process, so it changed nothing. gRPC tells this only in its message; if the message changes,
 * the outcome counts as unknown, which is safe.
 */
export function wasNeverSent(error: unknown): boolean {
  return (
    statusOf(error) === STATUS.unavailable &&
    /^(No connection established|Name resolution failed)/.test(detailsOf(error))
  );
}

/** The call's transaction has ended: it lost its locks, or the server was restarted. */
export function isLostTransaction(error: unknown): boolean {
  return statusOf(error) === STATUS.invalidArgument && /transaction/i.test(detailsOf(error));
}

/** Includes gRPC's limit for one message, which is 4 MiB at the emulator. */
function isTooLarge(error: unknown): boolean {
  return /too (big|large)|exceeds? (the )?maximum|is longer than|larger than max/i.test(detailsOf(error));
}

/** The database, for error messages. */
export interface DatabaseName {
  readonly project: string;
  readonly database: string;
}

/** The error for the caller of a call that wrote nothing; its cause is for the log. */
export function toStoreError(error: unknown, { project, database }: DatabaseName): CmbsError {
  if (error instanceof CmbsError) return error;
  const cause = { cause: error };
  const named = `Firestore's database ${database} of the project ${project}`;
  switch (statusOf(error)) {
    case STATUS.deadlineExceeded:
      return new CmbsError('deadline_exceeded', 'Firestore did not answer in time; repeat the request.', cause);
    case STATUS.notFound:
      return new CmbsError(
        'unavailable',
        `${named} does not exist; create it by applying the deployment, or name another.`,
        cause,
      );
    case STATUS.permissionDenied:
      return new CmbsError(
        'unavailable',
        `${named} cannot be used by this program's account; give it the role roles/datastore.user and enable the API.`,
        cause,
      );
    case STATUS.unauthenticated:
      return new CmbsError(
        'unavailable',
        'Firestore does not accept the credentials of this program; run it as a service account, or renew them.',
        cause,
      );
    case STATUS.resourceExhausted:
    case STATUS.invalidArgument:
      if (isTooLarge(error)) {
        return new CmbsError('too_large', 'The request is larger than Firestore takes; make it smaller.', cause);
      }
      if (statusOf(error) === STATUS.invalidArgument) break;
      return new CmbsError('queue_full', 'The quota of Firestore is used up; repeat the request later.', {
        ...cause,
        headers: { 'Retry-After': '60' },
      });
    case STATUS.failedPrecondition:
      return new CmbsError(
        'unavailable',
        `${named} is not set up as this program needs it (an index, or its mode); apply the deployment again.`,
        cause,
      );
    case STATUS.aborted:
    case STATUS.cancelled:
    case STATUS.internal:
    case STATUS.unavailable:
    case STATUS.unknown:
      return new CmbsError('unavailable', 'Firestore cannot be reached now; repeat the request later.', cause);
    default:
      break;
  }
  return new CmbsError('internal', 'The store failed; the cause is in the log.', cause);
}

/** The answer to a write was lost. */
export function outcomeUnknown(cause: unknown): CmbsError {
  return new CmbsError(
    'deadline_exceeded',
    'Firestore did not confirm the write in time, outcome unknown; look at what is there before repeating it.',
    { cause },
  );
}

export function contentionError(): CmbsError {
  return new CmbsError('unavailable', 'Too many requests change the same data; repeat this one later.');
}

export function fullError(): CmbsError {
  return new CmbsError('queue_full', 'Too many requests wait for the store; slow down and repeat the request.', {
    headers: { 'Retry-After': '5' },
  });
}

export function closedError(): CmbsError {
  return new CmbsError('unavailable', 'The store is closed; repeat the request when the program runs again.');
}
