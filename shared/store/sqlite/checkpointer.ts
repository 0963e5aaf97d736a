/**
 * Runs checkpoints, which copy the write-ahead log into the database, on a thread of its own: a checkpoint writes and
 * syncs for tens of milliseconds, in which SQLite's automatic checkpoint would block the event loop
 * (`test/integration/store-durability.test.ts`, "the write-ahead log").
 *
 * A checkpoint beside running writes does not reach the end of the log, and only then can the log start over. So when
 * the log is long, writes wait for one more pass over the rest; reads go on. A reader in another process (a backup) can
 * keep a pass from finishing; then the log grows, and the next pass comes after `CHECKPOINT_RETRY_MS`.
 */
import { Worker } from 'node:worker_threads';
import { CHECKPOINT_PAGES, DATABASE_BUSY_MS } from './limits';
import { type Log } from '../../log';

/** Pages in the log after which writes wait for the checkpoint, so that the log starts over (32 MiB). */
export const MAX_WAL_PAGES = 8000;
/** Milliseconds before the next pass after a reader kept one from finishing. */
const CHECKPOINT_RETRY_MS = 5000;

/** The program of the thread, as text, so that bundles need no further file. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const { DatabaseSync } = require(workerData.binding);
const db = new DatabaseSync(workerData.path, { timeout: workerData.busyMs });
const checkpoint = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');
parentPort.on('message', (request) => {
  if (request === 'close') {
    db.close();
    parentPort.close();
    return;
  }
  try {
    const { log, checkpointed } = checkpoint.get();
    parentPort.postMessage({ log, checkpointed });
  } catch (error) {
    parentPort.postMessage({ failure: String(error) });
  }
});
`;

interface PassResult {
  readonly log?: number;
  readonly checkpointed?: number;
  readonly failure?: string;
}

export interface CheckpointerOptions {
  readonly path: string;
  readonly log: Log;
  /** Called after each pass: writes may go on. */
  readonly onPass: () => void;
  /** Called when the thread has failed: checkpoints have to run inside commits. */
  readonly onUnavailable: () => void;
}

/** `beside`: writes go on during the pass. `last`: writes wait, so that the pass reaches the end of the log. */
type Phase = 'idle' | 'beside' | 'last' | 'unavailable';

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #worker: Worker | undefined;
  #exited: Promise<void> = Promise.resolve();
  #phase: Phase = 'idle';
  #isHolding = false;
  #retryAt = 0;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
  }

  /** True while writes must wait. */
  get holdsWrites(): boolean {
    return this.#isHolding;
  }

  /** To be called after commits, with the pages in the log and those of them that are in the database. */
  observe(pages: number, checkpointed: number): void {
    if (this.#phase === 'unavailable') return;
    if (pages - checkpointed < CHECKPOINT_PAGES && pages < MAX_WAL_PAGES) return;
    if (performance.now() < this.#retryAt) return;
    if (pages >= MAX_WAL_PAGES) this.#isHolding = true;
    if (this.#phase === 'idle') this.#start(this.#isHolding ? 'last' : 'beside');
  }

  #start(phase: 'beside' | 'last'): void {
    this.#phase = phase;
    this.#worker ??= this.#launch();
    this.#worker.ref(); // Waiting writes keep the program alive.
    this.#worker.postMessage('checkpoint');
  }

  #launch(): Worker {
    const worker = new Worker(THREAD, {
      eval: true,
      workerData: {
        binding: require.resolve('@photostructure/sqlite'),
        path: this.#options.path,
        busyMs: DATABASE_BUSY_MS,
      },
    });
    worker.on('message', (result: PassResult) => this.#passed(result));
    worker.on('error', (error) => {
      this.#options.log.error('the checkpoint thread failed; checkpoints run inside commits now', {
        cause: error,
      });
      this.#phase = 'unavailable';
      this.#isHolding = false;
      this.#options.onUnavailable();
      this.#options.onPass();
    });
    this.#exited = new Promise((resolve) => worker.once('exit', () => resolve()));
    return worker;
  }

  #passed({ log = 0, checkpointed = 0, failure }: PassResult): void {
    if (this.#phase === 'unavailable') return;
    this.#worker?.unref();
    if (failure !== undefined) {
      this.#options.log.warn('a checkpoint failed; the write-ahead log grows until one succeeds', { failure });
    } else if (this.#phase === 'beside' && this.#isHolding) {
      this.#start('last');
      return;
    }
    if (failure !== undefined || (this.#phase === 'last' && checkpointed < log)) {
      this.#retryAt = performance.now() + CHECKPOINT_RETRY_MS;
    }
    this.#phase = 'idle';
    this.#isHolding = false;
    this.#options.onPass();
  }

  async close(): Promise<void> {
    this.#phase = 'unavailable';
    this.#isHolding = false;
    this.#worker?.ref();
    this.#worker?.postMessage('close');
    await this.#exited;
  }
}
