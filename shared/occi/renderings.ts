/** The renderings that are offered, and the choice among them. */
import { occiJson, PROFILES } from './occi-json';
import { json } from './json';
import { chooseOffer } from './media-type';
import type { Rendering } from './rendering';
import { textOcci } from './text-occi';
import { textPlain } from './text-plain';
import { uriList } from './uri-list';

/** What a client without a preference gets (#7). */
export const TEXT_PLAIN: Rendering = textPlain;

/** In the order in which the server likes them, for a client that likes several alike. */
export const RENDERINGS: readonly Rendering[] = [textPlain, occiJson, json, textOcci, uriList];

const BY_NAME: ReadonlyMap<string, Rendering> = new Map(
  RENDERINGS.flatMap((rendering) => rendering.mediaTypes.map((name) => [name, rendering] as const)),
);

/** The rendering that reads a media type (in lower case) in a profile of it; undefined when none does. */
export function renderingFor(mediaType: string, profile?: string): Rendering | undefined {
  const rendering = BY_NAME.get(mediaType);
  if (profile === undefined || rendering?.profile === undefined) return rendering;
  return PROFILES.find((one) => one.mediaTypes[0] === rendering.mediaTypes[0] && one.profile === profile);
}

/**
 * The rendering that an `Accept` header likes best; undefined when it accepts none, which is a 406. Where the
 * header leaves the choice open (`*\/*`, `text/*`, or nothing at all), `fallback` is taken if it fits.
 * Throws `bad_request` when the header holds nothing that can be understood.
 */
export function negotiate(accept: string | undefined, fallback: () => Rendering): Rendering | undefined {
  const open = accept === undefined || accept.trim() === '' || accept.includes('*');
  return chooseOffer(accept, [...(open ? [fallback()] : []), ...RENDERINGS, ...PROFILES]);
}
