/** The functions of every program for modules in a directory, such as `context.broker.send(…)` (docs/services.md). */
import type { PortFunction, PortFunctionTable } from '../port-function';
import type { Services } from '../services';
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

const family = (name: string, calls: PortFunctionTable): PortFunctionTable =>
  Object.fromEntries(Object.entries(calls).map(([call, run]) => [`${name}.${call}`, run]));

/** Methods by the names that they have in modules. */
const SCHEDULE_METHODS = {
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
const DISCOVERY_METHODS = {
  register: 'register',
  find: 'find',
  listNames: 'list_names',
  deregister: 'deregister',
  expire: 'expire',
} as const;

/** `schedule.*`. */
export const scheduleFunctions = (services: Pick<Services, 'call'>): PortFunctionTable =>
  methodCalls(services, 'schedule', SCHEDULE_METHODS);

/** `discovery.*`. */
export const discoveryFunctions = (services: Pick<Services, 'call'>): PortFunctionTable =>
  methodCalls(services, 'discovery', DISCOVERY_METHODS);

/** Functions that call methods of a built-in module, with the decision that every call passes. */
function methodCalls(
  services: Pick<Services, 'call'>,
  module: string,
  methods: Readonly<Record<string, string>>,
): PortFunctionTable {
  const callOf =
    (method: string): PortFunction =>
    ({ module: _module, methodName: _methodName, depth, ...caller }, args) =>
      services.call(`${module}.${method}`, args, { ...caller, depth: depth + 1, way: 'method' });
  return family(
    module,
    Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, callOf(method)])),
  );
}
