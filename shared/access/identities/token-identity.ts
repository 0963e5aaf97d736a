/** Access tokens that CMBS issues, as bearer tokens (RFC 6750). */
import type { Clock } from '../../clock';
import type { Principal } from '../../principal';
import { matchesHash, parseToken, TOKEN_PREFIX } from './access-tokens';
import { bearerTokenOf } from './authorization-header';
import { BEARER_CHALLENGE, INVALID_TOKEN_CHALLENGE, invalidCredentials } from './challenges';
import type { Credentials, Identity } from './identity';

/** An access token as it is stored. */
export interface StoredToken {
  /** Path of the entity: `/cmbs/access/token/<id>`. */
  readonly path: string;
  /** base64url of the SHA-256 of the secret. */
  readonly secretHash: string;
  /** Milliseconds since the Unix epoch; undefined: the token does not expire. */
  readonly expiresAt: number | undefined;
  readonly owner: string;
}

/** Where the tokens are stored. */
export interface Tokens {
  /** Undefined when there is no such token. Asked for each request, so a deleted token stops to count. */
  find(id: string): Promise<StoredToken | undefined>;
}

export interface TokenIdentityOptions {
  readonly tokens: Tokens;
  readonly clock: Pick<Clock, 'now'>;
}

/** What the token and its owner may do is decided later, by the rules. */
export class TokenIdentity implements Identity {
  readonly name = 'token';
  readonly challenge = BEARER_CHALLENGE;
  readonly #options: TokenIdentityOptions;

  constructor(options: TokenIdentityOptions) {
    this.#options = options;
  }

  /** @throws CmbsError `unauthenticated`, the same for a wrong, an expired and a deleted token; the errors of the store */
  async authenticate({ headers }: Credentials): Promise<Principal | undefined> {
    const text = bearerTokenOf(headers);
    if (text?.startsWith(TOKEN_PREFIX) !== true) return undefined;
    const parsed = parseToken(text);
    const stored = parsed === undefined ? undefined : await this.#options.tokens.find(parsed.id);
    const isValid =
      parsed !== undefined &&
      stored !== undefined &&
      matchesHash(parsed.secret, stored.secretHash) &&
      (stored.expiresAt === undefined || this.#options.clock.now() < stored.expiresAt);
    if (!isValid) {
      throw invalidCredentials(
        'The access token is not valid, or no longer; create another one.',
        INVALID_TOKEN_CHALLENGE,
      );
    }
    return { kind: 'user', name: stored.owner, token: stored.path };
  }
}
