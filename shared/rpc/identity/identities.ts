/** The identity tokens of a program: Google's, or those of the deployment's own key (`CMBS_IDENTITY_KEY`). */
import type { Clock } from '../../clock';
import type { IdentityTokens, TokenVerifier } from '../tokens';

export interface Identities {
  readonly tokens: IdentityTokens;
  readonly verifier: TokenVerifier;
}

/** Loads its libraries at first use, because most requests need no token. */
export function identitiesOf(keyFile: string | undefined, clock: Clock): Identities {
  let made: Promise<Identities> | undefined;
  const identities = (): Promise<Identities> => {
    made ??= load(keyFile, clock);
    made.catch(() => (made = undefined));
    return made;
  };
  return {
    tokens: { tokenFor: async (audience) => (await identities()).tokens.tokenFor(audience) },
    verifier: { verify: async (...asked) => (await identities()).verifier.verify(...asked) },
  };
}

async function load(keyFile: string | undefined, clock: Clock): Promise<Identities> {
  if (keyFile === undefined) {
    const { googleTokens, googleVerifier } = await import('./google.ts');
    return { tokens: googleTokens(clock), verifier: googleVerifier(clock) };
  }
  const { localTokens, localVerifier, readLocalKey } = await import('./local.ts');
  const key = readLocalKey(keyFile);
  return { tokens: localTokens(key), verifier: localVerifier(key) };
}
