/**
 * Endpoints that only this process, and its user, can connect to: Unix sockets in a directory with mode 0700. On systems
 * without Unix sockets (Windows) they are ports of the loopback address.
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
/** Start of this process in milliseconds since the epoch: an earlier process may have had the same id, as in a container. */
const BEGAN = Math.trunc(performance.timeOrigin);

/**
 * @param parent directory; by default that of the system for temporary files
 * @throws Error when the parent is not writable
 */
export function privateEndpoints(parent = tmpdir()): PrivateEndpoints {
  if (capability.ipc !== true || process.platform === 'win32') {
    return { next: () => 'tcp://127.0.0.1:*', remove: () => undefined };
  }
  removeLeftovers(parent);
  const directory = mkdtempSync(join(parent, `${PREFIX}${process.pid}-${BEGAN}-`));
  let last = 0;
  return {
    next: () => `ipc://${join(directory, String((last += 1)))}`,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Removes the directories of processes that were killed. */
function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent)) {
    const [, pid, began] = new RegExp(`^${PREFIX}(\\d+)-(?:(\\d+)-)?`).exec(name) ?? [];
    if (pid === undefined) continue;
    if (Number(pid) === process.pid ? Number(began) === BEGAN : isAlive(Number(pid))) continue;
    try {
      rmSync(join(parent, name), { recursive: true, force: true });
    } catch (error) {
      // It belongs to another user.
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
