/** Limits that several files of this folder share: each with its unit and reason. */

/** Random digits in the name of the file at which a socket listens before it has its name. */
export const IPC_CLAIM_DIGITS = 16;
/** Milliseconds of the first and the longest pause between two attempts of one message (docs/layers.md). */
export const BACKOFF_FIRST_MS = 500;
export const BACKOFF_MAX_MS = 15_000;
/** Bytes of the same; a larger message goes alone. */
export const DESTINATION_BYTES = 4 * 1024 * 1024;
/** Outbound messages that one destination queue holds in memory; it reads on from the store when half are left. */
export const DESTINATION_HELD = 256;
/** Characters of outbound messages that one read for a destination brings, about. */
export const MAX_READ_CHARS = 4 * 1024 * 1024;
/** Milliseconds that an attempt to connect has while others wait for their turn. */
export const PROBE_MS = 1000;
/** Milliseconds that a function has to publish what it queued before the companion does it in its place. */
export const PUBLICATION_GRACE_MS = 5000;
