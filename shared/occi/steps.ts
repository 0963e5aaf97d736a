/** Work on more entities than one transaction takes, and perhaps than one request has time for: in bounded steps. */
import type { Clock } from '../clock';
import { requireWanted } from '../waiting';
import { STEPS_BUDGET_MS } from './limits';

export interface Progress {
  /** Entities worked on. */
  readonly done: number;
  /** False when there may be more: the same request again goes on from there. */
  readonly isComplete: boolean;
}

export interface Step {
  readonly done: number;
  readonly isLast: boolean;
}

/** Runs steps, one transaction each, for as long as one request may take and its client waits. */
export async function inSteps(
  clock: Pick<Clock, 'now'>,
  signal: AbortSignal | undefined,
  step: () => Promise<Step>,
): Promise<Progress> {
  const end = clock.now() + STEPS_BUDGET_MS;
  for (let done = 0; ;) {
    requireWanted(signal);
    const { done: some, isLast } = await step();
    done += some;
    if (isLast) return { done, isComplete: true };
    if (clock.now() >= end) return { done, isComplete: false };
  }
}
