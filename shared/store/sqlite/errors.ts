/** Errors of SQLite, as errors for the caller (https://sqlite.org/rescode.html). */
import { CmbsError } from '../../errors';

export const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_TOOBIG = 18;
const SQLITE_NOTADB = 26;
/** The shared-memory index of the log could not grow: the disk is full. */
const SQLITE_IOERR_SHMSIZE = 4874;

// Not by class: under a test runner, errors of native code belong to another realm.
function property(error: unknown, name: 'errcode' | 'code'): unknown {
  return typeof error === 'object' && error !== null && name in error
    ? (error as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

function resultCode(error: unknown): number | undefined {
  const code = property(error, 'errcode');
  return typeof code === 'number' ? code : undefined;
}

export function isSqliteError(error: unknown, primaryCode: number): boolean {
  const code = resultCode(error);
  return code !== undefined && (code & 0xff) === primaryCode;
}

export function isDamaged(error: unknown): boolean {
  return isSqliteError(error, SQLITE_CORRUPT) || isSqliteError(error, SQLITE_NOTADB);
}

/** The error for the caller of a failed read or write; its cause is for the log. */
export function toStoreError(error: unknown): CmbsError {
  if (error instanceof CmbsError) return error;
  const noSpace =
    error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
  if (noSpace || isSqliteError(error, SQLITE_FULL) || resultCode(error) === SQLITE_IOERR_SHMSIZE) {
    return new CmbsError(
      'storage_full',
      'The disk of the data directory is full; nothing of this request was written. Free some space and repeat it.',
      { cause: error },
    );
  }
  if (isSqliteError(error, SQLITE_TOOBIG)) {
    return new CmbsError('too_large', 'The document is too large for the store; make it smaller.', {
      cause: error,
    });
  }
  if (isDamaged(error)) {
    return new CmbsError('internal', 'The database file is damaged; restore it from a backup.', { cause: error });
  }
  return new CmbsError('internal', 'The store failed; the cause is in the log.', { cause: error });
}
