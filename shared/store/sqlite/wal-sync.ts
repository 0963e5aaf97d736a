/**
 * Makes commits durable without stopping the event loop.
 *
 * With `synchronous=FULL` SQLite appends a commit to the write-ahead log and then syncs the log, inside COMMIT. With
 * NORMAL it leaves out exactly that sync and keeps the others: of the log before a checkpoint copies from it, of the
 * database before the log starts over, of the log's header when it does (https://sqlite.org/pragma.html#pragma_synchronous).
 * So NORMAL plus our own sync of the log, after COMMIT and before anybody is told, gives what FULL gives. It runs on
 * libuv's pool, and commits that follow go on meanwhile; one sync covers all commits before it.
 *
 * A descriptor of our own is harmless: the locks that POSIX drops when any descriptor of a file closes are on the
 * database and on the `-shm` file, never on the `-wal` file. The log keeps its inode for as long as a connection is
 * open, since it is reset in place.
 */
import { closeSync, fdatasync, openSync } from 'node:fs';

interface Waiting {
  readonly seq: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class WalSync {
  readonly #beforeTold: (seq: number) => void;
  readonly #onFailure: (error: Error) => void;
  readonly #descriptor: number;
  #committed: number;
  #durable: number;
  #syncing = false;
  #failure: Error | undefined;
  #waiting: Waiting[] = [];
  #closed: (() => void) | undefined;

  /**
   * `durable`: the last commit that is on the disk when the store opens. `beforeTold`: all commits up to this one are on the disk, and nobody knows yet; what it throws is a failure. `onFailure`:
   * a sync failed. What was written since the last one may be lost even if a later one succeeds.
   */
  constructor(
    path: string,
    durable: number,
    beforeTold: (seq: number) => void,
    onFailure: (error: Error) => void,
  ) {
    this.#committed = durable;
    this.#durable = durable;
    this.#beforeTold = beforeTold;
    this.#onFailure = onFailure;
    this.#descriptor = openSync(path, 'r+');
  }

  /** True while a sync is on its way. */
  get busy(): boolean {
    return this.#syncing;
  }

  /** Commit number `seq` is in the log; starts to make it durable. */
  committed(seq: number): void {
    this.#committed = seq;
    if (!this.#syncing) this.#sync();
  }

  isDurable(seq: number): boolean {
    return seq <= this.#durable;
  }

  /** Calls one of the two when commit `seq` is on the disk, or will never be known to be. */
  whenDurable(seq: number, resolve: () => void, reject: (error: Error) => void): void {
    if (this.#failure !== undefined) reject(this.#failure);
    else if (seq <= this.#durable) resolve();
    else this.#waiting.push({ seq, resolve, reject });
  }

  #sync(): void {
    this.#syncing = true;
    const target = this.#committed;
    fdatasync(this.#descriptor, (syncError) => {
      this.#syncing = false;
      const error = syncError ?? this.#failureBeforeTold(target);
      if (error !== undefined) {
        this.#fail(error);
      } else {
        this.#durable = target;
        const ready = this.#waiting.findIndex(({ seq }) => seq > target);
        const done = this.#waiting.splice(0, ready < 0 ? this.#waiting.length : ready);
        if (this.#committed > target) this.#sync();
        for (const { resolve } of done) resolve();
      }
      this.#afterSync();
    });
  }

  #failureBeforeTold(seq: number): Error | undefined {
    try {
      this.#beforeTold(seq);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  #afterSync(): void {
    if (!this.#syncing) this.#closed?.();
  }

  #fail(error: Error): void {
    this.#failure = error;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#onFailure(error);
    for (const { reject } of waiting) reject(error);
  }

  /** Waits for the sync under way. */
  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    await new Promise<void>((resolve) => {
      this.#closed = resolve;
      if (!this.#syncing) resolve();
    });
    closeSync(this.#descriptor);
  }
}
