/** The directory of `ipc` sockets (`CMBS_IPC_DIR`), which the operator gives. */
import { accessSync, constants, mkdirSync, realpathSync, statSync } from 'node:fs';
import { CmbsError } from '@cmbs/shared';

const refused = (directory: string, what: string, cause?: unknown): CmbsError =>
  new CmbsError('conflict', `CMBS_IPC_DIR=${JSON.stringify(directory)} ${what}.`, { cause });

/**
 * Makes the directory where it is not there, for this user only; any user who can write to it can make a socket.
 * @param dataDirectory a name of a socket must not be one of the files in it
 * @returns its path without links
 * @throws CmbsError `conflict` when it cannot be used
 */
export function openIpcDirectory(directory: string, dataDirectory?: string): string {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw refused(directory, 'cannot be made; make it yourself, or set another', error);
    }
  }
  if (!statSync(directory).isDirectory()) throw refused(directory, 'is no directory; set another');
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw refused(directory, 'cannot be written to; give this user the right, or set another', error);
  }
  const real = realpathSync(directory);
  if (dataDirectory !== undefined && isSame(real, dataDirectory)) {
    throw refused(directory, 'is the directory of the data; set another');
  }
  return real;
}

function isSame(real: string, other: string): boolean {
  try {
    return realpathSync(other) === real;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false; // it is not made yet
    throw error;
  }
}
