/** Identity tokens without Google, signed with a key that the parts of one deployment share; for emulators and tests. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { systemClock } from '../../clock';
import type { IdentityTokens, TokenVerifier } from '../tokens';
import { tokenVerifier } from './verify-token';

/** Seconds for which a token is valid. */
const LOCAL_TOKEN_S = 300;

const ISSUER = 'https://cmbs.local';
const KEY_ID = 'local';

/** The account in the tokens of functions. */
export const LOCAL_FUNCTIONS_ACCOUNT = 'functions@cmbs.local';

/** A private key in PEM. */
export function newLocalKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Throws when the file does not exist or holds no key. */
export function readLocalKey(file: string): KeyObject {
  return createPrivateKey(readFileSync(file));
}

/** By the system's clock, as Google's library checks them. */
export function localTokens(key: KeyObject, account = LOCAL_FUNCTIONS_ACCOUNT): IdentityTokens {
  return {
    tokenFor: (audience) => {
      const now = Math.floor(systemClock.now() / 1000);
      return Promise.resolve(
        signedJwt(key, {
          iss: ISSUER,
          sub: account,
          email: account,
          email_verified: true,
          aud: audience,
          iat: now,
          exp: now + LOCAL_TOKEN_S,
        }),
      );
    },
  };
}

export function localVerifier(key: KeyObject): TokenVerifier {
  const pem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  return tokenVerifier({ issuers: [ISSUER], keys: () => Promise.resolve({ [KEY_ID]: pem }) });
}

/** RS256 (RFC 7518 §3.3). */
export function signedJwt(key: KeyObject, claims: Readonly<Record<string, unknown>>): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'RS256', typ: 'JWT', kid: KEY_ID })}.${part(claims)}`;
  return `${text}.${sign('RSA-SHA256', Buffer.from(text), key).toString('base64url')}`;
}
