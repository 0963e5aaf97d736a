/**
 * Copies the write-ahead log into the database on a thread of its own, because a checkpoint writes and syncs for
 * tens of milliseconds in which the event loop would stand still.
 *
 * A checkpoint beside running writes never reaches the end of the log, and only then can the log start over. So when
 * the log has grown long, writes wait for one more pass, over the little that came in during the last; reads and the
 * rest of the program go on. A reader elsewhere (a backup) can keep a pass from finishing: then the log grows until
 * the reader is done, and the next try comes after a while.
 */
import { Worker } from 'node:worker_threads';
import { CHECKPOINT_PAGES, DATABASE_BUSY_MS } from './limits';
import { type Log } from '../../log';

/** Pages in the log after which writes wait for the checkpoint, so that the log starts over (32 MiB). */
export const MAX_WAL_PAGES = 8000;
/** Milliseconds until writes wait for a checkpoint again after a reader (a backup) kept it from finishing. */
const CHECKPOINT_RETRY_MS = 5000;

/** Runs in the thread. Text, so that every bundle and test runner carries it without a file beside the program. */
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
  /** Called after each pass: writes may go on, and the log file may be checked. */
  readonly onPass: () => void;
  /** The thread cannot run; checkpoints must happen inside commits. */
  readonly onUnavailable: () => void;
}

/** `beside`: writes may go on meanwhile. `last`: none do, so this pass finds all that there is. */
type Phase = 'idle' | 'beside' | 'last' | 'unavailable';

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #worker: Worker | undefined;
  #exited: Promise<void> = Promise.resolve();
  #phase: Phase = 'idle';
  #holding = false;
  #retryAt = 0;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
  }

  /** True while writes must wait. */
  get holdsWrites(): boolean {
    return this.#holding;
  }

  /** After a commit: pages in the log, and how many of them are in the database already. */
  observe(pages: number, checkpointed: number): void {
    if (this.#phase === 'unavailable') return;
    if (pages - checkpointed < CHECKPOINT_PAGES && pages < MAX_WAL_PAGES) return;
    // A monotonic clock: this is about how long to leave a reader alone, not about the time of day.
    if (performance.now() < this.#retryAt) return;
    if (pages >= MAX_WAL_PAGES) this.#holding = true;
    if (this.#phase === 'idle') this.#start(this.#holding ? 'last' : 'beside');
  }

  #start(phase: 'beside' | 'last'): void {
    this.#phase = phase;
    this.#worker ??= this.#launch();
    this.#worker.ref(); // Writes that wait keep the program alive.
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
      this.#holding = false;
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
    } else if (this.#phase === 'beside' && this.#holding) {
      this.#start('last');
      return;
    }
    if (failure !== undefined || (this.#phase === 'last' && checkpointed < log)) {
      this.#retryAt = performance.now() + CHECKPOINT_RETRY_MS;
    }
    this.#phase = 'idle';
    this.#holding = false;
    this.#options.onPass();
  }

  async close(): Promise<void> {
    this.#phase = 'unavailable';
    this.#holding = false;
    this.#worker?.ref();
    this.#worker?.postMessage('close');
    await this.#exited;
  }
}
