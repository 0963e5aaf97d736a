/** Work on more entities than one transaction takes, or than one request has time for, in bounded steps. */
import type { Clock } from '../clock';
import { requireWanted } from '../waiting';
import { STEPS_BUDGET_MS } from './limits';

export interface Progress {
  /** Entities worked on. */
  readonly done: number;
  /** False if entities may be left; the same request again continues. */
  readonly isComplete: boolean;
  /** Entities that stay, because the caller may see them and not do this to them. */
  readonly refused?: number;
}

export interface Step {
  readonly done: number;
  readonly isLast: boolean;
  readonly refused?: number;
}

/**
 * Runs steps, each of which is one transaction, for {@link STEPS_BUDGET_MS} at most.
 * @throws CmbsError when the client no longer waits
 */
export async function inSteps(
  clock: Pick<Clock, 'now'>,
  signal: AbortSignal | undefined,
  step: () => Promise<Step>,
): Promise<Progress> {
  const end = clock.now() + STEPS_BUDGET_MS;
  for (let done = 0, refused = 0; ;) {
    requireWanted(signal);
    const made = await step();
    done += made.done;
    refused += made.refused ?? 0;
    const more = refused === 0 ? {} : { refused };
    if (made.isLast) return { done, isComplete: true, ...more };
    if (clock.now() >= end) return { done, isComplete: false, ...more };
  }
}

/** Does several pieces of work one after another, and stops after the first that is not complete. */
export async function inTurn<T>(items: Iterable<T>, work: (item: T) => Promise<Progress>): Promise<Progress> {
  let done = 0;
  for (const item of items) {
    const progress = await work(item);
    done += progress.done;
    if (!progress.isComplete) return { done, isComplete: false };
  }
  return { done, isComplete: true };
}
