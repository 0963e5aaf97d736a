/** What a handler's failure means for a delivery. */
import { CmbsError, isOutage } from '../errors';

export interface Failure {
  readonly reason: string;
  /** Trying again cannot help: the delivery is given up at once. */
  readonly isHopeless: boolean;
  /** No fault of the delivery, which is tried again for as long as it is kept. */
  readonly isOutage: boolean;
}

export function failureOf(error: unknown): Failure {
  return {
    reason: error instanceof Error ? error.message : String(error),
    isHopeless: error instanceof CmbsError && !error.retryable,
    isOutage: isOutage(error),
  };
}
