/** Identities: the ways in which a request proves who its caller is. Configuration chooses any number of them. */
import type { Principal } from '../../principal';

export const IDENTITY_NAMES = ['basic', 'token', 'oidc', 'proxy'] as const;
export type IdentityName = (typeof IDENTITY_NAMES)[number];

/** What a request shows of its caller. */
export interface Credentials {
  /** Lower-case names; the values of a repeated header stay apart. */
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>;
  /** Address of the client, as the trusted front ends saw it; failed logins are counted by it. */
  readonly clientAddress: string;
  /** Address of the peer of the connection; only the identity `proxy` asks for it. */
  readonly peerAddress: string | undefined;
  /** Aborts when the caller no longer waits. */
  readonly signal: AbortSignal;
}

export interface Identity {
  readonly name: IdentityName;
  /** Challenge for `WWW-Authenticate`; undefined: this identity has none. */
  readonly challenge: string | undefined;
  /**
   * The principal; undefined when the request has no credentials of this sort.
   *
   * @throws CmbsError when the request has such credentials and they are not valid, or cannot be checked now
   */
  authenticate(credentials: Credentials): Promise<Principal | undefined>;
}
