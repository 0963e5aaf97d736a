/** Service modules of a directory, in the programs that have one: the local stack and the companion. */
import type { Clock, Log, NewId } from '@cmbs/shared';
import type { Access } from '@cmbs/shared/access';
import type { Config } from '@cmbs/shared/config';
import type { KeyValues, Services } from '@cmbs/shared/services';
import type { DomainPorts } from '@cmbs/shared/services/builtin';
import {
  isDebugged,
  keyValueFunctions,
  ModuleHost,
  type ModuleLimits,
  type OnceLimits,
  type PortFunction,
  standardFunctions,
} from '@cmbs/shared/services/modules';
import type { Store } from '@cmbs/shared/store';
import { domainFunctions } from './module-functions';

/** Additions of a program to the modules of its directory. */
export interface ModuleAdditions {
  /** Functions for modules besides those of every program: `clock.read` is `context.clock.read(…)`. */
  readonly functions?: Readonly<Record<string, PortFunction>>;
  /** Absolute path of the built worker; `module-worker.js` beside the program when absent. */
  readonly workerFile?: string;
  /** Limits in place of the defaults. */
  readonly limits?: Partial<ModuleLimits>;
  readonly onceLimits?: OnceLimits;
}

export interface ModuleEnvironment {
  readonly config: Pick<Config, 'CMBS_MODULES_DIR' | 'CMBS_MODULE_ERRORS' | 'CMBS_MODULE_SETTINGS'>;
  readonly services: Services;
  readonly access: Pick<Access, 'groups'>;
  /** The broker and the entities. */
  readonly ports: DomainPorts;
  readonly store: Store;
  readonly keyValues: KeyValues;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  /** Absolute path of the built worker. */
  readonly workerFile: string;
  /** Absolute path of esbuild's main file, where the program has it. */
  readonly esbuild?: string | undefined;
}

/**
 * Loads and starts the modules of `CMBS_MODULES_DIR`; undefined without this setting. The caller closes them.
 * @throws CmbsError `bad_request` for a directory, settings or (with `fatal`) modules that cannot be used
 */
export async function openModules(
  { config, access, ports, keyValues, workerFile, ...parts }: ModuleEnvironment,
  additions: ModuleAdditions = {},
): Promise<ModuleHost | undefined> {
  const { CMBS_MODULES_DIR: directory, CMBS_MODULE_ERRORS: errors, CMBS_MODULE_SETTINGS: settingsFile } = config;
  if (directory === undefined) return undefined;
  const { functions: added = {}, workerFile: otherWorker, ...limits } = additions;
  const functions = standardFunctions({
    services: parts.services,
    groups: (principal) => access.groups(principal),
  });
  for (const some of [domainFunctions(ports), keyValueFunctions(keyValues), added]) {
    for (const [name, run] of Object.entries(some)) functions.register(name, run);
  }
  return ModuleHost.open({
    ...parts,
    ...limits,
    directory,
    functions,
    errors,
    settingsFile,
    workerFile: otherWorker ?? workerFile,
    onMainThread: isDebugged(),
  });
}
