/** What the settings of access must have together. */
import type { ConfigOf } from './read';
import type { SETTINGS } from './settings';

type AccessSettings = Pick<
  ConfigOf<typeof SETTINGS>,
  | 'CMBS_IDENTITIES'
  | 'CMBS_ADMINISTRATORS'
  | 'CMBS_ADMIN_PASSWORD_FILE'
  | 'CMBS_OIDC_FILE'
  | 'CMBS_OIDC_ISSUERS'
  | 'CMBS_PROXY_HEADER'
  | 'CMBS_PROXY_ADDRESSES'
  | 'CMBS_OPEN_TO_EVERYONE'
>;

/** @param isReachable whether others than this machine's users can reach the deployment */
export function accessProblems(config: AccessSettings, isReachable: boolean): readonly string[] {
  const { CMBS_IDENTITIES: identities, CMBS_OPEN_TO_EVERYONE: isOpen } = config;
  const has = (name: (typeof identities)[number]): boolean => identities.includes(name);
  const problems: string[] = [];
  const isBasic = has('basic') && config.CMBS_ADMINISTRATORS.length > 0;
  if (config.CMBS_ADMIN_PASSWORD_FILE !== undefined && !isBasic) {
    problems.push('CMBS_ADMIN_PASSWORD_FILE needs CMBS_IDENTITIES=basic and CMBS_ADMINISTRATORS.');
  }
  if (identities.length === 0) {
    if (config.CMBS_ADMINISTRATORS.length > 0) {
      problems.push('CMBS_ADMINISTRATORS needs CMBS_IDENTITIES; without it everybody may do everything.');
    }
    if (isReachable && !isOpen) {
      problems.push(
        'Others can reach this deployment, so CMBS_IDENTITIES is needed; CMBS_OPEN_TO_EVERYONE=yes lets everybody do everything.',
      );
    }
    return problems;
  }
  if (isOpen)
    problems.push('CMBS_OPEN_TO_EVERYONE=yes and CMBS_IDENTITIES exclude each other; unset one of them.');
  if (config.CMBS_ADMINISTRATORS.length === 0) {
    problems.push('CMBS_IDENTITIES needs CMBS_ADMINISTRATORS, or nobody could let others in.');
  }
  const files = [config.CMBS_OIDC_FILE, config.CMBS_OIDC_ISSUERS].filter((one) => one !== undefined);
  if (has('oidc') && files.length !== 1) {
    problems.push('CMBS_IDENTITIES=oidc needs CMBS_OIDC_FILE or CMBS_OIDC_ISSUERS, one of them.');
  }
  if (has('proxy') && (config.CMBS_PROXY_HEADER === undefined || config.CMBS_PROXY_ADDRESSES.length === 0)) {
    problems.push('CMBS_IDENTITIES=proxy needs CMBS_PROXY_HEADER and CMBS_PROXY_ADDRESSES.');
  }
  return problems;
}
