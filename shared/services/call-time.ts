/** How long a call may take, and the wait for its result. */
import type { Clock } from '../clock';
import type { Value } from './value';

/**
 * The time of a call: until its caller leaves, or its deadline. The signal is made on first use, since many methods answer
 * at once, and a signal takes longer than they do.
 */
export class CallTime {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #caller: AbortSignal;
  readonly #deadline = { isOver: false };
  #hasEnded = false;
  #signal: AbortSignal | undefined;
  #cancel: () => void = () => undefined;

  constructor(clock: Clock, ms: number, caller: AbortSignal) {
    this.#clock = clock;
    this.#ms = ms;
    this.#caller = caller;
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      // A method may look at the signal after it has answered.
      if (this.#hasEnded) return this.#caller;
      const controller = new AbortController();
      this.#cancel = this.#clock.after(this.#ms, () => {
        this.#deadline.isOver = true;
        controller.abort();
      });
      this.#signal = AbortSignal.any([this.#caller, controller.signal]);
    }
    return this.#signal;
  }

  /** Whether the deadline has passed. */
  get isOver(): boolean {
    return this.#deadline.isOver;
  }

  end(): void {
    this.#hasEnded = true;
    this.#cancel();
  }
}

/** Whether a method has returned a promise. */
export const isPromise = (value: Promise<Value> | Value): value is Promise<Value> =>
  typeof (value as { readonly then?: unknown } | null)?.then === 'function';

/** Stands for a call that was given up. */
export const ABORTED = Symbol('aborted');

/** The result, or {@link ABORTED} when the signal aborts first. Rejects as `running`. */
export async function resultOrAbort<T>(running: Promise<T>, signal: AbortSignal): Promise<T | typeof ABORTED> {
  let onAbort = (): void => undefined;
  const aborted = new Promise<typeof ABORTED>((resolve) => {
    onAbort = () => resolve(ABORTED);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([running, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
