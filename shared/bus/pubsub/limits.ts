/** Limits that several files of this folder share: each with its unit and reason. */

/** Messages, and bytes of them, that one stream of a subscription brings before some are settled. */
export const STREAM_MESSAGES = 64;
export const STREAM_BYTES = 8 * 1024 * 1024;
/** Milliseconds without a message until the subscription to a topic that is not wanted any more counts as read to its end. */
export const RETIRED_IDLE_MS = 60_000;
/** Calls of Pub/Sub's administration under way at the same time. */
export const PUBSUB_ADMIN_CONCURRENCY = 16;
