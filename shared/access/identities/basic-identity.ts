/** HTTP Basic (RFC 7617) against the users in the store. */
import type { Clock } from '../../clock';
import { badRequest } from '../../errors';
import type { Principal } from '../../principal';
import type { LoginAttempts } from './attempts';
import { authorizationOf } from './authorization-header';
import { BASIC_CHALLENGE, invalidCredentials } from './challenges';
import type { Credentials, Identity } from './identity';
import { joined } from './joined';
import { decoyPassword, isPossiblePassword, verifyPassword, type StoredPassword } from './passwords';
import { busy, type ScryptRuns } from './scrypt-runs';
import { VerifiedLogins, type VerifiedLoginsOptions } from './verified-logins';

/**
 * Names of users. They have neither `/` nor `=`, so they are never the name of a caller whom an issuer of tokens or a
 * certificate names.
 */
export const USER_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** Milliseconds in which a password must be checked: the longest wait for a turn, and the run itself. */
const CHECK_DEADLINE_MS = 10_000;

/** Where the users are stored. */
export interface Users {
  /**
   * The stored password of a user; undefined when there is no such user. Asked for each request, so an answer that the
   * store's side caches for at most 2 seconds is soon enough.
   */
  password(name: string): Promise<StoredPassword | undefined>;
}

export interface BasicIdentityOptions {
  readonly users: Users;
  readonly clock: Clock;
  readonly attempts: LoginAttempts;
  readonly scryptRuns: ScryptRuns;
  readonly verified?: Omit<VerifiedLoginsOptions, 'clock'>;
}

interface Login {
  readonly name: string;
  readonly password: string;
  readonly clientAddress: string;
}

export class BasicIdentity implements Identity {
  readonly name = 'basic';
  readonly challenge = BASIC_CHALLENGE;
  readonly #options: BasicIdentityOptions;
  readonly #verified: VerifiedLogins;
  readonly #decoy = decoyPassword();
  /** The same login of several requests at a time is checked once. Each waits in `scryptRuns`, which bounds them. */
  readonly #checks = new Map<string, Promise<boolean>>();

  constructor(options: BasicIdentityOptions) {
    this.#options = options;
    this.#verified = new VerifiedLogins({ ...options.verified, clock: options.clock });
  }

  /**
   * @throws CmbsError `bad_request` for a header that RFC 7617 does not allow; `unauthenticated`; `too_many_attempts` or
   *   `queue_full` when the password is not checked; the errors of the store
   */
  async authenticate({ headers, clientAddress, signal }: Credentials): Promise<Principal | undefined> {
    const authorization = authorizationOf(headers);
    if (authorization?.scheme !== 'basic') return undefined;
    const { name, password } = parse(authorization.credentials);
    if (!(await this.#isRight({ name, password, clientAddress }, signal))) {
      throw invalidCredentials('The name or the password is not right.', BASIC_CHALLENGE);
    }
    return { kind: 'user', name };
  }

  async #isRight(login: Login, signal: AbortSignal): Promise<boolean> {
    const { users, attempts, clock } = this.#options;
    const { name, password, clientAddress } = login;
    if (!USER_NAME_PATTERN.test(name) || !isPossiblePassword(password)) {
      // Nobody has such a name or password. The name may be long, so it is not counted by itself.
      attempts.begin(clientAddress, '');
      return false;
    }
    // Before the login is compared with those remembered: a client that guesses would learn from that as well.
    attempts.check(clientAddress, name);
    const stored = await users.password(name);
    const key = this.#verified.keyOf(name, password, stored ?? this.#decoy);
    if (this.#verified.has(key)) return true;
    let check = this.#checks.get(key);
    if (check === undefined) {
      check = this.#check(login, stored, key).finally(() => this.#checks.delete(key));
      this.#checks.set(key, check);
    }
    return joined(check, { clock, ms: CHECK_DEADLINE_MS, signal, late: busy });
  }

  /** Counts as a failed attempt until the password is right, or could not be checked. */
  async #check(
    { name, password, clientAddress }: Login,
    stored: StoredPassword | undefined,
    key: string,
  ): Promise<boolean> {
    const { attempts, scryptRuns } = this.#options;
    const attempt = attempts.begin(clientAddress, name);
    let isRight: boolean;
    try {
      // A name that does not exist costs the same work as one that does.
      isRight = (await verifyPassword(password, stored ?? this.#decoy, scryptRuns.run)) && stored !== undefined;
    } catch (error) {
      attempt.undo();
      throw error;
    }
    if (isRight) {
      attempt.undo();
      this.#verified.add(key);
    }
    return isRight;
  }
}

/** RFC 7617 §2 and §2.1: base64 of `name:password` in UTF-8, without control characters. */
function parse(credentials: string): { readonly name: string; readonly password: string } {
  const text = /^[A-Za-z0-9+/]+={0,2}$/.test(credentials) ? utf8(Buffer.from(credentials, 'base64')) : undefined;
  const colon = text?.indexOf(':') ?? -1;
  if (text === undefined || colon < 0 || /\p{Cc}/u.test(text)) {
    throw badRequest('Send Basic credentials as base64 of name:password in UTF-8, without control characters.');
  }
  return { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

function utf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
