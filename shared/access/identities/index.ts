/** Who a caller is: identities, and what they need of the store. The door of the room exports these again. */
export {
  newToken,
  parseToken,
  TOKEN_ID_PATTERN,
  TOKEN_PREFIX,
  type NewToken,
  type TokenText,
} from './access-tokens';
export { LoginAttempts, type AttemptBound, type LoginAttemptsOptions } from './attempts';
export { Authentication, type AuthenticationOptions } from './authentication';
export { BasicIdentity, USER_NAME_PATTERN, type BasicIdentityOptions, type Users } from './basic-identity';
export type { Fetch } from './fetch-json';
export { IDENTITY_NAMES, type Credentials, type Identity, type IdentityName } from './identity';
export type { IssuerKeysLimits } from './issuer-keys';
export { OidcConfigError, parseOidcConfig, type OidcIssuer } from './oidc-config';
export { OidcIdentity, type OidcIdentityOptions } from './oidc-identity';
export {
  hashPassword,
  isPossiblePassword,
  MAX_PASSWORD_BYTES,
  storedPasswordSchema,
  verifyPassword,
  type StoredPassword,
} from './passwords';
export { ProxyIdentity, type ProxyIdentityOptions } from './proxy-identity';
export { ScryptRuns, type Scrypt, type ScryptParameters, type ScryptRunsOptions } from './scrypt-runs';
export { TokenIdentity, type StoredToken, type TokenIdentityOptions, type Tokens } from './token-identity';
