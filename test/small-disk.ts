/** A small disk in memory, for tests with a full disk. Mounting one needs rights that few users have. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { itNeeding } from './skipping';

/** Mounts a disk of this size on the directory. */
export function mountDisk(directory: string, mebibytes: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', directory], { stdio: 'ignore' });
}

export function unmountDisk(directory: string): void {
  execFileSync('umount', ['-l', directory]);
}

function canMount(): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'cmbs-disk-'));
  try {
    mountDisk(directory, 1);
    unmountDisk(directory);
    return true;
  } catch {
    return false; // No permission, or no `mount` command.
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export const itOnSmallDisk = itNeeding(canMount() ? undefined : 'needs the right to mount a small disk');
