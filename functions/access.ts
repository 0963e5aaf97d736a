/** The access model and the identities of a program, from its settings. */
import { readFileSync } from 'node:fs';
import { ANONYMOUS, type Clock, CmbsError, type Counters, type Log, type Principal } from '@cmbs/shared';
import {
  type Access,
  accessOf,
  Authentication,
  BasicIdentity,
  type Identity,
  type IdentityName,
  LoginAttempts,
  OidcIdentity,
  parseOidcConfig,
  ProxyIdentity,
  ScryptRuns,
  storedTokens,
  storedUsers,
  TokenIdentity,
} from '@cmbs/shared/access';
import { MEMBER_KIND } from '@cmbs/shared/broker';
import type { Config } from '@cmbs/shared/config';
import type { Store } from '@cmbs/shared/store';
import type { OcciRequest } from './request';

export type AccessConfig = Pick<
  Config,
  | 'CMBS_IDENTITIES'
  | 'CMBS_ADMINISTRATORS'
  | 'CMBS_OIDC_FILE'
  | 'CMBS_OIDC_ISSUERS'
  | 'CMBS_PROXY_HEADER'
  | 'CMBS_PROXY_ADDRESSES'
>;

export interface ProgramAccess {
  readonly access: Access;
  readonly authenticate: (request: OcciRequest) => Promise<Principal>;
}

interface Parts {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Silent when absent. */
  readonly counters?: Counters | undefined;
}

/** @throws CmbsError `bad_request` for a file of issuers that cannot be read */
export function programAccess(config: AccessConfig, { store, clock, log, counters }: Parts): ProgramAccess {
  const attempts = new LoginAttempts({ clock });
  const scryptRuns = new ScryptRuns({ clock });
  const make: Readonly<Record<IdentityName, () => Identity>> = {
    basic: () => new BasicIdentity({ users: storedUsers(store), clock, attempts, scryptRuns }),
    token: () => new TokenIdentity({ tokens: storedTokens(store), clock }),
    oidc: () => new OidcIdentity({ issuers: issuersIn(config), clock, log }),
    proxy: () =>
      new ProxyIdentity({ header: config.CMBS_PROXY_HEADER ?? '', proxies: config.CMBS_PROXY_ADDRESSES }),
  };
  const authentication = new Authentication(
    // Credentials in `Authorization` count before the header of a proxy.
    (['basic', 'token', 'oidc', 'proxy'] as const)
      .filter((name) => config.CMBS_IDENTITIES.includes(name))
      .map((name) => make[name]()),
    { attempts, ...(counters === undefined ? {} : { counters }) },
  );
  const isClosed = config.CMBS_IDENTITIES.length > 0;
  const access = accessOf({
    store,
    clock,
    isClosed,
    administrators: config.CMBS_ADMINISTRATORS,
    memberKind: MEMBER_KIND,
    unauthenticated: () => authentication.unauthenticated(),
    scryptRuns,
  });
  const authenticate = async ({ headers, clientAddress, peerAddress, signal }: OcciRequest): Promise<Principal> =>
    isClosed ? authentication.authenticate({ headers, clientAddress, peerAddress, signal }) : ANONYMOUS;
  return { access, authenticate };
}

function issuersIn({
  CMBS_OIDC_FILE: file,
  CMBS_OIDC_ISSUERS: text,
}: AccessConfig): ReturnType<typeof parseOidcConfig> {
  try {
    return parseOidcConfig(text ?? readFileSync(file ?? '', 'utf8'));
  } catch (cause) {
    const name = text === undefined ? 'CMBS_OIDC_FILE' : 'CMBS_OIDC_ISSUERS';
    throw new CmbsError('bad_request', `${name} cannot be used: ${(cause as Error).message}`, { cause });
  }
}
