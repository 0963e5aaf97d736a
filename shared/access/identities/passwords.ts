/** Passwords, of which only a hash by scrypt (RFC 7914) is stored, together with its parameters. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { badRequest } from '../../errors';
import type { Scrypt } from './scrypt-runs';

/** A stored password. Its parameters are kept with it, so that later ones can be stronger. */
export interface StoredPassword {
  readonly algorithm: 'scrypt';
  readonly N: number;
  readonly r: number;
  readonly p: number;
  /** base64url */
  readonly salt: string;
  /** base64url */
  readonly hash: string;
}

/** Bytes of a password in UTF-8: any passphrase fits, and hashing one is no work worth mentioning. */
export const MAX_PASSWORD_BYTES = 1024;
/** OWASP's parameters for scrypt with 32 MiB of memory and about 0.1 s of a processor. */
const PARAMETERS = { N: 2 ** 15, r: 8, p: 1 } as const;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** 43 characters of base64url. */
const HASH_PATTERN = /^[A-Za-z0-9_-]{43}$/;

/** For the store's side. The bounds keep a damaged record from taking all memory: at most 128 MiB. */
export const storedPasswordSchema = z.strictObject({
  algorithm: z.literal('scrypt'),
  N: z
    .number()
    .int()
    .min(2)
    .max(2 ** 17)
    .refine((n) => Math.log2(n) % 1 === 0, { error: 'must be a power of 2' }),
  r: z.number().int().min(1).max(8),
  p: z.number().int().min(1).max(4),
  salt: z.string().regex(/^[A-Za-z0-9_-]{16,128}$/),
  hash: z.string().regex(HASH_PATTERN),
}) satisfies z.ZodType<StoredPassword>;

/**
 * The bytes that are hashed: the text in Unicode's normal form C, as RFC 8265 §4.2.2 prepares passwords, because keyboards
 * write the same letter in several ways. Undefined for a text that cannot be a password: RFC 7617 §2 excludes control
 * characters, and UTF-8 has no lone surrogates.
 */
function bytesOf(password: string): Buffer | undefined {
  if (password.length > MAX_PASSWORD_BYTES || /[\p{Cc}\p{Cs}]/u.test(password)) return undefined;
  const bytes = Buffer.from(password.normalize('NFC'), 'utf8');
  return bytes.length === 0 || bytes.length > MAX_PASSWORD_BYTES ? undefined : bytes;
}

export const isPossiblePassword = (password: string): boolean => bytesOf(password) !== undefined;

/** @throws CmbsError `bad_request` for a text that cannot be a password; the errors of `scrypt` */
export async function hashPassword(password: string, scrypt: Scrypt): Promise<StoredPassword> {
  const bytes = bytesOf(password);
  if (bytes === undefined) {
    throw badRequest(
      `Choose a password of 1 to ${MAX_PASSWORD_BYTES} bytes in UTF-8, without control characters.`,
    );
  }
  const salt = randomBytes(SALT_BYTES);
  const hash = await scrypt(bytes, salt, { ...PARAMETERS, bytes: HASH_BYTES });
  return {
    algorithm: 'scrypt',
    ...PARAMETERS,
    salt: salt.toString('base64url'),
    hash: hash.toString('base64url'),
  };
}

/** @throws the errors of `scrypt` */
export async function verifyPassword(password: string, stored: StoredPassword, scrypt: Scrypt): Promise<boolean> {
  const bytes = bytesOf(password);
  if (bytes === undefined) return false;
  const { N, r, p, salt, hash } = storedPasswordSchema.parse(stored);
  const found = await scrypt(bytes, Buffer.from(salt, 'base64url'), { N, r, p, bytes: HASH_BYTES });
  return timingSafeEqual(found, Buffer.from(hash, 'base64url'));
}

/**
 * A stored password that no password matches. It is verified when a name does not exist, so that the answer takes as long
 * as for a name that does.
 */
export function decoyPassword(): StoredPassword {
  return {
    algorithm: 'scrypt',
    ...PARAMETERS,
    salt: randomBytes(SALT_BYTES).toString('base64url'),
    hash: randomBytes(HASH_BYTES).toString('base64url'),
  };
}
