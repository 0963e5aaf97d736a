/** Challenges for `WWW-Authenticate` (RFC 9110 §11.6.1), and the refusals that carry them. */
import { CmbsError, type CmbsErrorOptions } from '../../errors';

/** RFC 7617 §2.1: `charset` asks clients to send names and passwords in UTF-8. */
export const BASIC_CHALLENGE = 'Basic realm="cmbs", charset="UTF-8"';
export const BEARER_CHALLENGE = 'Bearer realm="cmbs"';
/** RFC 6750 §3.1: for a token that is expired, revoked, malformed or otherwise invalid. */
export const INVALID_TOKEN_CHALLENGE = `${BEARER_CHALLENGE}, error="invalid_token"`;

/** Refuses credentials. The message is the same for every reason, so that a caller learns nothing from it. */
export function invalidCredentials(
  message: string,
  challenge: string | undefined,
  options: Pick<CmbsErrorOptions, 'cause'> = {},
): CmbsError {
  const headers = challenge === undefined ? {} : { 'WWW-Authenticate': challenge };
  return new CmbsError('unauthenticated', message, { ...options, headers });
}

/** In lower case. */
export const schemeOf = (challenge: string): string => challenge.split(' ', 1).join().toLowerCase();

/** One challenge for each scheme; the first of a scheme counts. */
export function distinctChallenges(challenges: Iterable<string | undefined>): readonly string[] {
  const byScheme = new Map<string, string>();
  for (const challenge of challenges) {
    if (challenge === undefined || byScheme.has(schemeOf(challenge))) continue;
    byScheme.set(schemeOf(challenge), challenge);
  }
  return [...byScheme.values()];
}
