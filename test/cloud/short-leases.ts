/** Limits for tests that wait until Pub/Sub offers again what a reader had that is gone. */

/** The least that Pub/Sub takes. */
export const PUBSUB_ACK_DEADLINE_S = 10;
