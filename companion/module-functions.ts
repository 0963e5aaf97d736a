/** The functions `broker.*` and `entities.*` of modules in a directory: `context.broker.send(…)` (docs/services.md). */
import { type DomainPorts, entityCalls, messageCalls } from '@cmbs/shared/services/builtin';
import type { PortFunction } from '@cmbs/shared/services/modules';

/** By name. The caller of each is the caller of the method, or in `startup` the module itself. */
export function domainFunctions({ messaging, entities }: DomainPorts): Readonly<Record<string, PortFunction>> {
  const named = (
    family: string,
    calls: Readonly<Record<string, PortFunction>>,
  ): readonly (readonly [string, PortFunction])[] =>
    Object.entries(calls).map(([name, call]) => [`${family}.${name}`, call]);
  return Object.fromEntries([
    ...named('broker', messageCalls(messaging)),
    ...named('entities', entityCalls(entities)),
  ]);
}
