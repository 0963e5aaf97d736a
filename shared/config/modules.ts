/** What the settings of service modules and of their faults must have together. */
import type { ConfigOf, EnvironmentVariables } from './read';
import type { SETTINGS } from './settings';

type ModuleSettings = Pick<
  ConfigOf<typeof SETTINGS>,
  'CMBS_MODULES_DIR' | 'CMBS_MODULE_SETTINGS' | 'CMBS_DEBUG_FAULTS' | 'CMBS_DEBUG_FAULTS_IN_PRODUCTION'
>;

/** @param isReachable whether others than this machine's users can reach the deployment */
export function moduleProblems(
  config: ModuleSettings,
  { NODE_ENV: environment }: EnvironmentVariables,
  isReachable: boolean,
): readonly string[] {
  const problems: string[] = [];
  if (config.CMBS_MODULE_SETTINGS !== undefined && config.CMBS_MODULES_DIR === undefined) {
    problems.push('CMBS_MODULE_SETTINGS needs CMBS_MODULES_DIR.');
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
