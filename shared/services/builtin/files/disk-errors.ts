/** Errors of the file system, as callers may see them: never with a path of the machine. */
import { CmbsError } from '../../../errors';
import { type FileName, nothingAt, pathOf } from './names';

const codeOf = (thrown: unknown): string => {
  const { code } = (thrown ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
};

export const isErrno = (thrown: unknown, ...codes: readonly string[]): boolean => codes.includes(codeOf(thrown));

/** The error for the caller; an error that tells callers nothing is returned unchanged, and only the log has it. */
export function diskError(thrown: unknown, name: FileName): unknown {
  const refused = (
    code: 'conflict' | 'storage_full' | 'bad_request' | 'forbidden' | 'unavailable',
    why: string,
  ): CmbsError => new CmbsError(code, `${pathOf(name)} ${why}`, { cause: thrown });
  switch (codeOf(thrown)) {
    case 'ENOENT':
    // A part of the name is a file, or a symbolic link.
    case 'ENOTDIR':
    case 'ELOOP':
    // A socket, or a device without its driver.
    case 'ENXIO':
      return nothingAt(name);
    case 'EISDIR':
      return isADirectory(name);
    case 'EEXIST':
      return refused('conflict', 'exists already; choose another name.');
    case 'ENOTEMPTY':
      return refused('conflict', 'is a directory that is not empty; remove its files first.');
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new CmbsError('storage_full', 'The disk of the files is full; remove files and try again.', {
        cause: thrown,
      });
    case 'ENAMETOOLONG':
      return refused('bad_request', 'is a longer name than the disk can have; choose a shorter one.');
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return refused('forbidden', 'cannot be used: the program lacks the right on the disk; ask its operator.');
    case 'EMFILE':
    case 'ENFILE':
      return new CmbsError('unavailable', 'Too many files are open; repeat this later.', { cause: thrown });
    default:
      return thrown;
  }
}

export const isADirectory = (name: FileName): CmbsError =>
  new CmbsError('conflict', `${pathOf(name)} is a directory, not a file; file.ls lists it.`);
