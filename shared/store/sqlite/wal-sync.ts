/**
 * Makes commits durable without blocking the event loop, and with one sync for many commits
 * (`test/integration/store-durability.test.ts`, "a write"; `test/integration/store-kill.test.ts`).
 *
 * With `synchronous=FULL` SQLite syncs the write-ahead log inside COMMIT. With NORMAL it omits exactly that sync and
 * keeps the others: of the log before a checkpoint, of the database before the log starts over, and of the log's header
 * when it does (https://sqlite.org/pragma.html#pragma_synchronous). So NORMAL with a sync of the log after COMMIT and
 * before the acknowledgement is as durable as FULL. The sync runs on libuv's thread pool, beside further commits.
 *
 * A second descriptor of the log is harmless: POSIX releases locks when any descriptor of a file is closed, and SQLite
 * locks the database and the `-shm` file but never the log. The log keeps its inode while a connection is open.
 */
import { closeSync, fdatasync, openSync } from 'node:fs';

interface Waiting {
  readonly seq: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class WalSync {
  readonly #beforeAcknowledging: (seq: number) => void;
  readonly #onFailure: (error: Error) => void;
  readonly #descriptor: number;
  #committed: number;
  #durable: number;
  #syncing = false;
  #failure: Error | undefined;
  #waiting: Waiting[] = [];
  #closed: (() => void) | undefined;

  /**
   * @param durable the last commit on the disk when the store opens
   * @param beforeAcknowledging called when all commits up to this one are on the disk, before they are acknowledged; an error of
   *   it counts as a failed sync
   * @param onFailure called when a sync failed; writes since the last sync may be lost even if a later one succeeds
   */
  constructor(
    path: string,
    durable: number,
    beforeAcknowledging: (seq: number) => void,
    onFailure: (error: Error) => void,
  ) {
    this.#committed = durable;
    this.#durable = durable;
    this.#beforeAcknowledging = beforeAcknowledging;
    this.#onFailure = onFailure;
    this.#descriptor = openSync(path, 'r+');
  }

  /** True while a sync is under way. */
  get busy(): boolean {
    return this.#syncing;
  }

  /** To be called when commit `seq` is in the log; starts a sync. */
  committed(seq: number): void {
    this.#committed = seq;
    if (!this.#syncing) this.#sync();
  }

  isDurable(seq: number): boolean {
    return seq <= this.#durable;
  }

  /** Calls `resolve` when commit `seq` is on the disk, `reject` when that cannot be known. */
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
      const error = syncError ?? this.#failureBeforeAcknowledging(target);
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

  #failureBeforeAcknowledging(seq: number): Error | undefined {
    try {
      this.#beforeAcknowledging(seq);
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
