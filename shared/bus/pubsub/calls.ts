/**
 * Calls to Pub/Sub with a deadline of our own: Google's client would retry for ten minutes
 * (`test/cloud/faults-publishing.test.ts`, "while a member starts a topic layer").
 */
import type { CallOptions } from 'google-gax';
import type { Clock } from '../../clock';
import { STATUS } from '../../grpc-status';
import { inTime } from '../../waiting';
import { lateError, toBusError } from './errors';

export class PubsubCalls {
  readonly #clock: Clock;
  readonly #callMs: number;

  /** @param callMs milliseconds for one call, its retries included */
  constructor(clock: Clock, callMs: number) {
    this.#clock = clock;
    this.#callMs = callMs;
  }

  /** The same deadline as the client's option, so that the client retries within it. */
  get options(): CallOptions {
    return {
      timeout: this.#callMs,
      retry: {
        retryCodes: [STATUS.unavailable, STATUS.aborted],
        backoffSettings: {
          initialRetryDelayMillis: 100,
          retryDelayMultiplier: 2,
          maxRetryDelayMillis: 2000,
          initialRpcTimeoutMillis: this.#callMs,
          rpcTimeoutMultiplier: 1,
          maxRpcTimeoutMillis: this.#callMs,
          totalTimeoutMillis: this.#callMs,
        },
      },
    };
  }

  /**
   * Awaits `work`, within the deadline.
   *
   * @param action for the error message, after "Pub/Sub could not": "publish on weather.tokyo"
   * @throws CmbsError see {@link toBusError}
   */
  async run<T>(action: string, work: () => Promise<T>): Promise<T> {
    try {
      return await inTime(this.#clock, this.#callMs, work, () => lateError(action));
    } catch (error) {
      throw toBusError(error, action);
    }
  }
}
