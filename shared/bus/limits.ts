/** Limits that several files of this folder share: each with its unit and reason. */

/** Patterns of one subscription. */
export const MAX_SUBSCRIPTION_PATTERNS = 1000;
/** Milliseconds that an unacknowledged delivery is kept: 7 days, as in Pub/Sub. */
export const BUS_RETENTION_MS = 7 * 24 * 3600 * 1000;
/** Milliseconds before the second attempt, at most; doubles with each. */
export const BUS_BACKOFF_FIRST_MS = 250;
/** Milliseconds between attempts at most (layers.md: back-off is capped at 15 s). */
export const BUS_BACKOFF_MAX_MS = 15_000;
/** Attempts before a delivery becomes a dead letter: about three minutes with the back-off above. */
export const BUS_MAX_ATTEMPTS = 20;
/** Publications that wait for their commit; beyond, `queue_full`. */
export const MAX_QUEUED_PUBLICATIONS = 10_000;
/** Topics whose matching subscriptions are remembered. */
export const MAX_REMEMBERED_TOPICS = 10_000;
