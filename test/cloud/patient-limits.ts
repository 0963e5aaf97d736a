/**
 * Limits for deployments whose time-outs are not what a test is about: with the product's own, a part that waits for a
 * busy machine loses its shard, or calls the outcome of a write unknown.
 */
import type { CloudLimits } from '@cmbs/functions/cloud';

/** Milliseconds. */
const PATIENT_MS = 60_000;

export const PATIENT_LIMITS: CloudLimits = {
  store: { readMs: PATIENT_MS, writeMs: PATIENT_MS },
  bus: { callMs: PATIENT_MS },
  readyMs: PATIENT_MS / 2,
};

// Replace those of `@cmbs/shared/limits`.
export const LEASE_TTL_MS = 120_000;
export const LEASE_MARGIN_MS = 40_000;
export const LEASE_CALL_MS = 20_000;
