/** The seed of a run, from which its random choices follow. Every run prints the seed; `CMBS_TEST_SEED` sets it. */

export const SEED = Number(process.env.CMBS_TEST_SEED);
if (!Number.isSafeInteger(SEED)) throw new Error('CMBS_TEST_SEED must be an integer.');

/** Random numbers from 0 up to but not including 1 (mulberry32), the same for the same seed. */
export function randomFrom(seed = SEED): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
