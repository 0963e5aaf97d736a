/** Tokens of OpenID Connect issuers: JWTs (RFC 7519) as bearer tokens (RFC 6750), checked as RFC 8725 says. */
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { isJsonObject, type Json } from '../../json';
import type { Log } from '../../log';
import type { Principal } from '../../principal';
import { TOKEN_PREFIX } from './access-tokens';
import { bearerTokenOf } from './authorization-header';
import { BEARER_CHALLENGE, INVALID_TOKEN_CHALLENGE, invalidCredentials } from './challenges';
import type { Fetch } from './fetch-json';
import type { Credentials, Identity } from './identity';
import { IssuerKeys, type IssuerKeysLimits } from './issuer-keys';
import { loadJose } from './jose';
import type { OidcIssuer } from './oidc-config';

/**
 * RFC 8725 §3.1: the algorithm is ours to choose, not the token's. No `none`, and none with a shared secret: the public
 * key of an issuer could be used as one.
 */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];
/** RFC 8725 §3.11: a token for something else, such as a logout token, is no proof of identity. */
const TYPES: ReadonlySet<string | undefined> = new Set([undefined, 'jwt', 'at+jwt', 'application/at+jwt']);
/** Three parts of base64url; encrypted tokens have five, and unsigned ones have nothing in the third. */
const SIGNED_TOKEN = /^[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+$/;
/** OpenID Connect Core §2: a `sub` has at most 255 characters. */
const CLAIM_VALUE = /^[^\p{Cc}\p{Cs}]{1,255}$/u;

/** Google's tokens may have the issuer without its scheme. */
const ALIASES: Readonly<Record<string, string>> = { 'accounts.google.com': 'https://accounts.google.com' };

export interface OidcIdentityOptions {
  /** From {@link parseOidcConfig}. */
  readonly issuers: readonly OidcIssuer[];
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<IssuerKeysLimits>;
  readonly fetch?: Fetch;
}

interface Trusted extends OidcIssuer {
  readonly keys: IssuerKeys;
}

export class OidcIdentity implements Identity {
  readonly name = 'oidc';
  readonly challenge = BEARER_CHALLENGE;
  readonly #options: OidcIdentityOptions;
  readonly #issuers: ReadonlyMap<string, Trusted>;

  constructor(options: OidcIdentityOptions) {
    const { issuers, ...others } = options;
    this.#options = options;
    this.#issuers = new Map(
      issuers.map((one) => [one.issuer, { ...one, keys: new IssuerKeys({ ...others, issuer: one.issuer }) }]),
    );
  }

  /**
   * @throws CmbsError `unauthenticated`, the same for every fault of a token; `unavailable` when the issuer's keys cannot
   *   be fetched
   */
  async authenticate({ headers, signal }: Credentials): Promise<Principal | undefined> {
    const token = bearerTokenOf(headers);
    if (token === undefined || token.startsWith(TOKEN_PREFIX)) return undefined;
    const claimed = claimedIssuer(token);
    const issuer = claimed === undefined ? undefined : this.#issuers.get(ALIASES[claimed] ?? claimed);
    if (issuer === undefined) throw this.#refused('issuer');
    const claims = await this.#verified(token, issuer, signal);
    const value = claims[issuer.claim];
    if (typeof value !== 'string' || !CLAIM_VALUE.test(value)) throw this.#refused(issuer.claim);
    // Anybody can tell an issuer any address; only a verified one is the user's.
    if (issuer.claim === 'email' && claims.email_verified !== true) throw this.#refused('email_verified');
    for (const [name, required] of Object.entries(issuer.require)) {
      if (claims[name] !== required) throw this.#refused(name);
    }
    return { kind: 'user', name: issuer.prefix + value };
  }

  /** The claims of a token with a right signature, audience and time. */
  async #verified(
    token: string,
    issuer: Trusted,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, unknown>>> {
    const { jwtVerify, isUnknownKey, codeOf } = await loadJose();
    try {
      const { payload, protectedHeader } = await jwtVerify(
        token,
        async (header, input) => {
          const known = await issuer.keys.current(signal);
          try {
            return await known(header, input);
          } catch (error) {
            if (!isUnknownKey(error)) throw error;
            // The issuer may have begun to use another key.
            const newer = await issuer.keys.newer(known, signal);
            if (newer === known) throw error;
            return await newer(header, input);
          }
        },
        {
          algorithms: ALGORITHMS,
          issuer: [issuer.issuer, ...Object.keys(ALIASES).filter((one) => ALIASES[one] === issuer.issuer)],
          audience: [...issuer.audience],
          requiredClaims: ['exp', issuer.claim],
          clockTolerance: issuer.skewS,
          currentDate: new Date(this.#options.clock.now()),
        },
      );
      if (!TYPES.has(protectedHeader.typ?.toLowerCase())) throw this.#refused('typ');
      return payload;
    } catch (error) {
      if (error instanceof CmbsError) throw error;
      throw this.#refused(codeOf(error));
    }
  }

  /** @param reason for the log: a claim, or the code of an error */
  #refused(reason: string): CmbsError {
    this.#options.log.debug('A token of an issuer was refused.', { reason });
    return invalidCredentials(
      'The token is not valid here; get another one from its issuer.',
      INVALID_TOKEN_CHALLENGE,
    );
  }
}

/** The issuer that a token names, which is not verified: it only tells whose keys to try (RFC 8725 §3.8). */
function claimedIssuer(token: string): string | undefined {
  const [, part] = SIGNED_TOKEN.exec(token) ?? [];
  if (part === undefined) return undefined;
  try {
    const claims = JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as Json;
    return isJsonObject(claims) && typeof claims.iss === 'string' ? claims.iss : undefined;
  } catch {
    return undefined;
  }
}
