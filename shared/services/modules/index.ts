/**
 * The host of service modules in a directory (docs/services.md). It needs threads and files.
 */
export { ModuleHost, type ModuleErrors, type ModuleHostOptions } from './host';
export { MODULE_LIMITS, type ModuleLimits } from './limits';
export { ONCE_LIMITS, type OnceLimits } from './once';
export { standardFunctions, type StandardFunctionsOptions } from './standard-functions';
export { isDebugged, type ModuleAdditions, type ModuleEnvironment, openModules } from './open';
export { PortFunctions } from './port-functions';
