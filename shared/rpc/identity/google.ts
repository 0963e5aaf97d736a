/** Identity tokens of Google's accounts (accounts.google.com), through `google-auth-library`. */
import { GoogleAuth, OAuth2Client, type IdTokenClient } from 'google-auth-library';
import type { Clock } from '../../clock';
import { CmbsError } from '../../errors';
import { inTime } from '../../waiting';
import type { IdentityTokens, TokenVerifier } from '../tokens';
import { tokenVerifier } from './verify-token';

/** Milliseconds to fetch a token, or the keys that check one. */
const IDENTITY_DEADLINE_MS = 5000;

const ISSUERS = ['https://accounts.google.com', 'accounts.google.com'];

export function googleTokens(clock: Clock): IdentityTokens {
  const auth = new GoogleAuth();
  const clients = new Map<string, Promise<IdTokenClient>>();
  return {
    async tokenFor(audience) {
      let client = clients.get(audience);
      if (client === undefined) {
        client = auth.getIdTokenClient(audience);
        clients.set(audience, client);
        client.catch(() => clients.delete(audience));
      }
      const ready = client;
      return orUnavailable(
        clock,
        'get an identity token from Google (elsewhere: set CMBS_IDENTITY_KEY)',
        async () => {
          // The client keeps a token until shortly before it expires.
          const headers = await (await ready).getRequestHeaders();
          const token = headers.get('authorization')?.replace(/^Bearer /i, '');
          if (token === undefined) throw new Error('the client returned no token');
          return token;
        },
      );
    },
  };
}

export function googleVerifier(clock: Clock): TokenVerifier {
  const client = new OAuth2Client();
  return tokenVerifier({
    issuers: ISSUERS,
    // The client caches the keys.
    keys: () =>
      orUnavailable(clock, "fetch Google's keys", async () => (await client.getFederatedSignonCertsAsync()).certs),
  });
}

async function orUnavailable<T>(clock: Clock, action: string, work: () => Promise<T>): Promise<T> {
  try {
    return await inTime(clock, IDENTITY_DEADLINE_MS, work, () => new Error('no answer in time'));
  } catch (cause) {
    throw new CmbsError('unavailable', `It was not possible to ${action}; repeat the request later.`, { cause });
  }
}
