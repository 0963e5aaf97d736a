/** Limits that several files of this folder share: each with its unit and reason. */

/** Random digits in the file name of a Unix socket before the socket gets its own name. */
export const IPC_CLAIM_DIGITS = 16;
/** Milliseconds of the first and the longest pause between two attempts of one message (docs/layers.md). */
export const BACKOFF_FIRST_MS = 500;
export const BACKOFF_MAX_MS = 15_000;
/** Bytes of messages in flight to one peer; a larger message goes alone. */
export const DESTINATION_BYTES = 4 * 1024 * 1024;
/** Outbound messages that one destination queue holds in memory; the queue reads on from the store when half are left. */
export const DESTINATION_HELD = 256;
/** Characters of outbound messages that one read brings, about. */
export const MAX_READ_CHARS = 4 * 1024 * 1024;
/** Milliseconds that an attempt to connect may take while others wait for their turn. */
export const PROBE_MS = 1000;
/** Milliseconds that a function has to publish a message that it queued, before the companion publishes it. */
export const PUBLICATION_GRACE_MS = 5000;
