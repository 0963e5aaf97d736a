/** Identifiers that are made from other identifiers. */
import { createHash } from 'node:crypto';

/** 22 characters (132 bits) of the SHA-256 digest of the parts, in base64url. */
export const shortDigest = (...parts: readonly string[]): string =>
  createHash('sha256').update(parts.join('\0')).digest('base64url').slice(0, 22);
