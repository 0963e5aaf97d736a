/**
 * The host of service modules in a directory (docs/services.md). It needs threads and files, so that functions, which have
 * neither, do not import it.
 */
import inspector from 'node:inspector';

export { ModuleHost, type ModuleErrors, type ModuleHostOptions } from './host';
export { keyValueFunctions } from './kv-functions';
export { MODULE_LIMITS, type ModuleLimits } from './limits';
export { ONCE_LIMITS, type OnceLimits } from './once';
export { standardFunctions, type StandardFunctionsOptions } from './standard-functions';
export { type PortCaller, type PortFunction, PortFunctions } from './port-functions';

/** Whether a debugger can attach to this process (`--inspect`): then modules run on the main thread. */
export const isDebugged = (): boolean => inspector.url() !== undefined;
