/** The file that names the trusted issuers of OpenID Connect. */
import { z } from 'zod';

/** Seconds that an issuer's clock may differ from ours, by default, and at most. */
const SKEW_S = 30;
const MAX_SKEW_S = 300;
/** Each issuer costs memory for its keys. */
const MAX_ISSUERS = 16;

const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/**
 * OpenID Connect Discovery §3: an issuer is an https URL without query and fragment. On loopback http is allowed, because
 * nobody else can answer there; that is for tests and development.
 */
export function isIssuerUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, search, hash, username, password } = new URL(text);
  const isSafe = protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname));
  return isSafe && search === '' && hash === '' && username === '' && password === '' && !/[?#]$/.test(text);
}

const issuerSchema = z
  .strictObject({
    /** Exactly as in the claim `iss`. */
    issuer: z
      .string()
      .max(500)
      .refine(isIssuerUrl, { error: 'must be an https URL without query (http is allowed on loopback)' }),
    /** Accepted values of the claim `aud`. */
    audience: z.array(z.string().min(1).max(500)).min(1).max(16),
    /** The claim that names the user. `email` counts only when the issuer has verified it. */
    claim: z.enum(['sub', 'email']).default('sub'),
    /**
     * Begins the names of this issuer's users; the issuer's host by default. It ends with `/` and has no `=`, so that the
     * names are never those of users in the store or of certificates.
     */
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9[][A-Za-z0-9._:@[\]/-]{0,250}\/$/, {
        error: 'must be letters, digits and ._:@/- with a / at the end',
      })
      .optional(),
    /** Claims that a token must have with exactly these values. */
    require: z.record(z.string().min(1), z.union([z.string(), z.number(), z.boolean()])).default({}),
    skew_s: z.number().int().min(0).max(MAX_SKEW_S).default(SKEW_S),
  })
  .transform(({ prefix, skew_s: skewS, ...issuer }) => ({
    ...issuer,
    prefix: prefix ?? `${new URL(issuer.issuer).host}/`,
    skewS,
  }));

const fileSchema = z
  .strictObject({ issuers: z.array(issuerSchema).min(1).max(MAX_ISSUERS) })
  .superRefine(({ issuers }, context) => {
    issuers.forEach(({ issuer, prefix }, at) => {
      const others = issuers.slice(0, at);
      const problem = (field: string, message: string): void =>
        context.addIssue({ code: 'custom', path: ['issuers', at, field], message });
      if (others.some((other) => other.issuer === issuer)) problem('issuer', 'must not be named twice');
      // Otherwise one issuer could name a user of another one.
      else if (others.some((other) => other.prefix.startsWith(prefix) || prefix.startsWith(other.prefix))) {
        problem('prefix', `must differ from that of the other issuers, and ${prefix} does not`);
      }
    });
  });

/** One trusted issuer, with its defaults. */
export type OidcIssuer = Readonly<z.output<typeof issuerSchema>>;

/** The content of the file is not valid; the message names each field with what it must be. */
export class OidcConfigError extends Error {
  override readonly name = 'OidcConfigError';
}

/** @param text content of the file. @throws OidcConfigError */
export function parseOidcConfig(text: string): readonly OidcIssuer[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new OidcConfigError('The file of OpenID Connect issuers is not JSON.');
  }
  const result = fileSchema.safeParse(json);
  if (result.success) return result.data.issuers;
  const lines = result.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.') || 'The file'}: ${message}.`,
  );
  throw new OidcConfigError(`The file of OpenID Connect issuers is not valid.\n${lines.join('\n')}`);
}
