/** Access tokens that CMBS issues: `cmbs_<id>_<secret>`. Only a hash of the secret is stored. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Every access token begins with it, so secret scanners and this product recognise one. */
export const TOKEN_PREFIX = 'cmbs_';
/** The id is that of the token's entity. It has no underscore, so the secret begins after the second one. */
const TOKEN_ID = '[A-Za-z0-9-]{1,64}';
const TOKEN = new RegExp(`^${TOKEN_PREFIX}(${TOKEN_ID})_([A-Za-z0-9_-]{43})$`);
export const TOKEN_ID_PATTERN = new RegExp(`^${TOKEN_ID}$`);
/** 256 bits cannot be guessed, so one run of SHA-256 protects the secret as well as scrypt would. */
const SECRET_BYTES = 32;

export interface TokenText {
  readonly id: string;
  readonly secret: string;
}

export interface NewToken {
  /** For the caller, once; it is not stored. */
  readonly text: string;
  /** For the store: base64url of the SHA-256 of the secret's characters. */
  readonly secretHash: string;
}

/** @param id of the token's entity. @throws Error for an id that does not match {@link TOKEN_ID_PATTERN} */
export function newToken(id: string): NewToken {
  if (!TOKEN_ID_PATTERN.test(id)) throw new Error('The id of a token has 1 to 64 letters, digits and hyphens.');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { text: `${TOKEN_PREFIX}${id}_${secret}`, secretHash: digest(secret).toString('base64url') };
}

/** Undefined for a text that is no access token. */
export function parseToken(text: string): TokenText | undefined {
  const [, id, secret] = TOKEN.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

export function matchesHash(secret: string, secretHash: string): boolean {
  const stored = Buffer.from(secretHash, 'base64url');
  const found = digest(secret);
  return stored.length === found.length && timingSafeEqual(stored, found);
}

const digest = (secret: string): Buffer => createHash('sha256').update(secret).digest();
