/** Errors of Pub/Sub's client, as errors for the caller. */
import { CmbsError } from '../../errors';
import { STATUS, statusOf } from '../../grpc-status';

/** @param action for the message, after "Pub/Sub could not": "publish on weather.tokyo" */
export function toBusError(error: unknown, action: string): CmbsError {
  if (error instanceof CmbsError) return error;
  const options = { cause: error };
  switch (statusOf(error)) {
    case STATUS.permissionDenied:
    case STATUS.unauthenticated:
      return new CmbsError(
        'unavailable',
        `Pub/Sub refused to ${action}; the service account lacks a permission, or its credentials are not valid.`,
        options,
      );
    case STATUS.notFound:
      return new CmbsError('unavailable', `Pub/Sub could not ${action}; does the project exist?`, options);
    case STATUS.resourceExhausted:
      return new CmbsError('queue_full', `Pub/Sub could not ${action}: a quota is used up; repeat it later.`, {
        ...options,
        headers: { 'Retry-After': '5' },
      });
    case STATUS.invalidArgument:
      return new CmbsError('bad_request', `Pub/Sub could not ${action}: an argument is not valid.`, options);
    case STATUS.deadlineExceeded:
      return lateError(action, options);
    default:
      return new CmbsError('unavailable', `Pub/Sub could not ${action} now; repeat it later.`, options);
  }
}

export function lateError(action: string, options: { readonly cause?: unknown } = {}): CmbsError {
  return new CmbsError(
    'deadline_exceeded',
    `Pub/Sub did not answer in time when asked to ${action}: outcome unknown.`,
    options,
  );
}

/** The result of the call; undefined when it fails with this status. */
export async function unless<T>(status: number, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (statusOf(error) === status) return undefined;
    throw error;
  }
}
