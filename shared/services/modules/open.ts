/** Opens the service modules of a program: those of a directory, or those that were built into the program's folder. */
import { existsSync } from 'node:fs';
import inspector from 'node:inspector';
import { join } from 'node:path';
import type { Clock, NewId } from '../../clock';
import type { Log } from '../../log';
import type { Principal } from '../../principal';
import type { Store } from '../../store';
import type { PortFunction, PortFunctionTable } from '../port-function';
import type { Services } from '../services';
import { ModuleHost, type ModuleErrors } from './host';
import type { ModuleLimits } from './limits';
import type { OnceLimits } from './once';
import { standardFunctions } from './standard-functions';

/** Names that `npm run build -- --modules DIR` gives the modules and their program in the folder of a program. */
const BUILT_MODULES = 'modules';
const BUILT_WORKER = 'module-worker.js';

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
  readonly config: {
    readonly CMBS_MODULES_DIR?: string | undefined;
    readonly CMBS_MODULE_ERRORS: ModuleErrors;
    readonly CMBS_MODULE_SETTINGS?: string | undefined;
  };
  /** Absolute path of the folder of the program. */
  readonly folder: string;
  readonly services: Services;
  /** The functions of the program. */
  readonly functions: PortFunctionTable;
  /** The names of the groups that a principal is in. */
  readonly groups: (principal: Principal) => Promise<readonly string[]>;
  readonly store: Store;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  /** Absolute path of esbuild's main file, where the program has it. */
  readonly esbuild?: string | undefined;
}

/**
 * Loads and starts the modules of `CMBS_MODULES_DIR`, or those in the folder of the program, which do not change; undefined
 * when there are none. The caller closes them.
 * @throws CmbsError `bad_request` for a directory, settings or (with `fatal`) modules that cannot be used
 */
export async function openModules(
  { config, folder, functions: own, groups, ...parts }: ModuleEnvironment,
  additions: ModuleAdditions = {},
): Promise<ModuleHost | undefined> {
  const { CMBS_MODULES_DIR: configured, CMBS_MODULE_ERRORS: errors, CMBS_MODULE_SETTINGS: settingsFile } = config;
  const built = join(folder, BUILT_MODULES);
  const directory = configured ?? (existsSync(built) ? built : undefined);
  if (directory === undefined) return undefined;
  const { functions: added = {}, workerFile = join(folder, BUILT_WORKER), ...limits } = additions;
  const functions = standardFunctions({ services: parts.services, groups });
  for (const [name, run] of Object.entries({ ...own, ...added })) functions.register(name, run);
  return ModuleHost.open({
    ...parts,
    ...limits,
    directory,
    changes: configured !== undefined,
    functions,
    errors,
    settingsFile,
    workerFile,
    onMainThread: isDebugged(),
  });
}

/** Whether a debugger can attach to this process (`--inspect`): then modules run on the main thread. */
export const isDebugged = (): boolean => inspector.url() !== undefined;
