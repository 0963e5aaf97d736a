/**
 * Limits for deployments of which a test wants anything but to see how they give up: with its own, a part that waits
 * for a busy machine loses its shard, or calls the outcome of a write unknown.
 */
export const PATIENT_LIMITS = {
  LEASE_TTL_MS: 120_000,
  LEASE_MARGIN_MS: 40_000,
  LEASE_CALL_MS: 20_000,
  FIRESTORE_READ_MS: 60_000,
  FIRESTORE_WRITE_MS: 60_000,
  PUBSUB_DEADLINE_MS: 60_000,
  LINK_PING_MS: 30_000,
} as const;
