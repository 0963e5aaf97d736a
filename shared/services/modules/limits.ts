/** Limits of service modules, each with its unit and reason; tests pass smaller ones. */

export interface ModuleLimits {
  /** Milliseconds in which a module must be imported. */
  readonly loadMs: number;
  /** Milliseconds for `startup`, during which the start of the program waits. */
  readonly startupMs: number;
  /** Milliseconds for the calls in flight and for `shutdown` when the program ends; Ctrl-C ends everything in two seconds. */
  readonly shutdownMs: number;
  /** Milliseconds for the calls in flight of a replaced version: longer than the deadline of any call. */
  readonly retireMs: number;
  /** Milliseconds without a sign of life after a cancelled call; then the worker is ended and started again. */
  readonly blockedMs: number;
  /** Calls of one module in flight, and approximate bytes of their arguments: what its thread may have to hold. */
  readonly callsInFlight: number;
  readonly bytesInFlight: number;
  /** Megabytes of the JavaScript heap of one module. */
  readonly heapMb: number;
  /** Milliseconds before the second restart in a row, which double up to the longest wait. */
  readonly restartFirstMs: number;
  readonly restartMaxMs: number;
  /** Milliseconds for which a worker lives until the next restart counts as the first. */
  readonly stableMs: number;
  /** Milliseconds from a change of a folder to the reload: a program that writes a file needs several writes. */
  readonly settleMs: number;
  /** Milliseconds between two looks at the directory, in case the watch missed a change. */
  readonly lookMs: number;
}

export const MODULE_LIMITS: ModuleLimits = {
  loadMs: 30_000,
  startupMs: 30_000,
  shutdownMs: 500,
  retireMs: 30_000,
  blockedMs: 60_000,
  callsInFlight: 10_000,
  bytesInFlight: 48 * 1024 * 1024,
  heapMb: 128,
  restartFirstMs: 500,
  restartMaxMs: 60_000,
  stableMs: 60_000,
  settleMs: 100,
  lookMs: 60_000,
};

/** Modules in a directory: each has a thread of its own. */
export const MAX_MODULES = 64;
/** Files in the folder of a module, without `node_modules`, and their bytes: a change is found by looking at all of them. */
export const MAX_FILES = 1000;
export const MAX_FOLDER_BYTES = 16 * 1024 * 1024;
/** Approximate bytes of the arguments or the result of one call: as many as the largest body of a request. */
export const MAX_VALUE_BYTES = 16 * 1024 * 1024;
/** Levels of arrays and objects in a value: twice those of JSON from outside. */
export const MAX_VALUE_DEPTH = 128;
/** Attempts to load a folder that changes while it is read; then the next change starts another. */
export const MAX_READS = 5;
/** Characters of one line in the log. */
export const MAX_LINE_CHARS = 2000;
