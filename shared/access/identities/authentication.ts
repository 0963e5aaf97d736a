/** Finds the principal of a request by all identities that are configured. */
import { CmbsError, toCmbsError } from '../../errors';
import { type Counters, silentCounters } from '../../log';
import { ANONYMOUS, type Principal } from '../../principal';
import type { LoginAttempts } from './attempts';
import { authorizationOf } from './authorization-header';
import { distinctChallenges, INVALID_TOKEN_CHALLENGE, invalidCredentials, schemeOf } from './challenges';
import type { Credentials, Identity, IdentityName } from './identity';

export interface AuthenticationOptions {
  /** Counts what is refused; the same as for {@link BasicIdentity}. */
  readonly attempts: LoginAttempts;
  /** Counts logins by identity and outcome; silent when absent. */
  readonly counters?: Counters;
}

/** Which identity a request asked, for the counter; `other`: its credentials are of no sort that is configured. */
interface Login {
  identity?: IdentityName | 'other';
}

export class Authentication {
  /** What a caller can log in with, one challenge for each scheme. */
  readonly challenges: readonly string[];
  readonly #identities: readonly Identity[];
  readonly #attempts: LoginAttempts;
  readonly #counters: Counters;

  /**
   * @param identities those of `Authorization` before `proxy`: when a request has both, the first principal counts.
   *   Without any, every caller is anonymous, and what callers show of themselves is ignored.
   */
  constructor(identities: readonly Identity[], { attempts, counters = silentCounters }: AuthenticationOptions) {
    this.#identities = identities;
    this.#attempts = attempts;
    this.#counters = counters;
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
    const login: Login = {};
    try {
      const principal = await this.#principalOf(credentials, login);
      this.#count(login, 'accepted');
      return principal;
    } catch (thrown) {
      const error = this.#answerTo(thrown, credentials);
      this.#count(login, outcomeOf(error));
      throw error;
    }
  }

  /** No name and no address: a counter has few values. Requests without credentials are no logins. */
  #count({ identity }: Login, outcome: string): void {
    if (identity !== undefined) this.#counters.add('cmbs_logins', { identity, outcome });
  }

  /** The error for the caller: a refusal with all challenges, or 429 after too many refusals. */
  #answerTo(thrown: unknown, { clientAddress }: Credentials): unknown {
    if (!(thrown instanceof CmbsError) || thrown.code !== 'unauthenticated') return thrown;
    try {
      this.#attempts.refused(clientAddress);
    } catch (limited) {
      return limited;
    }
    return this.#withChallenges(thrown);
  }

  /** The error for a caller without credentials who may not do something. */
  unauthenticated(): CmbsError {
    return this.#withChallenges(
      invalidCredentials('This needs a login; send credentials that WWW-Authenticate names.', undefined),
    );
  }

  async #principalOf(credentials: Credentials, login: Login): Promise<Principal> {
    const authorization = authorizationOf(credentials.headers);
    let principal: Principal | undefined;
    let isAccepted = authorization === undefined;
    // All are asked, so that a header which only a proxy may send is refused in every request.
    for (const identity of this.#identities) {
      const found = await identity.authenticate(credentials).catch((error: unknown) => {
        login.identity = identity.name;
        throw error;
      });
      if (found === undefined) continue;
      if (principal === undefined) login.identity = identity.name;
      principal ??= found;
      isAccepted ||= identity.name !== 'proxy';
    }
    if (!isAccepted) {
      login.identity = 'other';
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

/** Failed: the credentials could not be checked. */
function outcomeOf(thrown: unknown): 'refused' | 'limited' | 'failed' {
  const { code, status } = toCmbsError(thrown);
  if (status === 429) return 'limited';
  return code === 'bad_request' || code === 'unauthenticated' || code === 'forbidden' ? 'refused' : 'failed';
}
