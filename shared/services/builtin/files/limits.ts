/** Limits of the files, each with its unit and reason. */

/** Bytes of one read, and of one put by a method: in base64 they fit into a call and an answer (`MAX_ANSWER_CHARS`). */
export const MAX_FILE_CALL_BYTES = 4 * 1024 * 1024;
/** Bytes that are read from the disk at a time: large enough for a fast disk, small enough that others get their turn. */
export const FILE_PIECE_BYTES = 256 * 1024;
/** Directories and the file in a name. An access rule for every one of them counts: a chain has 16 levels. */
export const MAX_FILE_DEPTH = 14;
/** Bytes of a whole name: a target of a rule has 1000 characters. */
export const MAX_FILE_NAME_BYTES = 900;
/** Bytes of one part of a name: the limit of Linux. */
export const MAX_FILE_PART_BYTES = 255;
/** Entries of a directory that can be listed: the names are sorted in memory. */
export const MAX_DIRECTORY_ENTRIES = 10_000;
/** Entries on a page of a listing. */
export const MAX_LISTED_ENTRIES = 1000;
/** Names that one search returns. */
export const MAX_FOUND = 1000;
/** Entries that one search visits: a few seconds of work. */
export const MAX_VISITED = 20_000;
/** Milliseconds of one search: less than the deadline of a call, so that the caller gets what was found. */
export const MAX_FIND_MS = 10_000;
/** Characters of a pattern. */
export const MAX_FILE_PATTERN_CHARS = 200;
/** Files and directories below the root: they are counted at the first put, and every {@link MEASURE_AGAIN_MS}. */
export const MAX_FILES = 100_000;
/** Milliseconds after which the files are counted again, since other programs may change them. */
export const MEASURE_AGAIN_MS = 10 * 60_000;
/** Milliseconds after which a temporary file of a put is left over from a process that died. */
export const LEFTOVER_MS = 60 * 60_000;
/**
 * Bytes of the disk that puts leave free, at most; a tenth of a small disk. The store of the deployment may be on the same
 * disk.
 */
export const MAX_RESERVED_BYTES = 64 * 1024 * 1024;
/** Operations on the disk at the same time: Node.js has four threads for files. */
export const FILE_CONCURRENCY = 8;
/** Operations that wait for others; further ones are refused. */
export const MAX_FILE_WAITING = 1000;
/** Files that are open for downloads. */
export const MAX_OPEN_FILES = 200;

/** The limits that tests make smaller. */
export interface FileLimits {
  readonly callBytes: number;
  readonly directoryEntries: number;
  readonly listedEntries: number;
  readonly found: number;
  readonly visited: number;
  readonly findMs: number;
  readonly files: number;
  readonly concurrency: number;
  readonly waiting: number;
  readonly openFiles: number;
}

export const FILE_LIMITS: FileLimits = {
  callBytes: MAX_FILE_CALL_BYTES,
  directoryEntries: MAX_DIRECTORY_ENTRIES,
  listedEntries: MAX_LISTED_ENTRIES,
  found: MAX_FOUND,
  visited: MAX_VISITED,
  findMs: MAX_FIND_MS,
  files: MAX_FILES,
  concurrency: FILE_CONCURRENCY,
  waiting: MAX_FILE_WAITING,
  openFiles: MAX_OPEN_FILES,
};
