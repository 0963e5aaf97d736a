/** What the settings of service modules, of their files and of their faults must have together. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import type { ConfigOf, EnvironmentVariables } from './read';
import type { SETTINGS } from './settings';

type ModuleSettings = Pick<
  ConfigOf<typeof SETTINGS>,
  | 'CMBS_MODULES_DIR'
  | 'CMBS_MODULE_SETTINGS'
  | 'CMBS_FILES_DIR'
  | 'CMBS_DEBUG_FAULTS'
  | 'CMBS_DEBUG_FAULTS_IN_PRODUCTION'
> & {
  /** A program in the cloud has none. */
  readonly CMBS_DATA_DIR?: string;
};

/** The absolute path without links, also of a directory that does not exist yet. */
function realPath(path: string): string {
  const absolute = resolve(path);
  const parent = dirname(absolute);
  try {
    return realpathSync(absolute);
  } catch {
    // It does not exist, or may not be read; then its parent says where it is.
    return parent === absolute ? absolute : join(realPath(parent), basename(absolute));
  }
}

/** Whether one directory is the other or in the other. */
function overlap(one: string, other: string): boolean {
  const [a, b] = [realPath(one), realPath(other)];
  const isIn = (inner: string, outer: string): boolean =>
    inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
  return isIn(a, b) || isIn(b, a);
}

/** @param isReachable whether others than this machine's users can reach the deployment */
export function moduleProblems(
  config: ModuleSettings,
  { NODE_ENV: environment }: EnvironmentVariables,
  isReachable: boolean,
): readonly string[] {
  const problems: string[] = [];
  // In the cloud the modules may be part of the program.
  const isLocal = config.CMBS_DATA_DIR !== undefined;
  if (config.CMBS_MODULE_SETTINGS !== undefined && config.CMBS_MODULES_DIR === undefined && isLocal) {
    problems.push('CMBS_MODULE_SETTINGS needs CMBS_MODULES_DIR.');
  }
  const { CMBS_FILES_DIR: files } = config;
  // Callers could read the data, or write a module that the program runs.
  for (const name of ['CMBS_DATA_DIR', 'CMBS_MODULES_DIR'] as const) {
    const other = config[name];
    if (files !== undefined && other !== undefined && overlap(files, other)) {
      problems.push(`CMBS_FILES_DIR and ${name} must be apart: callers read and write the files.`);
    }
  }
  const isProduction = environment === 'production' || isReachable;
  if (config.CMBS_DEBUG_FAULTS && isProduction && !config.CMBS_DEBUG_FAULTS_IN_PRODUCTION) {
    const why = isReachable ? 'others can reach this deployment' : 'NODE_ENV is production';
    problems.push(
      `CMBS_DEBUG_FAULTS=yes shows stacks and callers in faults, and ${why}; unset it, or set CMBS_DEBUG_FAULTS_IN_PRODUCTION=yes too.`,
    );
  }
  return problems;
}
