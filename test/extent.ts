/** The size of a run. The nightly run repeats more and includes the long suites. */

export const isNightly = process.env.CMBS_TEST_NIGHTLY === 'true';

/** Returns the first number in `npm test`, the second in `npm run test:nightly`. */
export const extent = (daily: number, nightly: number): number => (isNightly ? nightly : daily);
