/** The companion's public door. */
export { localAddresses } from './address-policy';
export { Companion, type CompanionOptions } from './companion';
export { companionGauges, prometheusMetrics } from './metrics';
