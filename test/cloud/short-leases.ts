/** Limits for tests that wait until Pub/Sub offers again what a reader had that is gone. */
export const SHORT_LEASES = {
  /** The least that Pub/Sub takes. */
  PUBSUB_ACK_DEADLINE_S: 10,
} as const;
