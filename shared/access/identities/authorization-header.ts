/** Reads the header `Authorization` (RFC 9110 §11.6.2). */
import { badRequest, CmbsError } from '../../errors';
import type { Credentials } from './identity';

/** Characters of the header: as many as all headers of a request may have at a server of our own. */
const MAX_AUTHORIZATION_LENGTH = 16 * 1024;

export interface Authorization {
  /** In lower case, because schemes are compared without case (RFC 9110 §11.1); empty when the header has no scheme. */
  readonly scheme: string;
  readonly credentials: string;
}

/**
 * The credentials of a request; undefined when it has none.
 *
 * @throws CmbsError `bad_request` when the header is repeated, because a front end and this server could each check
 *   another one; `headers_too_large`
 */
export function authorizationOf(headers: Credentials['headers']): Authorization | undefined {
  const [value, ...others] = headers.authorization ?? [];
  if (value === undefined) return undefined;
  if (others.length > 0) throw badRequest('Send one Authorization header, not several.');
  if (value.length > MAX_AUTHORIZATION_LENGTH) {
    throw new CmbsError(
      'headers_too_large',
      `Send an Authorization header of at most ${MAX_AUTHORIZATION_LENGTH} characters.`,
    );
  }
  const at = value.indexOf(' ');
  if (at < 0) return { scheme: value.toLowerCase(), credentials: '' };
  return { scheme: value.slice(0, at).toLowerCase(), credentials: value.slice(at + 1).trim() };
}

/** The token of `Authorization: Bearer` (RFC 6750 §2.1); undefined for another scheme or none. */
export function bearerTokenOf(headers: Credentials['headers']): string | undefined {
  const authorization = authorizationOf(headers);
  return authorization?.scheme === 'bearer' ? authorization.credentials : undefined;
}
