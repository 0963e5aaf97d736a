/** The assembled domain: what functions, the local stack and the methods of modules use. */
export { type Domain, type DomainConfig, type DomainEngines, openDomain } from './domain';
