/** Runs of scrypt, of which only few happen at a time: each takes 32 MiB, and a thread that files and DNS need too. */
import { scrypt as nodeScrypt } from 'node:crypto';
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';

export interface ScryptParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
  /** Bytes of the result. */
  readonly bytes: number;
}

export type Scrypt = (password: Buffer, salt: Buffer, parameters: ScryptParameters) => Promise<Buffer>;

/** On libuv's thread pool. */
const scryptOnThread: Scrypt = (password, salt, { N, r, p, bytes }) =>
  new Promise((resolve, reject) => {
    // RFC 7914 §2: 128 * N * r bytes, and 128 * r * p for the blocks. Node's own limit is exactly 32 MiB, too little.
    const maxmem = 128 * r * (N + p + 2) * 2;
    nodeScrypt(password, salt, bytes, { N, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });

export interface ScryptRunsOptions {
  readonly clock: Pick<Clock, 'after'>;
  /** Runs at a time: half of the threads that Node has by default. */
  readonly concurrency?: number;
  /** Runs that wait: about 3 seconds of work. */
  readonly maxWaiting?: number;
  /** Milliseconds to wait for a turn. */
  readonly maxWaitMs?: number;
  readonly scrypt?: Scrypt;
}

const CONCURRENCY = 2;
const MAX_WAITING = 64;
const MAX_WAIT_MS = 5000;

/** One for each process: logins and changes of passwords share it. */
export class ScryptRuns {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #concurrency: number;
  readonly #maxWaiting: number;
  readonly #maxWaitMs: number;
  readonly #scrypt: Scrypt;
  /** Each gives its owner a turn; in the order of arrival. */
  readonly #waiting = new Set<() => void>();
  #running = 0;

  constructor(options: ScryptRunsOptions) {
    this.#clock = options.clock;
    this.#concurrency = options.concurrency ?? CONCURRENCY;
    this.#maxWaiting = options.maxWaiting ?? MAX_WAITING;
    this.#maxWaitMs = options.maxWaitMs ?? MAX_WAIT_MS;
    this.#scrypt = options.scrypt ?? scryptOnThread;
  }

  /** @throws CmbsError `queue_full` when too many runs wait, or this one has waited too long */
  readonly run: Scrypt = async (...call) => {
    await this.#turn();
    try {
      return await this.#scrypt(...call);
    } finally {
      this.#giveTurn();
    }
  };

  #turn(): Promise<void> {
    if (this.#running < this.#concurrency) {
      this.#running += 1;
      return Promise.resolve();
    }
    if (this.#waiting.size >= this.#maxWaiting) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      const start = (): void => {
        cancel();
        resolve();
      };
      const cancel = this.#clock.after(this.#maxWaitMs, () => {
        this.#waiting.delete(start);
        reject(busy());
      });
      this.#waiting.add(start);
    });
  }

  #giveTurn(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}

export const busy = (): CmbsError =>
  new CmbsError('queue_full', 'Too many passwords are being checked; repeat the request later.', {
    headers: { 'Retry-After': '2' },
  });
