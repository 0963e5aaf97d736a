/** What Pub/Sub's client throws, as errors that a caller understands. */
import { CmbsError } from '../../errors';
import { STATUS, statusOf } from '../../grpc-status';

/** @param doing what was tried, for the sentence: "publish on weather.tokyo" */
export function toBusError(error: unknown, doing: string): CmbsError {
  if (error instanceof CmbsError) return error;
  const options = { cause: error };
  switch (statusOf(error)) {
    case STATUS.permissionDenied:
    case STATUS.unauthenticated:
      return new CmbsError(
        'unavailable',
        `Pub/Sub refused to ${doing}; the service account lacks a permission, or its credentials are not valid.`,
        options,
      );
    case STATUS.notFound:
      return new CmbsError('unavailable', `Pub/Sub could not ${doing}; does the project exist?`, options);
    case STATUS.resourceExhausted:
      return new CmbsError('queue_full', `Pub/Sub has a quota that does not allow to ${doing} now; try later.`, {
        ...options,
        headers: { 'Retry-After': '5' },
      });
    case STATUS.invalidArgument:
      return new CmbsError('bad_request', `Pub/Sub does not accept what was given to ${doing}.`, options);
    case STATUS.deadlineExceeded:
      return lateError(doing, options);
    default:
      return new CmbsError('unavailable', `Pub/Sub could not ${doing} now; try again later.`, options);
  }
}

export function lateError(doing: string, options: { readonly cause?: unknown } = {}): CmbsError {
  return new CmbsError(
    'deadline_exceeded',
    `Pub/Sub did not answer in time when asked to ${doing}: outcome unknown.`,
    options,
  );
}

/** What the call gives; undefined where it fails with the status, because that is how things should be. */
export async function unless<T>(status: number, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (statusOf(error) === status) return undefined;
    throw error;
  }
}
