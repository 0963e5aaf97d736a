/**
 * Commits, repeated until the outcome is known (`test/cloud/store-faults.test.ts`, "an answer is lost"). A commit whose
 * answer was lost is sent again: the preconditions of its writes, or its transaction, let it be applied once only. Each
 * written document has the id of its commit, so that a repetition which fails because of its own writes is recognised.
 */
import { backOff } from '../../back-off';
import { CmbsError } from '../../errors';
import { STATUS, statusOf } from '../../grpc-status';
import { FIRESTORE_ATTEMPTS, FIRESTORE_RETRY_MAX_MS, FIRESTORE_RETRY_MS } from './limits';
import { type Deadline } from './deadline';
import { type Context } from './context';
import { isLostTransaction, outcomeUnknown, wasNeverSent } from './errors';
import { FIELD } from './layout';
import { type CommitRequest, type Write } from './protocol';
import { documentsOf, ReadSnapshot } from './read-snapshot';

/** `conflict`: nothing was written, because a precondition did not hold. */
export type Fate = 'applied' | 'conflict';

/**
 * Rejects with Firestore's error when nothing was written.
 *
 * @param commit the id of the commit, which the written documents have
 * @throws CmbsError `deadline_exceeded` when the outcome is unknown
 */
export async function commitWrites(
  context: Context,
  request: CommitRequest,
  commit: string,
  deadline: Deadline,
): Promise<Fate> {
  /** The last error of an attempt that may have been applied. */
  let doubt: unknown;
  for (let attempt = 1; ; attempt++) {
    try {
      await context.connection.call('commit', request, deadline);
      return 'applied';
    } catch (error) {
      switch (meaningOf(error, request)) {
        case 'conflict':
          if (doubt === undefined) return 'conflict';
          return await proven(context, request, commit, deadline, doubt);
        case 'refused':
          if (doubt === undefined) throw error;
          return await proven(context, request, commit, deadline, doubt);
        case 'never sent':
          if (attempt < FIRESTORE_ATTEMPTS && !deadline.isOver) break;
          throw doubt === undefined ? error : outcomeUnknown(doubt);
        case 'unknown':
          doubt = error;
          if (attempt < FIRESTORE_ATTEMPTS && !deadline.isOver) break;
          return await proven(context, request, commit, deadline, doubt);
      }
    }
    await waitInDoubt(context, deadline, attempt, doubt);
  }
}

/** What an error says of this one attempt. */
function meaningOf(error: unknown, request: CommitRequest): 'conflict' | 'refused' | 'never sent' | 'unknown' {
  switch (statusOf(error)) {
    case undefined: // Not made at all: the store is closed, or there are no credentials.
      return 'refused';
    case STATUS.aborted:
    case STATUS.alreadyExists:
      return 'conflict';
    case STATUS.failedPrecondition:
    case STATUS.notFound:
      // Without preconditions, it is the database that is missing or of another kind.
      return request.writes.some(expectsVersion) ? 'conflict' : 'refused';
    case STATUS.invalidArgument:
      return request.transaction !== undefined && isLostTransaction(error) ? 'conflict' : 'refused';
    case STATUS.unavailable:
      return wasNeverSent(error) ? 'never sent' : 'unknown';
    case STATUS.cancelled:
    case STATUS.deadlineExceeded:
    case STATUS.internal:
    case STATUS.unknown:
      return 'unknown';
    default:
      return 'refused';
  }
}

function expectsVersion({ currentDocument }: Write): boolean {
  return currentDocument !== undefined && 'updateTime' in currentDocument;
}

/** `applied` when a document has the id of the commit. Without one, others may have overwritten all of them. */
async function proven(
  context: Context,
  { database, writes }: CommitRequest,
  commit: string,
  deadline: Deadline,
  doubt: unknown,
): Promise<Fate> {
  const written = writes.flatMap((write) => ('update' in write ? [write.update.name] : []));
  const paths = written.map((name) => name.slice(documentsOf(database).length + 1));
  try {
    const found = await new ReadSnapshot(context, database, deadline).getAll(paths, [FIELD.commit]);
    for (const { fields } of found.values()) {
      if (fields[FIELD.commit]?.stringValue === commit) return 'applied';
    }
  } catch (error) {
    context.log.warn('the outcome of a commit could not be looked up', { cause: error });
  }
  throw outcomeUnknown(doubt);
}

async function waitInDoubt(context: Context, deadline: Deadline, attempt: number, doubt: unknown): Promise<void> {
  try {
    await deadline.pause(backOff(attempt, FIRESTORE_RETRY_MS, FIRESTORE_RETRY_MAX_MS, context.random));
  } catch (error) {
    if (doubt === undefined || error instanceof CmbsError) throw error;
    throw outcomeUnknown(doubt);
  }
}
