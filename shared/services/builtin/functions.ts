/** The functions of every program for modules in a directory, such as `context.broker.send(…)` (docs/services.md). */
import type { PortFunction, PortFunctionTable } from '../port-function';
import type { Services } from '../services';
import { discoveryOperations, type DiscoveryPort } from './discovery';
import { entityCalls } from './entities';
import { fileOperations } from './file';
import type { GovernedFiles } from './files/governed-files';
import { messageCalls } from './message';
import type { DomainPorts } from './ports';

/** `broker.*` and `entities.*`. */
export const domainFunctions = ({ messaging, entities }: DomainPorts): PortFunctionTable => ({
  ...family('broker', messageCalls(messaging)),
  ...family('entities', entityCalls(entities)),
});

/** `file.*`; each refuses without files. */
export const fileFunctions = (files: GovernedFiles | undefined): PortFunctionTable =>
  family('file', fileOperations(files));

/** `discovery.*`. */
export function discoveryFunctions(discovery: DiscoveryPort): PortFunctionTable {
  const { list_names: listNames, ...operations } = discoveryOperations(discovery);
  return family('discovery', { ...operations, listNames });
}

const family = (name: string, calls: PortFunctionTable): PortFunctionTable =>
  Object.fromEntries(Object.entries(calls).map(([call, run]) => [`${name}.${call}`, run]));

/** The methods of `schedule`, by the names that they have in modules. */
const METHODS = {
  at: 'at',
  every: 'every',
  cron: 'cron',
  get: 'get',
  list: 'list',
  cancel: 'cancel',
  pause: 'pause',
  resume: 'resume',
  runNow: 'run_now',
} as const;

/** `schedule.*`. Each is a call of the method, with the decision that every call passes. */
export function scheduleFunctions(services: Pick<Services, 'call'>): PortFunctionTable {
  const callOf =
    (method: string): PortFunction =>
    ({ module: _module, methodName: _methodName, depth, ...caller }, args) =>
      services.call(`schedule.${method}`, args, { ...caller, depth: depth + 1, way: 'method' });
  return Object.fromEntries(Object.entries(METHODS).map(([name, method]) => [`schedule.${name}`, callOf(method)]));
}
