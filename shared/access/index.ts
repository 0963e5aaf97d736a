/** Who may do what: identities, users, groups, tokens, rules, and decisions (docs/access.md). */
export {
  type Access,
  accessOf,
  type AccessOptions,
  callerCheck,
  openAccess,
  storedTokens,
  storedUsers,
} from './access';
export { ownerSinceOf } from './providers';
export { ACCESS_CATEGORIES } from './categories';
export { DEFAULTS, type DefaultRight } from './defaults';
export { canAdministrate, ensureUser, type FirstAdministrator, firstAdministratorOf } from './first-administrator';
export {
  Authentication,
  BasicIdentity,
  type Credentials,
  type Identity,
  type IdentityName,
  LoginAttempts,
  OidcIdentity,
  parseOidcConfig,
  ProxyIdentity,
  ScryptRuns,
  TokenIdentity,
} from './identities';
export { type OpenedSession, type SessionsOptions, TokenSessions } from './sessions';
export { GROUP, GROUP_KIND, GROUPS, RULE, RULE_KIND, RULES, TOKEN, TOKEN_KIND, TOKENS } from './names';
export { chainsOf, checkTarget } from './targets';
