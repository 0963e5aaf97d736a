/** Limits of every engine of the bus. */

/** Patterns of one subscription, at most. */
export const MAX_SUBSCRIPTION_PATTERNS = 1000;
/** Milliseconds for which an unacknowledged delivery is kept: 7 days, as in Pub/Sub. */
export const BUS_RETENTION_MS = 7 * 24 * 3600 * 1000;
/** Milliseconds before the second attempt, at most; doubled for each further one. */
export const BUS_BACKOFF_FIRST_MS = 250;
/** Milliseconds between two attempts, at most (docs/guarantees.md). */
export const BUS_BACKOFF_MAX_MS = 15_000;
/** Attempts before a delivery becomes a dead letter: about three minutes with the back-off above. */
export const BUS_MAX_ATTEMPTS = 20;
/** Publications that are not durable yet; beyond, `queue_full`. */
export const MAX_QUEUED_PUBLICATIONS = 10_000;
/** Topics that one process remembers, with their subscriptions or their handle. */
export const MAX_REMEMBERED_TOPICS = 10_000;
