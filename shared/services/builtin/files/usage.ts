/**
 * The bytes and the number of the files below the root. They are counted at the first put, and again after a while, since
 * other programs may change the files; in between every put and removal of this process is added.
 */
import { lstat, opendir, unlink } from 'node:fs/promises';
import type { Clock } from '../../../clock';
import { CmbsError } from '../../../errors';
import { nextTurn } from '../../../waiting';
import type { Directories } from './directories';
import { isErrno } from './disk-errors';
import { LEFTOVER_MS, MEASURE_AGAIN_MS } from './limits';

/** The beginning of the names of temporary files. */
export const TEMPORARY = '.cmbs-put-';
/** Levels of directories that are counted. Callers make fewer; other programs may make more. */
const MAX_MEASURED_DEPTH = 64;

export interface UsageOptions {
  readonly directories: Directories;
  readonly clock: Pick<Clock, 'now' | 'elapsed'>;
  /** Bytes of all files. */
  readonly bytes: number;
  /** Files and directories. */
  readonly files: number;
}

interface Measured {
  bytes: number;
  files: number;
}

export class Usage {
  readonly #options: UsageOptions;
  #measured: Promise<Measured> | undefined;
  #measuredAt = 0;
  #changing = 0;

  constructor(options: UsageOptions) {
    this.#options = options;
  }

  /**
   * Counts a change while the work makes it; a failed change is not counted.
   * @param bytes by which the files grow, may be negative
   * @param files that come, may be negative
   * @throws CmbsError `storage_full` when there would be too many bytes or files
   */
  async change<T>({ bytes, files }: Measured, work: () => Promise<T>): Promise<T> {
    const now = await this.#current();
    const { bytes: mostBytes, files: mostFiles } = this.#options;
    if (bytes > 0 && now.bytes + bytes > mostBytes) {
      throw new CmbsError(
        'storage_full',
        `All files together have ${mostBytes} bytes at most (CMBS_FILES_BYTES), and this needs ${bytes} more than there are left; remove files.`,
      );
    }
    if (files > 0 && now.files + files > mostFiles) {
      throw new CmbsError('storage_full', `There are ${mostFiles} files and directories at most; remove some.`);
    }
    now.bytes += bytes;
    now.files += files;
    this.#changing += 1;
    try {
      return await work();
    } catch (error) {
      now.bytes -= bytes;
      now.files -= files;
      throw error;
    } finally {
      this.#changing -= 1;
    }
  }

  #current(): Promise<Measured> {
    const { clock } = this.#options;
    const isOld = clock.elapsed() - this.#measuredAt >= MEASURE_AGAIN_MS;
    // A change that is under way would be counted twice.
    if (this.#measured === undefined || (isOld && this.#changing === 0)) {
      this.#measuredAt = clock.elapsed();
      const measuring = this.#measure();
      measuring.catch(() => {
        if (this.#measured === measuring) this.#measured = undefined;
      });
      this.#measured = measuring;
    }
    return this.#measured;
  }

  /** Counts everything, hidden files too, and removes temporary files that a process left when it died. */
  async #measure(): Promise<Measured> {
    const { directories, clock, files: atMost } = this.#options;
    const total = { bytes: 0, files: 0 };
    const waiting: string[][] = [[]];
    for (let parts = waiting.pop(); parts !== undefined; parts = waiting.pop()) {
      const here = parts;
      try {
        await directories.within(here, here, async ({ path }) => {
          for await (const { name } of await opendir(path, { bufferSize: 256 })) {
            if (total.files > atMost) return;
            const stats = await lstat(`${path}/${name}`);
            if (name.startsWith(TEMPORARY) && clock.now() - stats.mtimeMs > LEFTOVER_MS) {
              await unlink(`${path}/${name}`);
              continue;
            }
            total.files += 1;
            if (stats.isFile()) total.bytes += stats.size;
            else if (stats.isDirectory() && here.length < MAX_MEASURED_DEPTH) waiting.push([...here, name]);
          }
        });
      } catch (error) {
        // The directory, or a file in it, was removed meanwhile.
        if (!(error instanceof CmbsError && error.code === 'not_found') && !isErrno(error, 'ENOENT')) throw error;
      }
      await nextTurn();
    }
    return total;
  }
}
