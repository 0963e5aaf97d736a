/**
 * Limits for deployments of which a test wants anything but to see how they give up: with its own, a part that waits
 * for a busy machine loses its shard, or calls the outcome of a write unknown.
 */
export const LEASE_TTL_MS = 120_000;
export const LEASE_MARGIN_MS = 40_000;
export const LEASE_CALL_MS = 20_000;
export const FIRESTORE_READ_MS = 60_000;
export const FIRESTORE_WRITE_MS = 60_000;
export const PUBSUB_DEADLINE_MS = 60_000;
export const RPC_PING_MS = 30_000;
