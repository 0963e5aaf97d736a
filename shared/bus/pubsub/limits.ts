/** Limits of the bus on Pub/Sub. */

/** Messages, and bytes of them, that one stream brings before some are settled. */
export const STREAM_MESSAGES = 64;
export const STREAM_BYTES = 8 * 1024 * 1024;
/** Milliseconds without a message after which a retired topic counts as read to its end. */
export const RETIRED_IDLE_MS = 60_000;
/** Administrative calls to Pub/Sub at the same time. */
export const PUBSUB_ADMIN_CONCURRENCY = 16;

/** Limits that {@link PubsubBusOptions} can change, for tests. */
export interface PubsubBusLimits {
  /** Milliseconds for one call: Google's client would try for ten minutes. */
  readonly callMs: number;
  /**
   * Seconds after which Pub/Sub offers a message again when its consumer has stopped; a running consumer extends the
   * lease. Pub/Sub takes 10 at least.
   */
  readonly ackDeadlineS: number;
}

export const PUBSUB_BUS_LIMITS: PubsubBusLimits = { callMs: 10_000, ackDeadlineS: 30 };
