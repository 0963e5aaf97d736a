/** The forms that the value of a setting can take: each checks the text and says in a few words what the text must be. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** @param from least value; @param to greatest value, at most 15 digits */
export const wholeNumber = (from: number, to: number): z.ZodType<number, string> =>
  z
    .string()
    .regex(/^\d{1,15}$/, { error: 'must be a whole number' })
    .transform(Number)
    .pipe(
      z
        .number()
        .min(from, { error: `must be at least ${from}` })
        .max(to, { error: `must be at most ${to}` }),
    );

export const trueOrFalse = z
  .enum(['true', 'false'], { error: 'must be true or false' })
  .transform((text) => text === 'true');

export const yesOrNo = z.enum(['yes', 'no'], { error: 'must be yes or no' }).transform((text) => text === 'yes');

/** A number of proxies; `true` is 1. */
export const proxies = z
  .string()
  .regex(/^(?:true|false|\d)$/, { error: 'must be true, false or a number up to 9' })
  .transform((text) => (text === 'true' ? 1 : text === 'false' ? 0 : Number(text)));

export const path = z.string().min(1, { error: 'must not be empty' });
export const host = z.string().regex(/^[A-Za-z0-9._:-]{1,253}$/, { error: 'must be a host name or address' });

/** The output has no slash at the end. */
export const publicUrl = z
  .string()
  .regex(/^https?:\/\/[^\s/?#@]+(?:\/[^\s?#]*)?$/, { error: 'must be an http or https URL without query' })
  .refine(isDecodable, { error: 'has a malformed percent escape' })
  .transform((text) => text.replace(/\/+$/, ''));

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** Texts between commas; empty ones are omitted. */
export const list = z.string().transform((text) =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== ''),
);

/** A {@link list}, or a JSON array of texts, which may have commas. */
export const names = z.string().transform((text, check): readonly string[] => {
  if (!text.trimStart().startsWith('[')) return list.parse(text);
  try {
    const parsed = z.array(z.string()).safeParse(JSON.parse(text));
    if (parsed.success && parsed.data.every((name) => name.trim() !== '')) return parsed.data;
    check.addIssue({ code: 'custom', message: 'must have only texts that are not empty in its JSON array' });
  } catch {
    check.addIssue({
      code: 'custom',
      message:
        'begins with [ and is not JSON; give names with commas between them, or ["CN=alice,O=Example","root"]',
    });
  }
  return z.NEVER;
});

export const origins = list.pipe(
  z.array(z.string().refine(isOrigin, { error: 'must be a list of origins such as https://console.example' })),
);

function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}

export const addressRanges = list.pipe(
  z.array(
    z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], {
      error: 'must be a comma-separated list of address ranges such as 10.0.0.0/8,fd00::/8',
    }),
  ),
);

/** First and last port of a range. */
export type PortRange = readonly [first: number, last: number];

/** `5000-6999,7100`. */
export const portRanges = list.pipe(
  z
    .array(
      z.string().transform((text, check): PortRange => {
        const [, first = '', last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
        const range = [Number(first), Number(last)] as const;
        if (first === '' || range[0] < 1 || range[0] > range[1] || range[1] > 65_535) {
          check.addIssue({ code: 'custom', message: 'must be a list of ports and ranges such as 5000-6999,7100' });
        }
        return range;
      }),
    )
    .min(1, { error: 'must name at least one port' }),
);

/** `name=host,name=host`: the shards of a deployment. */
export const shards = list.pipe(
  z
    .array(
      z.string().regex(/^[a-z][a-z0-9-]{0,30}=[^=\s]{1,253}$/, {
        error: 'must be a list of name=host, names in lower case',
      }),
    )
    .min(1, { error: 'must name at least one shard' }),
);
export const shardName = z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, { error: 'must be the name of a shard' });

/** Audience of an identity token. */
export const audience = z.string().regex(/^\S{1,500}$/, { error: 'must be text without spaces' });
export const serviceAccount = z
  .string()
  .regex(/^[^\s,@]+@[^\s,@]+$/, { error: 'must be the e-mail address of a service account' });

export const privateKeyFile = z
  .string()
  .refine(isKeyFile, { error: 'must name a file with a private key in PEM' });

function isKeyFile(file: string): boolean {
  try {
    createPrivateKey(readFileSync(file));
    return true;
  } catch {
    return false;
  }
}
