/** Identity tokens (OpenID Connect): who calls whom between the parts of a deployment, and who pushes. */

/** Makes tokens in the name of the account that this program runs as. */
export interface IdentityTokens {
  /** A JWT for the audience, valid for a few minutes at least. Rejects with `unavailable`. */
  tokenFor(audience: string): Promise<string>;
}

/** What a token has to say to be taken. */
export interface TokenExpectation {
  readonly audience: string;
  /** E-mail addresses of the service accounts that may call. */
  readonly accounts: readonly string[];
}

export interface TokenVerifier {
  /**
   * Checks the value of an `Authorization` header and resolves with the e-mail address of the caller. Rejects with
   * `CmbsError`: `unauthenticated` when there is no token, or one that is malformed, expired, not signed by the issuer
   * or not for the audience; `forbidden` when it is somebody else's; `unavailable` when the issuer's keys cannot be had.
   */
  verify(authorization: string | undefined, expected: TokenExpectation): Promise<string>;
}
