/** The companion's public door. */
export { Companion, type CompanionOptions } from './companion';
