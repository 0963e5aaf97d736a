/** Finds the principal of a request by all identities that are configured. */
import { CmbsError } from '../../errors';
import { ANONYMOUS, type Principal } from '../../principal';
import type { LoginAttempts } from './attempts';
import { authorizationOf } from './authorization-header';
import { distinctChallenges, INVALID_TOKEN_CHALLENGE, invalidCredentials, schemeOf } from './challenges';
import type { Credentials, Identity } from './identity';

export interface AuthenticationOptions {
  /** Counts what is refused; the same as for {@link BasicIdentity}. */
  readonly attempts: LoginAttempts;
}

export class Authentication {
  /** What a caller can log in with, one challenge for each scheme. */
  readonly challenges: readonly string[];
  readonly #identities: readonly Identity[];
  readonly #attempts: LoginAttempts;

  /**
   * @param identities those of `Authorization` before `proxy`: when a request has both, the first principal counts.
   *   Without any, every caller is anonymous, and what callers show of themselves is ignored.
   */
  constructor(identities: readonly Identity[], { attempts }: AuthenticationOptions) {
    this.#identities = identities;
    this.#attempts = attempts;
    this.challenges = distinctChallenges(identities.map(({ challenge }) => challenge));
  }

  /**
   * The principal of a request; {@link ANONYMOUS} when it has no credentials.
   *
   * @throws CmbsError when the request has credentials that are not valid or cannot be checked; such a request is never
   *   anonymous
   */
  async authenticate(credentials: Credentials): Promise<Principal> {
    if (this.#identities.length === 0) return ANONYMOUS;
    try {
      return await this.#principalOf(credentials);
    } catch (error) {
      if (!(error instanceof CmbsError) || error.code !== 'unauthenticated') throw error;
      this.#attempts.refused(credentials.clientAddress);
      throw this.#withChallenges(error);
    }
  }

  /** The error for a caller without credentials who may not do something. */
  unauthenticated(): CmbsError {
    return this.#withChallenges(
      invalidCredentials('This needs a login; send credentials that WWW-Authenticate names.', undefined),
    );
  }

  async #principalOf(credentials: Credentials): Promise<Principal> {
    const authorization = authorizationOf(credentials.headers);
    let principal: Principal | undefined;
    let isAccepted = authorization === undefined;
    // All are asked, so that a header which only a proxy may send is refused in every request.
    for (const identity of this.#identities) {
      const found = await identity.authenticate(credentials);
      if (found === undefined) continue;
      principal ??= found;
      isAccepted ||= identity.name !== 'proxy';
    }
    if (!isAccepted) {
      throw invalidCredentials(
        'These credentials are not accepted here; send some that WWW-Authenticate names.',
        authorization?.scheme === 'bearer' ? INVALID_TOKEN_CHALLENGE : undefined,
      );
    }
    return principal ?? ANONYMOUS;
  }

  /** The same error with all challenges. A 401 must have one (RFC 9110 §15.5.2), so without any the error is 403. */
  #withChallenges({ message, cause, headers }: CmbsError): CmbsError {
    const [first] = this.challenges;
    if (first === undefined) {
      return new CmbsError('forbidden', 'Nobody can log in here by the request itself; ask the operator.', {
        cause,
      });
    }
    // The challenge of the credentials that were refused says why; it replaces the plain one of the same scheme.
    const refused = headers['WWW-Authenticate'];
    const offered = this.challenges.map((plain) =>
      refused !== undefined && schemeOf(refused) === schemeOf(plain) ? refused : plain,
    );
    return new CmbsError('unauthenticated', message, {
      cause,
      headers: { 'WWW-Authenticate': offered.join(', ') },
    });
  }
}
