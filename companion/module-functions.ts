/** The functions of the program for modules in a directory, such as `context.broker.send(…)` (docs/services.md). */
import {
  discoveryOperations,
  type DiscoveryPort,
  type DomainPorts,
  entityCalls,
  fileOperations,
  type GovernedFiles,
  messageCalls,
} from '@cmbs/shared/services/builtin';
import type { PortFunction } from '@cmbs/shared/services/modules';

/** By name. The caller of each is the caller of the method, or in `startup` the module itself. */
type Functions = Readonly<Record<string, PortFunction>>;

/** `broker.*` and `entities.*`. */
export const domainFunctions = ({ messaging, entities }: DomainPorts): Functions => ({
  ...family('broker', messageCalls(messaging)),
  ...family('entities', entityCalls(entities)),
});

/** `file.*`; each refuses without files. */
export const fileFunctions = (files: GovernedFiles | undefined): Functions =>
  family('file', fileOperations(files));

/** `discovery.*`. */
export function discoveryFunctions(discovery: DiscoveryPort): Functions {
  const { list_names: listNames, ...operations } = discoveryOperations(discovery);
  return family('discovery', { ...operations, listNames });
}

const family = (name: string, calls: Functions): Functions =>
  Object.fromEntries(Object.entries(calls).map(([call, run]) => [`${name}.${call}`, run]));
