/** Checks identity tokens against the keys of their issuer. */
import { OAuth2Client } from 'google-auth-library';
import { CmbsError } from '../../errors';
import type { TokenVerifier } from '../tokens';

/** Characters of an identity token: Google's have about 1,200. */
const MAX_TOKEN_LENGTH = 8192;

export interface Issuer {
  /** Accepted values of `iss`. */
  readonly issuers: readonly string[];
  /** Key id to certificate or public key in PEM. */
  readonly keys: () => Promise<Parameters<OAuth2Client['verifySignedJwtWithCertsAsync']>[1]>;
}

export function tokenVerifier({ issuers, keys }: Issuer): TokenVerifier {
  const client = new OAuth2Client();
  return {
    async verify(authorization, { audience, accounts }) {
      const token = /^Bearer +([A-Za-z0-9_.-]+)$/i.exec(authorization ?? '')?.[1];
      if (token === undefined || token.length > MAX_TOKEN_LENGTH) {
        throw unauthenticated('This request needs an identity token: Authorization: Bearer TOKEN.');
      }
      const known = await keys();
      let email: string | undefined;
      let isVerified: boolean | undefined;
      try {
        const ticket = await client.verifySignedJwtWithCertsAsync(token, known, audience, [...issuers]);
        ({ email, email_verified: isVerified } = ticket.getPayload() ?? {});
      } catch (cause) {
        throw unauthenticated(`The identity token is not valid; get one for the audience ${audience}.`, cause);
      }
      if (email === undefined || isVerified !== true || !accounts.includes(email)) {
        throw new CmbsError(
          'forbidden',
          'The account of this identity token may not call; use an account that the deployment allows.',
        );
      }
      return email;
    },
  };
}

function unauthenticated(message: string, cause?: unknown): CmbsError {
  return new CmbsError('unauthenticated', message, { cause, headers: { 'WWW-Authenticate': 'Bearer' } });
}
