/** Status codes of gRPC, which Google's services use (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
export const STATUS = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** The status that a client reports; undefined for an error that is not the answer of a server. */
export function statusOf(error: unknown): number | undefined {
  // `instanceof` would fail under a test runner, where the client's errors belong to another realm.
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'number' ? error.code : undefined;
}
