/** Turns for operations on the disk: a few at a time, some wait, and further ones are refused. */
import { CmbsError } from '../../../errors';

export interface TurnLimits {
  readonly concurrency: number;
  readonly waiting: number;
}

export class Turns {
  readonly #limits: TurnLimits;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limits: TurnLimits) {
    this.#limits = limits;
  }

  /** @throws CmbsError `queue_full`, and the error of the work */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#limits.concurrency) this.#running += 1;
    else await this.#place();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  #place(): Promise<void> {
    if (this.#waiting.length >= this.#limits.waiting) return Promise.reject(tooBusy());
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }
}

export const tooBusy = (): CmbsError =>
  new CmbsError('queue_full', 'Too many operations on files are under way; repeat this one later.', {
    headers: { 'Retry-After': '1' },
  });

/** Work under one name, one after the other; a failure does not stop what comes after it. */
export class Sequences {
  readonly #last = new Map<string, Promise<unknown>>();
  readonly #atMost: number;
  #pending = 0;

  /** @param atMost work under all names together, running or waiting */
  constructor(atMost: number) {
    this.#atMost = atMost;
  }

  /** @throws CmbsError `queue_full`, and the error of the work */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (this.#pending >= this.#atMost) throw tooBusy();
    this.#pending += 1;
    const before = this.#last.get(key);
    const mine = before === undefined ? work() : before.then(work, work);
    this.#last.set(key, mine);
    try {
      return await mine;
    } finally {
      this.#pending -= 1;
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}
