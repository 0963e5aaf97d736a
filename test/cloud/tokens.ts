/** Identity tokens for tests: a valid token, and tokens that must be refused. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { signedJwt } from '../../shared/rpc/identity/local';
import { localKeyFile } from './deployment';

/** Header fields of a request. */
export type Fields = Readonly<Record<string, string>>;

const bearer = (token: string): Fields => ({ Authorization: `Bearer ${token}` });
const seconds = (): number => Math.floor(Date.now() / 1000);

export class Tokens {
  constructor(
    readonly account: string,
    readonly audience: string,
  ) {}

  get #key(): KeyObject {
    return createPrivateKey(readFileSync(localKeyFile()));
  }

  /** Header fields with a valid token. */
  good(): Fields {
    return bearer(signedJwt(this.#key, this.#claims()));
  }

  /** For each forgery: its description, the expected status, and the header fields. */
  forgeries(): [string, number, () => Fields][] {
    const changed = (more: Readonly<Record<string, unknown>>) => (): Fields =>
      bearer(signedJwt(this.#key, this.#claims(more)));
    return [
      ['no token', 401, () => ({})],
      ['something else', 401, () => ({ Authorization: 'Basic eDp5' })],
      ['no JWT', 401, () => bearer('abc')],
      ['a token that nobody signed', 401, () => bearer(this.#unsigned())],
      ['another one’s signature', 401, () => bearer(signedJwt(stranger, this.#claims()))],
      ['another issuer', 401, changed({ iss: 'https://accounts.google.com' })],
      ['another audience', 401, changed({ aud: 'https://else.example.org' })],
      ['a time that is over', 401, () => changed({ iat: seconds() - 7200, exp: seconds() - 3600 })()],
      ['another account', 403, changed({ email: 'else@cmbs.local' })],
      ['an account nobody verified', 403, changed({ email_verified: false })],
    ];
  }

  #claims(more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
    return {
      iss: 'https://cmbs.local',
      sub: this.account,
      email: this.account,
      email_verified: true,
      aud: this.audience,
      iat: seconds(),
      exp: seconds() + 600,
      ...more,
    };
  }

  #unsigned(): string {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${part({ alg: 'none', typ: 'JWT' })}.${part(this.#claims())}.`;
  }
}

const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
