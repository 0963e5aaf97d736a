/** The parts of `jose` that check tokens. They are ESM only, and loaded at first use: most processes see no token. */
import type { createLocalJWKSet } from 'jose/jwks/local' with { 'resolution-mode': 'import' };
import type { jwtVerify } from 'jose/jwt/verify' with { 'resolution-mode': 'import' };

export interface Jose {
  readonly jwtVerify: typeof jwtVerify;
  readonly createLocalJWKSet: typeof createLocalJWKSet;
  /** Whether the keys of an issuer do not have the one that a token names. */
  readonly isUnknownKey: (error: unknown) => boolean;
  /** The code of an error about a token, for the log; it has nothing of the token. */
  readonly codeOf: (error: unknown) => string;
}

export type KeySet = ReturnType<typeof createLocalJWKSet>;

let loaded: Promise<Jose> | undefined;

export function loadJose(): Promise<Jose> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Jose> {
  const [verify, local, { JOSEError, JWKSNoMatchingKey }] = await Promise.all([
    import('jose/jwt/verify'),
    import('jose/jwks/local'),
    import('jose/errors'),
  ]);
  return {
    jwtVerify: verify.jwtVerify,
    createLocalJWKSet: local.createLocalJWKSet,
    isUnknownKey: (error) => error instanceof JWKSNoMatchingKey,
    codeOf: (error) => (error instanceof JOSEError ? error.code : error instanceof Error ? error.name : 'unknown'),
  };
}
