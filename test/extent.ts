/** How much a run does. The nightly run repeats more, and has the long suites. */

export const isNightly = process.env.CMBS_TEST_NIGHTLY === 'true';

/** The first number in `npm test`, the second in `npm run test:nightly`. */
export const extent = (daily: number, nightly: number): number => (isNightly ? nightly : daily);
