/**
 * Group commit: what waits at the end of a turn of the event loop shares one commit. A transaction that contention
 * made run too often may take the queue for itself for a moment; then nothing else commits, and what it reads holds.
 */
import { setImmediate } from 'node:timers';
import { CmbsError } from '../../errors';
import { EXCLUSIVE_HOLD_MS } from './limits';
import { MAX_COMMIT_WRITES } from '../../limits';

/** Characters of JSON that share one commit, at most (one larger write goes alone), for the same reason. */
const MAX_COMMIT_CHARS = 2 * 1024 * 1024;
/** Transactions and creates that wait for their commit; beyond, callers are told `queue_full`. */
export const MAX_QUEUED_COMMITS = 10_000;

/** One writer's identity while it has the queue for itself. */
export type Owner = symbol;

export interface QueuedWork {
  /** Set while it waits: it is dropped, and nothing of it written. */
  cancelled: boolean;
  /** Set when its commit begins; from then on it cannot be cancelled. */
  started: boolean;
  readonly owner: Owner | undefined;
  readonly writes: number;
  readonly chars: number;
}

export interface CommitQueueOptions<W> {
  /** Commits the batch; must settle each of its members and not throw. */
  readonly commit: (batch: readonly W[]) => void;
  /** While false nothing is committed; {@link CommitQueue.wake} when that may have changed. */
  readonly ready: () => boolean;
}

export class CommitQueue<W extends QueuedWork> {
  readonly #options: CommitQueueOptions<W>;
  #queue: W[] = [];
  #scheduled = false;
  #holder: Owner | undefined;
  readonly #wantToHold: (() => void)[] = [];
  #onIdle: (() => void)[] = [];

  constructor(options: CommitQueueOptions<W>) {
    this.#options = options;
  }

  /** Throws `queue_full`. */
  add(work: W): void {
    // Whoever holds the queue must get through, or the others behind it never would.
    if (this.#queue.length >= MAX_QUEUED_COMMITS && work.owner === undefined) throw full();
    this.#queue.push(work);
    this.wake();
  }

  /** Commits what waits, at the end of this turn. */
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
    if (this.#holder !== undefined) {
      const i = this.#queue.findIndex(({ owner }) => owner === this.#holder);
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

  /** Runs `task` while only work of its owner is committed, one task after the other. */
  async exclusively<T>(task: (owner: Owner) => Promise<T>): Promise<T> {
    const owner = Symbol('exclusive');
    if (this.#holder !== undefined) {
      if (this.#wantToHold.length >= MAX_QUEUED_COMMITS) throw full();
      await new Promise<void>((resolve) => this.#wantToHold.push(resolve));
    }
    this.#holder = owner;
    try {
      return await task(owner);
    } finally {
      const next = this.#wantToHold.shift();
      // Handed on without a gap, so that nobody takes it in between; what has waited comes after the last of them.
      if (next === undefined) this.#holder = undefined;
      else next();
      this.wake();
    }
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    if (this.#queue.length === 0) return;
    await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }
}

function full(): CmbsError {
  return new CmbsError('queue_full', 'Too many writes wait for the store; slow down and repeat the request.', {
    headers: { 'Retry-After': String(Math.ceil(EXCLUSIVE_HOLD_MS / 1000)) },
  });
}
