/** The directory of `ipc` sockets (`CMBS_IPC_DIR`). */
import { accessSync, constants, mkdirSync, realpathSync, statSync } from 'node:fs';
import { CmbsError } from '@cmbs/shared';

const refused = (directory: string, what: string, cause?: unknown): CmbsError =>
  new CmbsError('conflict', `CMBS_IPC_DIR=${JSON.stringify(directory)} ${what}.`, { cause });

/**
 * Creates the directory if it does not exist, for this user only: any user who can write to it can create a socket.
 * @param dataDirectory refused as the directory of sockets, whose names could be those of its files
 * @returns the path of the directory without symbolic links
 * @throws CmbsError `conflict` when the directory cannot be used
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
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false; // not created yet
    throw error;
  }
}
