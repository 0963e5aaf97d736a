/**
 * The name in a client's certificate, which a trusted proxy has verified and passes in a header. The proxy must remove the
 * header from what clients send, and must pass names of verified certificates only.
 */
import { badRequest, CmbsError } from '../../errors';
import type { Principal } from '../../principal';
import { AddressRanges } from './addresses';
import type { Credentials, Identity } from './identity';

/** Characters of a name: more than the distinguished names of real certificates have. */
const MAX_NAME_LENGTH = 500;
/** Printable ASCII: other characters are escaped in the text of a distinguished name (RFC 4514 §2.4). */
const PRINTABLE = /^[\x20-\x7e]+$/;
/**
 * `CN=alice,O=Example` (RFC 4514) or `/O=Example/CN=alice`. The `=` comes before any `/` that is not the first character,
 * so no user of the store and nobody whom an issuer of tokens names has such a name.
 */
const DISTINGUISHED_NAME = /^(?:[^/=]+=|\/[^/=]+=)/;

export interface ProxyIdentityOptions {
  /** Name of the header. */
  readonly header: string;
  /** Addresses and ranges of the proxies: `10.0.0.7`, `10.1.0.0/16`. The peer of the connection must be one of them. */
  readonly proxies: readonly string[];
}

export class ProxyIdentity implements Identity {
  readonly name = 'proxy';
  /** HTTP has no challenge for a certificate. */
  readonly challenge = undefined;
  readonly #header: string;
  readonly #proxies: AddressRanges;

  /** @throws Error when the header's name or a range is not valid */
  constructor({ header, proxies }: ProxyIdentityOptions) {
    if (!/^[A-Za-z0-9-]{1,100}$/.test(header) || header.toLowerCase() === 'authorization') {
      throw new Error(`${JSON.stringify(header)} is not the name of a header for the names in certificates.`);
    }
    if (proxies.length === 0) throw new Error(`Name the proxies that may send the header ${header}.`);
    this.#header = header.toLowerCase();
    this.#proxies = new AddressRanges(proxies);
  }

  /** @throws CmbsError `forbidden` when anybody else sends the header; `bad_request` when the proxy sends no such name */
  async authenticate({ headers, peerAddress }: Credentials): Promise<Principal | undefined> {
    // Some proxies send the header without a value when the client has no certificate.
    const values = (headers[this.#header] ?? []).filter((value) => value !== '');
    const [name] = values;
    if (name === undefined) return undefined;
    if (peerAddress === undefined || !this.#proxies.has(peerAddress)) {
      // Nothing that this caller can send makes the header right, so this is 403 and not 401.
      throw new CmbsError('forbidden', 'A header of this request is for trusted proxies only; leave it out.');
    }
    const isName =
      values.length === 1 &&
      name.length <= MAX_NAME_LENGTH &&
      PRINTABLE.test(name) &&
      DISTINGUISHED_NAME.test(name);
    if (!isName) {
      throw badRequest(
        `The proxy must send one distinguished name such as CN=alice, of at most ${MAX_NAME_LENGTH} characters of ASCII, for a certificate.`,
      );
    }
    return { kind: 'user', name };
  }
}
