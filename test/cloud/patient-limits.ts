/**
 * Limits for tests that do not test time-outs: with the product's limits, a companion on a busy machine may lose its
 * shard, or report an unknown outcome of a write.
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
