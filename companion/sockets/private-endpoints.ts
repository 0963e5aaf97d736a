/**
 * Endpoints that only this process, and its user, can connect to: Unix sockets in a directory with mode 0700. Where
 * there are none (Windows), ports of the loopback address.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capability } from 'zeromq';
import { codeOf } from './errno';

export interface PrivateEndpoints {
  next(): string;
  remove(): void;
}

const PREFIX = 'cmbs-sockets-';

/** @throws Error when the directory cannot be made: the system's directory for temporary files is not writable */
export function privateEndpoints(): PrivateEndpoints {
  if (capability.ipc !== true || process.platform === 'win32') {
    return { next: () => 'tcp://127.0.0.1:*', remove: () => undefined };
  }
  removeLeftovers();
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${String(process.pid)}-`));
  let last = 0;
  return {
    next: () => `ipc://${join(directory, String((last += 1)))}`,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Removes the directories of processes that were killed. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    try {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    } catch (error) {
      // Another user's: theirs to remove.
      if (codeOf(error) !== 'EACCES' && codeOf(error) !== 'EPERM') throw error;
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}
