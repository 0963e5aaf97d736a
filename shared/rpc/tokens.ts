/** Identity tokens (OpenID Connect), by which the parts of a deployment, and Pub/Sub's pushes, prove who they are. */

/** Makes tokens for the account that this program runs as. */
export interface IdentityTokens {
  /**
   * A JWT for the audience, valid for a few minutes at least.
   *
   * @throws CmbsError `unavailable`
   */
  tokenFor(audience: string): Promise<string>;
}

/** The claims that a token must have. */
export interface TokenExpectation {
  readonly audience: string;
  /** E-mail addresses of the service accounts that are allowed to call. */
  readonly accounts: readonly string[];
}

export interface TokenVerifier {
  /**
   * Checks the value of an `Authorization` header and resolves with the e-mail address of the caller.
   *
   * @throws CmbsError `unauthenticated` when the token is missing, malformed, expired, not signed by the issuer or for
   *   another audience; `forbidden` when its account is not allowed to call; `unavailable` when the issuer's keys cannot
   *   be fetched
   */
  verify(authorization: string | undefined, expected: TokenExpectation): Promise<string>;
}
