/**
 * Limits for deployments whose time-outs are not what a test is about: with the product's own, a part that waits for a
 * busy machine loses its shard, or calls the outcome of a write unknown.
 */
import type { CloudLimits } from '@cmbs/functions/cloud';
import type { CloudCompanionLimits } from '../../companion/cloud';

/** Milliseconds. */
const PATIENT_MS = 60_000;

/** For the functions and the companion. */
export const PATIENT_LIMITS = {
  store: { readMs: PATIENT_MS, writeMs: PATIENT_MS },
  bus: { callMs: PATIENT_MS },
  readyMs: PATIENT_MS / 2,
  lease: { ttlMs: 120_000, marginMs: 40_000, callMs: 20_000 },
} as const satisfies CloudLimits & CloudCompanionLimits;
