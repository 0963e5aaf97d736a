/** Files and directories below one root. Decides nothing about callers: {@link GovernedFiles} does. */
import { createHash, randomUUID } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rmdir, statfs, unlink } from 'node:fs/promises';
import type { Clock } from '../../../clock';
import { badRequest, CmbsError } from '../../../errors';
import { makeDirectory } from '../../../make-directory';
import { requireWanted } from '../../../waiting';
import {
  Directories,
  type DirectoryEntry,
  entriesOf,
  entryAt,
  isUsable,
  type OpenDirectory,
  openFile,
} from './directories';
import { isADirectory } from './disk-errors';
import { FILE_LIMITS, FILE_PIECE_BYTES, type FileLimits, MAX_FILE_DEPTH, MAX_RESERVED_BYTES } from './limits';
import { type FileName, nothingAt, pathOf } from './names';
import { matcherOf } from './pattern';
import { Sequences, tooBusy, Turns } from './turns';
import { TEMPORARY, Usage } from './usage';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

export interface FileInfo {
  readonly name: FileName;
  readonly type: 'file' | 'directory';
  /** Bytes; 0 for a directory. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modified: number;
  /**
   * Changes with every put: the number of the file on the disk, its size, and the time of its last change in nanoseconds.
   * Another program that changes a file in place, without changing its size, within one tick of the disk's clock (some
   * milliseconds) leaves the tag as it is.
   */
  readonly tag: string;
}

/** A file that is open for reading. Its content stays the same while others replace the file. */
export interface OpenFile {
  readonly info: FileInfo;
  /** The bytes from `start` to before `end`, in pieces. @throws CmbsError `conflict` when the file has become shorter */
  pieces(start: number, end: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** What is known before a file or a directory changes. Throws to prevent the change. */
export type BeforeChange = (current: FileInfo | undefined) => Promise<void> | void;

export interface Listing {
  readonly entries: readonly FileInfo[];
  /** Name of the last entry, when there may be more. */
  readonly next?: string;
}

export interface Found {
  readonly names: readonly FileName[];
  /** False when the search ended at one of its limits. */
  readonly isComplete: boolean;
}

export interface VirtualFilesOptions {
  readonly clock: Clock;
  /** Bytes of all files. */
  readonly bytes: number;
  /** Limits in place of the defaults. */
  readonly limits?: Partial<FileLimits>;
}

/** Decides whether an entry is shown, and whether a search enters a directory. */
export type Shows = (name: FileName, type: FileInfo['type']) => Promise<boolean>;

export class VirtualFiles {
  readonly limits: FileLimits;
  readonly #directories: Directories;
  readonly #clock: Clock;
  readonly #usage: Usage;
  readonly #turns: Turns;
  readonly #changes: Sequences;
  #openFiles = 0;

  private constructor(directories: Directories, { clock, bytes, limits = {} }: VirtualFilesOptions) {
    this.limits = { ...FILE_LIMITS, ...limits };
    this.#directories = directories;
    this.#clock = clock;
    this.#usage = new Usage({ directories, clock, bytes, files: this.limits.files });
    this.#turns = new Turns(this.limits);
    this.#changes = new Sequences(this.limits.waiting);
  }

  /**
   * Opens the root, and makes the directory when it is absent.
   * @throws CmbsError `bad_request` when the directory cannot be used
   */
  static async open(directory: string, options: VirtualFilesOptions): Promise<VirtualFiles> {
    try {
      makeDirectory(directory);
    } catch (cause) {
      throw badRequest(`CMBS_FILES_DIR cannot be made: ${(cause as Error).message}.`, { cause });
    }
    return new VirtualFiles(await Directories.open(directory), options);
  }

  /** Files that are still open for reading stay so until their readers close them. */
  async close(): Promise<void> {
    await this.#directories.close();
  }

  /** @throws CmbsError `not_found` */
  stat(name: FileName): Promise<FileInfo> {
    return this.#turns.run(() =>
      this.#inParent(name, async (directory, last) => {
        const stats = await entryAt(`${directory.path}/${last}`);
        if (stats === undefined || !isUsable(stats)) throw nothingAt(name);
        return infoOf(name, stats);
      }),
    );
  }

  /**
   * Reads a part of a file.
   * @param length bytes; -1 for all to the end
   * @throws CmbsError `not_found`, `conflict` for a directory, `too_large`, `bad_request`
   */
  async read(name: FileName, offset: number, length: number, signal: AbortSignal): Promise<Uint8Array> {
    requireWhole('offset', offset, 0);
    requireWhole('length', length, -1);
    const file = await this.openFile(name);
    try {
      const { size } = file.info;
      const start = Math.min(offset, size);
      const end = length < 0 ? size : Math.min(start + length, size);
      const { callBytes } = this.limits;
      if (end - start > callBytes) {
        throw new CmbsError(
          'too_large',
          `One call reads ${callBytes} bytes at most, and this would be ${end - start}; read the file in parts, by offset and length.`,
        );
      }
      const pieces: Uint8Array[] = [];
      for await (const piece of file.pieces(start, end, signal)) pieces.push(piece);
      return pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces);
    } finally {
      await file.close();
    }
  }

  /** The digest of a whole file, in hexadecimal. @throws CmbsError `not_found`, `conflict`, `request_timeout` */
  async digest(name: FileName, algorithm: 'md5' | 'sha256', signal: AbortSignal): Promise<string> {
    const file = await this.openFile(name);
    try {
      const hash = createHash(algorithm);
      for await (const piece of file.pieces(0, file.info.size, signal)) hash.update(piece);
      return hash.digest('hex');
    } finally {
      await file.close();
    }
  }

  /** Opens a file; the caller closes it. @throws CmbsError `not_found`, `conflict` for a directory, `queue_full` */
  async openFile(name: FileName): Promise<OpenFile> {
    if (this.#openFiles >= this.limits.openFiles) throw tooBusy();
    this.#openFiles += 1;
    try {
      const { handle, stats } = await this.#turns.run(() =>
        this.#inParent(name, (directory, last) => openFile(`${directory.path}/${last}`, name, O_RDONLY)),
      );
      let closed: Promise<void> | undefined;
      return {
        info: infoOf(name, stats),
        pieces: (start, end, signal) => this.#pieces(handle, name, { start, end, signal }),
        close: () =>
          (closed ??= handle.close().finally(() => {
            this.#openFiles -= 1;
          })),
      };
    } catch (error) {
      this.#openFiles -= 1;
      throw error;
    }
  }

  async *#pieces(
    handle: FileHandle,
    name: FileName,
    { start, end, signal }: { readonly start: number; readonly end: number; readonly signal: AbortSignal },
  ): AsyncIterable<Uint8Array> {
    for (let at = start; at < end;) {
      const piece = await this.#turns.run(async () => {
        requireWanted(signal);
        // A piece of its own: the piece before may wait for a slow reader.
        const buffer = Buffer.allocUnsafeSlow(Math.min(FILE_PIECE_BYTES, end - at));
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
        return buffer.subarray(0, bytesRead);
      });
      if (piece.length === 0) {
        throw new CmbsError('conflict', `${pathOf(name)} became shorter while it was read; read it again.`);
      }
      at += piece.length;
      yield piece;
    }
  }

  /**
   * The entries of a directory that are shown, sorted by code point, after the name `after`.
   * @throws CmbsError `not_found`, `too_large` for a directory with very many entries
   */
  async list(
    name: FileName,
    { after = '', limit, shows, signal }: { after?: string; limit: number; shows: Shows; signal: AbortSignal },
  ): Promise<Listing> {
    const { directoryEntries, listedEntries } = this.limits;
    if (!(Number.isSafeInteger(limit) && limit >= 1 && limit <= listedEntries)) {
      throw badRequest(`A page has 1 to ${listedEntries} entries.`);
    }
    const { entries, isWhole } = await this.#turns.run(() =>
      this.#directories.within(name, name, ({ path }) => entriesOf(path, directoryEntries)),
    );
    if (!isWhole) {
      throw new CmbsError(
        'too_large',
        `${pathOf(name, 'directory')} has more than ${directoryEntries} entries and cannot be listed; use names that you know.`,
      );
    }
    const later = entries.filter((entry) => compare(entry.name, after) > 0).sort(byName);
    const page: FileInfo[] = [];
    for (const entry of later) {
      requireWanted(signal);
      const path = [...name, entry.name];
      if (!(await shows(path, entry.type))) continue;
      if (page.length === limit) return { entries: page, next: page.at(-1)?.name.at(-1) ?? '' };
      const info = await this.#infoOfEntry(path);
      if (info !== undefined) page.push(info);
    }
    return { entries: page };
  }

  /** Undefined when the entry was removed since. */
  async #infoOfEntry(name: FileName): Promise<FileInfo | undefined> {
    try {
      return await this.stat(name);
    } catch (error) {
      if (error instanceof CmbsError && error.code === 'not_found') return undefined;
      throw error;
    }
  }

  /**
   * Names below a directory that match a pattern, directories before what is in them, within the limits of a search.
   * @throws CmbsError `not_found`, `bad_request` for a pattern that cannot be used
   */
  async find(
    name: FileName,
    pattern: string,
    { shows, signal }: { readonly shows: Shows; readonly signal: AbortSignal },
  ): Promise<Found> {
    const matches = matcherOf(pattern);
    const { visited: mostVisited, found: mostFound, findMs } = this.limits;
    const until = this.#clock.elapsed() + findMs;
    const names: FileName[] = [];
    let left = mostVisited;
    const waiting: FileName[] = [name];
    for (let current = waiting.pop(); current !== undefined; current = waiting.pop()) {
      const { entries, isWhole } = await this.#entriesToVisit(current, current === name, left);
      left -= entries.length;
      const below: FileName[] = [];
      for (const entry of entries.sort(byName)) {
        requireWanted(signal);
        if (this.#clock.elapsed() > until) return { names, isComplete: false };
        const path = [...current, entry.name];
        const isMatch = matches(path.slice(name.length));
        if (!isMatch && entry.type === 'file') continue;
        if (!(await shows(path, entry.type))) continue;
        if (isMatch && names.length === mostFound) return { names, isComplete: false };
        if (isMatch) names.push(path);
        if (entry.type === 'directory' && path.length < MAX_FILE_DEPTH) below.push(path);
      }
      if (!isWhole) return { names, isComplete: false };
      waiting.push(...below.reverse());
    }
    return { names, isComplete: true };
  }

  async #entriesToVisit(
    name: FileName,
    isFirst: boolean,
    atMost: number,
  ): Promise<{ readonly entries: DirectoryEntry[]; readonly isWhole: boolean }> {
    try {
      return await this.#turns.run(() =>
        this.#directories.within(name, name, ({ path }) => entriesOf(path, atMost)),
      );
    } catch (error) {
      // A directory that was removed during the search.
      if (!isFirst && error instanceof CmbsError && error.code === 'not_found')
        return { entries: [], isWhole: true };
      throw error;
    }
  }

  /**
   * Writes a whole file: its readers, and a program that starts after a crash, see the old content or the new one.
   * Resolves when the content is durable.
   * @throws CmbsError `not_found` for a missing directory, `conflict` for what is no file, `storage_full`; the error of
   *   `before`
   */
  put(
    name: FileName,
    bytes: Uint8Array,
    before: BeforeChange = () => undefined,
  ): Promise<{ readonly info: FileInfo; readonly isNew: boolean }> {
    return this.#make(name, async (directory, last) => {
      const { current, isOther } = await occupantOf(directory, last, name);
      await before(current);
      if (current?.type === 'directory') throw isADirectory(name);
      if (isOther) throw new CmbsError('conflict', `${pathOf(name)} is no file, and a put does not replace it.`);
      const grows = { bytes: bytes.length - (current?.size ?? 0), files: current === undefined ? 1 : 0 };
      await requireSpace(directory, bytes.length);
      const info = await this.#usage.change(grows, () => replace(directory, { last, name, bytes }));
      return { info, isNew: current === undefined };
    });
  }

  /**
   * Writes at the end of a file, whose size must be `offset`: a call that is repeated changes nothing. A crash can leave a
   * part of the bytes.
   * @throws CmbsError `not_found`; `conflict` for another size, with the size in `details`; `storage_full`
   */
  append(name: FileName, offset: number, bytes: Uint8Array, before: BeforeChange): Promise<FileInfo> {
    requireWhole('offset', offset, 0);
    return this.#change(name, async (directory, last) => {
      const { current } = await occupantOf(directory, last, name);
      await before(current);
      const { handle, stats } = await openFile(`${directory.path}/${last}`, name, O_WRONLY);
      try {
        const size = Number(stats.size);
        if (size !== offset) {
          throw new CmbsError(
            'conflict',
            `${pathOf(name)} has ${size} bytes, not ${offset}; continue from its end.`,
            {
              details: { size },
            },
          );
        }
        await requireSpace(directory, bytes.length);
        return await this.#usage.change({ bytes: bytes.length, files: 0 }, async () => {
          try {
            await writeAll(handle, bytes, offset);
            await handle.sync();
          } catch (error) {
            await handle.truncate(offset);
            throw error;
          }
          return infoOf(name, await handle.stat({ bigint: true }));
        });
      } finally {
        await handle.close();
      }
    });
  }

  /** Makes a directory; false when it is there already. @throws CmbsError `not_found` for a missing parent, `conflict` */
  makeDirectory(name: FileName, before: BeforeChange): Promise<boolean> {
    return this.#make(name, async (directory, last) => {
      const { current } = await occupantOf(directory, last, name);
      await before(current);
      if (current?.type === 'directory') return false;
      await this.#usage.change({ bytes: 0, files: 1 }, async () => {
        await mkdir(`${directory.path}/${last}`);
        await directory.sync();
      });
      return true;
    });
  }

  /** Removes a file or an empty directory. @throws CmbsError `not_found`, `conflict` for a directory that is not empty */
  remove(name: FileName, before: BeforeChange): Promise<void> {
    return this.#change(name, async (directory, last) => {
      const { current } = await occupantOf(directory, last, name);
      await before(current);
      if (current === undefined) throw nothingAt(name);
      const path = `${directory.path}/${last}`;
      await this.#usage.change({ bytes: -current.size, files: -1 }, async () => {
        await (current.type === 'directory' ? rmdir(path) : unlink(path));
        await directory.sync();
      });
    });
  }

  /** Changes of one name run one after the other, so that a condition holds until the change is made. */
  async #change<T>(name: FileName, work: (directory: OpenDirectory, last: string) => Promise<T>): Promise<T> {
    if (name.length === 0)
      throw new CmbsError('conflict', 'The root of the files cannot be changed; name a file in it.');
    return this.#changes.run(pathOf(name), () => this.#turns.run(() => this.#inParent(name, work)));
  }

  /** As {@link #change}, for what may be new: the error says that its directory is missing. */
  async #make<T>(name: FileName, work: (directory: OpenDirectory, last: string) => Promise<T>): Promise<T> {
    const found = { directory: false };
    try {
      return await this.#change(name, (directory, last) => {
        found.directory = true;
        return work(directory, last);
      });
    } catch (cause) {
      if (found.directory || !(cause instanceof CmbsError && cause.code === 'not_found')) throw cause;
      const missing = pathOf(name.slice(0, -1), 'directory');
      const text = `There is no directory ${missing}; make it first, by file.mkdir or by a PUT of that path.`;
      throw new CmbsError('not_found', text, { cause });
    }
  }

  #inParent<T>(name: FileName, work: (directory: OpenDirectory, last: string) => Promise<T>): Promise<T> {
    const last = name.at(-1) ?? '.';
    return this.#directories.within(name.slice(0, -1), name, (directory) => work(directory, last));
  }
}

/** What has the name now: a file, a directory, something else, or nothing. */
async function occupantOf(
  { path }: OpenDirectory,
  last: string,
  name: FileName,
): Promise<{ readonly current: FileInfo | undefined; readonly isOther: boolean }> {
  const stats = await entryAt(`${path}/${last}`);
  if (stats === undefined) return { current: undefined, isOther: false };
  return isUsable(stats)
    ? { current: infoOf(name, stats), isOther: false }
    : { current: undefined, isOther: true };
}

function infoOf(name: FileName, stats: BigIntStats): FileInfo {
  const isDirectory = stats.isDirectory();
  return {
    name,
    type: isDirectory ? 'directory' : 'file',
    size: isDirectory ? 0 : Number(stats.size),
    modified: Number(stats.mtimeMs),
    tag: [stats.ino, stats.size, stats.mtimeNs].map((part) => part.toString(36)).join('-'),
  };
}

/** Writes a temporary file beside the file, and gives it the file's name when it is durable. */
async function replace(
  directory: OpenDirectory,
  { last, name, bytes }: { readonly last: string; readonly name: FileName; readonly bytes: Uint8Array },
): Promise<FileInfo> {
  const temporary = `${directory.path}/${TEMPORARY}${randomUUID()}`;
  const handle = await open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o666);
  try {
    let info: FileInfo;
    try {
      await writeAll(handle, bytes, 0);
      await handle.sync();
      info = infoOf(name, await handle.stat({ bigint: true }));
    } finally {
      await handle.close();
    }
    await rename(temporary, `${directory.path}/${last}`);
    await directory.sync();
    return info;
  } catch (error) {
    // A file that stays is removed when the files are counted; the caller needs the first error.
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, offset + written);
    written += bytesWritten;
  }
}

/** @throws CmbsError `storage_full` when the disk would have little space left */
async function requireSpace({ path }: OpenDirectory, bytes: number): Promise<void> {
  const { bavail, blocks, bsize } = await statfs(path);
  const reserved = Math.min(MAX_RESERVED_BYTES, (blocks * bsize) / 10);
  // Some file systems do not count their space.
  if (blocks === 0 || bavail * bsize - bytes >= reserved) return;
  throw new CmbsError('storage_full', 'The disk of the files is nearly full; remove files and try again.');
}

function requireWhole(what: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw badRequest(`The ${what} is a whole number from ${least}.`);
}

/** By code point, as the store sorts. */
const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const byName = (a: DirectoryEntry, b: DirectoryEntry): number => compare(a.name, b.name);
