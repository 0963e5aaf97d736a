/**
 * Opens what is below a directory, and never follows a symbolic link. Node.js has no `openat`, but on Linux
 * `/proc/self/fd/<number>/<name>` leads to a name in the directory that the descriptor has open, wherever the directory
 * is by now. So each part of a name is opened by itself, with `O_NOFOLLOW`, in the directory that the part before it
 * opened. Whatever another program exchanges meanwhile, the next part is looked up in a directory that was below the root
 * when it was opened, and no path is resolved twice.
 */
import { constants, type BigIntStats } from 'node:fs';
import { type FileHandle, lstat, open, opendir } from 'node:fs/promises';
import { CmbsError } from '../../../errors';
import { diskError, isADirectory } from './disk-errors';
import { type FileName, isPart, nothingAt } from './names';

const { O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/** A directory that is open. */
export interface OpenDirectory {
  /** A path to it, for as long as it is open. */
  readonly path: string;
  /** Makes new, renamed and removed names durable. */
  sync(): Promise<void>;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly type: 'file' | 'directory';
}

/** The directory of a descriptor. A thread's own `/proc/self` would do too: threads share descriptors. */
const pathOfHandle = ({ fd }: FileHandle): string => `/proc/self/fd/${fd}`;

/** The root, and ways to what is below. Holds the root open until it is closed. */
export class Directories {
  readonly #root: FileHandle;

  private constructor(root: FileHandle) {
    this.#root = root;
  }

  /**
   * Opens the root, which itself may be a link.
   * @throws CmbsError `bad_request` for what is no directory, and where the system has no `/proc`
   */
  static async open(directory: string): Promise<Directories> {
    let root: FileHandle;
    try {
      root = await open(directory, O_RDONLY | O_DIRECTORY);
    } catch (cause) {
      throw new CmbsError('bad_request', `CMBS_FILES_DIR cannot be opened: ${(cause as Error).message}.`, {
        cause,
      });
    }
    try {
      const [itself, byDescriptor] = [await root.stat(), await lstat(`${pathOfHandle(root)}/.`)];
      if (itself.ino !== byDescriptor.ino || itself.dev !== byDescriptor.dev) throw new Error('another directory');
      return new Directories(root);
    } catch (cause) {
      await root.close();
      throw new CmbsError(
        'bad_request',
        'CMBS_FILES_DIR needs Linux with /proc: elsewhere Node.js cannot open a file without following links.',
        { cause },
      );
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  /**
   * Opens a directory for the time of the work.
   * @throws CmbsError for the caller, about `name`: `not_found` where a part is missing, a file or a link; as
   *   {@link diskError} for errors of the work
   */
  async within<T>(
    parts: readonly string[],
    name: FileName,
    work: (directory: OpenDirectory) => Promise<T>,
  ): Promise<T> {
    let current: FileHandle | undefined;
    try {
      for (const part of parts) {
        const next = await open(
          `${pathOfHandle(current ?? this.#root)}/${part}`,
          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK,
        );
        const above = current;
        current = next;
        await above?.close();
      }
      const handle = current ?? this.#root;
      return await work({ path: pathOfHandle(handle), sync: () => handle.sync() });
    } catch (thrown) {
      throw diskError(thrown, name);
    } finally {
      await current?.close();
    }
  }
}

/** Whether callers can use what is there: no link, device, pipe or socket. */
export const isUsable = (stats: BigIntStats): boolean => stats.isFile() || stats.isDirectory();

/** What has a name, without following a link; undefined when there is nothing. */
export async function entryAt(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw thrown;
  }
}

/**
 * Opens a regular file; the caller closes the handle. A device is not opened, since opening one can have an effect, and a
 * pipe does not make the program wait for its other end.
 * @throws CmbsError `not_found`, `conflict` for a directory
 */
export async function openFile(
  path: string,
  name: FileName,
  flags: number,
): Promise<{ readonly handle: FileHandle; readonly stats: BigIntStats }> {
  const before = await entryAt(path);
  if (before === undefined || !isUsable(before)) throw nothingAt(name);
  if (before.isDirectory()) throw isADirectory(name);
  const handle = await open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  try {
    // Another program may have put something else there since.
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile()) throw nothingAt(name);
    return { handle, stats };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Files and directories in a directory, without those whose names callers cannot use. Not sorted.
 * @param atMost names that are read; with more the list is not whole
 */
export async function entriesOf(
  path: string,
  atMost: number,
): Promise<{ readonly entries: DirectoryEntry[]; readonly isWhole: boolean }> {
  const entries: DirectoryEntry[] = [];
  let read = 0;
  for await (const entry of await opendir(path, { bufferSize: 256 })) {
    if (read === atMost) return { entries, isWhole: false };
    read += 1;
    if (!isPart(entry.name)) continue;
    if (entry.isFile()) entries.push({ name: entry.name, type: 'file' });
    else if (entry.isDirectory()) entries.push({ name: entry.name, type: 'directory' });
  }
  return { entries, isWhole: true };
}
