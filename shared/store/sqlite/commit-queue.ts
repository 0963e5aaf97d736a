/**
 * Group commit: the work that waits at the end of a turn of the event loop shares one commit, because a commit costs a
 * sync. A transaction that had too many conflicts may have the queue alone; then nothing else commits, and its reads hold
 * (`test/integration/store-durability.test.ts`, "gets the store for itself").
 */
import { setImmediate } from 'node:timers';
import { CmbsError } from '../../errors';
import { EXCLUSIVE_MS } from './limits';
import { MAX_COMMIT_WRITES } from '../../limits';

/** Characters of JSON in one commit, at most (a larger write has one alone), for the same reason as `MAX_COMMIT_WRITES`. */
const MAX_COMMIT_CHARS = 2 * 1024 * 1024;
/** Transactions and creations that wait for their commit; beyond, `queue_full`. */
export const MAX_QUEUED_COMMITS = 10_000;

/** Identifies the writer that has the queue alone. */
export type Owner = symbol;

export interface QueuedWork {
  /** Set before its commit: the work is dropped. */
  cancelled: boolean;
  /** Set when its commit begins; then it cannot be cancelled. */
  started: boolean;
  readonly owner: Owner | undefined;
  readonly writes: number;
  readonly chars: number;
}

export interface CommitQueueOptions<W> {
  /** Commits the batch: settles each member and does not throw. */
  readonly commit: (batch: readonly W[]) => void;
  /** While false nothing is committed; call {@link CommitQueue.wake} when that may have changed. */
  readonly ready: () => boolean;
}

export class CommitQueue<W extends QueuedWork> {
  readonly #options: CommitQueueOptions<W>;
  #queue: W[] = [];
  #scheduled = false;
  #owner: Owner | undefined;
  readonly #waitingOwners: (() => void)[] = [];
  #onIdle: (() => void)[] = [];

  constructor(options: CommitQueueOptions<W>) {
    this.#options = options;
  }

  /** @throws CmbsError `queue_full` */
  add(work: W): void {
    // The writer that has the queue alone must not be refused: the others wait for it.
    if (this.#queue.length >= MAX_QUEUED_COMMITS && work.owner === undefined) throw full();
    this.#queue.push(work);
    this.wake();
  }

  /** Commits the waiting work at the end of this turn of the event loop. */
  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#drain();
    });
  }

  #drain(): void {
    if (this.#options.ready()) {
      const batch = this.#take();
      if (batch.length > 0) {
        for (const work of batch) work.started = true;
        this.#options.commit(batch);
        if (this.#queue.length > 0) this.wake();
      }
    }
    if (this.#queue.length === 0) {
      const waiting = this.#onIdle;
      this.#onIdle = [];
      for (const resolve of waiting) resolve();
    }
  }

  #take(): readonly W[] {
    if (this.#owner !== undefined) {
      const i = this.#queue.findIndex(({ owner }) => owner === this.#owner);
      return i < 0 ? [] : this.#queue.splice(i, 1).filter(({ cancelled }) => !cancelled);
    }
    let writes = 0;
    let chars = 0;
    let taken = 0;
    for (const work of this.#queue) {
      if (!work.cancelled) {
        writes += work.writes;
        chars += work.chars;
        if (taken > 0 && (writes > MAX_COMMIT_WRITES || chars > MAX_COMMIT_CHARS)) break;
      }
      taken++;
    }
    return this.#queue.splice(0, taken).filter(({ cancelled }) => !cancelled);
  }

  /** Runs `task` while only work of its owner is committed; such tasks run one after the other. */
  async exclusively<T>(task: (owner: Owner) => Promise<T>): Promise<T> {
    const owner = Symbol('exclusive');
    if (this.#owner !== undefined) {
      if (this.#waitingOwners.length >= MAX_QUEUED_COMMITS) throw full();
      await new Promise<void>((resolve) => this.#waitingOwners.push(resolve));
    }
    this.#owner = owner;
    try {
      return await task(owner);
    } finally {
      const next = this.#waitingOwners.shift();
      // The next owner follows at once; other work is committed after the last owner.
      if (next === undefined) this.#owner = undefined;
      else next();
      this.wake();
    }
  }

  /** Resolves when no work waits. */
  async idle(): Promise<void> {
    if (this.#queue.length === 0) return;
    await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }
}

function full(): CmbsError {
  return new CmbsError(
    'queue_full',
    'Too many writes are waiting for the store; slow down and repeat the request.',
    {
      headers: { 'Retry-After': String(Math.ceil(EXCLUSIVE_MS / 1000)) },
    },
  );
}
